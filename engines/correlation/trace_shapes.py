"""What visits are made of, and how that changed: steps that are left out, lines that are new or missing.

A wrong return or an exception seldom shows in metrics. It shows in what a service does while it handles a request:
steps that came before come no more, a line about an error comes instead. So what happens is counted per visit, which
does not depend on how many requests there are, nor on which callers gave up before they called.
"""

import numpy as np

from domain.correlation import CorrelationKind, RootCauseKind
from engines.correlation.event_changes import EventChange, event_changes
from engines.correlation.evidence import EventKind, Floats
from engines.correlation.findings import Finding
from engines.correlation.missing_lines import missing_lines
from engines.correlation.sequences import broken_sequences
from engines.correlation.visits import Visits, visit_strength


def change_findings(visits: Visits) -> list[Finding]:
    """New lines about errors, steps that are left out, and lines that are missing though the same was called.

    What is replaced by something else of its kind is not left out: it was another request, or the other branch.
    """
    found: dict[str, Finding] = {}
    for change in event_changes(visits, visits.groups):
        if change.is_error and change.deviations > 0:
            _keep(found, _finding(visits, change, 1.0))
    steps, lines = _totals(visits)
    for change in event_changes(visits, visits.callers):
        if change.event.kind is not EventKind.LOG and change.is_lost:
            _keep(found, _finding(visits, change, _net_loss(visits, change, steps)))
    for change in (*missing_lines(visits, lines), *broken_sequences(visits)):
        _keep(found, _finding(visits, change, change.net_loss * change.completeness))
    return [found[id] for id in sorted(found) if found[id].strength > 0]


def _net_loss(visits: Visits, change: EventChange, totals: Floats) -> float:
    """How much of what became less frequent was not replaced by something else, 0 to 1."""
    is_after = visits.traces.visit_start[change.group.visits] >= change.split
    of = totals[change.group.visits]
    lost = float(of[~is_after].mean() - of[is_after].mean())
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


def _finding(visits: Visits, change: EventChange, share: float) -> Finding:
    place, event, pattern = change.group.place, change.event, change.pattern
    onset = visits.onset(change.group, change.split)
    match event.kind:
        case EventKind.LOG:
            what = f'"{pattern.template}"' if pattern is not None else f"line {event.name}"
        case EventKind.CALL:
            what = f"call of {event.name}"
        case EventKind.OPERATION:
            what = event.name
    source = visits.traces.source if pattern is None else pattern.source
    went = "began" if change.deviations > 0 else "is left out"
    per = "a visit"
    if change.follows is not None:
        went, per = f'no longer follows "{change.follows.template}"', "for each of those"
    return Finding(
        id=f"{event.kind.lower()}/{place.service}/{place.operation}/{event.name}",
        kind=CorrelationKind.LOG if event.kind is EventKind.LOG else CorrelationKind.TRACE,
        service=place.service,
        cause=RootCauseKind.ERRORS,
        name=f"{event.kind}_{'NEW' if change.deviations > 0 else 'MISSING'}",
        summary=f"In {place.operation} of {place.service}, {what} {went}: {change.before:.2f} {per} before,"
        f" {change.after:.2f} after",
        strength=share * visit_strength(change.deviations, change.lasts, change.ordinary),
        severity=abs(change.deviations),
        onset=onset,
        lag_seconds=onset - visits.evidence.noticed_at,
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
