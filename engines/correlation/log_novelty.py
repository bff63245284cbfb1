"""Lines that are new, burst or vanished, by their counts alone: where they are not known to belong to visits."""

from collections import Counter, defaultdict
from typing import Final

import numpy as np

from domain.correlation import CorrelationKind, RootCauseKind
from engines.correlation.evidence import EventKind, Evidence, LogPattern
from engines.correlation.findings import Finding
from engines.correlation.statistics import ORDINARY, count_change, strength
from engines.correlation.visits import COMPLAINING_LEVELS, ERROR_LEVELS, LEAST_VISITS

LEAST_LINES: Final = 3
LEFT_OVER: Final = 0.25
"""A line has vanished when at most a quarter of it is left."""
CLUMPING: Final = 2.0
"""Lines come in twos and threes: a request says more than one thing, and retries say it again."""


def log_findings(evidence: Evidence) -> list[Finding]:
    """New and bursting lines about errors, and others that vanished, per line of their service that is not an error.

    Services whose lines are known to belong to visits are left to `trace_shapes`, which knows what to expect, if there
    are enough visits to compare.
    """
    judged = _judged_by_visits(evidence)
    by_service: dict[str, list[LogPattern]] = defaultdict(list)
    for pattern in evidence.patterns:
        if pattern.service not in judged and len(pattern.counts) == len(evidence.log_times) > 0:
            by_service[pattern.service].append(pattern)
    found = [finding for service in sorted(by_service) for finding in _findings(by_service[service], evidence)]
    return sorted(found, key=lambda finding: finding.id)


def _judged_by_visits(evidence: Evidence) -> set[str]:
    """The services with lines in visits that began before as well as after it may have begun."""
    if evidence.traces is None:
        return set()
    traces = evidence.traces
    is_line = np.array([event.kind is EventKind.LOG for event in traces.events], dtype=np.bool_)
    of_lines = np.unique(traces.event_visit[is_line[traces.event_event]]) if len(is_line) else traces.event_visit
    is_before = traces.visit_start[of_lines] < evidence.noticed_at - evidence.lead_seconds
    counts = [
        Counter(traces.entries[entry].service for entry in traces.visit_entry[side].tolist())
        for side in (of_lines[is_before], of_lines[~is_before])
    ]
    return {service for service, number in counts[0].items() if min(number, counts[1][service]) >= LEAST_VISITS}


def _findings(patterns: list[LogPattern], evidence: Evidence) -> list[Finding]:
    is_before = evidence.log_times < evidence.noticed_at - evidence.lead_seconds
    if not is_before.any() or is_before.all():
        return []
    usual = sum(pattern.counts for pattern in patterns if pattern.level not in ERROR_LEVELS)
    lines = np.asarray(usual, dtype=np.float64) + np.ones(len(evidence.log_times))
    exposure_before, exposure_after = float(lines[is_before].sum()), float(lines[~is_before].sum())
    found = []
    for pattern in patterns:
        before, after = float(pattern.counts[is_before].sum()), float(pattern.counts[~is_before].sum())
        deviations = float(count_change(before, after, exposure_before, exposure_after, CLUMPING))
        is_error = pattern.level in ERROR_LEVELS
        rate_before, rate_after = before / exposure_before, after / exposure_after
        has_burst = is_error and deviations > ORDINARY and after >= LEAST_LINES
        has_vanished = (
            pattern.level not in COMPLAINING_LEVELS and deviations < -ORDINARY and rate_after <= LEFT_OVER * rate_before
        )
        if has_burst or has_vanished:
            found.append(_finding(pattern, deviations, before, after, evidence))
    return found


def _finding(pattern: LogPattern, deviations: float, before: float, after: float, evidence: Evidence) -> Finding:
    since = evidence.log_times >= evidence.noticed_at - evidence.lead_seconds
    seen = evidence.log_times[since & (pattern.counts > 0)]
    is_new = deviations > 0
    onset = float(seen[0]) if is_new and len(seen) else None
    what = "vanished" if not is_new else "is new" if before == 0 else "bursts"
    return Finding(
        id=f"log/{pattern.service}/{pattern.id}",
        kind=CorrelationKind.LOG,
        service=pattern.service,
        cause=RootCauseKind.ERRORS,
        name="LOG_NEW" if is_new else "LOG_MISSING",
        summary=f'A line of {pattern.service} {what} ({before:.0f} before, {after:.0f} since): "{pattern.template}"',
        strength=strength(abs(deviations)),
        severity=abs(deviations),
        onset=onset,
        lag_seconds=None if onset is None else onset - evidence.noticed_at,
        source=pattern.source,
        sample={"before": before, "after": after, "line": pattern.sample, "traceId": pattern.sample_trace_id},
    )
