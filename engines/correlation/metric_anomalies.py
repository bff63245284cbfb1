"""Series that left their normal around the time of the incident."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from domain.correlation import CorrelationKind, RootCauseKind
from domain.json_values import JSON
from engines.correlation.evidence import Direction, Evidence, Floats, Series, Signal
from engines.correlation.findings import Finding
from engines.correlation.propagation import Graph
from engines.correlation.statistics import ORDINARY, centre_and_noise, strength

DAY_SECONDS: Final = 86_400
SEASON_SECONDS: Final = 7_200
"""Two hours around the same time of day are the same season."""
RECENT_SECONDS: Final = 1_800
NEARBY_SECONDS: Final = 60
LEAST_POINTS: Final = 5
SAMPLE_POINTS: Final = 60
LEAST_ERRORS: Final = 0.01
LEAST_SHARE: Final = 0.25
"""What could account for next to nothing keeps a quarter of its strength: rates are rough."""

LEAST_NOISE: Final = {
    Signal.ERROR_RATIO: 0.002,
    Signal.REQUEST_RATE: 0.1,
    Signal.LATENCY_MEAN: 0.001,
    Signal.LATENCY_P50: 0.001,
    Signal.LATENCY_P95: 0.002,
    Signal.LATENCY_P99: 0.005,
    Signal.SATURATION: 0.02,
    Signal.CPU: 0.02,
    Signal.MEMORY: 0.02,
    Signal.UP: 0.1,
}
"""What a signal may do at any time: an error in 500 requests, a request in ten seconds, a fiftieth of a core."""


KNOWN_NORMAL: Final = {Signal.ERROR_RATIO: 0.0, Signal.UP: 1.0}
"""What is normal for any service, whose past nobody knows."""
LONG_HISTORY: Final = 10
"""With fewer values before the fault than this, what is normal is not known well, and an anomaly convinces less."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A series that left its normal: by how many deviations, from when, and by how much in its own unit.

    `support` is how well its normal is known, 0 to 1.
    """

    series: Series
    deviations: float
    onset: float
    normal: float
    level: float
    support: float = 1.0

    @property
    def change(self) -> float:
        """How much more it is than normal."""
        return self.level - self.normal


def metric_findings(evidence: Evidence, graph: Graph) -> list[Finding]:
    """The anomalies as evidence, each as strong as it is unusual and as it matters to the incident."""
    found = anomalies(evidence)
    shares = _shares(found, evidence, graph)
    return [_finding(anomaly, shares[index], evidence) for index, anomaly in enumerate(found)]


def anomalies(evidence: Evidence) -> list[Anomaly]:
    """All series that did, in the order of their service and signal."""
    found = [anomaly for series in evidence.series if (anomaly := anomaly_of(series, evidence)) is not None]
    return sorted(found, key=lambda anomaly: (anomaly.series.service, anomaly.series.signal))


def anomaly_of(series: Series, evidence: Evidence) -> Anomaly | None:
    """Whether a series left its normal after the lead-up began, and when.

    Normal is the same time of other days where there are any, and what it has been like just before: what was there
    already when it began is no symptom of it. Two values have to be beyond the ordinary where there are three or more.
    Of a short history, the first values there are count as normal.
    """
    known = np.isfinite(series.values)
    times, values = series.times[known], series.values[known]
    boundary = evidence.noticed_at - evidence.lead_seconds
    is_known = series.signal in KNOWN_NORMAL and int((times < boundary).sum()) < LEAST_POINTS
    if not is_known:
        boundary = _boundary(times, evidence)
    is_before, is_after = times < boundary, (times >= boundary) & (times <= evidence.end)
    normal = _season(times[is_before], values[is_before], evidence.noticed_at)
    if is_known:
        normal = np.full(LEAST_POINTS, KNOWN_NORMAL[series.signal])
    support = min(1.0, len(normal) / LONG_HISTORY)
    if len(normal) < LEAST_POINTS or not is_after.any():
        return None
    recent = values[is_before & (times >= boundary - RECENT_SECONDS)]
    centre, noise = centre_and_noise(normal, LEAST_NOISE.get(series.signal, 1e-9))
    now_centre = float(np.median(recent)) if len(recent) else centre
    deviations = _deviations(values[is_after], centre, now_centre, noise, series.signal.direction)
    beyond = np.sort(np.abs(deviations))[::-1]
    peak = float(beyond[1] if len(beyond) >= 3 else beyond[0])
    if peak <= ORDINARY:
        return None
    near = np.abs(times[is_after] - evidence.noticed_at) <= _nearby(times)
    if near.any() and np.abs(deviations[near]).max() <= ORDINARY:
        return None
    first = int(np.flatnonzero(np.abs(deviations) > max(ORDINARY, peak / 4))[0])
    after = values[is_after]
    level = float(np.median(after[np.abs(deviations) > max(ORDINARY, peak / 2)]))
    nearest = centre if abs(level - centre) < abs(level - now_centre) else now_centre
    return Anomaly(series, peak, float(times[is_after][first]), nearest, level, support)


def _boundary(times: Floats, evidence: Evidence) -> float:
    """Until when values are taken for normal: the lead-up, or later where there would be too few."""
    boundary = evidence.noticed_at - evidence.lead_seconds
    if len(times) <= LEAST_POINTS or times[LEAST_POINTS - 1] < boundary or times[LEAST_POINTS] > evidence.noticed_at:
        return boundary
    return float(times[LEAST_POINTS])


def _nearby(times: Floats) -> float:
    """How near to the time of the incident a point has to be to speak of it: a step or two, a minute at least."""
    step = float(np.median(np.diff(times[-10:]))) if len(times) > 1 else 0.0
    return max(NEARBY_SECONDS, 1.5 * step)


def _season(times: Floats, values: Floats, at: float) -> Floats:
    """The values at the same time of other days, if they are known of at least one; else all of them."""
    if not len(times) or times[-1] - times[0] < DAY_SECONDS:
        return values
    distance = np.abs((times - at + DAY_SECONDS / 2) % DAY_SECONDS - DAY_SECONDS / 2)
    alike = values[distance <= SEASON_SECONDS / 2]
    return alike if len(alike) >= LEAST_POINTS else values


def _deviations(values: Floats, centre: float, recent: float, noise: float, direction: Direction) -> Floats:
    """How far values are from both what is normal and what was so just before; 0 between the two."""
    low, high = min(centre, recent), max(centre, recent)
    up, down = np.maximum(0.0, values - high), np.maximum(0.0, low - values)
    if direction is Direction.UP:
        down = np.zeros_like(down)
    if direction is Direction.DOWN:
        up = np.zeros_like(up)
    return (up - down) / noise


def _shares(found: list[Anomaly], evidence: Evidence, graph: Graph) -> list[float]:
    """How much of what is noticed each anomaly could account for, 0 to 1.

    What fails or is slow, times how often it is asked: a callee whose errors in a second are a tenth of those of the
    service that the incident is about cannot be the cause of all of them. Where that service shows nothing, the
    largest amount on the way down counts instead. Errors in less than a hundredth of its requests hardly matter.
    """
    alerting = evidence.services[0]
    rates = _rates(evidence)
    amounts = _amounts(found, evidence, rates)
    below = graph.reached_from(alerting)
    whole: dict[RootCauseKind, float] = {}
    for (service, kind), amount in amounts.items():
        if service in below:
            whole[kind] = max(amount, whole.get(kind, 0.0))
    for kind in list(whole):
        whole[kind] = amounts.get((alerting, kind), 0.0) or whole[kind]
    if RootCauseKind.ERRORS in whole:
        whole[RootCauseKind.ERRORS] = max(whole[RootCauseKind.ERRORS], LEAST_ERRORS * rates.get(alerting, 0.0))
    return [_share(anomaly, amounts, whole) for anomaly in found]


def _share(
    anomaly: Anomaly, amounts: dict[tuple[str, RootCauseKind], float], whole: dict[RootCauseKind, float]
) -> float:
    kind = anomaly.series.signal.kind
    if anomaly.series.signal is Signal.UP:
        return 1.0
    amount = amounts.get((anomaly.series.service, kind))
    of = whole.get(kind, 0.0)
    return 1.0 if amount is None or of <= 0 else min(1.0, amount / of)


def _amounts(
    found: list[Anomaly], evidence: Evidence, rates: dict[str, float]
) -> dict[tuple[str, RootCauseKind], float]:
    """Errors in a second, and seconds of waiting in a second, of each service that has anomalies of these kinds.

    Waiting is told by the mean latency where it is known, because quantiles do not add up; else by the largest.
    """
    with_mean = {series.service for series in evidence.series if series.signal is Signal.LATENCY_MEAN}
    amounts: dict[tuple[str, RootCauseKind], float] = {}
    for anomaly in found:
        service, signal = anomaly.series.service, anomaly.series.signal
        if signal.kind in (RootCauseKind.ERRORS, RootCauseKind.LATENCY) and signal is not Signal.UP:
            counts = signal.kind is RootCauseKind.ERRORS or service not in with_mean or signal is Signal.LATENCY_MEAN
            amount = max(0.0, anomaly.change) * rates.get(service, 1.0) if counts else 0.0
            amounts[service, signal.kind] = max(amount, amounts.get((service, signal.kind), 0.0))
    return amounts


def _rates(evidence: Evidence) -> dict[str, float]:
    """Requests a second of each service since the lead-up began."""
    rates = {}
    for series in evidence.series:
        if series.signal is Signal.REQUEST_RATE:
            since = (series.times >= evidence.noticed_at - evidence.lead_seconds) & np.isfinite(series.values)
            rates[series.service] = float(np.median(series.values[since])) if since.any() else 0.0
    return rates


def _finding(anomaly: Anomaly, share: float, evidence: Evidence) -> Finding:
    """The anomaly as evidence, with the part of the series around the incident."""
    series = anomaly.series
    near = np.flatnonzero((series.times >= evidence.noticed_at - RECENT_SECONDS) & (series.times <= evidence.end))
    sample: list[JSON] = [
        [float(series.times[i]), float(series.values[i]) if np.isfinite(series.values[i]) else None]
        for i in near[-SAMPLE_POINTS:]
    ]
    went = "rose" if anomaly.change > 0 else "fell"
    relevance = (LEAST_SHARE + (1 - LEAST_SHARE) * share) * anomaly.support
    return Finding(
        id=f"metric/{series.service}/{series.signal}",
        kind=CorrelationKind.METRIC,
        service=series.service,
        cause=series.signal.kind,
        name=str(series.signal),
        summary=f"{series.signal} of {series.service} {went} from {anomaly.normal:.4g} to {anomaly.level:.4g}",
        strength=strength(anomaly.deviations) * relevance,
        severity=anomaly.deviations,
        onset=anomaly.onset,
        lag_seconds=anomaly.onset - evidence.noticed_at,
        source=series.source,
        sample={"normal": anomaly.normal, "level": anomaly.level, "share": share, "points": sample},
    )
