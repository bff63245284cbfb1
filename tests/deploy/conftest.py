"""One stack for all tests of this folder: started as `make stack` does, on free ports."""

import asyncio
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from db.embedded import EmbeddedPostgres
from tests.postgres import TEMPLATE, run_sql
from tests.servers import ROOT, environment

NEEDED = ("prometheus", "prometheus-pushgateway", "prometheus-alertmanager")
START_TIMEOUT_SECONDS = 150


@dataclass
class RunningStack:
    """What it has written, and where its services are."""

    process: asyncio.subprocess.Process
    database_url: str
    lines: list[str] = field(default_factory=list)

    @property
    def urls(self) -> Mapping[str, str]:
        """The URLs of the services that it has started."""
        found = (re.match(r"([a-z-]+) +(http://\S+)", line) for line in self.lines)
        return {match[1]: match[2] for match in found if match}

    async def stop(self) -> int:
        """Press Ctrl-C, and return the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGINT)
        return await self.process.wait()


@pytest.fixture(scope="session")
async def stack(postgres: EmbeddedPostgres) -> AsyncIterator[RunningStack]:
    """A running stack that has been checked, without Loki and Tempo."""
    for program in NEEDED:
        if shutil.which(program) is None:
            pytest.skip(f"no {program} on this machine: apt-get install --no-install-recommends {program}")
    await run_sql(postgres.url, f"create database stack template {TEMPLATE} strategy file_copy")
    running = await start_stack("--free-ports", "--database-url", postgres.url_of("stack"))
    running.database_url = postgres.url_of("stack")
    try:
        await read_until(running, "Stop with Ctrl-C", timeout_seconds=START_TIMEOUT_SECONDS)
        yield running
    finally:
        await running.stop()


async def start_stack(*arguments: str) -> RunningStack:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "deploy.stack", *arguments),
        cwd=ROOT,
        env=environment(PYTHONUNBUFFERED="1"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    return RunningStack(process, "")


async def read_until(stack: RunningStack, text: str, *, timeout_seconds: float) -> None:
    """Read its lines up to one with this text."""
    assert stack.process.stdout is not None
    async with asyncio.timeout(timeout_seconds):
        async for line in stack.process.stdout:
            stack.lines.append(line.decode().rstrip())
            if text in stack.lines[-1]:
                return
    raise AssertionError("the stack ended:\n" + "\n".join(stack.lines))


@pytest.fixture
async def web() -> AsyncIterator[httpx.AsyncClient]:
    """A client of whatever runs here."""
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
def deploy() -> Path:
    """The folder with everything that is deployed."""
    return ROOT / "deploy"
