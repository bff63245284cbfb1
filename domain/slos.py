"""Service level objectives: their words and their arithmetic."""

from enum import StrEnum


class SLOStatus(StrEnum):
    """What is left of an error budget, in one word."""

    HEALTHY = "HEALTHY"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"
    EXHAUSTED = "EXHAUSTED"
    NO_DATA = "NO_DATA"
    ERROR = "ERROR"


class WindowKind(StrEnum):
    """Whether the window of an objective moves with time or follows the calendar."""

    ROLLING = "ROLLING"
    CALENDAR = "CALENDAR"


class BudgetingMethod(StrEnum):
    """What is counted: events, slices of time that were good, or the mean of the slices' ratios (OpenSLO)."""

    OCCURRENCES = "OCCURRENCES"
    TIMESLICES = "TIMESLICES"
    RATIO_TIMESLICES = "RATIO_TIMESLICES"


class IndicatorKind(StrEnum):
    """How good and total events are told from metrics."""

    RATIO = "RATIO"
    LATENCY = "LATENCY"
    AVAILABILITY = "AVAILABILITY"
    THRESHOLD = "THRESHOLD"
    RAW_RATIO = "RAW_RATIO"
    COMPOSITE = "COMPOSITE"


class BurnResponse(StrEnum):
    """What a fast burn asks for (Google SRE workbook, chapter 5)."""

    PAGE = "PAGE"
    TICKET = "TICKET"


class AdjustmentKind(StrEnum):
    """Why time or events do not count against a budget."""

    EXCLUSION = "EXCLUSION"
    CORRECTION = "CORRECTION"
