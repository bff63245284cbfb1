"""Points in time that rules and calls are held to."""

import time
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment by which an answer is owed, on the monotonic clock: setting the machine's clock does not move it.

    It is handed down a call chain instead of a timeout, so that steps taken one after another share one allowance.
    """

    at_monotonic_seconds: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """The moment `seconds` from now."""
        return cls(time.monotonic() + seconds)

    def remaining_seconds(self) -> float:
        """Seconds left, 0 once the moment has passed."""
        return max(0.0, self.at_monotonic_seconds - time.monotonic())

    @property
    def expired(self) -> bool:
        return self.remaining_seconds() == 0.0
