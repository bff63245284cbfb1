"""Whether somebody may still be told what they have subscribed to."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

RECHECK_SECONDS: Final = 1.0

FindOut = Callable[[], Awaitable[Exception | None]]


class Standing:
    """Asked before every delivery to a subscriber, and shared by all subscriptions of theirs to the same.

    `find_out` says why nothing more is told, or None. What it says is believed for `recheck_seconds`, so that asking
    costs next to nothing, or until it is doubted: it is asked again then.
    """

    __slots__ = ("__weakref__", "_asking", "_doubts", "_find_out", "_fresh_until", "_recheck_seconds", "_refusal")

    def __init__(self, find_out: FindOut, recheck_seconds: float = RECHECK_SECONDS) -> None:
        self._find_out = find_out
        self._recheck_seconds = recheck_seconds
        self._fresh_until = asyncio.get_running_loop().time() + recheck_seconds
        self._refusal: Exception | None = None
        self._asking: asyncio.Lock | None = None
        self._doubts = 0

    @property
    def latest(self) -> Exception | None:
        """What was found out last."""
        return self._refusal

    def is_known_at(self, now: float) -> bool:
        """Whether that is believed still, at a time of the event loop."""
        return now < self._fresh_until

    def doubt(self) -> None:
        """Believe nothing any more, nor what is being found out now: it may have been read before."""
        self._doubts += 1
        self._fresh_until = 0.0

    async def refusal(self) -> Exception | None:
        """Why nothing more is told, or None while it is. Raises DatabaseUnavailable, DeadlineExceeded."""
        clock = asyncio.get_running_loop().time
        if clock() < self._fresh_until:
            return self._refusal
        self._asking = self._asking or asyncio.Lock()
        async with self._asking:
            if clock() >= self._fresh_until:
                doubts = self._doubts
                self._refusal = await self._find_out()
                if doubts == self._doubts:
                    self._fresh_until = clock() + self._recheck_seconds
        return self._refusal
