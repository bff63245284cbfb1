"""PromQL for the golden signals of services, whichever of the usual metrics they export.

Each expression tries the metrics one after another (`or`), so that a service answers with the first that it has.
Series are summed before they are divided or turned into quantiles: a mean of ratios, or of quantiles, is neither.
The answer has one series for each combination of the selector's labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from domain.telemetry import GoldenSignal
from telemetry_clients import promql
from telemetry_clients.errors import TelemetryBadQuery

Selector = Mapping[str, promql.LabelValues]

_QUANTILES = {
    GoldenSignal.LATENCY_P50: 0.5,
    GoldenSignal.LATENCY_P95: 0.95,
    GoldenSignal.LATENCY_P99: 0.99,
}
_SCRAPES_IN_A_WINDOW = 4
_RESERVED_LABELS = {"__name__", "le"}


@dataclass(frozen=True, kw_only=True)
class MetricNames:
    """Where the signals are found, the preferred names first.

    `status_labels` are the labels that may hold an HTTP status; `latencies` are classic histograms in seconds,
    without `_bucket`; `cpu_seconds` are counters of one process each.
    """

    requests: tuple[str, ...] = (
        "http_server_request_duration_seconds_count",
        "http_requests_total",
        "http_request_duration_seconds_count",
    )
    status_labels: tuple[str, ...] = ("http_response_status_code", "status", "code", "status_code")
    latencies: tuple[str, ...] = ("http_server_request_duration_seconds", "http_request_duration_seconds")
    cpu_seconds: tuple[str, ...] = ("process_cpu_seconds_total",)


USUAL_NAMES = MetricNames()
"""OpenTelemetry's semantic conventions for HTTP servers, then what Prometheus client libraries call the same."""


def rate_window_seconds(step_seconds: float, scrape_interval_seconds: float) -> float:
    """How far each point's `rate` looks back.

    At least four scrapes: `rate` needs two samples, and must find them when a scrape fails and the window lies badly.
    At least the step and one scrape more: with less, increases between one point's window and the next are seen by
    neither, and a burst of errors can be missing from the graph.
    """
    return max(_SCRAPES_IN_A_WINDOW * scrape_interval_seconds, step_seconds + scrape_interval_seconds)


def expression(
    signal: GoldenSignal, selector: Selector, *, window_seconds: float, names: MetricNames = USUAL_NAMES
) -> str:
    """The PromQL of one signal, for the services that `selector` matches (label to value, or to several values).

    One series for each combination of the selector's labels, in `signal.unit`. The error ratio counts statuses 5xx;
    it is 0 where requests carry statuses and none failed, NaN without traffic, and absent where no status is exported.
    Saturation is the CPU use of the busiest process, 1 being one core: one starved replica hurts whatever the rest do.
    Raises TelemetryBadQuery for a selector that is empty or cannot be expressed.
    """
    question = _Question(selector, window_seconds)
    match signal:
        case GoldenSignal.REQUEST_RATE:
            alternatives = [question.total(question.rate(metric)) for metric in names.requests]
        case GoldenSignal.ERROR_RATIO:
            alternatives = [question.error_ratio(metric, names.status_labels) for metric in names.requests]
        case GoldenSignal.SATURATION:
            alternatives = [question.highest(question.rate(metric)) for metric in names.cpu_seconds]
        case _:
            alternatives = [question.quantile(_QUANTILES[signal], metric) for metric in names.latencies]
    return "\nor\n".join(alternatives)


class _Question:
    """What is the same in every part of one expression: which series, over which window, grouped by what."""

    def __init__(self, selector: Selector, window_seconds: float) -> None:
        if not selector:
            raise TelemetryBadQuery(
                "Prometheus",
                "The service's Prometheus selector is empty and would match every service. Give it a label.",
            )
        if reserved := _RESERVED_LABELS & selector.keys():
            raise TelemetryBadQuery(
                "Prometheus", f"A service's Prometheus selector cannot use {', '.join(sorted(reserved))}. Remove it."
            )
        self._conditions = promql.matchers(selector)
        self._labels = ", ".join(sorted(selector))
        self._window = promql.duration(window_seconds)

    def rate(self, metric: str, *conditions: str) -> str:
        return f"rate({promql.selector(metric, *self._conditions, *conditions)}[{self._window}])"

    def total(self, series: str) -> str:
        return f"sum by ({self._labels}) ({series})"

    def highest(self, series: str) -> str:
        return f"max by ({self._labels}) ({series})"

    def quantile(self, quantile: float, histogram: str) -> str:
        return f"histogram_quantile({quantile}, sum by (le, {self._labels}) ({self.rate(histogram + '_bucket')}))"

    def error_ratio(self, metric: str, status_labels: tuple[str, ...]) -> str:
        """Failed of all. A series that has a status and did not fail counts as 0 failures, so that a service without
        errors has the ratio 0; a service that exports no status has no ratio, because nobody knows it."""
        failed = [self.rate(metric, promql.matcher(label, "=~", "5..")) for label in status_labels]
        known = [f"0 * {self.rate(metric, promql.matcher(label, '!=', ''))}" for label in status_labels]
        return f"{self.total(' or '.join(failed + known))} / {self.total(self.rate(metric))}"
