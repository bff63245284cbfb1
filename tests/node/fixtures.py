"""Tools of the GraphQL world that exist for Node.js only, and a real browser, run against our server."""

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

FOLDER = Path(__file__).parent
NPM_TIMEOUT_SECONDS = 300


class Node:
    """Runs the scripts of this folder, each of which prints one JSON value."""

    def __init__(self, executable: str) -> None:
        self.executable = executable

    async def run(self, script: str, *arguments: str, timeout_seconds: float = 120) -> Any:
        """Return what the script printed. A script that fails, fails the test with what it said."""
        status, printed, complaint = await _run(self.executable, script, *arguments, timeout_seconds=timeout_seconds)
        assert status == 0, f"{script} {' '.join(arguments)} failed:\n{complaint}"
        return orjson.loads(printed)


@pytest.fixture(scope="session")
async def node() -> Node:
    """Node.js with the locked packages of this folder, installed on first use."""
    executable, npm = shutil.which("node"), shutil.which("npm")
    if executable is None or npm is None:
        pytest.skip("needs node and npm, which are not installed here")
    installed = FOLDER / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < (FOLDER / "package-lock.json").stat().st_mtime:
        status, _, complaint = await _run(npm, "ci", "--loglevel=error", timeout_seconds=NPM_TIMEOUT_SECONDS)
        if status != 0:
            pytest.skip(f"npm could not install the packages of tests/node: {complaint.strip()}")
        installed.touch()
    return Node(executable)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Debian's Chromium."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs chromium, which is not installed here (apt-get install chromium)")
    return path


async def _run(*command: str, timeout_seconds: float) -> tuple[int, bytes, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=FOLDER,
        env={**os.environ, "NODE_NO_WARNINGS": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(timeout_seconds):
            printed, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, printed, complaint.decode(errors="replace")
