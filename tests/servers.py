"""Our server as its users run it: the command, in a process of its own."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self

import httpx
import orjson
import pytest

from app.http.cors import PREFLIGHT_HEADER
from db.embedded import EmbeddedPostgres
from tests.postgres import TEMPLATE, run_sql

COMMAND = Path(sys.executable).parent / "reliability-studio"
ROOT = Path(__file__).parents[1]
START_TIMEOUT_SECONDS = 120


def environment(**settings: str) -> dict[str, str]:
    """A bare environment with some settings: nothing of the developer's own gets in.

    Nobody has to sign in, unless a test says AUTH_ENABLED="true".
    """
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**inherited, "TERM": "dumb", "COLUMNS": "200", "AUTH_ENABLED": "false", **settings}


async def run_command(*arguments: str, settings: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Run the command to its end; return its exit code, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        env=environment(**(settings or {})),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), START_TIMEOUT_SECONDS)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


class ServerProcess:
    """`reliability-studio serve` on a free port. `log` holds the lines that it has written, decoded."""

    def __init__(self, *arguments: str, **settings: str) -> None:
        self._arguments = arguments
        self._settings = {"PORT": "0", **settings}
        self.url = ""
        self.log: list[dict[str, Any]] = []
        self.complaints = ""

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            COMMAND,
            "serve",
            *self._arguments,
            env=environment(**self._settings),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        started = asyncio.get_running_loop().create_future()
        self._readers = [
            asyncio.create_task(self._read_log(started)),
            asyncio.create_task(self._read_complaints()),
        ]
        try:
            self.url = await asyncio.wait_for(started, START_TIMEOUT_SECONDS)
        except BaseException:
            await self.stop(signal.SIGKILL)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code of the process."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        code = await asyncio.wait_for(self.process.wait(), START_TIMEOUT_SECONDS)
        await asyncio.gather(*self._readers)
        return code

    async def _read_log(self, started: asyncio.Future[str]) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            entry = orjson.loads(line)
            self.log.append(entry)
            if entry["event"] == "serving" and not started.done():
                started.set_result(entry["url"])
        if not started.done():
            await self._readers[1]
            started.set_exception(AssertionError(f"the server did not start: {self.complaints}"))

    async def _read_complaints(self) -> None:
        assert self.process.stderr is not None
        self.complaints = (await self.process.stderr.read()).decode()


@pytest.fixture(scope="session")
async def served_database_url(postgres: EmbeddedPostgres) -> str:
    """The database of the servers that live as long as the session."""
    await run_sql(postgres.url, f"create database served template {TEMPLATE} strategy file_copy")
    return postgres.url_of("served")


@pytest.fixture(scope="session")
async def server(served_database_url: str) -> AsyncIterator[ServerProcess]:
    """A running server, with two incidents."""
    async with ServerProcess(DATABASE_URL=served_database_url) as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=30) as client:
            for incident in (
                {"title": "Search index is stale", "severity": "low", "service": "search"},
                {"title": "Checkout answers slowly", "severity": "high", "services": ["checkout", "payments"]},
            ):
                (await client.post("/api/incidents", json=incident)).raise_for_status()
        yield running


@pytest.fixture(scope="session")
def server_url(server: ServerProcess) -> str:
    """The base URL of a running server with two incidents."""
    return server.url


@pytest.fixture(scope="session")
async def strict_server(served_database_url: str) -> AsyncIterator[ServerProcess]:
    """A server with the draft profile, one allowed origin, and narrow limits: 1 s and 2048 bytes for a request."""
    async with ServerProcess(
        DATABASE_URL=served_database_url,
        GRAPHQL_HTTP_PROFILE="draft",
        CORS_ALLOWED_ORIGINS="https://studio.example",
        OPERATION_TIMEOUT_SECONDS="1",
        MAX_BODY_BYTES="2048",
    ) as running:
        yield running


@pytest.fixture(scope="session")
async def impatient_server(served_database_url: str) -> AsyncIterator[ServerProcess]:
    """A server that soon loses its patience: 0.2 s to begin, 0.6 s of silence; 3 streams, 2 operations on a socket."""
    async with ServerProcess(
        DATABASE_URL=served_database_url,
        SOCKET_INIT_TIMEOUT_SECONDS="0.2",
        SOCKET_PING_SECONDS="0.2",
        STREAM_KEEP_ALIVE_SECONDS="0.2",
        MAX_STREAMS_PER_ADDRESS="3",
        MAX_OPERATIONS_PER_SOCKET="2",
    ) as running:
        yield running


@pytest.fixture
async def http(server_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the running server, which may ask by GET."""
    async with httpx.AsyncClient(base_url=server_url, headers={PREFLIGHT_HEADER: "1"}, timeout=30) as client:
        yield client


@pytest.fixture
async def strict_http(strict_server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the strict server."""
    async with httpx.AsyncClient(base_url=strict_server.url, headers={PREFLIGHT_HEADER: "1"}, timeout=30) as client:
        yield client
