"""Traces, in OpenTelemetry's words: what a request did, in which service, and for how long."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from domain.json_values import JSON

NANOSECONDS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SpanKind(StrEnum):
    """Which side of a call a span stands for (OpenTelemetry, SpanKind)."""

    UNSPECIFIED = "UNSPECIFIED"
    INTERNAL = "INTERNAL"
    SERVER = "SERVER"
    CLIENT = "CLIENT"
    PRODUCER = "PRODUCER"
    CONSUMER = "CONSUMER"


class SpanStatus(StrEnum):
    """How a span ended, as its instrumentation says (OpenTelemetry, Status). Most spans that went well say nothing."""

    UNSET = "UNSET"
    OK = "OK"
    ERROR = "ERROR"


class TraceOrder(StrEnum):
    """What traces are ordered by."""

    START = "START"
    DURATION = "DURATION"


class SpanOrder(StrEnum):
    """What the spans of a trace are ordered by."""

    START = "START"
    DURATION = "DURATION"
    SELF_TIME = "SELF_TIME"


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened within a span, such as an exception. `at_ns` counts nanoseconds since 1970."""

    name: str
    at_ns: int
    attributes: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(slots=True)
class Span:
    """One operation of one service. Times count nanoseconds since 1970, by the clock of the host that ran it.

    Ids are lower-case hexadecimal. `parent_span_id` is None for a root; the parent may be missing from its trace.
    Never changed once made; not frozen, because traces have very many and frozen ones take three times as long to make.
    """

    span_id: str
    parent_span_id: str | None
    service: str
    name: str
    kind: SpanKind
    status: SpanStatus
    start_ns: int
    end_ns: int
    status_message: str = ""
    attributes: Mapping[str, JSON] = field(default_factory=dict)
    resource: Mapping[str, JSON] = field(default_factory=dict)
    events: tuple[SpanEvent, ...] = ()

    @property
    def duration_ns(self) -> int:
        """How long it took; 0 where its clock went backwards."""
        return max(0, self.end_ns - self.start_ns)

    @property
    def is_error(self) -> bool:
        """Whether it failed, by its own account."""
        return self.status is SpanStatus.ERROR


def moment(nanoseconds: int) -> datetime:
    """The time, in UTC, to the microsecond, of so many nanoseconds since 1970. Raises OverflowError."""
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def seconds(nanoseconds: int) -> float:
    """A duration in seconds."""
    return nanoseconds / NANOSECONDS
