"""What goes out to one client over a connection that stays open, and whether the client takes it."""

import asyncio
from collections import Counter
from collections.abc import Generator, Hashable
from contextlib import contextmanager

from starlette.types import Message, Send

from app.observability.live import ConnectionCounts
from domain.access import Actor


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
    """An address or a user holds as many connections open as it may; says how many that are."""


class Full(TooManyStreams):
    """The process holds as many as it may: another one may have room."""


class Admission:
    """Counts the connections that stay open, together and by the address and the user that they come from."""

    def __init__(self, *, most: int, most_per_address: int, most_per_user: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._most_per_user = most_per_user
        self._open: Counter[Hashable] = Counter()
        self._total = 0

    @contextmanager
    def admit(self, address: str | None, counts: ConnectionCounts) -> Generator["Admitted"]:
        """Count a connection for as long as it is open. Raises TooManyStreams and Full.

        Whose it is may be known only later: then `Admitted.belong_to` counts it for them as well.
        """
        if self._total >= self._most:
            counts.refused += 1
            raise Full(
                f"This server has as many connections open as it may, {self._most} (MAX_STREAMS): come back later"
            )
        if self._open[address] >= self._most_per_address:
            counts.refused += 1
            raise TooManyStreams(
                f"At most {self._most_per_address} connections from one address (MAX_STREAMS_PER_ADDRESS)"
            )
        admitted = Admitted(self, counts)
        counts.open += 1
        self._total += 1
        self._open[address] += 1
        try:
            yield admitted
        finally:
            counts.open -= 1
            self._total -= 1
            self._leave(address)
            if admitted.user is not None:
                self._leave(admitted.user)

    def _add(self, user: Hashable) -> None:
        if self._open[user] >= self._most_per_user:
            raise TooManyStreams(f"At most {self._most_per_user} connections of one user (MAX_STREAMS_PER_USER)")
        self._open[user] += 1

    def _leave(self, holder: Hashable) -> None:
        self._open[holder] -= 1
        if not self._open[holder]:
            del self._open[holder]


class Admitted:
    """A connection that is counted."""

    __slots__ = ("_admission", "_counts", "user")

    def __init__(self, admission: Admission, counts: ConnectionCounts) -> None:
        self._admission = admission
        self._counts = counts
        self.user: Hashable = None

    def belong_to(self, actor: Actor) -> None:
        """Count it as one of this actor's, who has none of their own where they have not signed in.

        Raises TooManyStreams.
        """
        if actor.viewer is None or self.user is not None:
            return
        try:
            self._admission._add(actor.viewer)
        except TooManyStreams:
            self._counts.refused += 1
            raise
        self.user = actor.viewer
