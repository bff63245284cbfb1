"""Events that became more or less frequent in visits: which, by how much, and from when."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engines.correlation.evidence import Event, EventKind, Floats, LogPattern
from engines.correlation.statistics import count_change, share_change
from engines.correlation.tallies import Tally, tally
from engines.correlation.visits import ERROR_LEVELS, LEAST_VISITS, VISITS_ORDINARY, Group, Visits

LAST_SECONDS: Final = 30.0
"""What is not there any more in the half minute before somebody noticed was something else."""
LEAST_LOSS: Final = 0.25
"""A step is left out when at least a quarter of it is."""


@dataclass(frozen=True, slots=True)
class EventChange:
    """An event that became more or less frequent in the visits of a place: per visit, before and after `split`.

    `lasts` is how much of the change is still there in the last moments before somebody noticed. Where it is about a
    line after another one, which it `follows`, numbers are for each of those instead.
    """

    group: Group
    event: Event
    deviations: float
    split: float
    before: float
    after: float
    visits_before: int
    visits_after: int
    lasts: float
    pattern: LogPattern | None = None
    net_loss: float = 1.0
    ordinary: float = VISITS_ORDINARY
    follows: LogPattern | None = None

    @property
    def is_lost(self) -> bool:
        """Whether it happens less than before, and not just a little."""
        return self.deviations < 0 and self.after < (1 - LEAST_LOSS) * self.before

    @property
    def completeness(self) -> float:
        """How near to all of it is lost, from 0 at LEAST_LOSS to 1: what breaks stops, what drifts gets rarer."""
        lost = 1 - self.after / self.before if self.before > 0 else 0.0
        return min(1.0, max(0.0, (lost - LEAST_LOSS) / (1 - LEAST_LOSS)))

    @property
    def is_error(self) -> bool:
        """Whether it is a line about an error."""
        return self.pattern is not None and self.pattern.level in ERROR_LEVELS


def event_changes(visits: Visits, groups: Sequence[Group]) -> list[EventChange]:
    """Of each group and event the change beyond the ordinary, at the split of time where it is greatest."""
    told = tally(visits, groups)
    if not len(told.event):
        return []
    by_count = count_change(
        told.counts.before, told.counts.after, told.exposures.before, told.exposures.after, told.clumping
    )
    by_share = share_change(
        told.having.before, told.having.after, told.visits.before, told.visits.after, _sampling(told)
    )
    deviations = np.where(np.abs(by_share) > np.abs(by_count), by_share, by_count) * told.enough
    best = np.abs(deviations).argmax(axis=1)
    rows = np.flatnonzero(np.abs(deviations[np.arange(len(best)), best]) > VISITS_ORDINARY)
    return [
        _change(visits, groups, told, row, split, float(deviations[row, split]))
        for row, split in zip(rows.tolist(), best[rows].tolist(), strict=True)
    ]


def _sampling(told: Tally) -> Floats:
    """How much more of a visit's lines is kept after a split than before."""
    after = np.divide(told.exposures.after, told.visits.after, out=np.ones_like(told.visits.after), where=told.enough)
    before = np.divide(
        told.exposures.before, told.visits.before, out=np.ones_like(told.visits.before), where=told.enough
    )
    sampling: Floats = after / before
    return sampling


def _change(
    visits: Visits, groups: Sequence[Group], told: Tally, row: int, split: int, deviations: float
) -> EventChange:
    exposures = told.exposures
    before = float(told.counts.before[row, split] / exposures.before[row, split])
    after = float(told.counts.after[row, split] / exposures.after[row, split])
    late = max(split, last_split(visits))
    lasts = 1.0
    if told.visits.after[row, late] >= LEAST_VISITS and after != before:
        rate = float(told.counts.after[row, late] / exposures.after[row, late])
        lasts = min(1.0, max(0.0, (rate - before) / (after - before)))
    event = visits.traces.events[told.event[row]]
    return EventChange(
        groups[told.group[row]],
        event,
        deviations,
        float(visits.splits[split]),
        before,
        after,
        int(told.visits.before[row, split]),
        int(told.visits.after[row, split]),
        lasts,
        visits.patterns.get((event.service, event.name)) if event.kind is EventKind.LOG else None,
    )


def last_split(visits: Visits) -> int:
    """The split from which on a change has to be there still."""
    last = visits.evidence.noticed_at - LAST_SECONDS
    return max(0, int(np.searchsorted(visits.splits, last, side="right")) - 1)
