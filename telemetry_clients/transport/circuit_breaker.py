"""A circuit breaker: after a row of failures a backend is left alone for a while, and calls to it fail at once.

Closed, all calls pass. Open, none does. Half-open, one passes, and what becomes of it decides (Nygard, Release It!,
chapter 5). Each time that the trial fails, the pause doubles.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from domain.health import CircuitState


@dataclass(frozen=True, kw_only=True)
class CircuitBreakerPolicy:
    """When to stop asking, and for how long.

    A timeout says something about the backend only where it had at least `fair_seconds` to answer.
    """

    failures: int = 5
    pause_seconds: float = 5.0
    longest_pause_seconds: float = 60.0
    fair_seconds: float = 0.5


@dataclass(frozen=True, slots=True)
class Admission:
    """A call that was let through. What becomes of it counts only while the state that let it through lasts."""

    generation: int


class CircuitOpen(Exception):
    """No call passes. The message says since when, why, and when the next one may."""


def utc_now() -> datetime:
    """The time by the machine's clock, for words."""
    return datetime.now(UTC)


class CircuitBreaker:
    """The breaker of one backend. `changed` hears of each new state, with the reason."""

    def __init__(
        self,
        policy: CircuitBreakerPolicy,
        *,
        changed: Callable[[CircuitState, str], None],
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`jitter` is between 0 and 1; it spreads a fleet's trials over a quarter of the pause."""
        self.state = CircuitState.CLOSED
        self._policy = policy
        self._changed = changed
        self._now = now
        self._monotonic = monotonic
        self._jitter = jitter
        self._generation = 0
        self._failures = 0
        self._opened_at: datetime | None = None
        self._reason = ""
        self._pause_seconds = policy.pause_seconds
        self._next_try_seconds = 0.0
        self._trial_is_running = False

    def check(self) -> None:
        """Raises CircuitOpen where a call would not pass now; promises nothing for later."""
        if self.state is CircuitState.CLOSED:
            return
        wait_seconds = self._next_try_seconds - self._monotonic()
        if self.state is CircuitState.OPEN and wait_seconds > 0:
            at = self._now() + timedelta(seconds=wait_seconds)
            raise CircuitOpen(f"{self._history()}. The next try is at {at:%H:%M:%S} UTC, in {wait_seconds:.1f} s")
        if self._trial_is_running:
            raise CircuitOpen(f"{self._history()}. One call tries it at this moment")

    def admit(self) -> Admission:
        """Let a call through, or raise CircuitOpen. What becomes of it must be told."""
        self.check()
        if self.state is CircuitState.OPEN:
            self._enter(CircuitState.HALF_OPEN, "the pause is over, one call tries again")
        self._trial_is_running = self.state is CircuitState.HALF_OPEN
        return Admission(self._generation)

    def served(self, admission: Admission) -> None:
        """The backend did its work, and be it to say no."""
        if admission.generation != self._generation:
            return
        self._failures = 0
        if self.state is CircuitState.HALF_OPEN:
            self._pause_seconds = self._policy.pause_seconds
            self._enter(CircuitState.CLOSED, "it answers again")

    def failed(self, admission: Admission, reason: str) -> None:
        """The backend did not answer, or said that it cannot."""
        if admission.generation != self._generation:
            return
        self._failures += 1
        if self.state is CircuitState.CLOSED:
            if self._failures >= self._policy.failures:
                self._opened_at = self._now()
                self._open(reason)
        else:
            self._pause_seconds = min(2 * self._pause_seconds, self._policy.longest_pause_seconds)
            self._open(reason)

    def unknown(self, admission: Admission) -> None:
        """Nothing was learned: the caller went away, or gave too little time."""
        if admission.generation == self._generation:
            self._trial_is_running = False

    def _open(self, reason: str) -> None:
        self._reason = reason
        self._next_try_seconds = self._monotonic() + self._pause_seconds * (1 + self._jitter() / 4)
        self._enter(CircuitState.OPEN, f"{self._failures} failures in a row, the last: {reason}")

    def _enter(self, state: CircuitState, reason: str) -> None:
        self.state = state
        self._generation += 1
        self._trial_is_running = False
        self._changed(state, reason)

    def _history(self) -> str:
        return (
            f"It is not asked since {self._opened_at:%Y-%m-%d %H:%M:%S} UTC, after {self._failures} failures in a row "
            f"({self._reason.rstrip('.')})"
        )
