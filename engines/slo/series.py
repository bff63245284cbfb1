"""One objective over all of its stored slices: judged by the versions in force, adjusted, measured at any moment."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np

from domain.objectives import Composite, CompositeRule, ObjectiveDefinition, Window
from domain.slos import BudgetingMethod
from engines.slo import budgets
from engines.slo.adjustments import Adjustment, adjusted
from engines.slo.budgets import Measurement, Promise, Sums
from engines.slo.burn_rates import alerts_of
from engines.slo.slices import Flags, Judged, Numbers, Slices, Tally, budget_of, judged, per_slice, tallies, tally
from engines.slo.windows import bounds


@dataclass(frozen=True, slots=True)
class Version:
    """What was promised from a moment on (seconds since 1970), until the next version."""

    since: float
    objective: Decimal
    slice_objective: Decimal

    @classmethod
    def of(cls, since: float, definition: ObjectiveDefinition) -> "Version":
        """The promise of a definition."""
        return cls(since, definition.objective, slice_objective(definition))


@dataclass(frozen=True, slots=True)
class Record:
    """A definition as it is now, what was promised when (oldest first), and what does not count.

    Method and window are those of now, because events and slices cannot be added up; objectives are those in force.
    """

    definition: ObjectiveDefinition
    versions: Sequence[Version]
    adjustments: Sequence[Adjustment] = ()

    @classmethod
    def alone(cls, definition: ObjectiveDefinition, adjustments: Sequence[Adjustment] = ()) -> "Record":
        """A definition that was never another."""
        return cls(definition, (Version.of(0, definition),), adjustments)

    @property
    def promise(self) -> Promise:
        """What the arithmetic needs to know of it."""
        alerting = self.definition.alerting
        return Promise.of(self.definition.window, alerting, alerts_of(alerting, self.definition.window))


def slice_objective(definition: ObjectiveDefinition) -> Decimal:
    """The ratio that makes a slice good."""
    own = definition.budgeting.slice_objective
    return definition.objective if own is None else own


def judge(slices: Slices, record: Record) -> Judged:
    """Every slice of an objective, judged by the version in force at its beginning. `slices` has one row."""
    definition = record.definition
    counted = adjusted(slices, 0, record.adjustments)
    budget = per_slice(counted, [(version.since, budget_of(version.objective)) for version in record.versions])
    good_enough = per_slice(counted, [(version.since, float(version.slice_objective)) for version in record.versions])
    together = 1
    if definition.budgeting.method is not BudgetingMethod.OCCURRENCES:
        together = max(1, definition.budgeting.slice_seconds // slices.seconds)
    return judged(
        counted,
        definition.budgeting.method,
        budget=budget,
        slice_objective=good_enough,
        slices_per_judgement=together,
    )


def combined(composite: Composite, members: Sequence[Judged], record: Record) -> Judged:
    """The slices of a composite, from those of its members over the same time (one row each, of one length).

    Each slice has an error ratio: the weighted mean of its members', the worst of them, or 1 when any member's slice is
    below that member's objective. A slice in which no member has events says nothing.
    """
    ratios = np.vstack([np.divide(m.bad, m.total, out=np.full_like(m.bad, np.nan), where=m.total > 0) for m in members])
    budgets_spent = np.vstack([m.bad > m.allowed for m in members])
    happened = ~np.isnan(ratios)
    weights = np.array([[float(member.weight)] for member in composite.members]) * happened
    weight = weights.sum(axis=0)
    match composite.rule:
        case CompositeRule.WEIGHTED:
            weighted = (np.where(happened, ratios, 0) * weights).sum(axis=0)
            ratio = np.divide(weighted, weight, out=np.zeros_like(weight), where=weight > 0)
        case CompositeRule.WORST_MEMBER:
            ratio = np.where(happened, ratios, 0).max(axis=0)
        case CompositeRule.ANY_BAD_SLICE:
            ratio = (budgets_spent & happened).any(axis=0).astype(float)
    total = happened.any(axis=0).astype(float)
    first = members[0]
    plain = Slices(
        first.start,
        first.seconds,
        good=(total - ratio * total)[None, :],
        total=np.where(np.vstack([m.known for m in members]).any(axis=0), total, np.nan)[None, :],
        excluded=np.zeros((1, len(total)), dtype=bool),
    )
    counting = replace(record.definition, budgeting=replace(record.definition.budgeting, method=_unit(record)))
    return judge(plain, replace(record, definition=counting))


def _unit(record: Record) -> BudgetingMethod:
    """How slices of a composite are judged: by their ratios, or as good and bad ones where that is the method."""
    method = record.definition.budgeting.method
    return BudgetingMethod.TIMESLICES if method is BudgetingMethod.TIMESLICES else BudgetingMethod.OCCURRENCES


def measure(judged: Judged, promise: Promise, at: datetime) -> Measurement:
    """An objective (one row) at `at`, which ends a slice."""
    seconds = at.timestamp()
    last = judged.column(seconds)
    windows = budgets.windows_of([promise])
    sums = tallies(judged, [judged.column(seconds - window) for window in windows], last) if windows else []
    recent = dict(zip(windows, map(_sums, sums), strict=True))
    begins = bounds(promise.window, at)[0].timestamp()
    period = tally(judged, judged.column(begins), last)
    unseen = max(0.0, (min(judged.start, seconds) - begins) // judged.seconds)
    return budgets.measure(promise, at, _sums(replace(period, expected=period.expected + unseen)), recent)


def at_moments(judged: Judged, window: Window, moments: Iterable[float]) -> tuple[list[float], Tally]:
    """The sums over the window at each moment (seconds since 1970), a row each: a history in one pass."""
    wanted = list(moments)
    ends = np.array([judged.column(at) for at in wanted], dtype=int)
    starts = np.array([judged.column(_begins(window, at)) for at in wanted], dtype=int)

    def between(values: Numbers | Flags) -> Numbers:
        sums = np.concatenate([[0.0], np.cumsum(values[0], dtype=float)])
        differences: Numbers = np.maximum(sums[ends] - sums[np.minimum(starts, ends)], 0.0)
        return differences

    return wanted, Tally(
        between(judged.bad),
        between(judged.total),
        between(judged.allowed),
        between(judged.events_bad),
        between(judged.events),
        between(judged.known),
        between(judged.expected),
    )


def _begins(window: Window, at: float) -> float:
    return bounds(window, datetime.fromtimestamp(at, UTC))[0].timestamp()


def _sums(one: Tally) -> Sums:
    return budgets.rows(one)[0]
