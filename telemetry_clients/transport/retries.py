"""Second attempts, where one may help and none can harm.

Attempts are spread at random ("full jitter"), and a budget keeps an outage from being multiplied: retries are at most a
tenth of the calls, with a few in hand (Site Reliability Engineering, chapter 22, "Handling Overload" in chapter 21).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from telemetry_clients.errors import TelemetryError
from telemetry_clients.transport.answer import Answer

RETRIED_STATUSES = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often, and how long after. The pause before retry n is between 0 and first * 2**(n-1) seconds."""

    attempts: int = 3
    first_pause_seconds: float = 0.1
    longest_pause_seconds: float = 2.0
    budget_ratio: float = 0.1
    budget_reserve: float = 10.0


class Transient(Exception):
    """An attempt ended in a way that the next one may not: with an answer that says so, or with an error."""

    def __init__(self, outcome: Answer | TelemetryError) -> None:
        super().__init__()
        self.outcome = outcome


class RetryBudget:
    """A token bucket: each call pays in a part of a token, each retry takes out one."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._ratio = policy.budget_ratio
        self._most = policy.budget_reserve
        self._tokens = policy.budget_reserve

    def pay_in(self) -> None:
        """A call is made for the first time."""
        self._tokens = min(self._tokens + self._ratio, self._most)

    def take_out(self) -> bool:
        """Whether one more may be made again."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Retries:
    """Decides for one call whether another attempt is made, and when."""

    def __init__(
        self,
        policy: RetryPolicy,
        budget: RetryBudget,
        *,
        remaining_seconds: Callable[[], float],
        now: Callable[[], datetime],
        may_go_on: Callable[[], bool],
        retried: Callable[[], None],
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._policy = policy
        self._budget = budget
        self._remaining_seconds = remaining_seconds
        self._now = now
        self._may_go_on = may_go_on
        self._retried = retried
        self._jitter = jitter
        self._attempts = 0

    def pause_seconds(self, error: Exception) -> float | bool:
        """How long to wait before the next attempt, or False for none: a backoff hook of stamina's."""
        self._attempts += 1
        if not isinstance(error, Transient) or self._attempts >= self._policy.attempts or not self._may_go_on():
            return False
        pause = self._pause(error.outcome)
        if pause >= self._remaining_seconds() or not self._budget.take_out():
            return False
        self._retried()
        return pause

    def _pause(self, outcome: Answer | TelemetryError) -> float:
        longest = self._policy.first_pause_seconds * 2 ** (self._attempts - 1)
        pause = self._jitter(0, min(longest, self._policy.longest_pause_seconds))
        wanted = retry_after_seconds(outcome, self._now()) if isinstance(outcome, Answer) else None
        # Everybody who was told the same time must not come back at the same time.
        return pause if wanted is None else wanted + pause


def retry_after_seconds(answer: Answer, now: datetime) -> float | None:
    """How long the backend wants to be left alone: seconds or an HTTP date (RFC 9110, section 10.2.3), or None."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
