"""The metrics in which services tell of their requests and resources, as conventions and libraries name them.

The names follow OpenTelemetry's semantic conventions for HTTP and RPC (with the suffixes that its Prometheus exporter
adds), what Prometheus client libraries and gRPC interceptors call the same, and the span metrics of Tempo and of the
OpenTelemetry Collector.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

_HTTP_FAILURES: Final = MappingProxyType(
    dict.fromkeys(("http_response_status_code", "status", "code", "status_code", "http_status_code"), "5..")
)
# The codes for which the server is to blame (OpenTelemetry, semantic conventions for gRPC).
_GRPC_FAILURES: Final = MappingProxyType(
    {"grpc_code": "Unknown|DeadlineExceeded|Unimplemented|Internal|Unavailable|DataLoss"}
)
_RPC_FAILURES: Final = MappingProxyType(
    {
        "rpc_response_status_code": "UNKNOWN|DEADLINE_EXCEEDED|UNIMPLEMENTED|INTERNAL|UNAVAILABLE|DATA_LOSS",
        "rpc_grpc_status_code": "2|4|12|13|14|15",
    }
)
_SPAN_FAILURES: Final = MappingProxyType({"status_code": "STATUS_CODE_ERROR"})
_SPANS_OF_REQUESTS: Final = MappingProxyType({"span_kind": "SPAN_KIND_SERVER|SPAN_KIND_CONSUMER"})
_ALL: Final[Mapping[str, str]] = MappingProxyType({})


class Form(StrEnum):
    """How requests are counted: by a counter, a histogram with series for its buckets, or a native one."""

    COUNTER = "counter"
    CLASSIC = "classic histogram"
    NATIVE = "native histogram"


@dataclass(frozen=True, slots=True, eq=False)
class RequestMetric:
    """A metric that counts requests. A histogram's name is without `_count` and `_bucket`.

    `failures` are the labels that may hold a status, with the regular expression of those that mean failure; `only`
    narrows to the series that are about requests. `unit_seconds` is the unit of a histogram's buckets.
    """

    name: str
    is_histogram: bool
    failures: Mapping[str, str]
    only: Mapping[str, str] = field(default_factory=lambda: _ALL)
    unit_seconds: float = 1.0

    @property
    def forms(self) -> tuple[Form, ...]:
        """The forms that it can have, the most precise first."""
        return (Form.NATIVE, Form.CLASSIC) if self.is_histogram else (Form.COUNTER,)

    def counted_as(self, form: Form) -> str:
        """The name of the series that counts requests."""
        return f"{self.name}_count" if form is Form.CLASSIC else self.name


@dataclass(frozen=True, slots=True, eq=False)
class MemoryMetric:
    """Memory in use and the most that may be used, in bytes, on the series that `only` narrows to."""

    used: str
    limit: str
    only: Mapping[str, str] = field(default_factory=lambda: _ALL)


def _histogram(name: str, failures: Mapping[str, str], unit_seconds: float = 1.0) -> RequestMetric:
    return RequestMetric(name, True, failures, unit_seconds=unit_seconds)


def _spans(name: str, *, is_histogram: bool = False, unit_seconds: float = 1.0) -> RequestMetric:
    return RequestMetric(name, is_histogram, _SPAN_FAILURES, _SPANS_OF_REQUESTS, unit_seconds)


REQUESTS: Final = (
    _histogram("http_server_request_duration_seconds", _HTTP_FAILURES),
    _histogram("http_server_duration_milliseconds", _HTTP_FAILURES, 0.001),
    RequestMetric("http_requests_total", False, _HTTP_FAILURES),
    _histogram("http_request_duration_seconds", _HTTP_FAILURES),
    _histogram("rpc_server_call_duration_seconds", _RPC_FAILURES),
    _histogram("rpc_server_duration_seconds", _RPC_FAILURES),
    _histogram("rpc_server_duration_milliseconds", _RPC_FAILURES, 0.001),
    _histogram("rpc_server_duration", _RPC_FAILURES, 0.001),
    RequestMetric("grpc_server_handled_total", False, _GRPC_FAILURES),
    _histogram("grpc_server_handling_seconds", _GRPC_FAILURES),
    _spans("traces_spanmetrics_calls_total"),
    _spans("traces_spanmetrics_latency", is_histogram=True),
    _spans("traces_span_metrics_calls_total"),
    _spans("traces_span_metrics_duration_seconds", is_histogram=True),
    _spans("traces_span_metrics_duration_milliseconds", is_histogram=True, unit_seconds=0.001),
)
"""The preferred first: what a service says of itself, then what its spans say."""

CPU_SECONDS: Final = ("process_cpu_seconds_total",)
"""Counters of one process each."""

MEMORY: Final = (
    MemoryMetric("container_memory_working_set_bytes", "container_spec_memory_limit_bytes"),
    MemoryMetric("jvm_memory_used_bytes", "jvm_memory_limit_bytes", {"jvm_memory_type": "heap"}),
    MemoryMetric("jvm_memory_used_bytes", "jvm_memory_max_bytes", {"area": "heap"}),
)

STATUS_LABELS: Final = frozenset(label for metric in REQUESTS for label in metric.failures)
