"""What each service tells at `/metrics`, in the names of OpenTelemetry's semantic conventions."""

from prometheus_client import CollectorRegistry, Gauge, Histogram, Info
from prometheus_client.exposition import choose_encoder

from deploy.demo_shop.traces import Span

_BOUNDS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class ServiceMetrics:
    """The metrics of one service. Its latencies carry exemplars: the trace of a request that took so long."""

    def __init__(self, service: str, version: str, memory_limit_bytes: int) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._requests = Histogram(
            "http_server_request_duration_seconds",
            "Time to answer a request.",
            ("http_request_method", "http_route", "http_response_status_code"),
            buckets=_BOUNDS_SECONDS,
            registry=self._registry,
        )
        self._calls = Histogram(
            "http_client_request_duration_seconds",
            "Time of a request to another service. The status is empty where there was no answer.",
            ("http_request_method", "server_address", "http_response_status_code"),
            buckets=_BOUNDS_SECONDS,
            registry=self._registry,
        )
        self._statements = Histogram(
            "db_client_operation_duration_seconds",
            "Time of a statement.",
            ("db_system_name", "db_query_summary"),
            buckets=_BOUNDS_SECONDS,
            registry=self._registry,
        )
        # The services share a process; each accounts for its own, as if it had a container.
        memory = Gauge("container_memory_working_set_bytes", "Memory in use.", registry=self._registry)
        self._memory = memory
        Gauge("container_spec_memory_limit_bytes", "Memory that may be used.", registry=self._registry).set(
            memory_limit_bytes
        )
        self._target = Info("target", "Who this is.", registry=self._registry)
        self.show_version(service, version)

    def show_version(self, service: str, version: str) -> None:
        """Say which version runs."""
        self._target.info({"service_name": service, "service_namespace": "demo-shop", "service_version": version})

    def show_memory(self, used_bytes: int) -> None:
        """Say how much memory is in use."""
        self._memory.set(used_bytes)

    def request(self, span: Span, method: str, route: str, status: int) -> None:
        """Count an answered request."""
        self._requests.labels(method, route, str(status)).observe(span.seconds, {"trace_id": span.trace_id})

    def call(self, span: Span, method: str, address: str, status: int | None) -> None:
        """Count a request to another service."""
        self._calls.labels(method, address, "" if status is None else str(status)).observe(
            span.seconds, {"trace_id": span.trace_id}
        )

    def statement(self, span: Span, summary: str) -> None:
        """Count a statement."""
        self._statements.labels("postgresql", summary).observe(span.seconds, {"trace_id": span.trace_id})

    def exposition(self, accept: str) -> tuple[str, bytes]:
        """The content type and the text, in the format that the scraper prefers; OpenMetrics has the exemplars."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)
