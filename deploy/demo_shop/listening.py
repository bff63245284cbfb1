"""Servers that can be started and stopped within one process."""

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

_BACKLOG = 512
_GRACE_SECONDS = 1
_IDLE_SECONDS = 60
"""Longer than any client keeps a connection that it does not use: one that is closed here just then fails a call."""


class Listener:
    """An application on an address; stopped, its port refuses connections, and started again it has the same port."""

    def __init__(self, application: Starlette, host: str, port: int) -> None:
        self._application = application
        self._host = host
        self.port = port
        self._server: _Server | None = None
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; port 0 becomes a free one. Raises OSError where the port is taken."""
        if self._running is not None:
            return
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((self._host, self.port))
        except OSError:
            found.close()
            raise
        found.listen(_BACKLOG)
        self.port = found.getsockname()[1]
        config = uvicorn.Config(
            self._application,
            lifespan="off",
            access_log=False,
            log_level="warning",
            timeout_graceful_shutdown=_GRACE_SECONDS,
            timeout_keep_alive=_IDLE_SECONDS,
        )
        self._server = _Server(config)
        self._running = asyncio.create_task(self._server.serve([found]))

    async def stop(self) -> None:
        """Listen no more, after what runs has been answered."""
        if self._server is None or self._running is None:
            return
        self._server.should_exit = True
        await self._running
        self._server = self._running = None


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals are for the whole process."""
        yield
