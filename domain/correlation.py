"""What the correlation engine finds."""

from enum import StrEnum


class CorrelationKind(StrEnum):
    """What kind of signal a correlation rests on."""

    METRIC = "METRIC"
    LOG = "LOG"
    TRACE = "TRACE"
    ALERT = "ALERT"
    DEPLOYMENT = "DEPLOYMENT"
    TOPOLOGY = "TOPOLOGY"
    INCIDENT = "INCIDENT"


class AnalysisStatus(StrEnum):
    """How a run of the correlation engine stands."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"


class RootCauseKind(StrEnum):
    """What kind of thing went wrong."""

    RESOURCE = "RESOURCE"
    LATENCY = "LATENCY"
    ERRORS = "ERRORS"
    DEPLOYMENT = "DEPLOYMENT"
    DEPENDENCY = "DEPENDENCY"
    TRAFFIC = "TRAFFIC"
    UNKNOWN = "UNKNOWN"
