"""Services that nothing is measured of any more, though others are."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import numpy as np

from domain.correlation import CorrelationKind, RootCauseKind
from engines.correlation.evidence import Evidence, Floats, Series
from engines.correlation.findings import Finding
from engines.correlation.metric_anomalies import LEAST_POINTS

LEAST_STEPS: Final = 3
LEAST_SECONDS: Final = 60.0
REGULAR: Final = 0.9
"""A series that had nine of ten values is one that had to go on."""
ABSENCE_STRENGTH: Final = 0.7


def absence_findings(evidence: Evidence) -> list[Finding]:
    """The services all of whose regular series ended around the time of the incident, while those of others went on."""
    by_service: dict[str, list[tuple[Series, Floats]]] = defaultdict(list)
    for series in evidence.series:
        times = series.times[np.isfinite(series.values)]
        if len(times) >= LEAST_POINTS and _is_regular(series, times):
            by_service[series.service].append((series, times))
    ends = {service: max(float(times[-1]) for _, times in found) for service, found in by_service.items()}
    last = max((end for end in ends.values() if end <= evidence.end), default=0.0)
    return [
        _finding(service, ends[service], by_service[service][0][0], evidence)
        for service in sorted(ends)
        if _is_absent(ends[service], last, _step(times for _, times in by_service[service]), evidence)
    ]


def _is_regular(series: Series, times: Floats) -> bool:
    within = (series.times >= times[0]) & (series.times <= times[-1])
    return len(times) >= REGULAR * int(within.sum())


def _step(found: Iterable[Floats]) -> float:
    return max(float(np.median(np.diff(times))) for times in found)


def _is_absent(end: float, last: float, step: float, evidence: Evidence) -> bool:
    since = evidence.noticed_at - 2 * evidence.lead_seconds
    return since <= end <= evidence.noticed_at and last - end >= max(LEAST_SECONDS, LEAST_STEPS * step)


def _finding(service: str, end: float, series: Series, evidence: Evidence) -> Finding:
    return Finding(
        id=f"absence/{service}",
        kind=CorrelationKind.METRIC,
        service=service,
        cause=RootCauseKind.ERRORS,
        name="ABSENT",
        summary=f"Nothing of {service} is measured any more, though others are",
        strength=ABSENCE_STRENGTH,
        onset=end,
        lag_seconds=end - evidence.noticed_at,
        source=series.source,
        sample={"lastMeasuredAt": end, "signal": series.signal},
    )
