"""What a service level objective promises, as a value: the one shape that every format is read into and written from.

The words are OpenSLO's (v1) where it has them. Queries are PromQL; where one has to say over which window it looks,
it says WINDOW there, and whoever asks puts a duration in its place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

from domain.slos import BudgetingMethod, BurnResponse, WindowKind

WINDOW: Final = "$window"
"""Stands in a query for the duration that it looks back. `{{.window}}` (Sloth) is read as the same."""

SLICE_SECONDS: Final = 300
"""The grain of everything that is stored."""


class CalendarUnit(StrEnum):
    """What a calendar window is as long as."""

    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"
    QUARTER = "QUARTER"
    YEAR = "YEAR"


@dataclass(frozen=True, slots=True)
class RollingWindow:
    """The last `seconds`, at any moment."""

    seconds: int

    @property
    def kind(self) -> WindowKind:
        """ROLLING."""
        return WindowKind.ROLLING


@dataclass(frozen=True, slots=True)
class CalendarWindow:
    """`count` units at a time, from `starts_on` (any first day of one) in a time zone of the IANA database."""

    unit: CalendarUnit
    count: int = 1
    time_zone: str = "UTC"
    starts_on: date | None = None

    @property
    def kind(self) -> WindowKind:
        """CALENDAR."""
        return WindowKind.CALENDAR


Window = RollingWindow | CalendarWindow


@dataclass(frozen=True, slots=True)
class Budgeting:
    """What is counted: events, or slices that were good, or the mean of the slices' ratios (OpenSLO).

    `slice_objective` is the ratio that makes a slice good; the objective's own where it is None.
    """

    method: BudgetingMethod = BudgetingMethod.OCCURRENCES
    slice_seconds: int = SLICE_SECONDS
    slice_objective: Decimal | None = None


class Comparison(StrEnum):
    """How a measured value has to stand to a threshold to be good."""

    LESS = "lt"
    LESS_OR_EQUAL = "lte"
    GREATER = "gt"
    GREATER_OR_EQUAL = "gte"


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioIndicator:
    """Events that were good, or bad, of all. Exactly one of `good` and `bad` is given.

    Each query is an expression over WINDOW (`sum(rate(x[$window]))`), or a plain counter selector
    (`http_requests_total{code!~"5.."}`), of which the increases are summed. With `is_gauge` the values are counts
    themselves (OpenSLO `counter: false`), and are summed over time.
    """

    good: str | None = None
    bad: str | None = None
    total: str
    is_gauge: bool = False


@dataclass(frozen=True, slots=True)
class RawRatioIndicator:
    """A query over WINDOW that is itself the ratio of bad events (good ones with `is_good`)."""

    ratio: str
    is_good: bool = False


@dataclass(frozen=True, slots=True)
class LatencyIndicator:
    """Requests not slower than a threshold, from a histogram of seconds.

    `histogram` selects it without a suffix (`http_request_duration_seconds{job="api"}`); `total`, where it is given,
    selects what is counted as all instead of the histogram's own count.
    """

    histogram: str
    threshold_seconds: Decimal
    is_native: bool = False
    total: str | None = None


@dataclass(frozen=True, slots=True)
class AvailabilityIndicator:
    """Moments at which a gauge of 0 and 1 was 1 (`up{job="api"}`), of all at which it was seen."""

    gauge: str


@dataclass(frozen=True, slots=True)
class ThresholdIndicator:
    """Moments at which a value was on the good side of a threshold (OpenSLO `thresholdMetric`)."""

    value: str
    comparison: Comparison
    threshold: Decimal


Indicator = RatioIndicator | RawRatioIndicator | LatencyIndicator | AvailabilityIndicator | ThresholdIndicator


class CompositeRule(StrEnum):
    """How members make one objective."""

    WEIGHTED = "WEIGHTED"
    WORST_MEMBER = "WORST_MEMBER"
    ANY_BAD_SLICE = "ANY_BAD_SLICE"


@dataclass(frozen=True, slots=True)
class Member:
    """An objective that is part of another."""

    service: str
    name: str
    weight: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Composite:
    """Objectives that are judged as one, in place of an indicator."""

    rule: CompositeRule
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class BurnRateAlert:
    """Both windows burning faster than `factor` ask for a response (Google SRE workbook, chapter 5)."""

    name: str
    response: BurnResponse
    long_window_seconds: int
    short_window_seconds: int
    factor: Decimal


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """What is said beside an alert of one response."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    is_enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerting:
    """Which burns alert whom. `burn_rates` empty means the usual pairs for the window's length.

    Windows with fewer events than the minima alert nobody.
    """

    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    page: AlertMessage = field(default_factory=AlertMessage)
    ticket: AlertMessage = field(default_factory=AlertMessage)
    burn_rates: tuple[BurnRateAlert, ...] = ()
    minimum_total_events: int = 0
    minimum_bad_events: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveDefinition:
    """A whole objective. `service` and `name` are its identity; `objective` is exact, in (0, 1).

    `group_by` names labels of which every combination has a budget of its own.
    """

    service: str
    name: str
    display_name: str = ""
    description: str = ""
    objective: Decimal
    window: Window = RollingWindow(30 * 86_400)
    budgeting: Budgeting = Budgeting()
    indicator: Indicator | Composite
    group_by: tuple[str, ...] = ()
    alerting: Alerting = field(default_factory=Alerting)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
