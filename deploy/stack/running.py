"""Processes that start one after the other, each when the one before is ready, and stop the other way round."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx

_READY_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 25.0
_POLL_SECONDS: Final = 0.2
_LAST_LINES: Final = 15


class CannotStart(Exception):
    """A process ended, or is not ready in time; says which, and what it wrote last."""


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """What a program is told: `settings` and nothing else. A DATABASE_URL of whoever calls this is not to be tried
    things out on.
    """
    return {"PATH": os.defpath, **settings}


class Process:
    """A running program. `log` is the file that has all that it writes."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], *, folder: Path, cwd: Path, settings: Mapping[str, str]
    ) -> "Process":
        """Start it in a session of its own, so that Ctrl-C reaches us alone and we stop it in its turn."""
        log = folder / f"{name}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=cwd,
                env=environment(settings),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return cls(name, process, log)

    async def ready(self, http: httpx.AsyncClient, url: str) -> None:
        """Return when the URL answers 200. Raises CannotStart."""
        try:
            async with asyncio.timeout(_READY_SECONDS):
                while True:
                    if self._process.returncode is not None:
                        raise CannotStart(f"{self.name} ended by itself:\n{self.last_lines()}")
                    with suppress(httpx.HTTPError):
                        if (await http.get(url)).status_code == 200:
                            return
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise CannotStart(
                f"{self.name} is not ready after {_READY_SECONDS:.0f} s ({url}):\n{self.last_lines()}"
            ) from None

    async def ended(self) -> str:
        """Return its name when it has ended."""
        await self._process.wait()
        return self.name

    async def stop(self) -> None:
        """Ask it to stop, and kill it when it does not."""
        if self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def text(self) -> str:
        """All that it wrote so far."""
        return self.log.read_text(errors="replace")

    def last_lines(self) -> str:
        """What it wrote last."""
        return "\n".join(self.text().splitlines()[-_LAST_LINES:])
