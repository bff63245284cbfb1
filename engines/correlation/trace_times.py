"""Time that is lost in visits or on the way to them, and failures that begin in them."""

from typing import Final

import numpy as np

from domain.correlation import CorrelationKind, RootCauseKind
from engines.correlation.evidence import Floats, Integers
from engines.correlation.findings import Finding
from engines.correlation.statistics import count_change, rank_change
from engines.correlation.visits import LEAST_VISITS, VISITS_ORDINARY, Group, Visits, visit_strength

RELEVANT_SHARE: Final = 0.1
"""A place where requests lose a tenth of their time matters in full; where they lose less, in proportion."""
LEAST_SLOWDOWN: Final = 1.5
LEAST_SECONDS: Final = 0.002


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
    deviations, split, was, now = best
    share = _share_of_time(visits, group, now - was, split)
    service, operation = group.place.service, group.place.operation
    what = "its own time" if name == "SELF_TIME" else "the time lost on the way to it"
    return [
        _visit_finding(
            visits,
            group,
            name,
            RootCauseKind.LATENCY,
            deviations,
            split,
            f"{operation} of {service}: {what} rose from {was * 1000:.3g} ms to {now * 1000:.3g} ms",
            was,
            now,
            share,
        )
    ]


def _share_of_time(visits: Visits, group: Group, more_seconds: float, split: float) -> float:
    """How much of what requests take from their beginning to their end is lost here, against RELEVANT_SHARE of it."""
    traces = visits.traces
    lost = more_seconds * float((traces.visit_start[group.visits] >= split).sum())
    taken = float(traces.durations[traces.starts >= split].sum())
    return min(1.0, lost / (RELEVANT_SHARE * taken)) if taken > 0 else 0.0


def _failing(visits: Visits, group: Group, is_origin: Integers) -> list[Finding]:
    starts = visits.traces.visit_start[group.visits]
    best: tuple[float, float, float, float] | None = None
    for split in visits.splits:
        before, after = is_origin[starts < split], is_origin[starts >= split]
        if len(before) < LEAST_VISITS or len(after) < LEAST_VISITS:
            continue
        deviations = float(count_change(float(before.sum()), float(after.sum()), len(before), len(after), 1.0))
        if best is None or deviations > best[0]:
            best = deviations, float(split), float(before.mean()), float(after.mean())
    if best is None or best[0] <= VISITS_ORDINARY:
        return []
    deviations, split, was, now = best
    service, operation = group.place.service, group.place.operation
    return [
        _visit_finding(
            visits,
            group,
            "ERROR_ORIGIN",
            RootCauseKind.ERRORS,
            deviations,
            split,
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
    split: float,
    summary: str,
    before: float,
    after: float,
    share: float = 1.0,
) -> Finding:
    where, onset = group.place, visits.onset(group, split)
    return Finding(
        id=f"{name.lower()}/{where.service}/{where.operation}",
        kind=CorrelationKind.TRACE,
        service=where.service,
        cause=cause,
        name=name,
        summary=summary,
        strength=share * visit_strength(deviations, 1.0),
        severity=deviations,
        onset=onset,
        lag_seconds=onset - visits.evidence.noticed_at,
        source=visits.traces.source,
        sample={"operation": where.operation, "before": before, "after": after},
    )
