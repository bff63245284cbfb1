"""The inputs of writes to SLOs, and the definitions that they say."""

from datetime import date
from decimal import Decimal
from typing import Any

import strawberry
from strawberry import UNSET

from actions.slos.objectives import PolicyRule, SLOChanges
from domain.errors import ValidationFailed
from domain.json_values import labels
from domain.objectives import (
    SLICE_SECONDS,
    Alerting,
    AlertMessage,
    AvailabilityIndicator,
    Budgeting,
    BurnRateAlert,
    CalendarUnit,
    CalendarWindow,
    Comparison,
    Composite,
    CompositeRule,
    Indicator,
    LatencyIndicator,
    Member,
    ObjectiveDefinition,
    RatioIndicator,
    RawRatioIndicator,
    RollingWindow,
    ThresholdIndicator,
    Window,
)
from domain.slos import BudgetingMethod, BurnResponse, SLOStatus
from engines.slo.windows import DAY_SECONDS
from resolvers.mutations import or_none
from schema.mutations.declarations import EXPECTED_VERSION, IDEMPOTENCY_KEY, input_type, optional, required
from schema.scalars import JSON, URL


@input_type
class RatioIndicatorInput:
    """Events that were good, or bad, of all. Queries are plain counter selectors, or PromQL over `$window`."""

    good: str | None = optional("Counts good events.")
    bad: str | None = optional("Counts bad events, in place of good ones.")
    total: str = required("Counts all events.")
    is_gauge: bool | None = optional("Whether the values are counts themselves, and not counters.")


@input_type
class RawRatioIndicatorInput:
    """A query over `$window` that is itself a ratio."""

    ratio: str = required("The query.")
    is_good: bool | None = optional("Whether it is the ratio of good events; that of bad ones by default.")


@input_type
class LatencyIndicatorInput:
    """Requests not slower than a threshold, from a histogram of seconds."""

    histogram: str = required('The histogram without a suffix, as in `http_request_duration_seconds{job="api"}`.')
    threshold_seconds: float = required("The longest time that is good: the bound of a bucket.")
    is_native: bool | None = optional("Whether it is a native histogram.")
    total: str | None = optional("Counts all requests, in place of the histogram's own count.")


@input_type
class AvailabilityIndicatorInput:
    """Time in which a gauge of 0 and 1 was 1."""

    gauge: str = required('The gauge, as in `up{job="api"}`.')


@input_type
class ThresholdIndicatorInput:
    """Time in which a value was on the good side of a threshold."""

    value: str = required("The value, PromQL.")
    comparison: Comparison = required("Which side is good.")
    threshold: float = required("The threshold.")


@input_type
class CompositeMemberInput:
    """An SLO that is part of another."""

    service: str = required("The member's service.")
    name: str = required("The member's name.")
    weight: float | None = optional("How much it weighs; 1 by default.")


@input_type
class CompositeInput:
    """Other objectives, judged as one."""

    rule: CompositeRule = required("How they make one.")
    members: list[CompositeMemberInput] = required("Its members, none of them a composite.")


@input_type
class IndicatorInput:
    """How good events are told: exactly one of these."""

    ratio: RatioIndicatorInput | None = optional("Good or bad events of all events.")
    raw_ratio: RawRatioIndicatorInput | None = optional("A query that gives the ratio itself.")
    latency: LatencyIndicatorInput | None = optional("Requests faster than a threshold.")
    availability: AvailabilityIndicatorInput | None = optional("Time in which something was up.")
    threshold: ThresholdIndicatorInput | None = optional("Time in which a value was good.")
    composite: CompositeInput | None = optional("Other objectives.")


@input_type
class CalendarInput:
    """The period of the calendar that a window follows."""

    unit: CalendarUnit = required("What it is as long as.")
    count: int | None = optional("How many of these; 1 by default.")
    time_zone: str | None = optional("Whose midnights count, by the IANA database; UTC by default.")
    starts_on: str | None = optional("A first day of a period, YYYY-MM-DD.")


@input_type
class BurnRateAlertInput:
    """A pair of windows that alerts when both burn too fast."""

    name: str = required("What it is called.")
    response: BurnResponse = required("What it asks for.")
    long_window_seconds: int = required("The long window.")
    short_window_seconds: int = required("The short window.")
    factor: float = required("The rate that both have to exceed; 1 spends the budget exactly.")


@input_type
class AlertMessageInput:
    """What is said beside the alerts of one response."""

    labels: JSON | None = optional("Labels, a flat object of strings.")
    annotations: JSON | None = optional("Annotations, a flat object of strings.")
    is_enabled: bool | None = optional("Whether there are any; true by default.")


@input_type
class AlertingInput:
    """Which burns alert whom."""

    name: str | None = optional("What the alerts are called.")
    labels: JSON | None = optional("Labels of all alerts, a flat object of strings.")
    annotations: JSON | None = optional("Annotations of all alerts, a flat object of strings.")
    page: AlertMessageInput | None = optional("What pages say.")
    ticket: AlertMessageInput | None = optional("What tickets say.")
    burn_rates: list[BurnRateAlertInput] | None = optional(
        "Pairs of windows, in place of the usual ones for the length of the window."
    )
    minimum_total_events: int | None = optional("Windows with fewer events alert nobody.")
    minimum_bad_events: int | None = optional("Windows with fewer bad events alert nobody.")


@input_type
class ErrorBudgetPolicyRuleInput:
    """What a status asks of people."""

    status: SLOStatus = required("The status.")
    action: str = required("What it asks for.")
    url: URL | None = optional("Where to read more.")


@input_type
class PromiseInput:
    """What of an SLO says how good its service has to be. What is left out is as usual, or stays."""

    objective: float | None = optional("Good events of all events, more than 0 and less than 1.")
    window_days: int | None = optional("The days that it is judged over, the last so many; 30 by default.")
    window_seconds: int | None = optional("The time that it is judged over, in place of days.")
    calendar: CalendarInput | None = optional("The period of the calendar that it is judged over, in place of days.")
    budgeting_method: BudgetingMethod | None = optional("What is counted; events by default.")
    slice_seconds: int | None = optional("How long slices of time are; 300 by default.")
    slice_objective: float | None = optional("The ratio that makes a slice good; the objective by default.")
    indicator: IndicatorInput | None = optional("How good events are told.")
    alerting: AlertingInput | None = optional("Whom it alerts about which burns.")


@input_type
class CreateSLOInput(PromiseInput):
    """A promise of how good a service will be."""

    service: str = required("The service, by name or id; a new name is added to the catalog.")
    name: str = required("What it is called, unique for its service.")
    display_name: str | None = optional("What people call it.")
    description: str | None = optional("What it promises.")
    group_by: list[str] | None = optional("Labels of which every combination has a budget of its own.")
    error_budget_policy: list[ErrorBudgetPolicyRuleInput] | None = optional("What which status asks for.")
    labels: JSON | None = optional("Labels, a flat object of strings.")
    annotations: JSON | None = optional("Annotations, a flat object of strings.")
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


@input_type
class UpdateSLOInput(PromiseInput):
    """What shall be different about an SLO. What is left out stays."""

    id: strawberry.ID = required("The SLO's id.")
    expected_version: int | None = optional(EXPECTED_VERSION)
    name: str | None = optional("What it is called, unique for its service.")
    display_name: str | None = optional("What people call it.")
    description: str | None = optional("What it promises.")
    group_by: list[str] | None = optional("Labels of which every combination has a budget of its own.")
    error_budget_policy: list[ErrorBudgetPolicyRuleInput] | None = optional("What which status asks for.")
    labels: JSON | None = optional("Labels, a flat object of strings, instead of the present ones.")
    annotations: JSON | None = optional("Annotations, a flat object of strings, instead of the present ones.")


def new_definition(given: CreateSLOInput) -> ObjectiveDefinition:
    """The definition that a new SLO has. Raises ValidationFailed."""
    return promised(given, given.service, given.name)


def promised(given: PromiseInput, service: str, name: str) -> ObjectiveDefinition:
    """What an input says where there is nothing to change yet. Raises ValidationFailed."""
    if not given.indicator:
        raise ValidationFailed("Indicator is required", ("indicator",))
    if not isinstance(given.objective, float | int):
        raise ValidationFailed("Objective is required", ("objective",))
    blank = ObjectiveDefinition(
        service=service,
        name=name,
        objective=_decimal(given.objective, "objective"),
        indicator=_indicator(given.indicator),
    )
    return changes(given, blank).applied_to(blank)


def changes(given: PromiseInput, present: ObjectiveDefinition) -> SLOChanges:
    """What an input says shall be different. Raises ValidationFailed."""
    wanted = _described(given)
    if given.objective is not UNSET and given.objective is not None:
        wanted["objective"] = _decimal(given.objective, "objective")
    if given.indicator is not UNSET and given.indicator is not None:
        wanted["indicator"] = _indicator(given.indicator)
    if given.alerting is not UNSET:
        wanted["alerting"] = Alerting() if given.alerting is None else _alerting(given.alerting)
    if (window := _window(given)) is not None:
        wanted["window"] = window
    wanted["budgeting"] = _budgeting(given, present.budgeting)
    return SLOChanges(**wanted)


def _described(given: PromiseInput) -> dict[str, Any]:
    """What is said of an SLO besides its promise."""
    wanted: dict[str, Any] = {}
    for name in ("name", "display_name", "description"):
        if (value := getattr(given, name, UNSET)) is not UNSET:
            wanted[name] = value or ""
    for name in ("labels", "annotations"):
        if (value := getattr(given, name, UNSET)) is not UNSET:
            wanted[name] = labels(value, name.capitalize(), name)
    if (group_by := getattr(given, "group_by", UNSET)) is not UNSET:
        wanted["group_by"] = tuple(group_by or ())
    if (rules := getattr(given, "error_budget_policy", UNSET)) is not UNSET:
        wanted["policy"] = policy(rules)
    return wanted


def policy(rules: list[ErrorBudgetPolicyRuleInput] | None) -> list[PolicyRule]:
    """An error budget policy as actions take it."""
    return [PolicyRule(rule.status, rule.action, or_none(rule.url)) for rule in rules or ()]


def _window(given: PromiseInput) -> Window | None:
    told = {name: or_none(getattr(given, name)) for name in ("window_days", "window_seconds", "calendar")}
    named = [name for name, value in told.items() if value is not None]
    if len(named) > 1:
        raise ValidationFailed("Give one of `windowDays`, `windowSeconds` and `calendar`", ("windowSeconds",))
    calendar = told["calendar"]
    if calendar is not None:
        return _calendar(calendar)
    if told["window_seconds"] is not None:
        return RollingWindow(told["window_seconds"])
    return None if told["window_days"] is None else RollingWindow(told["window_days"] * DAY_SECONDS)


def _calendar(given: CalendarInput) -> CalendarWindow:
    starts_on = or_none(given.starts_on)
    try:
        first = None if starts_on is None else date.fromisoformat(starts_on)
    except ValueError as error:
        raise ValidationFailed("Starts on must be a day as in 2026-01-31", ("calendar", "startsOn")) from error
    return CalendarWindow(given.unit, or_none(given.count) or 1, or_none(given.time_zone) or "UTC", first)


def _budgeting(given: PromiseInput, present: Budgeting) -> Budgeting:
    slice_objective = present.slice_objective
    if given.slice_objective is not UNSET:
        slice_objective = None if given.slice_objective is None else _decimal(given.slice_objective, "sliceObjective")
    slice_seconds = present.slice_seconds
    if given.slice_seconds is not UNSET:
        slice_seconds = SLICE_SECONDS if given.slice_seconds is None else given.slice_seconds
    return Budgeting(or_none(given.budgeting_method) or present.method, slice_seconds, slice_objective)


def _indicator(given: IndicatorInput) -> Indicator | Composite:
    kinds = ("ratio", "raw_ratio", "latency", "availability", "threshold", "composite")
    named = [value for kind in kinds if (value := or_none(getattr(given, kind))) is not None]
    if len(named) != 1:
        raise ValidationFailed("Give exactly one kind of indicator", ("indicator",))
    match named[0]:
        case RatioIndicatorInput() as one:
            return RatioIndicator(
                good=or_none(one.good), bad=or_none(one.bad), total=one.total, is_gauge=bool(or_none(one.is_gauge))
            )
        case RawRatioIndicatorInput() as one:
            return RawRatioIndicator(one.ratio, bool(or_none(one.is_good)))
        case LatencyIndicatorInput() as one:
            threshold = _decimal(one.threshold_seconds, "indicator", "latency", "thresholdSeconds")
            return LatencyIndicator(one.histogram, threshold, bool(or_none(one.is_native)), or_none(one.total))
        case AvailabilityIndicatorInput() as one:
            return AvailabilityIndicator(one.gauge)
        case ThresholdIndicatorInput() as one:
            threshold = _decimal(one.threshold, "indicator", "threshold", "threshold")
            return ThresholdIndicator(one.value, one.comparison, threshold)
        case CompositeInput() as one:
            members = tuple(
                Member(member.service, member.name, _decimal(or_none(member.weight) or 1.0, "indicator", "composite"))
                for member in one.members
            )
            return Composite(one.rule, members)
        case _:
            raise ValidationFailed("Give exactly one kind of indicator", ("indicator",))


def _alerting(given: AlertingInput) -> Alerting:
    return Alerting(
        name=or_none(given.name) or "",
        labels=labels(or_none(given.labels), "Labels", "alerting", "labels"),
        annotations=labels(or_none(given.annotations), "Annotations", "alerting", "annotations"),
        page=_message(or_none(given.page), "page"),
        ticket=_message(or_none(given.ticket), "ticket"),
        burn_rates=tuple(
            BurnRateAlert(
                pair.name,
                pair.response,
                pair.long_window_seconds,
                pair.short_window_seconds,
                _decimal(pair.factor, "alerting", "burnRates", str(position), "factor"),
            )
            for position, pair in enumerate(or_none(given.burn_rates) or ())
        ),
        minimum_total_events=or_none(given.minimum_total_events) or 0,
        minimum_bad_events=or_none(given.minimum_bad_events) or 0,
    )


def _message(given: AlertMessageInput | None, name: str) -> AlertMessage:
    if given is None:
        return AlertMessage()
    is_enabled = or_none(given.is_enabled)
    return AlertMessage(
        labels(or_none(given.labels), "Labels", "alerting", name, "labels"),
        labels(or_none(given.annotations), "Annotations", "alerting", name, "annotations"),
        True if is_enabled is None else is_enabled,
    )


def _decimal(value: float, *path: str) -> Decimal:
    """The decimal that a client wrote: the shortest that reads as this float."""
    exact = Decimal(repr(float(value)))
    if not exact.is_finite():
        raise ValidationFailed("A number must be finite", path)
    return exact
