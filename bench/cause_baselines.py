"""Three simple ways to rank services, for comparison: what an engine has to be better than."""

import numpy as np

from engines.correlation.evidence import Evidence, Floats, Series, Signal
from engines.correlation.metric_anomalies import anomalies
from engines.correlation.propagation import graph_of

WATCHED = (Signal.LATENCY_MEAN, Signal.LATENCY_P95, Signal.LATENCY_P99, Signal.ERROR_RATIO, Signal.CPU)


def by_largest_deviation(evidence: Evidence) -> list[str]:
    """The services by the largest robust z-score of any of their metrics since the lead-up began."""
    scores: dict[str, float] = {}
    for series in evidence.series:
        if series.signal in WATCHED:
            scores[series.service] = max(scores.get(series.service, 0.0), _largest_z(series, evidence))
    return _ranked(scores)


def by_correlation(evidence: Evidence) -> list[str]:
    """The anomalous services by how closely any of their metrics follows one of the alerting service.

    After Hardt et al., "The PetShop Dataset" (2024, arXiv 2311.04806): correlation with the target among anomalous
    nodes. Pearson's coefficient over the last day, or what there is of it.
    """
    alerting = evidence.services[0]
    anomalous = {anomaly.series.service for anomaly in anomalies(evidence)}
    targets = [series for series in evidence.series if series.service == alerting and series.signal in WATCHED]
    scores = {
        service: max(
            (
                abs(_correlation(series, target, evidence))
                for series in evidence.series
                for target in targets
                if series.service == service and series.signal in WATCHED and series is not target
            ),
            default=0.0,
        )
        for service in anomalous - {alerting}
    }
    return [*_ranked(scores), alerting]


def by_topology(evidence: Evidence) -> list[str]:
    """From the alerting service down to anomalous callees, as long as there are any: the deepest of them first."""
    anomalous = {anomaly.series.service for anomaly in anomalies(evidence)}
    graph = graph_of(evidence)
    depths = {evidence.services[0]: 0}
    border = [evidence.services[0]]
    while border:
        service = border.pop(0)
        for callee in sorted(graph.callees.get(service, ())):
            if callee in anomalous and callee not in depths:
                depths[callee] = depths[service] + 1
                border.append(callee)
    return _ranked({service: float(depth) for service, depth in depths.items()})


BASELINES = {
    "largest z-score": by_largest_deviation,
    "correlation with the alert": by_correlation,
    "walk down the topology": by_topology,
}


def _largest_z(series: Series, evidence: Evidence) -> float:
    values, times = series.values, series.times
    boundary = evidence.noticed_at - evidence.lead_seconds
    before, after = values[(times < boundary) & np.isfinite(values)], values[(times >= boundary) & np.isfinite(values)]
    if not len(before) or not len(after):
        return 0.0
    centre = float(np.median(before))
    spread = float(np.median(np.abs(before - centre))) * 1.4826
    return float(np.abs(after - centre).max()) / (spread + 1e-6)


def _correlation(series: Series, target: Series, evidence: Evidence) -> float:
    theirs = _by_minute(series, evidence)
    ours = _by_minute(target, evidence)
    common = sorted(theirs.keys() & ours.keys())
    if len(common) < 4:
        return 0.0
    x: Floats = np.array([theirs[minute] for minute in common])
    y: Floats = np.array([ours[minute] for minute in common])
    if x.std() < 1e-12 or y.std() < 1e-12:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


def _by_minute(series: Series, evidence: Evidence) -> dict[int, float]:
    since = evidence.noticed_at - 86_400
    return {
        int(time // 60): float(value)
        for time, value in zip(series.times, series.values, strict=True)
        if time >= since and np.isfinite(value)
    }


def _ranked(scores: dict[str, float]) -> list[str]:
    return sorted(scores, key=lambda service: (-scores[service], service))
