"""Sends spans and log lines to a collector, by OTLP over HTTP, from a thread of its own.

Whoever has something to send never waits: it takes its place in a bounded queue, where the oldest gives way. While the
collector is away the thread tries again, more and more seldom; what gave way is counted. The batch processors of
OpenTelemetry's SDK promise less: they give a batch up after one timeout of their exporter, and count nothing for us.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, Protocol, TypeVar

Item = TypeVar("Item")
Taken = TypeVar("Taken", contravariant=True)

CAPACITY: Final = 8_192
BATCH: Final = 512
INTERVAL_SECONDS: Final = 1.0
TIMEOUT_SECONDS: Final = 5.0
_LONGEST_PAUSE_SECONDS: Final = 15.0
_FIRST_PAUSE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one attempt: taken where there is no problem, worth another one where that may pass."""

    problem: str | None = None
    is_passing: bool = False


class Sink(Protocol[Taken]):
    """Where batches go."""

    def prepare(self, batch: Sequence[Taken], /) -> Callable[[float], Answer]:
        """A batch ready to be sent, as often as needed: each attempt ends within the seconds that it is given.

        Raises ValueError and TypeError for what can never be sent.
        """
        ...

    def close(self) -> None:
        """Let connections go."""
        ...


class Exporter(Generic[Item]):
    """One signal's way to its collector. `exported` and `dropped` count items since the start."""

    def __init__(
        self,
        sink: Sink[Item],
        *,
        name: str,
        capacity: int = CAPACITY,
        interval_seconds: float = INTERVAL_SECONDS,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`told` hears, in the thread, when the collector stops taking what is sent, and when it takes it again."""
        self._sink = sink
        self._capacity = capacity
        self._interval_seconds = interval_seconds
        self._told = told
        self._queue: deque[Item] = deque()
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._closing = threading.Event()
        self._closes_at = float("inf")
        self._is_refused = False
        self.exported = 0
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Send it, soon. Never waits; when too much waits already, what has waited longest is dropped."""
        with self._lock:
            self._queue.append(item)
            waiting = len(self._queue)
            if waiting > self._capacity:
                self._queue.popleft()
                self.dropped += 1
        if waiting == BATCH:
            self._awake.set()

    def stop(self, *, within_seconds: float) -> None:
        """Begin to end: send what waits, for so long and no longer; what is left then is dropped."""
        self._closes_at = time.monotonic() + within_seconds
        self._closing.set()
        self._awake.set()

    def join(self) -> None:
        """Wait for the end, which `stop` has begun."""
        self._thread.join(max(0.0, self._remaining_seconds()) + TIMEOUT_SECONDS)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._awake.wait(self._interval_seconds)
            self._awake.clear()
            self._send_batch()
            while len(self._queue) >= BATCH:  # Less waits for more: posting it costs as much.
                self._send_batch()
        while self._queue and self._remaining_seconds() > 0:
            self._send_batch()
        with self._lock:
            self.dropped += len(self._queue)
            self._queue.clear()
        self._sink.close()

    def _send_batch(self) -> None:
        with self._lock:
            batch = list(islice(self._queue, BATCH))
            for _ in batch:
                self._queue.popleft()
        if not batch:
            return
        if self._is_delivered(batch):
            self.exported += len(batch)
        else:
            with self._lock:
                self.dropped += len(batch)

    def _is_delivered(self, batch: Sequence[Item]) -> bool:
        """Send a batch until it is taken, refused for good, or time is up."""
        try:
            attempt = self._sink.prepare(batch)
        except (ValueError, TypeError) as error:  # text that is no Unicode, a number that is too long
            self._complain(f"what it was to get cannot be written: {error}")
            return False
        pause_seconds = _FIRST_PAUSE_SECONDS
        while (remaining_seconds := self._remaining_seconds()) > 0:
            answer = attempt(min(TIMEOUT_SECONDS, remaining_seconds))
            if answer.problem is None:
                self._praise()
                return True
            self._complain(answer.problem)
            if not answer.is_passing:
                return False
            self._closing.wait(min(pause_seconds, max(0.0, self._remaining_seconds())))
            if self._closing.is_set():
                time.sleep(min(0.05, max(0.0, self._remaining_seconds())))  # The last attempts come one after another.
            pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
        return False

    def _remaining_seconds(self) -> float:
        return self._closes_at - time.monotonic()

    def _complain(self, reason: str) -> None:
        if not self._is_refused:
            self._is_refused = True
            self._told(reason)

    def _praise(self) -> None:
        if self._is_refused:
            self._is_refused = False
            self._told("")
