"""Lines that are followed live. Those who follow the same share one tail, each at its own pace."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from telemetry_clients.loki import Loki
from telemetry_clients.loki.answers import LogLine
from telemetry_clients.loki.tail import TailPace, tail

WAITING_LINES = 1_000
"""How many lines may wait for one who follows. The oldest give way, because what is live is what is wanted."""


@dataclass(frozen=True, slots=True)
class FollowedLine:
    """A line, and how many before it were left out: by Loki, or because they were not taken in time."""

    line: LogLine
    missed: int


@dataclass(eq=False, slots=True)
class _Follower:
    """One who follows, and what waits for it."""

    waiting: deque[LogLine] = field(default_factory=deque)
    missed: int = 0
    error: Exception | None = None
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, lines: tuple[LogLine, ...], dropped: int) -> None:
        self.waiting.extend(lines)
        self.missed += dropped
        while len(self.waiting) > WAITING_LINES:
            self.waiting.popleft()
            self.missed += 1
        self.woken.set()

    def fail(self, error: Exception) -> None:
        self.error = error
        self.woken.set()


@dataclass(eq=False, slots=True)
class _Shared:
    """One tail of Loki, and those who follow it."""

    task: asyncio.Task[None] | None = None
    followers: set[_Follower] = field(default_factory=set)


class LogTails:
    """The tails of a process."""

    def __init__(self, now_ns: Callable[[], int] = time.time_ns, pace: TailPace | None = None) -> None:
        self._now_ns = now_ns
        self._pace = pace
        self._shared: dict[tuple[int, str], _Shared] = {}

    def __len__(self) -> int:
        """How many tails are open."""
        return len(self._shared)

    async def follow(self, loki: Loki, query: str) -> AsyncGenerator[FollowedLine]:
        """The lines that a query selects from now on. Close the generator when done. Raises TelemetryError."""
        key = (id(loki), query)
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = _Shared()
            shared.task = asyncio.create_task(self._tell(key, shared, loki, query))
        follower = _Follower()
        shared.followers.add(follower)
        try:
            while True:
                while follower.waiting:
                    line = follower.waiting.popleft()
                    missed, follower.missed = follower.missed, 0
                    yield FollowedLine(line, missed)
                if follower.error is not None:
                    raise follower.error
                follower.woken.clear()
                await follower.woken.wait()
        finally:
            shared.followers.discard(follower)
            if not shared.followers and shared.task is not None:
                self._leave(key, shared)
                shared.task.cancel()
                await asyncio.wait([shared.task])

    async def _tell(self, key: tuple[int, str], shared: _Shared, loki: Loki, query: str) -> None:
        lines = tail(loki, query, start_ns=self._now_ns(), now_ns=self._now_ns, pace=self._pace)
        try:
            async with aclosing(lines) as batches:
                async for batch in batches:
                    for follower in shared.followers:
                        follower.tell(batch.lines, batch.dropped)
        except Exception as error:  # whoever follows is told, and has it reported
            for follower in shared.followers:
                follower.fail(error)
        finally:
            self._leave(key, shared)

    def _leave(self, key: tuple[int, str], shared: _Shared) -> None:
        """Let the next who asks the same begin anew."""
        if self._shared.get(key) is shared:
            del self._shared[key]
