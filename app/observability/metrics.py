"""What `/metrics` tells about this process, in the words of OpenTelemetry's semantic conventions."""

import platform
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from http import HTTPMethod

from prometheus_client import CollectorRegistry, GCCollector, Info, ProcessCollector
from prometheus_client.exposition import choose_encoder

from app.observability.database import DatabaseMetrics
from app.observability.fleet import Fleet, Merged
from app.observability.histograms import REQUEST_BOUNDS, Durations, Series
from app.observability.jobs import JobMetrics
from app.observability.operations import OperationMetrics
from app.observability.sampled import SampledCollectors
from app.observability.telemetry import TelemetryObserver
from domain import tracing

METHODS = frozenset(HTTPMethod.__members__)


class RequestDurations:
    """The histogram of how long HTTP requests took, by method, route and status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._durations = Durations(
            "http_server_request_duration_seconds",
            "Time from a request's headers to the end of its answer.",
            ("http_request_method", "http_route", "http_response_status_code"),
            REQUEST_BOUNDS,
            registry=registry,
        )
        self._series: dict[tuple[str, str, int], Series] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request. `route` is a template of ours ("/api/incidents/{id}"), or "" where none matched."""
        series = self._series.get((method, route, status))
        if series is None:
            # Whatever clients invent, there are only so many series.
            known = method if method in METHODS else "_OTHER"
            series = self._series[known, route, status] = self._durations.labels(known, route, str(status))
        series.observe(seconds)
        if (span := tracing.recording()) is not None:
            series.exemplify(seconds, span.context)


class Metrics:
    """All metrics of one process, and of the other workers of its server where there are some (`fleet`)."""

    def __init__(self, version: str, *, operation_names: Sequence[str] = (), fleet: Fleet | None = None) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.request_durations = RequestDurations(self.registry)
        self._fleet = fleet
        self.telemetry = TelemetryObserver(self.registry)
        self.operations = OperationMetrics(self.registry, operation_names)
        self.database = DatabaseMetrics(self.registry)
        self.jobs = JobMetrics(self.registry)
        self.sampled_collectors = SampledCollectors()
        """Those that have to ask somebody on each scrape."""
        self.registry.register(self.sampled_collectors)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        build = Info("reliability_studio_build", "What runs here.", registry=self.registry)
        build.info({"version": version, "python": platform.python_version()})

    async def sampled(self) -> CollectorRegistry:
        """The metrics of this process alone, as they are now."""
        await self.sampled_collectors.sample()
        return self.registry

    def told_to_others(self) -> AbstractAsyncContextManager[None]:
        """A block in which the other workers of the server can ask for them."""
        return nullcontext() if self._fleet is None else self._fleet.listening(self.sampled)

    async def exposition(self, accept: str) -> tuple[str, bytes]:
        """The content type and the text, in the format that the Accept header of the scraper prefers."""
        encode, content_type = choose_encoder(accept)
        registry = await self.sampled()
        if self._fleet is None:
            return content_type, encode(registry)
        merged: Merged = await self._fleet.merged(registry)
        return content_type, encode(merged)
