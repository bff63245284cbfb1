"""One objective under evaluation: what is asked for it, how far it has been evaluated, what of it is in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import numpy as np

from actions.slos.records import Kept
from actions.slos.slices import ALL, Stretch
from domain.objectives import Composite
from domain.slos import AdjustmentKind, BudgetingMethod
from engines.slo import budgets
from engines.slo.adjustments import adjusted, exclusions
from engines.slo.batches import Question
from engines.slo.budgets import Promise
from engines.slo.indicators import Events, events
from engines.slo.ledger import Plan
from engines.slo.series import slice_objective
from engines.slo.slices import Flags, Slices, unknown
from engines.slo.windows import DAY_SECONDS, start

LATE_SECONDS: Final = DAY_SECONDS
"""How long after its time an event may still arrive."""
LONGEST_PAUSE_SECONDS: Final = 3_600
_FIRST_PAUSE_SECONDS: Final = 60
_RECENT_DAYS: Final = 3


@dataclass(slots=True)
class Watch:
    """An objective, evaluated until `through` (seconds since 1970), None before the first time."""

    kept: Kept
    through: int | None = None
    groups: set[str] = field(default_factory=lambda: {ALL})
    failures: int = 0
    retry_at: float = 0.0
    unknown_since: int | None = None
    """Since when nothing has been known of it, while that lasts."""
    missing_since: int | None = None
    """Since when to read again, because what was unknown may have come late."""
    events: Events | None = None
    plan: Plan | None = None
    """How the ledger judges it; None where that takes more than one judgement for all of its slices."""
    promise: Promise = field(init=False)
    longest_seconds: int = field(init=False)
    """How long its burn rates look back."""

    def __post_init__(self) -> None:
        definition = self.kept.definition
        self.promise = self.kept.record.promise
        self.longest_seconds = max(budgets.windows_of([self.promise]), default=0)
        if not isinstance(definition.indicator, Composite):
            self.events = events(definition.indicator, self.kept.slice_seconds, group_by=definition.group_by)
            self.plan = _plan(self.kept, self.promise)

    @property
    def seconds(self) -> int:
        """The length of its slices."""
        return self.kept.slice_seconds

    @property
    def recent_days(self) -> int:
        """How many days of slices its burn rates look back over."""
        return max(_RECENT_DAYS, -(-self.longest_seconds // DAY_SECONDS))

    @property
    def whole(self) -> Stretch:
        """Everything of it that counts, until where it was evaluated."""
        return self.stretch(self.through or 0)

    def question(self, number: int) -> Question:
        """What is asked for it."""
        if self.events is None:
            raise ValueError("a composite asks nothing of its own")
        return Question(number, self.events, self.kept.definition.group_by)

    def failed(self, now: float) -> None:
        """Leave it alone for a while, longer after each failure."""
        pause = min(LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(self.failures, 10))
        self.failures += 1
        self.retry_at = now + pause

    def note(self, is_known: bool, end: int) -> None:
        """Take down whether anything is known of the slice that ends at `end`. After a gap it is read again, once."""
        if not is_known and self.unknown_since is None:
            self.unknown_since = end - self.seconds
        elif is_known and self.unknown_since is not None:
            self.missing_since, self.unknown_since = max(self.unknown_since, end - LATE_SECONDS), None

    def needed_since(self, at: int) -> int:
        """The start of the day from which its slices count at `at`: its window's, or that of its longest burn rate."""
        begins = start(self.promise.window, datetime.fromtimestamp(at, UTC)).timestamp()
        return int(min(begins, at - self.longest_seconds)) // DAY_SECONDS * DAY_SECONDS

    def stretch(self, at: int) -> Stretch:
        """The slices that count at `at`."""
        return Stretch(self.kept.id, self.needed_since(at), at, self.seconds)

    def excluded(self, slices: Slices) -> Slices:
        """The slices with what is excluded marked."""
        return adjusted(slices, 0, self.kept.record.adjustments)

    def is_excluded(self, at: int) -> bool:
        """Whether the slice that begins at `at` counts for nothing."""
        if not self.kept.record.adjustments:
            return False
        flags: Flags = exclusions(unknown(1, at, at + self.seconds, self.seconds), self.kept.record.adjustments)
        return bool(np.any(flags))


def _plan(kept: Kept, promise: Promise) -> Plan | None:
    record, definition = kept.record, kept.definition
    promises: Sequence[tuple[object, object]] = [(one.objective, one.slice_objective) for one in record.versions]
    is_corrected = any(one.kind is AdjustmentKind.CORRECTION for one in record.adjustments)
    is_judged_together = (
        definition.budgeting.method is not BudgetingMethod.OCCURRENCES
        and definition.budgeting.slice_seconds != kept.slice_seconds
    )
    if len(set(promises)) > 1 or is_corrected or is_judged_together:
        return None
    return Plan(promise, definition.budgeting.method, definition.objective, slice_objective(definition))
