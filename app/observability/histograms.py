"""Histograms of durations that are cheap to add to.

prometheus_client's own take a lock and a walk through the buckets on each observation. All of ours are made on the
event loop's thread, so that an addition to a list is enough.
"""

import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from domain.tracing import SpanContext

Labels = tuple[str, ...]

# The boundaries that OpenTelemetry's conventions advise for http.server.request.duration.
REQUEST_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
# And for db.client.operation.duration.
STATEMENT_BOUNDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
# For what takes as long as others do.
WORK_BOUNDS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Series:
    """One combination of labels: how many durations fell into each bucket, and the latest trace of each."""

    __slots__ = ("bounds", "counts", "latest", "sum_seconds")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum_seconds = 0.0
        self.latest: dict[int, tuple[SpanContext, float, float]] = {}

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum_seconds += seconds

    def exemplify(self, seconds: float, span: SpanContext) -> None:
        """Remember where one was seen that was counted."""
        self.latest[bisect_left(self.bounds, seconds)] = span, seconds, time.time()

    def exemplar(self, bucket: int) -> Exemplar | None:
        """Where the latest one of a bucket was seen."""
        if (latest := self.latest.get(bucket)) is None:
            return None
        span, seconds, at = latest
        return Exemplar({"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}, seconds, at)


class Durations(Collector):
    """A histogram in seconds. The caller keeps the labels' values few."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        bounds: Sequence[float],
        *,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._bounds = bounds
        self._series: dict[Labels, Series] = {}
        if registry is not None:
            registry.register(self)

    def labels(self, *values: str) -> Series:
        """The series of these values, which shows from now on."""
        series = self._series.get(values)
        return self._series.setdefault(values, Series(self._bounds)) if series is None else series

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """What prometheus_client asks for on each scrape."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        for values, series in self._series.items():
            buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = [
                (bound, count, exemplar) if (exemplar := series.exemplar(number)) else (bound, count)
                for number, (bound, count) in enumerate(zip(bounds, accumulate(series.counts), strict=True))
            ]
            family.add_metric(values, buckets, series.sum_seconds)
        yield family
