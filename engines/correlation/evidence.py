"""What was gathered around an incident: everything that the engine knows, and nothing that it could not be told again.

All times are seconds since 1970. Services are names, the same in every part. Whatever could not be asked is simply
missing here, and stands in `gaps`.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.correlation import RootCauseKind
from domain.incidents import Severity
from domain.telemetry import GoldenSignal, LogLevel, TelemetryBackend

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Direction(StrEnum):
    """Which way a signal has to go to be a symptom."""

    UP = "UP"
    DOWN = "DOWN"
    BOTH = "BOTH"


class Signal(StrEnum):
    """What a series measures of a service: the golden signals, the mean latency, and its resources.

    `UP` is the share of its instances that answer whoever measures them. The mean, times the requests, says how much
    waiting there is in total, which quantiles cannot.
    Resources count whatever unit they come in: only their own past is compared with.
    """

    REQUEST_RATE = GoldenSignal.REQUEST_RATE
    ERROR_RATIO = GoldenSignal.ERROR_RATIO
    LATENCY_P50 = GoldenSignal.LATENCY_P50
    LATENCY_P95 = GoldenSignal.LATENCY_P95
    LATENCY_P99 = GoldenSignal.LATENCY_P99
    LATENCY_MEAN = "LATENCY_MEAN"
    SATURATION = GoldenSignal.SATURATION
    CPU = "CPU"
    MEMORY = "MEMORY"
    NETWORK = "NETWORK"
    DISK = "DISK"
    RESTARTS = "RESTARTS"
    UP = "UP"

    @property
    def kind(self) -> RootCauseKind:
        """The kind of cause that an anomaly of this signal speaks for."""
        return _KINDS[self]

    @property
    def direction(self) -> Direction:
        """Which way it goes when something is wrong. A dependency that fails fast is quick and idle."""
        return _DIRECTIONS.get(self, Direction.UP)


_KINDS: Final = {
    Signal.REQUEST_RATE: RootCauseKind.TRAFFIC,
    Signal.ERROR_RATIO: RootCauseKind.ERRORS,
    Signal.LATENCY_P50: RootCauseKind.LATENCY,
    Signal.LATENCY_P95: RootCauseKind.LATENCY,
    Signal.LATENCY_P99: RootCauseKind.LATENCY,
    Signal.LATENCY_MEAN: RootCauseKind.LATENCY,
    Signal.SATURATION: RootCauseKind.RESOURCE,
    Signal.CPU: RootCauseKind.RESOURCE,
    Signal.MEMORY: RootCauseKind.RESOURCE,
    Signal.NETWORK: RootCauseKind.RESOURCE,
    Signal.DISK: RootCauseKind.RESOURCE,
    Signal.RESTARTS: RootCauseKind.RESOURCE,
    Signal.UP: RootCauseKind.ERRORS,
}
_DIRECTIONS: Final = {Signal.REQUEST_RATE: Direction.BOTH, Signal.UP: Direction.DOWN}


@dataclass(frozen=True, slots=True)
class Source:
    """The query that something was seen with, so that anybody can see it again."""

    backend: TelemetryBackend | None = None
    instance: str = "default"
    query: str = ""
    start: float | None = None
    end: float | None = None
    step_seconds: float | None = None


NO_SOURCE: Final = Source()


@dataclass(frozen=True, slots=True)
class Series:
    """A signal of a service over time. `times` ascend; `values` are as many, NaN where there is none."""

    service: str
    signal: Signal
    times: Floats
    values: Floats
    source: Source = NO_SOURCE


@dataclass(frozen=True, slots=True)
class LogPattern:
    """Lines of a service that are alike, and how many there were in each bucket of `Evidence.log_times`."""

    service: str
    id: str
    template: str
    level: LogLevel
    counts: Integers
    sample: str = ""
    sample_at: float | None = None
    sample_trace_id: str | None = None
    source: Source = NO_SOURCE


class EventKind(StrEnum):
    """What can happen while a service handles a request."""

    OPERATION = "OPERATION"
    CALL = "CALL"
    LOG = "LOG"


@dataclass(frozen=True, slots=True)
class Entry:
    """Where requests come into a service: one of its operations, and the service that calls it, None for a root."""

    service: str
    operation: str
    caller: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """What a service does while it handles a request: an operation of its own, a call to another service, or a line.

    `name` is the operation's name, the callee, or the id of a `LogPattern` of the same service.
    """

    service: str
    kind: EventKind
    name: str


@dataclass(frozen=True, slots=True)
class TraceSet:
    """Traces in columns, made by `trace_digest.digest`: bounded, whatever was in their attributes.

    A visit is what one service does for one request: from the span where it came in down to those where it calls other
    services. Traces ascend by their start. Of each visit: the positions of its trace and entry, when it began, how long
    it took, the part of that in which it waited for no other service, how much longer its caller waited for it than it
    took (the network, queues, whatever comes before its instrumentation), whether any of its spans failed, and whether
    a failure of the trace began in it. `event_*` count what happened in visits, and say how long after a visit began it
    first did. `externals` are those that write no spans: all that is known of visits to them is what their callers saw.
    """

    ids: tuple[str, ...]
    starts: Floats
    durations: Floats
    entries: tuple[Entry, ...]
    events: tuple[Event, ...]
    visit_trace: Integers
    visit_entry: Integers
    visit_start: Floats
    visit_seconds: Floats
    visit_self_seconds: Floats
    visit_waiting_seconds: Floats
    visit_failed: Integers
    visit_is_origin: Integers
    event_visit: Integers
    event_event: Integers
    event_count: Integers
    source: Source = NO_SOURCE
    externals: tuple[str, ...] = ()
    event_offset: Floats = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True, slots=True)
class Call:
    """An edge of the dependency graph. What is known of its own traffic came with the graph, if any."""

    caller: str
    callee: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """A version of a service began to run."""

    id: str
    service: str
    at: float
    version: str = ""
    previous_version: str | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert on a service that fired in the window. `signal` where it is known what it watches."""

    id: str
    service: str
    name: str
    started_at: float
    ended_at: float | None = None
    severity: Severity | None = None
    signal: Signal | None = None


@dataclass(frozen=True, slots=True)
class OpenIncident:
    """Another incident that was open in the window, and the root cause that was found for it, if any."""

    id: str
    title: str
    started_at: float
    services: tuple[str, ...] = ()
    cause_service: str | None = None
    cause_kind: RootCauseKind | None = None
    pattern_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BudgetBurn:
    """How fast a service spends the error budget of an objective: 1 spends it exactly (SRE workbook, chapter 5)."""

    service: str
    objective_id: str
    objective: str
    burn_rate: float
    source: Source = NO_SOURCE


@dataclass(frozen=True, slots=True)
class Gap:
    """What could not be asked, and why."""

    backend: TelemetryBackend
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was gathered around one incident.

    `services` are those of the incident, the one that the alert is about first. `noticed_at` is when somebody or
    something noticed. What came before `noticed_at - lead_seconds` is taken for normal; the fault is looked for
    after that, until `end`. `log_times` are the starts of the buckets that logs were counted in: one that was not asked
    about is missing, one without lines has zero counts.
    """

    services: tuple[str, ...]
    noticed_at: float
    start: float
    end: float
    lead_seconds: float = 300.0
    calls: tuple[Call, ...] = ()
    series: tuple[Series, ...] = ()
    log_bucket_seconds: float = 60.0
    log_times: Floats = field(default_factory=lambda: np.empty(0))
    patterns: tuple[LogPattern, ...] = ()
    traces: TraceSet | None = None
    deployments: tuple[Deployment, ...] = ()
    alerts: tuple[Alert, ...] = ()
    incidents: tuple[OpenIncident, ...] = ()
    burns: tuple[BudgetBurn, ...] = ()
    gaps: tuple[Gap, ...] = ()
