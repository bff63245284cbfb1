"""What happened when."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.incidents import Severity


class TimelineEventType(StrEnum):
    """What kind of thing a timeline entry tells."""

    DETECTED = "DETECTED"
    ALERT = "ALERT"
    STATUS_CHANGE = "STATUS_CHANGE"
    SEVERITY_CHANGE = "SEVERITY_CHANGE"
    FIELD_CHANGE = "FIELD_CHANGE"
    NOTE = "NOTE"
    METRIC_ANOMALY = "METRIC_ANOMALY"
    LOG_ANOMALY = "LOG_ANOMALY"
    TRACE_ANOMALY = "TRACE_ANOMALY"
    DEPLOYMENT = "DEPLOYMENT"
    CORRELATION = "CORRELATION"
    HYPOTHESIS = "HYPOTHESIS"
    TASK = "TASK"
    MITIGATION = "MITIGATION"
    RESOLUTION = "RESOLUTION"
    IMPACT = "IMPACT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a timeline. `occurred_at` None: at the moment it is written down. What is too long is clipped."""

    type: TimelineEventType
    title: str
    description: str = ""
    severity: Severity | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    occurred_at: datetime | None = None
