"""Lines that are missing from visits that call the same services as before, over all such visits of a service.

For each moment at which it may have begun, what there is after it is held against what was to be expected in each group
of visits, and the differences are added up before they are held against their noise (as Mantel and Haenszel did, 1959).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from engines.correlation.event_changes import LEAST_LOSS, EventChange
from engines.correlation.evidence import Floats, Integers
from engines.correlation.tallies import Tally, tally
from engines.correlation.visits import LINES_ORDINARY, Visits

LEAST_SPREAD: Final = 0.05
"""Even what happens in every visit or in none may be otherwise once in twenty."""


@dataclass(frozen=True, slots=True)
class _Strata:
    """A row for each group of visits and line, a column for each split; 0 where there are too few visits."""

    told: Tally
    surplus: Floats
    deviations: Floats
    """Of each event, over all of its groups."""
    position: Integers
    """Which row of `deviations` each stratum belongs to."""


def missing_lines(visits: Visits, lines: Floats) -> list[EventChange]:
    """Of each line that is not about an error and is missing: the split where that is most certain.

    `lines` is how many lines that are not about errors there are in each visit.
    """
    told = _usual_lines(visits, tally(visits, visits.paths))
    if not len(told.event):
        return []
    events, position = np.unique(told.event, return_inverse=True)
    strata = _strata(told, position, len(events))
    expected, after = _rates(told, position, len(events))
    is_lost = after < (1 - LEAST_LOSS) * expected
    lost = np.where(is_lost, strata.deviations, 0.0)
    best = lost.argmin(axis=1)
    found = np.flatnonzero(lost[np.arange(len(events)), best] < -LINES_ORDINARY)
    return [_change(visits, strata, lines, event, int(best[event]), events) for event in found.tolist()]


def _usual_lines(visits: Visits, told: Tally) -> Tally:
    is_usual = np.array([visits.is_usual(event) for event in visits.traces.events], dtype=np.bool_)
    rows = np.flatnonzero(is_usual[told.event])
    return Tally(
        told.group[rows],
        told.event[rows],
        told.counts.of(rows),
        told.having.of(rows),
        told.visits.of(rows),
        told.exposures.of(rows),
    )


def _strata(told: Tally, position: Integers, events: int) -> _Strata:
    enough = told.enough
    before, after, share = told.exposures.before, told.exposures.after, told.exposures.rates
    total = told.counts.total
    surplus = np.where(enough, told.counts.after - total * share, 0.0)
    variance = np.where(enough, total * share * (1 - share) * told.clumping, 0.0)
    rate = np.minimum(1.0, told.having.total / np.maximum(before + after, 1e-9))
    surplus_with = np.where(enough, told.having.after - rate * after, 0.0)
    spread = np.maximum(rate * (1 - rate), LEAST_SPREAD)
    variance_with = np.where(enough, spread * after * before / np.maximum(before + after, 1e-9), 0.0)
    by_count = _ratio(_summed(surplus, position, events), _summed(variance, position, events))
    by_share = _ratio(_summed(surplus_with, position, events), _summed(variance_with, position, events))
    return _Strata(told, surplus, np.minimum(by_count, by_share), position)


def _rates(told: Tally, position: Integers, events: int) -> tuple[Floats, Floats]:
    """Of each event: what there would be in a visit after each split if all were as before, and what there is."""
    enough = told.enough
    number = _summed(np.where(enough, told.exposures.after, 0.0), position, events)
    as_before = told.counts.before / np.maximum(told.exposures.before, 1e-9) * told.exposures.after
    expected = _summed(np.where(enough, as_before, 0.0), position, events)
    seen = _summed(np.where(enough, told.counts.after, 0.0), position, events)
    return expected / np.maximum(number, 1e-9), seen / np.maximum(number, 1e-9)


def _change(visits: Visits, strata: _Strata, lines: Floats, row: int, split: int, events: Integers) -> EventChange:
    told = strata.told
    rows = np.flatnonzero((strata.position == row) & told.enough[:, split])
    before, after = (side[rows, split] for side in (told.exposures.before, told.exposures.after))
    was = told.counts.before[rows, split] / before
    lost = float((was * before).sum() - (told.counts.after[rows, split] / after * before).sum())
    fewer = sum(
        _fewer_lines(visits, visits.paths[told.group[one]].visits, lines, float(visits.splits[split])) for one in rows
    )
    worst = rows[strata.surplus[rows, split].argmin()]
    event = visits.traces.events[events[row]]
    return EventChange(
        visits.paths[told.group[worst]],
        event,
        float(strata.deviations[row, split]),
        float(visits.splits[split]),
        float((was * after).sum() / after.sum()),
        float(told.counts.after[rows, split].sum() / after.sum()),
        int(told.visits.before[rows, split].sum()),
        int(told.visits.after[rows, split].sum()),
        1.0,
        visits.patterns.get((event.service, event.name)),
        min(1.0, max(0.0, fewer / lost)) if lost > 0 else 0.0,
        LINES_ORDINARY,
    )


def _fewer_lines(visits: Visits, members: Integers, lines: Floats, split: float) -> float:
    """How many lines fewer the visits before a split would have, if they had as many as those after it."""
    is_after = visits.traces.visit_start[members] >= split
    kept, of = visits.kept_lines[members], lines[members]
    before, after = float(kept[~is_after].sum()), float(kept[is_after].sum())
    return float(of[~is_after].sum() - of[is_after].sum() / after * before)


def _summed(table: Floats, position: Integers, events: int) -> Floats:
    summed = np.zeros((events, table.shape[1]))
    np.add.at(summed, position, table)
    return summed


def _ratio(surplus: Floats, variance: Floats) -> Floats:
    ratio: Floats = np.divide(surplus, np.sqrt(variance), out=np.zeros_like(surplus), where=variance > 0)
    return ratio
