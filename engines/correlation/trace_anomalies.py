"""Visits that changed: work that is left out, lines that are new or missing, failures, time that is lost.

A wrong return or an exception seldom shows in metrics. It shows in what a service does while it handles a request:
steps that came before come no more, a line about an error comes instead. So what happens is counted per visit, which
does not depend on how many requests there are, nor on which callers gave up before they called.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from domain.correlation import CorrelationKind, RootCauseKind
from domain.telemetry import LogLevel
from engines.correlation.evidence import (
    NO_SOURCE,
    Event,
    EventKind,
    Evidence,
    Floats,
    Integers,
    LogPattern,
    TraceSet,
)
from engines.correlation.findings import Finding
from engines.correlation.statistics import count_change, rank_change, share_change, strength

Booleans: TypeAlias = NDArray[np.bool_]

SPLIT_SECONDS: Final = 30.0
"""The onset is looked for at every half minute."""
LEAST_VISITS: Final = 3
LAST_SECONDS: Final = 60.0
"""What is not there any more in the minute before somebody noticed was something else."""
LEAST_LOSS: Final = 0.25
"""A step is left out when at least a quarter of it is."""
VISITS_ORDINARY: Final = 2.5
"""Counts of few visits need less to be convincing than continuous series: most of them do not vary at all."""
RELEVANT_SHARE: Final = 0.1
"""A place where requests lose a tenth of their time matters in full; where they lose less, in proportion."""
LEAST_LASTING: Final = 0.3
LEAST_SLOWDOWN: Final = 1.5
LEAST_SECONDS: Final = 0.002
ERROR_LEVELS: Final = (LogLevel.ERROR, LogLevel.FATAL)


@dataclass(frozen=True, slots=True)
class Place:
    """Where requests come into a service. Whoever calls, the same operation should do the same."""

    service: str
    operation: str


@dataclass(frozen=True, slots=True)
class EventChange:
    """An event that became more or less frequent in the visits of a place: per visit, before and after `onset`.

    `lasts` is how much of the change is still there in the minute before somebody noticed; `sampling` how many more
    lines are kept after than before.
    """

    group: "Group"
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

    @property
    def is_lost(self) -> bool:
        """Whether it happens less than before, and not just a little."""
        return self.deviations < 0 and self.after < (1 - LEAST_LOSS) * self.before

    @property
    def is_error(self) -> bool:
        """Whether it is a line about an error."""
        return self.pattern is not None and self.pattern.level in ERROR_LEVELS


@dataclass(frozen=True, slots=True)
class Group:
    """Visits that should be alike: of one place and, for lines, with calls to the same services."""

    place: Place
    visits: Integers


class Visits:
    """The visits of a trace set, and what happened in them."""

    def __init__(self, evidence: Evidence, traces: TraceSet) -> None:
        self.evidence = evidence
        self.traces = traces
        self.patterns = {(pattern.service, pattern.id): pattern for pattern in evidence.patterns}
        boundary = evidence.noticed_at - evidence.lead_seconds
        self.splits = np.arange(boundary, max(evidence.noticed_at, boundary) + 1.0, SPLIT_SECONDS)
        places = sorted({(entry.service, entry.operation) for entry in traces.entries})
        position = {place: index for index, place in enumerate(places)}
        of_entry = np.array([position[entry.service, entry.operation] for entry in traces.entries], dtype=np.int64)
        self.place_of = of_entry[traces.visit_entry] if len(traces.entries) else np.zeros(0, dtype=np.int64)
        self.places = [Place(*place) for place in places]
        self.groups = [Group(place, np.flatnonzero(self.place_of == i)) for i, place in enumerate(self.places)]
        self.callers = self._by_caller()
        self.paths = self._paths()

    def _by_caller(self) -> list[Group]:
        """The visits of each place from each caller."""
        entries = self.traces.entries
        return [
            Group(Place(entry.service, entry.operation), np.flatnonzero(self.traces.visit_entry == i))
            for i, entry in enumerate(entries)
        ]

    def _paths(self) -> list[Group]:
        """The visits of each place by the set of services that they call."""
        called: dict[int, set[int]] = defaultdict(set)
        for visit, event in zip(self.traces.event_visit.tolist(), self.traces.event_event.tolist(), strict=True):
            if self.traces.events[event].kind is EventKind.CALL:
                called[visit].add(event)
        by_path: dict[tuple[int, tuple[int, ...]], list[int]] = defaultdict(list)
        for visit, place in enumerate(self.place_of.tolist()):
            by_path[place, tuple(sorted(called[visit]))].append(visit)
        return [Group(self.places[key[0]], np.array(by_path[key], dtype=np.int64)) for key in sorted(by_path)]

    def counts(self, groups: list[Group]) -> list[tuple[Group, Event, Floats]]:
        """For each group and event that happens in it: how often it did in each of the group's visits."""
        traces = self.traces
        group_of = np.full(len(traces.visit_entry), -1, dtype=np.int64)
        place = np.zeros(len(traces.visit_entry), dtype=np.int64)
        for index, group in enumerate(groups):
            group_of[group.visits] = index
            place[group.visits] = np.arange(len(group.visits))
        keys = group_of[traces.event_visit] * max(1, len(traces.events)) + traces.event_event
        order = np.argsort(keys, kind="stable")
        unique, starts = np.unique(keys[order], return_index=True)
        counted = []
        for key, rows in zip(unique.tolist(), np.split(order, starts[1:]), strict=False):
            index, event = divmod(key, max(1, len(traces.events)))
            happened = np.zeros(len(groups[index].visits))
            np.add.at(happened, place[traces.event_visit[rows]], traces.event_count[rows])
            counted.append((groups[index], traces.events[event], happened))
        return counted


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


def trace_findings(evidence: Evidence) -> list[Finding]:
    """Everything that changed in visits; nothing where there are no traces."""
    if evidence.traces is None or not len(evidence.traces.visit_entry):
        return []
    visits = Visits(evidence, evidence.traces)
    return [*change_findings(visits), *time_findings(visits)]


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
    for change in event_changes(visits, visits.paths):
        if change.event.kind is EventKind.LOG and not change.is_error and change.is_lost:
            _keep(found, _finding(change, visits.evidence, _net_loss(visits, change, lines)))
    return [found[id] for id in sorted(found) if found[id].strength > 0]


def _net_loss(visits: Visits, change: EventChange, totals: Floats) -> float:
    """How much of what became less frequent was not replaced by something else, 0 to 1."""
    is_after = visits.traces.visit_start[change.group.visits] >= change.onset
    of = totals[change.group.visits]
    lost = float(of[~is_after].mean() - of[is_after].mean() / change.sampling)
    return min(1.0, max(0.0, lost / (change.before - change.after)))


def _totals(visits: Visits) -> tuple[Floats, Floats]:
    """Of each visit: its operations and calls, and its lines that are not about errors."""
    traces = visits.traces
    kinds = []
    for event in traces.events:
        pattern = visits.patterns.get((event.service, event.name))
        is_error = pattern is not None and pattern.level in ERROR_LEVELS
        kinds.append(0 if event.kind is not EventKind.LOG else 2 if is_error else 1)
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
        strength=share * _visit_strength(change.deviations, change.lasts),
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


def time_findings(visits: Visits) -> list[Finding]:
    """Entries whose own time, or the time that is lost on the way to them, grew; and those that began to fail."""
    traces = visits.traces
    found = []
    for group in visits.groups:
        own = group.visits
        for name, seconds in (("SELF_TIME", traces.visit_self_seconds), ("WAITING", traces.visit_waiting_seconds)):
            found += _slower(visits, group, name, seconds[own])
        found += _failing(visits, group, traces.visit_is_origin[own])
    return found


def _slower(visits: Visits, group: Group, name: str, seconds: Floats) -> list[Finding]:
    starts = visits.traces.visit_start[group.visits]
    best: tuple[float, float, float, float] | None = None
    for split in visits.splits:
        before, after = seconds[starts < split], seconds[starts >= split]
        if len(before) < LEAST_VISITS or len(after) < LEAST_VISITS:
            continue
        was, now = float(np.median(before)), float(np.median(after))
        deviations = rank_change(before, after)
        if now > LEAST_SLOWDOWN * was and now - was > LEAST_SECONDS and (best is None or deviations > best[0]):
            best = deviations, float(split), was, now
    if best is None or best[0] <= VISITS_ORDINARY:
        return []
    deviations, onset, was, now = best
    share = _share_of_time(visits, group, now - was, onset)
    service, operation = group.place.service, group.place.operation
    what = "its own time" if name == "SELF_TIME" else "the time lost on the way to it"
    return [
        _visit_finding(
            visits,
            group,
            name,
            RootCauseKind.LATENCY,
            deviations,
            onset,
            f"{operation} of {service}: {what} rose from {was * 1000:.3g} ms to {now * 1000:.3g} ms",
            was,
            now,
            share,
        )
    ]


def _share_of_time(visits: Visits, group: Group, more_seconds: float, onset: float) -> float:
    """How much of what requests take from their beginning to their end is lost here, against RELEVANT_SHARE of it."""
    traces = visits.traces
    lost = more_seconds * float((traces.visit_start[group.visits] >= onset).sum())
    taken = float(traces.durations[traces.starts >= onset].sum())
    return min(1.0, lost / (RELEVANT_SHARE * taken)) if taken > 0 else 0.0


def _failing(visits: Visits, group: Group, is_origin: Integers) -> list[Finding]:
    starts = visits.traces.visit_start[group.visits]
    best: tuple[float, float, float, float] | None = None
    for split in visits.splits:
        before, after = is_origin[starts < split], is_origin[starts >= split]
        if len(before) < LEAST_VISITS or len(after) < LEAST_VISITS:
            continue
        deviations = count_change(float(before.sum()), float(after.sum()), len(before), len(after), 1.0)
        if best is None or deviations > best[0]:
            best = deviations, float(split), float(before.mean()), float(after.mean())
    if best is None or best[0] <= VISITS_ORDINARY:
        return []
    deviations, onset, was, now = best
    service, operation = group.place.service, group.place.operation
    return [
        _visit_finding(
            visits,
            group,
            "ERROR_ORIGIN",
            RootCauseKind.ERRORS,
            deviations,
            onset,
            f"Failures begin in {operation} of {service}: {was:.1%} of its visits before, {now:.1%} after",
            was,
            now,
        )
    ]


def _visit_finding(
    visits: Visits,
    group: Group,
    name: str,
    cause: RootCauseKind,
    deviations: float,
    onset: float,
    summary: str,
    before: float,
    after: float,
    share: float = 1.0,
) -> Finding:
    where = group.place
    return Finding(
        id=f"{name.lower()}/{where.service}/{where.operation}",
        kind=CorrelationKind.TRACE,
        service=where.service,
        cause=cause,
        name=name,
        summary=summary,
        strength=share * _visit_strength(deviations, 1.0),
        severity=deviations,
        onset=onset,
        lag_seconds=onset - visits.evidence.noticed_at,
        source=visits.traces.source,
        sample={"operation": where.operation, "before": before, "after": after},
    )


def _visit_strength(deviations: float, lasts: float) -> float:
    """What did not last until somebody noticed convinces less."""
    return strength(abs(deviations), VISITS_ORDINARY) * max(LEAST_LASTING, lasts)
