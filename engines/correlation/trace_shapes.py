"""What visits are made of, and how that changed: steps that are left out, lines that are new or missing.

A wrong return or an exception seldom shows in metrics. It shows in what a service does while it handles a request:
steps that came before come no more, a line about an error comes instead. So what happens is counted per visit, which
does not depend on how many requests there are, nor on which callers gave up before they called.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

import numpy as np

from domain.correlation import CorrelationKind, RootCauseKind
from engines.correlation.evidence import NO_SOURCE, Event, EventKind, Evidence, Floats, LogPattern
from engines.correlation.findings import Finding
from engines.correlation.statistics import count_change, share_change
from engines.correlation.visits import (
    ERROR_LEVELS,
    LEAST_VISITS,
    VISITS_ORDINARY,
    Booleans,
    Group,
    Visits,
    visit_strength,
)

LAST_SECONDS: Final = 60.0
"""What is not there any more in the minute before somebody noticed was something else."""
LEAST_LOSS: Final = 0.25
"""A step is left out when at least a quarter of it is."""
LEAST_SPREAD: Final = 0.05
"""Even what happens in every visit or in none may be otherwise once in twenty."""


@dataclass(frozen=True, slots=True)
class EventChange:
    """An event that became more or less frequent in the visits of a place: per visit, before and after `onset`.

    `lasts` is how much of the change is still there in the minute before somebody noticed; `sampling` how many more
    lines are kept after than before.
    """

    group: Group
    event: Event
    deviations: float
    onset: float
    before: float
    after: float
    visits_before: int
    visits_after: int
    lasts: float
    sampling: float
    pattern: LogPattern | None = None
    net_loss: float = 1.0

    @property
    def is_lost(self) -> bool:
        """Whether it happens less than before, and not just a little."""
        return self.deviations < 0 and self.after < (1 - LEAST_LOSS) * self.before

    @property
    def is_error(self) -> bool:
        """Whether it is a line about an error."""
        return self.pattern is not None and self.pattern.level in ERROR_LEVELS


def change_findings(visits: Visits) -> list[Finding]:
    """New lines about errors, steps that are left out, and lines that are missing though the same was called.

    What is replaced by something else of its kind is not left out: it was another request, or the other branch.
    """
    found: dict[str, Finding] = {}
    for change in event_changes(visits, visits.groups):
        if change.is_error and change.deviations > 0:
            _keep(found, _finding(change, visits.evidence, 1.0))
    steps, lines = _totals(visits)
    for change in event_changes(visits, visits.callers):
        if change.event.kind is not EventKind.LOG and change.is_lost:
            _keep(found, _finding(change, visits.evidence, _net_loss(visits, change, steps)))
    for change in missing_lines(visits, lines):
        _keep(found, _finding(change, visits.evidence, change.net_loss))
    return [found[id] for id in sorted(found) if found[id].strength > 0]


def event_changes(visits: Visits, groups: list[Group]) -> list[EventChange]:
    """Of each group and event the change beyond the ordinary, at the split of time where it is greatest.

    Lines may be sampled more at one time than at another: their rates are held against how the rates of most lines
    changed across the same split.
    """
    counted = visits.counts(groups)
    starts = visits.traces.visit_start
    best: dict[int, EventChange] = {}
    for split in visits.splits:
        is_after = [starts[group.visits] >= split for group, _, _ in counted]
        sampling = _sampling(counted, is_after)
        for index, (group, event, happened) in enumerate(counted):
            factor = sampling if event.kind is EventKind.LOG else 1.0
            change = _change(visits, group, event, happened, is_after[index], float(split), factor)
            if change is not None and abs(change.deviations) > abs(best[index].deviations if index in best else 0.0):
                best[index] = change
    return [best[index] for index in sorted(best) if abs(best[index].deviations) > VISITS_ORDINARY]


def _change(
    visits: Visits, group: Group, event: Event, happened: Floats, is_after: Booleans, split: float, sampling: float
) -> EventChange | None:
    after, before = int(is_after.sum()), int(len(is_after) - is_after.sum())
    if after < LEAST_VISITS or before < LEAST_VISITS:
        return None
    total_after, total_before = float(happened[is_after].sum()), float(happened[~is_after].sum())
    with_after, with_before = float((happened[is_after] > 0).sum()), float((happened[~is_after] > 0).sum())
    deviations = max(
        count_change(total_before, total_after, before, after * sampling, float(happened[happened > 0].mean())),
        share_change(with_before, with_after, before, after, sampling),
        key=abs,
    )
    change = total_after / after / sampling - total_before / before
    late = is_after & (visits.traces.visit_start[group.visits] >= visits.evidence.noticed_at - LAST_SECONDS)
    lasts = 1.0
    if late.sum() >= LEAST_VISITS and change:
        lasts = min(1.0, max(0.0, (float(happened[late].mean()) / sampling - total_before / before) / change))
    pattern = visits.patterns.get((event.service, event.name)) if event.kind is EventKind.LOG else None
    return EventChange(
        group,
        event,
        deviations,
        split,
        total_before / before,
        total_after / after / sampling,
        before,
        after,
        lasts,
        sampling,
        pattern,
    )


def _sampling(counted: list[tuple[Group, Event, Floats]], is_after: list[Booleans]) -> float:
    """How many more lines a visit has after a split than before: the median of what lines there are on both sides."""
    ratios = []
    for (_, event, happened), late in zip(counted, is_after, strict=True):
        if event.kind is EventKind.LOG:
            after, before = happened[late], happened[~late]
            if after.sum() >= LEAST_VISITS and before.sum() >= LEAST_VISITS:
                ratios.append(float(after.mean() / before.mean()))
    return float(np.median(ratios)) if len(ratios) >= LEAST_VISITS else 1.0


def missing_lines(visits: Visits, lines: Floats) -> list[EventChange]:
    """Lines that are missing from visits that call the same services as before, over all such visits of a service.

    For each split, what there is after it is held against what was to be expected in each group of visits, and the
    differences are added up before they are held against their noise (as Mantel and Haenszel did, 1959).
    """
    counted = [
        (group, event, happened)
        for group, event, happened in visits.counts(visits.paths)
        if event.kind is EventKind.LOG and not visits.is_error(event)
    ]
    starts = visits.traces.visit_start
    best: dict[Event, EventChange] = {}
    for split in visits.splits:
        is_after = [starts[group.visits] >= split for group, _, _ in counted]
        sampling = _sampling(counted, is_after)
        pooled: dict[Event, list[_Stratum]] = defaultdict(list)
        for (group, event, happened), late in zip(counted, is_after, strict=True):
            if late.sum() >= LEAST_VISITS and (~late).sum() >= LEAST_VISITS:
                pooled[event].append(_stratum(group, happened, late, lines[group.visits], sampling))
        for event, strata in pooled.items():
            change = _pooled(visits, event, strata, float(split), sampling)
            if change.is_lost and change.deviations < min(
                -VISITS_ORDINARY, best[event].deviations if event in best else 0
            ):
                best[event] = change
    return [best[event] for event in sorted(best, key=lambda event: (event.service, event.name))]


@dataclass(frozen=True, slots=True)
class _Stratum:
    """What is added up over groups of visits: differences from what was expected after a split, and their noise."""

    group: Group
    before: float
    after: float
    visits_before: int
    visits_after: int
    surplus: float
    variance: float
    surplus_with: float
    variance_with: float
    fewer_lines: float


def _stratum(group: Group, happened: Floats, late: Booleans, lines: Floats, sampling: float) -> _Stratum:
    after, before = float(late.sum()) * sampling, float((~late).sum())
    share = after / (after + before)
    total = float(happened.sum())
    clumping = float(happened[happened > 0].mean())
    has = happened > 0
    rate = float(has.sum()) / (after + before)
    spread = max(rate * (1 - min(rate, 1.0)), LEAST_SPREAD)
    return _Stratum(
        group,
        float(happened[~late].sum()),
        float(happened[late].sum()),
        int((~late).sum()),
        int(late.sum()),
        float(happened[late].sum()) - total * share,
        total * share * (1 - share) * clumping,
        float(has[late].sum()) - min(1.0, rate) * after,
        spread * after * before / (after + before),
        float(lines[~late].mean() - lines[late].mean() / sampling) * before,
    )


def _pooled(visits: Visits, event: Event, strata: list[_Stratum], split: float, sampling: float) -> EventChange:
    counts = sum(part.surplus for part in strata) / float(np.sqrt(sum(part.variance for part in strata)))
    shares = sum(part.surplus_with for part in strata) / float(np.sqrt(sum(part.variance_with for part in strata)))
    visits_before = sum(part.visits_before for part in strata)
    visits_after = sum(part.visits_after for part in strata)
    # What was to be expected after is what there was before in each group, in as many visits as there are after.
    expected = sum(part.before / part.visits_before * part.visits_after for part in strata) / visits_after
    after = sum(part.after for part in strata) / visits_after / sampling
    lost = sum(part.before - part.after / part.visits_after / sampling * part.visits_before for part in strata)
    fewer = sum(part.fewer_lines for part in strata)
    worst = min(strata, key=lambda part: part.surplus)
    return EventChange(
        worst.group,
        event,
        min(counts, shares),
        split,
        expected,
        after,
        visits_before,
        visits_after,
        1.0,
        sampling,
        visits.patterns.get((event.service, event.name)),
        min(1.0, max(0.0, fewer / lost)) if lost > 0 else 0.0,
    )


def _net_loss(visits: Visits, change: EventChange, totals: Floats) -> float:
    """How much of what became less frequent was not replaced by something else, 0 to 1."""
    is_after = visits.traces.visit_start[change.group.visits] >= change.onset
    of = totals[change.group.visits]
    lost = float(of[~is_after].mean() - of[is_after].mean() / change.sampling)
    return min(1.0, max(0.0, lost / (change.before - change.after)))


def _totals(visits: Visits) -> tuple[Floats, Floats]:
    """Of each visit: its operations and calls, and its lines that are not about errors."""
    traces = visits.traces
    kinds = [0 if event.kind is not EventKind.LOG else 2 if visits.is_error(event) else 1 for event in traces.events]
    kind_of = np.array(kinds, dtype=np.int64)[traces.event_event] if kinds else np.zeros(0, dtype=np.int64)
    counts = traces.event_count.astype(np.float64)
    steps = np.bincount(traces.event_visit, counts * (kind_of == 0), minlength=len(traces.visit_entry))
    lines = np.bincount(traces.event_visit, counts * (kind_of == 1), minlength=len(traces.visit_entry))
    return steps.astype(np.float64), lines.astype(np.float64)


def _keep(found: dict[str, Finding], finding: Finding) -> None:
    if finding.id not in found or finding.strength > found[finding.id].strength:
        found[finding.id] = finding


def _finding(change: EventChange, evidence: Evidence, share: float) -> Finding:
    place, event, pattern = change.group.place, change.event, change.pattern
    match event.kind:
        case EventKind.LOG:
            what = f'"{pattern.template}"' if pattern is not None else f"line {event.name}"
        case EventKind.CALL:
            what = f"call of {event.name}"
        case EventKind.OPERATION:
            what = event.name
    source = NO_SOURCE if evidence.traces is None else evidence.traces.source
    if pattern is not None:
        source = pattern.source
    went = "began" if change.deviations > 0 else "is left out"
    return Finding(
        id=f"{event.kind.lower()}/{place.service}/{place.operation}/{event.name}",
        kind=CorrelationKind.LOG if event.kind is EventKind.LOG else CorrelationKind.TRACE,
        service=place.service,
        cause=RootCauseKind.ERRORS,
        name=f"{event.kind}_{'NEW' if change.deviations > 0 else 'MISSING'}",
        summary=f"In {place.operation} of {place.service}, {what} {went}: {change.before:.2f} a visit before,"
        f" {change.after:.2f} after",
        strength=share * visit_strength(change.deviations, change.lasts),
        severity=abs(change.deviations),
        onset=change.onset,
        lag_seconds=change.onset - evidence.noticed_at,
        source=source,
        sample={
            "operation": place.operation,
            "before": change.before,
            "after": change.after,
            "visitsBefore": change.visits_before,
            "visitsAfter": change.visits_after,
            "line": pattern.sample if pattern is not None else None,
        },
    )
