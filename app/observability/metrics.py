"""What `/metrics` tells about this process, in the words of OpenTelemetry's semantic conventions."""

import platform
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPMethod
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, Info, ProcessCollector
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from app.observability.telemetry import TelemetryObserver

# The boundaries that the conventions advise for http.server.request.duration.
BOUNDS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
METHODS = frozenset(HTTPMethod.__members__)


class RequestDurations(Collector):
    """The histogram of how long HTTP requests took, by method, route and status.

    prometheus_client's own takes a lock and a walk through the buckets on each observation. All of ours are made on the
    event loop's thread, so that an addition to a list is enough.
    """

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, int], _Series] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request. `route` is a template of ours ("/api/incidents/{id}"), or "" where none matched."""
        series = self._series.get((method, route, status))
        if series is None:
            # Whatever clients invent, there are only so many series.
            known = method if method in METHODS else "_OTHER"
            series = self._series.setdefault((known, route, status), _Series())
        series.counts[bisect_left(BOUNDS_SECONDS, seconds)] += 1
        series.sum_seconds += seconds

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """What prometheus_client asks for on each scrape."""
        family = HistogramMetricFamily(
            "http_server_request_duration_seconds",
            "Time from a request's headers to the end of its answer.",
            labels=("http_request_method", "http_route", "http_response_status_code"),
        )
        bounds = [*map(floatToGoString, BOUNDS_SECONDS), "+Inf"]
        for (method, route, status), series in self._series.items():
            buckets = list(zip(bounds, accumulate(series.counts), strict=True))
            family.add_metric((method, route, str(status)), buckets, series.sum_seconds)
        return [family]


class _Series:
    __slots__ = ("counts", "sum_seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_SECONDS) + 1)
        self.sum_seconds = 0.0


class Metrics:
    """All metrics of one process."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.request_durations = RequestDurations()
        self.registry.register(self.request_durations)
        self._samples: list[Callable[[], Awaitable[None]]] = []
        self.telemetry = TelemetryObserver(self.registry)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        build = Info("reliability_studio_build", "What runs here.", registry=self.registry)
        build.info({"version": version, "python": platform.python_version()})

    def add(self, collector: Collector, *, sample: Callable[[], Awaitable[None]]) -> None:
        """Expose what a collector tells, once it has asked whom it has to ask on each scrape."""
        self.registry.register(collector)
        self._samples.append(sample)

    async def exposition(self, accept: str) -> tuple[str, bytes]:
        """The content type and the text, in the format that the Accept header of the scraper prefers."""
        for sample in self._samples:
            await sample()
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self.registry)
