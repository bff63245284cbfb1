"""The types of columns that Postgres does not bring along, and one that SQLAlchemy does not know."""

from typing import Any

from alembic import op
from sqlalchemy.dialects.postgresql import ENUM
from sqlalchemy.types import UserDefinedType

ADJUSTMENT_KIND = ENUM("EXCLUSION", "CORRECTION", name="adjustment_kind", create_type=False)
ALERT_DISPOSITION = ENUM(
    "CREATED", "UPDATED", "DUPLICATE", "SUPPRESSED", "STALE", "REJECTED", name="alert_disposition", create_type=False
)
ALERT_STATUS = ENUM("FIRING", "RESOLVED", name="alert_status", create_type=False)
ANALYSIS_STATUS = ENUM("RUNNING", "COMPLETE", "PARTIAL", "FAILED", name="analysis_status", create_type=False)
BUDGETING_METHOD = ENUM("OCCURRENCES", "TIMESLICES", name="budgeting_method", create_type=False)
COMPARISON = ENUM("ABOVE", "BELOW", name="comparison", create_type=False)
BURN_RESPONSE = ENUM("PAGE", "TICKET", name="burn_response", create_type=False)
CORRELATION_KIND = ENUM(
    "METRIC", "LOG", "TRACE", "ALERT", "DEPLOYMENT", "TOPOLOGY", "INCIDENT", name="correlation_kind", create_type=False
)
DEPENDENCY_SOURCE = ENUM("DECLARED", "TRACES", name="dependency_source", create_type=False)
DEPLOYMENT_OUTCOME = ENUM(
    "IN_PROGRESS", "SUCCEEDED", "FAILED", "ROLLED_BACK", name="deployment_outcome", create_type=False
)
DETECTION_KIND = ENUM(
    "THRESHOLD",
    "RATE_OF_CHANGE",
    "SEASONAL",
    "ABSENCE",
    "SLO_BURN",
    "LOG_NOVELTY",
    name="detection_kind",
    create_type=False,
)
DETECTION_STATUS = ENUM("OK", "PENDING", "FIRING", "ERROR", name="detection_status", create_type=False)
EVENT_TYPE = ENUM(
    "INCIDENT_CREATED",
    "INCIDENT_UPDATED",
    "TIMELINE_EVENT_ADDED",
    "CORRELATION_FOUND",
    "ANALYSIS_COMPLETED",
    "HYPOTHESIS_CHANGED",
    "STEP_CHANGED",
    "TASK_CHANGED",
    "ALERT_FIRED",
    "ALERT_RESOLVED",
    "SLO_STATUS_CHANGED",
    "SERVICE_IMPACT_CHANGED",
    "SERVICE_CHANGED",
    "DEPLOYMENT_RECORDED",
    "CHECKPOINT",
    name="event_type",
    create_type=False,
)
GOLDEN_SIGNAL = ENUM(
    "REQUEST_RATE",
    "ERROR_RATIO",
    "LATENCY_P50",
    "LATENCY_P95",
    "LATENCY_P99",
    "SATURATION",
    name="golden_signal",
    create_type=False,
)
HYPOTHESIS_STATUS = ENUM(
    "PROPOSED", "INVESTIGATING", "CONFIRMED", "REJECTED", name="hypothesis_status", create_type=False
)
IMPACT_LEVEL = ENUM("PRIMARY", "SECONDARY", "SUSPECTED", name="impact_level", create_type=False)
INCIDENT_SOURCE = ENUM("MANUAL", "API", "ALERT", "DETECTION", name="incident_source", create_type=False)
INCIDENT_STATUS = ENUM("OPEN", "INVESTIGATING", "MITIGATED", "RESOLVED", name="incident_status", create_type=False)
INDICATOR_KIND = ENUM("RATIO", "LATENCY", "AVAILABILITY", "THRESHOLD", name="indicator_kind", create_type=False)
JOB_STATUS = ENUM("QUEUED", "RUNNING", "DONE", "FAILED", name="job_status", create_type=False)
ROLE = ENUM("VIEWER", "RESPONDER", "ADMIN", name="role", create_type=False)
ROOT_CAUSE_KIND = ENUM(
    "RESOURCE",
    "LATENCY",
    "ERRORS",
    "DEPLOYMENT",
    "DEPENDENCY",
    "TRAFFIC",
    "UNKNOWN",
    name="root_cause_kind",
    create_type=False,
)
SERVICE_STATUS = ENUM("HEALTHY", "DEGRADED", "DOWN", "UNKNOWN", name="service_status", create_type=False)
SEVERITY = ENUM("LOW", "MEDIUM", "HIGH", "CRITICAL", name="severity", create_type=False)
SLO_STATUS = ENUM(
    "HEALTHY", "WARNING", "CRITICAL", "EXHAUSTED", "NO_DATA", "ERROR", name="slo_status", create_type=False
)
STEP_STATUS = ENUM("PENDING", "IN_PROGRESS", "COMPLETED", "SKIPPED", name="step_status", create_type=False)
TASK_STATUS = ENUM("OPEN", "IN_PROGRESS", "DONE", "CANCELLED", name="task_status", create_type=False)
TELEMETRY_BACKEND = ENUM("PROMETHEUS", "LOKI", "TEMPO", name="telemetry_backend", create_type=False)
TIMELINE_EVENT_TYPE = ENUM(
    "DETECTED",
    "ALERT",
    "STATUS_CHANGE",
    "SEVERITY_CHANGE",
    "FIELD_CHANGE",
    "NOTE",
    "METRIC_ANOMALY",
    "LOG_ANOMALY",
    "TRACE_ANOMALY",
    "DEPLOYMENT",
    "CORRELATION",
    "HYPOTHESIS",
    "TASK",
    "MITIGATION",
    "RESOLUTION",
    "IMPACT",
    name="timeline_event_type",
    create_type=False,
)
WINDOW_KIND = ENUM("ROLLING", "CALENDAR", name="window_kind", create_type=False)

ENUMS = (
    ADJUSTMENT_KIND,
    ALERT_DISPOSITION,
    ALERT_STATUS,
    ANALYSIS_STATUS,
    BUDGETING_METHOD,
    BURN_RESPONSE,
    COMPARISON,
    CORRELATION_KIND,
    DEPENDENCY_SOURCE,
    DEPLOYMENT_OUTCOME,
    DETECTION_KIND,
    DETECTION_STATUS,
    EVENT_TYPE,
    GOLDEN_SIGNAL,
    HYPOTHESIS_STATUS,
    IMPACT_LEVEL,
    INCIDENT_SOURCE,
    INCIDENT_STATUS,
    INDICATOR_KIND,
    JOB_STATUS,
    ROLE,
    ROOT_CAUSE_KIND,
    SERVICE_STATUS,
    SEVERITY,
    SLO_STATUS,
    STEP_STATUS,
    TASK_STATUS,
    TELEMETRY_BACKEND,
    TIMELINE_EVENT_TYPE,
    WINDOW_KIND,
)


class Xid8(UserDefinedType[int]):
    """Postgres' 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The type's name in SQL."""
        return "xid8"


def create() -> None:
    """Create the enums."""
    for enum in ENUMS:
        enum.create(op.get_bind())


def drop() -> None:
    """Drop the enums, which nothing uses any more."""
    for enum in ENUMS:
        enum.drop(op.get_bind())
