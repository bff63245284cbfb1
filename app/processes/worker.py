"""One of several processes that serve the same port, as its supervisor started it."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from socket import socket

import structlog

from app.health import Dependency, Impaired
from app.processes.channel import Channel, Staffing
from domain.time import Deadline

log = structlog.get_logger("reliability_studio.worker")


@dataclass(slots=True)
class Colleagues:
    """What a worker knows of the others."""

    staffing: Staffing

    def dependency(self) -> Dependency:
        """Whether all workers serve, for the health of the whole: those that do answer for those that do not."""

        async def ask(_deadline: Deadline) -> str:
            missing = self.staffing.wanted - self.staffing.serving
            if missing > 0:
                raise Impaired(f"{missing} of {self.staffing.wanted} workers are being started again")
            return ""

        return Dependency("workers", ask)


@asynccontextmanager
async def supervised(end: socket, colleagues: Colleagues) -> AsyncGenerator[Channel]:
    """Listen to the supervisor, and stop in an orderly way when it has died: nobody else would ever stop this."""
    channel = await Channel.open(end)

    async def listen() -> None:
        async for message in channel.messages():
            colleagues.staffing = Staffing(**message)
        log.error("the supervisor is gone, stopping")
        os.kill(os.getpid(), signal.SIGTERM)

    listening = asyncio.create_task(listen())
    try:
        yield channel
    finally:
        listening.cancel()
        channel.close()
