"""Alerts, what became of each of them, and the rules of the built-in detection."""

from enum import StrEnum


class AlertStatus(StrEnum):
    """Whether an alert is firing."""

    FIRING = "FIRING"
    RESOLVED = "RESOLVED"


class WebhookKind(StrEnum):
    """In which shape alerts arrive, or who of ours made them."""

    ALERTMANAGER = "ALERTMANAGER"
    GRAFANA = "GRAFANA"
    PAGERDUTY = "PAGERDUTY"
    CLOUD_EVENTS = "CLOUD_EVENTS"
    GENERIC = "GENERIC"
    DETECTION = "DETECTION"
    RECONCILIATION = "RECONCILIATION"


class AlertDisposition(StrEnum):
    """What became of one alert of a delivery."""

    CREATED = "CREATED"
    UPDATED = "UPDATED"
    DUPLICATE = "DUPLICATE"
    SUPPRESSED = "SUPPRESSED"
    STALE = "STALE"
    REJECTED = "REJECTED"


class DetectionKind(StrEnum):
    """How a detection rule decides."""

    THRESHOLD = "THRESHOLD"
    RATE_OF_CHANGE = "RATE_OF_CHANGE"
    SEASONAL = "SEASONAL"
    ABSENCE = "ABSENCE"
    SLO_BURN = "SLO_BURN"
    LOG_NOVELTY = "LOG_NOVELTY"


class Comparison(StrEnum):
    """How a value is held against a threshold."""

    ABOVE = "ABOVE"
    BELOW = "BELOW"


class DetectionStatus(StrEnum):
    """What a detection rule says of one service now."""

    OK = "OK"
    PENDING = "PENDING"
    FIRING = "FIRING"
    ERROR = "ERROR"
