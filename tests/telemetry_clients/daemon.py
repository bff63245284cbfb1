"""Real servers for tests, started on a port that they choose themselves."""

import asyncio
import contextlib
import re
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.telemetry_clients.eventually import eventually


@contextlib.asynccontextmanager
async def daemon(command: Sequence[str], folder: Path, *, listening: str, package: str) -> AsyncIterator[str]:
    """Start a program in a folder, wait until it says where it listens (the group of `listening`), and stop it.

    Skips the test where the program is missing; `package` is Debian's that has it.
    """
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} on this machine: apt-get install --no-install-recommends {package}")
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=output, stderr=output)
    try:

        async def says_where() -> bool:
            assert process.returncode is None, f"{command[0]} ended:\n{log.read_text()}"
            return re.search(listening, log.read_text()) is not None

        await eventually(f"{command[0]} listens", says_where)
        yield "http://" + re.findall(listening, log.read_text())[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
