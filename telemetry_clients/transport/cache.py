"""Answers that are kept for a moment, so that a dashboard that many look at asks once."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from telemetry_clients.transport.answer import Answer

_OVERHEAD_BYTES = 1024


class AnswerCache:
    """The answers used last, for at most `ttl_seconds` and in at most `max_bytes`. With a TTL of 0 it keeps none."""

    def __init__(self, *, ttl_seconds: float, max_bytes: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ttl_seconds = ttl_seconds
        self._max_bytes = max_bytes
        self._monotonic = monotonic
        self._kept: OrderedDict[Hashable, tuple[float, int, Answer]] = OrderedDict()
        self.size_bytes = 0

    def get(self, key: Hashable) -> Answer | None:
        """The answer to this question, if it is kept and fresh."""
        found = self._kept.get(key)
        if found is None:
            return None
        if found[0] <= self._monotonic():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return found[2]

    def put(self, key: Hashable, question_bytes: int, answer: Answer) -> None:
        """Keep an answer, in the place of those that were not asked for the longest."""
        size = len(answer.body) + question_bytes + _OVERHEAD_BYTES
        if self._ttl_seconds <= 0 or size > self._max_bytes:
            return
        if key in self._kept:
            self._drop(key)
        while self.size_bytes + size > self._max_bytes:
            self._drop(next(iter(self._kept)))
        self._kept[key] = (self._monotonic() + self._ttl_seconds, size, answer)
        self.size_bytes += size

    def forget(self, answer: Answer) -> None:
        """Keep an answer no longer, because it turned out to be none."""
        for key in [key for key, (_, _, kept) in self._kept.items() if kept is answer]:
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        self.size_bytes -= self._kept.pop(key)[1]
