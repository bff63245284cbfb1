"""What an incident is and how it may change."""

from enum import StrEnum


class Severity(StrEnum):
    """How much it hurts. Declared from least to most severe, which is the order the database sorts by."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


class IncidentStatus(StrEnum):
    """Where the work on an incident stands, in the order of its life."""

    OPEN = "OPEN"
    INVESTIGATING = "INVESTIGATING"
    MITIGATED = "MITIGATED"
    RESOLVED = "RESOLVED"


class IncidentSource(StrEnum):
    """Who said that something is wrong."""

    MANUAL = "MANUAL"
    API = "API"
    ALERT = "ALERT"
    DETECTION = "DETECTION"


class ImpactLevel(StrEnum):
    """How an incident hurts a service."""

    PRIMARY = "PRIMARY"
    SECONDARY = "SECONDARY"
    SUSPECTED = "SUSPECTED"
