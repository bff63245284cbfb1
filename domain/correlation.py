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


class AnalysisTrigger(StrEnum):
    """Why a run of the correlation engine began."""

    INCIDENT_CREATED = "INCIDENT_CREATED"
    INCIDENT_CHANGED = "INCIDENT_CHANGED"
    REQUESTED = "REQUESTED"


class RecommendationKind(StrEnum):
    """What is advised."""

    ROLL_BACK = "ROLL_BACK"
    SCALE = "SCALE"
    RESTART = "RESTART"
    OPEN_CIRCUIT = "OPEN_CIRCUIT"
    CONTACT_OWNER = "CONTACT_OWNER"
    FOLLOW_RUNBOOK = "FOLLOW_RUNBOOK"
    REPEAT_RESOLUTION = "REPEAT_RESOLUTION"
    LOOK_CLOSER = "LOOK_CLOSER"
