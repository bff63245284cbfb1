"""Lines that no longer follow the one that they always followed: where in its work a service breaks off.

An exception or a wrong answer ends a method in the middle. What is said up to there is said as ever; what came next is
not. So each line is held against the one before it, which was kept or sampled away just as often, and was left out
together with it wherever a request took another way.
"""

from dataclasses import dataclass

import numpy as np

from engines.correlation.event_changes import LEAST_LOSS, EventChange, last_split
from engines.correlation.evidence import Floats, Integers
from engines.correlation.statistics import share_change
from engines.correlation.tallies import Tally, tally
from engines.correlation.visits import LEAST_VISITS, VISITS_ORDINARY, Visits


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Lines and, of each, the one that comes before it in the same place: rows of a tally."""

    line: Integers
    before_it: Integers


def broken_sequences(visits: Visits) -> list[EventChange]:
    """Of each line that is left out after the one before it, the split of time where that is most certain."""
    told = tally(visits, visits.groups)
    pairs = _pairs(visits, told)
    if not len(pairs.line):
        return []
    line_before, line_after = told.counts.before[pairs.line], told.counts.after[pairs.line]
    lead_before, lead_after = told.counts.before[pairs.before_it], told.counts.after[pairs.before_it]
    deviations = share_change(line_before, line_after, line_before + lead_before, line_after + lead_after, 1.0)
    enough = (lead_before >= LEAST_VISITS) & (lead_after >= LEAST_VISITS)
    rate_before, rate_after = line_before / np.maximum(lead_before, 1.0), line_after / np.maximum(lead_after, 1.0)
    is_lost = enough & (rate_after < (1 - LEAST_LOSS) * rate_before)
    lost = np.where(is_lost, deviations, 0.0)
    best = lost.argmin(axis=1)
    rows = np.flatnonzero(lost[np.arange(len(best)), best] < -VISITS_ORDINARY)
    net = _net_losses(told, pairs)
    return [
        _change(visits, told, pairs, row, split, float(lost[row, split]), float(net[row, split]))
        for row, split in zip(rows.tolist(), best[rows].tolist(), strict=True)
    ]


def _pairs(visits: Visits, told: Tally) -> _Pairs:
    """Of each line that is not about an error: the earlier line of its place that it shares most visits with."""
    traces = visits.traces
    if not len(traces.event_offset) or not len(told.event):
        return _Pairs(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    is_usual = np.array([visits.is_usual(event) for event in traces.events], dtype=np.bool_)
    events = len(traces.events)
    kept = np.flatnonzero(is_usual[traces.event_event])
    visit = traces.event_visit[kept]
    keys = told.group * events + told.event
    row = np.searchsorted(keys, visits.place_of[visit] * events + traces.event_event[kept])
    seen = np.bincount(row, minlength=len(keys))
    offset = np.bincount(row, traces.event_offset[kept], minlength=len(keys)) / np.maximum(seen, 1)
    lines, leads = [], []
    usual = np.flatnonzero(is_usual[told.event])
    order = np.argsort(told.group[row], kind="stable")
    starts = np.searchsorted(told.group[row[order]], np.arange(len(visits.groups) + 1))
    for group in np.unique(told.group[usual]).tolist():
        rows = usual[told.group[usual] == group]
        of = order[starts[group] : starts[group + 1]]
        lead = _leads(np.searchsorted(rows, row[of]), visit[of], offset[rows])
        lines.append(rows[lead >= 0])
        leads.append(rows[lead[lead >= 0]])
    return _Pairs(np.concatenate(lines), np.concatenate(leads)) if lines else _Pairs(usual, usual)


def _leads(line: Integers, visit: Integers, offset: Floats) -> Integers:
    """Of each line of one place, the position of the one before it, -1 where there is none."""
    members, position = np.unique(visit, return_inverse=True)
    present = np.zeros((len(members), len(offset)))
    present[position, line] = 1.0
    both = present.T @ present
    alone = np.diag(both)
    overlap = both / (alone[:, None] + alone[None, :] - both)
    overlap[offset[None, :] >= offset[:, None]] = 0.0
    # Of those that share as many visits the nearest counts.
    score = overlap + 1e-9 * (offset[None, :] / max(1e-9, float(offset.max())))
    lead = score.argmax(axis=1)
    return np.where(overlap[np.arange(len(lead)), lead] > 0, lead, -1)


def _net_losses(told: Tally, pairs: _Pairs) -> Floats:
    """How much of what no longer follows a line was not replaced by another that follows it, 0 to 1."""
    followers = [np.zeros_like(told.counts.before), np.zeros_like(told.counts.after)]
    for side, table in zip(followers, (told.counts.before, told.counts.after), strict=True):
        np.add.at(side, pairs.before_it, table[pairs.line])
    rates = []
    for before, after in ((followers[0][pairs.before_it], followers[1][pairs.before_it]), _counts(told, pairs.line)):
        lead_before, lead_after = _counts(told, pairs.before_it)
        rates.append(before / np.maximum(lead_before, 1.0) - after / np.maximum(lead_after, 1.0))
    lost: Floats = np.divide(rates[0], rates[1], out=np.zeros_like(rates[0]), where=rates[1] > 0)
    return np.clip(lost, 0.0, 1.0)


def _counts(told: Tally, rows: Integers) -> tuple[Floats, Floats]:
    return told.counts.before[rows], told.counts.after[rows]


def _change(
    visits: Visits, told: Tally, pairs: _Pairs, row: int, split: int, deviations: float, net_loss: float
) -> EventChange:
    line, lead = int(pairs.line[row]), int(pairs.before_it[row])
    before = float(told.counts.before[line, split] / told.counts.before[lead, split])
    after = float(told.counts.after[line, split] / told.counts.after[lead, split])
    late = max(split, last_split(visits))
    lasts = 1.0
    if told.counts.after[lead, late] >= LEAST_VISITS:
        rate = float(told.counts.after[line, late] / told.counts.after[lead, late])
        lasts = min(1.0, max(0.0, (rate - before) / (after - before)))
    event, follows = visits.traces.events[told.event[line]], visits.traces.events[told.event[lead]]
    return EventChange(
        visits.groups[told.group[line]],
        event,
        deviations,
        float(visits.splits[split]),
        before,
        after,
        int(told.visits.before[line, split]),
        int(told.visits.after[line, split]),
        lasts,
        visits.patterns.get((event.service, event.name)),
        net_loss,
        VISITS_ORDINARY,
        visits.patterns.get((follows.service, follows.name)),
    )
