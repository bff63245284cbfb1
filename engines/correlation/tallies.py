"""How often things happen in visits before and after each moment at which it may have begun, all in one go."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engines.correlation.evidence import EventKind, Floats, Integers, TraceSet
from engines.correlation.visits import LEAST_VISITS, Group, Visits


@dataclass(frozen=True, slots=True)
class Sides:
    """A number before and after each split: two tables of rows by splits."""

    before: Floats
    after: Floats

    def of(self, rows: Integers) -> "Sides":
        """Some of the rows, in this order."""
        return Sides(self.before[rows], self.after[rows])

    @property
    def total(self) -> Floats:
        """Both together."""
        both: Floats = self.before + self.after
        return both

    @property
    def rates(self) -> Floats:
        """Those after, as a share of both, 0 where there is none."""
        rates: Floats = np.divide(self.after, self.total, out=np.zeros_like(self.after), where=self.total > 0)
        return rates


@dataclass(frozen=True, slots=True)
class Tally:
    """What happened in groups of visits. A row for each group and event that happens in it, in the order of both.

    `counts` are how often it did, `having` in how many visits; `visits` and `exposures` are those of the row's group.
    An exposure is a visit or, for lines, the part of a visit's lines that was kept.
    """

    group: Integers
    event: Integers
    counts: Sides
    having: Sides
    visits: Sides
    exposures: Sides

    @property
    def enough(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Where there are enough visits on both sides to speak of."""
        return (self.visits.before >= LEAST_VISITS) & (self.visits.after >= LEAST_VISITS)

    @property
    def clumping(self) -> Floats:
        """How often each happens in a visit in which it does, a column."""
        having = self.having.total[:, :1]
        clumping: Floats = np.divide(self.counts.total[:, :1], having, out=np.ones_like(having), where=having > 0)
        return clumping


def tally(visits: Visits, groups: Sequence[Group]) -> Tally:
    """What happened in these groups, of which a visit is in one at most."""
    traces = visits.traces
    group_of = np.full(len(traces.visit_entry), -1, dtype=np.int64)
    for index, group in enumerate(groups):
        group_of[group.visits] = index
    bins = len(visits.splits) + 1
    within = group_of[traces.event_visit] >= 0
    visit, event, count = traces.event_visit[within], traces.event_event[within], traces.event_count[within]
    keys, row = np.unique(group_of[visit] * max(1, len(traces.events)) + event, return_inverse=True)
    group, event_of = np.divmod(keys, max(1, len(traces.events)))
    place = row * bins + visits.bin_of[visit]
    counts = _sides(np.bincount(place, count, minlength=len(keys) * bins), bins)
    having = _sides(np.bincount(place, minlength=len(keys) * bins), bins)
    member = np.flatnonzero(group_of >= 0)
    of_group = group_of[member] * bins + visits.bin_of[member]
    number = _sides(np.bincount(of_group, minlength=len(groups) * bins), bins)
    kept = _sides(np.bincount(of_group, visits.kept_lines[member], minlength=len(groups) * bins), bins)
    is_line = is_line_event(traces)[event_of][:, None]
    all_of, kept_of = number.of(group), kept.of(group)
    exposures = Sides(
        np.where(is_line, kept_of.before, all_of.before),
        np.where(is_line, kept_of.after, all_of.after),
    )
    return Tally(group, event_of, counts, having, all_of, exposures)


def is_line_event(traces: TraceSet) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Which events are lines of logs."""
    return np.array([event.kind is EventKind.LOG for event in traces.events], dtype=np.bool_)


def _sides(flat: Floats | Integers, bins: int) -> Sides:
    table = flat.reshape(-1, bins).astype(np.float64)
    before = np.cumsum(table, axis=1)[:, :-1]
    return Sides(before, table.sum(axis=1, keepdims=True) - before)
