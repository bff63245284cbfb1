"""PromQL for the golden signals of services, whichever of the usual metrics they export.

Each expression tries the metrics one after another (`or`), so that a service answers with the first that it has.
Series are summed before they are divided or turned into quantiles: a mean of ratios, or of quantiles, is neither.
The answer has one series for each combination of the selector's labels.
"""

import string
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from domain.telemetry import GoldenSignal
from telemetry_clients.errors import TelemetryBadQuery
from telemetry_clients.prometheus import promql
from telemetry_clients.prometheus.request_metrics import (
    CPU_SECONDS,
    MEMORY,
    REQUESTS,
    Form,
    MemoryMetric,
    RequestMetric,
)

Selector = Mapping[str, promql.LabelValues]

_QUANTILES = {
    GoldenSignal.LATENCY_P50: 0.5,
    GoldenSignal.LATENCY_P95: 0.95,
    GoldenSignal.LATENCY_P99: 0.99,
}
_SCRAPES_IN_A_WINDOW = 4
_RESERVED_LABELS = {"__name__", "le"}
# What tells the instances of a service apart, where it has several.
_INSTANCE_LABELS = ("instance", "pod", "container")


class Source(NamedTuple):
    """A metric that counts a service's requests, the form that it has, and the labels that hold a status there."""

    metric: RequestMetric
    form: Form
    status_labels: tuple[str, ...]


class Sources(NamedTuple):
    """Where the signals of a service are found, the preferred first."""

    requests: tuple[Source, ...] = ()
    cpu_seconds: tuple[str, ...] = ()
    memory: tuple[MemoryMetric, ...] = ()


USUAL_SOURCES: Final = Sources(
    # No native histograms: a Prometheus without them does not know the functions that they need.
    tuple(Source(metric, metric.forms[-1], tuple(metric.failures)) for metric in REQUESTS),
    CPU_SECONDS,
    MEMORY,
)
"""Everything that may be there, for services of which nobody knows what they have."""


def rate_window_seconds(step_seconds: float, scrape_interval_seconds: float) -> float:
    """How far each point's `rate` looks back.

    At least four scrapes: `rate` needs two samples, and must find them when a scrape fails and the window lies badly.
    At least the step and one scrape more: with less, increases between one point's window and the next are seen by
    neither, and a burst of errors can be missing from the graph.
    """
    return max(_SCRAPES_IN_A_WINDOW * scrape_interval_seconds, step_seconds + scrape_interval_seconds)


def expression(
    signal: GoldenSignal, selector: Selector, *, window_seconds: float, sources: Sources = USUAL_SOURCES
) -> str:
    """The PromQL of one signal, for the services that `selector` matches (label to value, or to several values).

    One series for each combination of the selector's labels, in `signal.unit`. The error ratio counts the statuses that
    are the server's fault; it is 0 where requests carry statuses and none failed, NaN without traffic, and absent where
    no status is exported. Saturation is that of the busiest instance, in CPU (1 being one core) or in memory (1 being
    all that it may have), whichever is higher: one starved replica hurts whatever the rest do.

    Raises TelemetryBadQuery for a selector that is empty or cannot be expressed, and where `sources` have no metric
    for the signal.
    """
    question = _Question(selector, window_seconds)
    match signal:
        case GoldenSignal.REQUEST_RATE:
            alternatives = [question.request_rate(source) for source in sources.requests]
        case GoldenSignal.ERROR_RATIO:
            alternatives = [question.error_ratio(source) for source in sources.requests if source.status_labels]
        case GoldenSignal.SATURATION:
            alternatives = question.saturation(sources)
        case _:
            histograms = [source for source in sources.requests if source.metric.is_histogram]
            alternatives = [question.quantile(_QUANTILES[signal], source) for source in histograms]
    if not alternatives:
        raise TelemetryBadQuery("Prometheus", f"No metric is known that tells the {signal.value} of the service.")
    return "\nor\n".join(alternatives)


def overridden(template: str, selector: Selector, *, window_seconds: float) -> str:
    """PromQL that somebody gave for a signal of a service, with `$selector` (matchers, without braces) and `$window`.

    Raises TelemetryBadQuery for another placeholder, or a selector that cannot be expressed.
    """
    values = {
        "selector": ",".join(promql.matchers(_checked(selector))),
        "window": promql.duration(window_seconds),
    }
    try:
        return string.Template(template).substitute(values)
    except (KeyError, ValueError) as error:
        raise TelemetryBadQuery(
            "Prometheus",
            "The PromQL that is given for a signal of the service has a $ that is neither $selector nor $window. "
            "Write $$ for a dollar sign.",
        ) from error


def _checked(selector: Selector) -> Selector:
    if not selector:
        raise TelemetryBadQuery(
            "Prometheus",
            "The service's Prometheus selector is empty and would match every service. Give it a label.",
        )
    if reserved := _RESERVED_LABELS & selector.keys():
        raise TelemetryBadQuery(
            "Prometheus", f"A service's Prometheus selector cannot use {', '.join(sorted(reserved))}. Remove it."
        )
    return selector


class _Question:
    """What is the same in every part of one expression: which series, over which window, grouped by what."""

    def __init__(self, selector: Selector, window_seconds: float) -> None:
        self._conditions = promql.matchers(_checked(selector))
        self._labels = ", ".join(sorted(selector))
        self._window = promql.duration(window_seconds)

    def request_rate(self, source: Source) -> str:
        return self._total(self._requests(source))

    def error_ratio(self, source: Source) -> str:
        """Failed of all. A series that has a status and did not fail counts as 0 failures, so that a service without
        errors has the ratio 0; a service that exports no status has no ratio, because nobody knows it."""
        failures = source.metric.failures
        failed = [
            self._requests(source, promql.matcher(label, "=~", failures[label])) for label in source.status_labels
        ]
        known = [f"0 * {self._requests(source, promql.matcher(label, '!=', ''))}" for label in source.status_labels]
        return f"{self._total(' or '.join(failed + known))} / {self.request_rate(source)}"

    def quantile(self, quantile: float, source: Source) -> str:
        metric = source.metric
        if source.form is Form.NATIVE:
            series = self._total(self._rate(metric.name, *_matchers(metric.only)))
        else:
            buckets = self._rate(f"{metric.name}_bucket", *_matchers(metric.only))
            series = f"sum by (le, {self._labels}) ({buckets})"
        scale = "" if metric.unit_seconds == 1 else f" * {metric.unit_seconds:g}"
        return f"histogram_quantile({quantile}, {series}){scale}"

    def saturation(self, sources: Sources) -> list[str]:
        """The one expression for all that the sources have. A label keeps an instance's CPU from hiding its memory."""
        used = [("cpu", self._rate(metric)) for metric in sources.cpu_seconds]
        used += [("memory", self._memory_ratio(metric)) for metric in sources.memory]
        if not used:
            return []
        parts = [f'label_replace({ratio}, "resource", "{resource}", "", "")' for resource, ratio in used]
        return [f"max by ({self._labels}) ({' or '.join(parts)})"]

    def _memory_ratio(self, metric: MemoryMetric) -> str:
        by = ", ".join(sorted({*self._labels.split(", "), *_INSTANCE_LABELS}))
        conditions = (*self._conditions, *_matchers(metric.only))
        used, limit = (promql.selector(name, *conditions) for name in (metric.used, metric.limit))
        return f"sum by ({by}) ({used}) / sum by ({by}) ({limit} > 0)"

    def _requests(self, source: Source, *conditions: str) -> str:
        metric = source.metric
        rate = self._rate(metric.counted_as(source.form), *_matchers(metric.only), *conditions)
        # Of each series by itself: Prometheus 2.42 leaves a histogram that is multiplied by 0 as it is.
        return f"histogram_count({rate})" if source.form is Form.NATIVE else rate

    def _rate(self, metric: str, *conditions: str) -> str:
        return f"rate({promql.selector(metric, *self._conditions, *conditions)}[{self._window}])"

    def _total(self, series: str) -> str:
        return f"sum by ({self._labels}) ({series})"


def _matchers(only: Mapping[str, str]) -> Iterable[str]:
    return (promql.matcher(label, "=~", values) for label, values in only.items())
