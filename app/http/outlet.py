"""What goes out to one client over a connection that stays open, and whether the client takes it."""

import asyncio
from collections import Counter
from collections.abc import Generator, Hashable
from contextlib import contextmanager

from starlette.types import Message, Send


class Outlet:
    """Sends to one client. A client that takes nothing makes whoever sends wait, so nothing piles up."""

    __slots__ = ("_loop", "_moved_at", "_send", "_waiting", "sent_at")

    def __init__(self, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        self._send = send
        self._waiting = 0
        self._moved_at = self.sent_at = self._loop.time()

    async def send(self, message: Message) -> None:
        """Send a message as soon as there is room. Raises OSError when the client has gone."""
        if self._waiting == 0:
            self._moved_at = self._loop.time()
        self._waiting += 1
        try:
            await self._send(message)
        finally:
            self._waiting -= 1
        self._moved_at = self.sent_at = self._loop.time()

    def stuck_seconds(self, now: float) -> float:
        """For how long the client has taken nothing of what waits for it; 0 when nothing does."""
        return now - self._moved_at if self._waiting else 0.0


class TooManyStreams(Exception):
    """An address holds as many connections open as it may; says how many that are."""


class Admission:
    """Counts the connections that stay open, by the address that they come from."""

    def __init__(self, most_per_address: int) -> None:
        self._most = most_per_address
        self._open: Counter[Hashable] = Counter()

    @contextmanager
    def admit(self, address: Hashable) -> Generator[None]:
        """Count a connection for as long as it is open. Raises TooManyStreams."""
        if self._open[address] >= self._most:
            raise TooManyStreams(f"At most {self._most} connections from one address (MAX_STREAMS_PER_ADDRESS)")
        self._open[address] += 1
        try:
            yield
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]
