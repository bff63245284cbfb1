"""Definitions as JSON, for the database: every version of a promise is kept, and read back as it was."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from domain.objectives import (
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
from domain.slos import BudgetingMethod, BurnResponse, IndicatorKind, WindowKind

KINDS: Final[Mapping[type, IndicatorKind]] = {
    RatioIndicator: IndicatorKind.RATIO,
    RawRatioIndicator: IndicatorKind.RAW_RATIO,
    LatencyIndicator: IndicatorKind.LATENCY,
    AvailabilityIndicator: IndicatorKind.AVAILABILITY,
    ThresholdIndicator: IndicatorKind.THRESHOLD,
    Composite: IndicatorKind.COMPOSITE,
}


def as_json(value: Any) -> Any:
    """A definition, or a part of one, as JSON has it. Decimals are texts, so that they stay exact."""
    match value:
        case Enum():
            return value.value
        case Decimal():
            return f"{value:f}"
        case date():
            return value.isoformat()
        case Mapping():
            return {name: as_json(held) for name, held in value.items()}
        case tuple() | list():
            return [as_json(held) for held in value]
        case _ if is_dataclass(value):
            return {field.name: as_json(getattr(value, field.name)) for field in fields(value)}
        case _:
            return value


def definition_as_json(definition: ObjectiveDefinition) -> dict[str, Any]:
    """The whole definition as one JSON object."""
    told: dict[str, Any] = as_json(definition)
    told["window"]["kind"] = definition.window.kind.value
    told["indicator"] = indicator_as_json(definition.indicator)
    return told


def indicator_as_json(indicator: Indicator | Composite) -> dict[str, Any]:
    """An indicator as a JSON object that says its kind."""
    told: dict[str, Any] = as_json(indicator)
    return {"kind": KINDS[type(indicator)].value, **told}


def definition_from_json(told: Mapping[str, Any]) -> ObjectiveDefinition:
    """The definition that `definition_as_json` told."""
    return ObjectiveDefinition(
        service=told["service"],
        name=told["name"],
        display_name=told["display_name"],
        description=told["description"],
        objective=Decimal(told["objective"]),
        window=window_from_json(told["window"]),
        budgeting=budgeting_from_json(told["budgeting"]),
        indicator=indicator_from_json(told["indicator"]),
        group_by=tuple(told["group_by"]),
        alerting=alerting_from_json(told["alerting"]),
        labels=told["labels"],
        annotations=told["annotations"],
    )


def window_from_json(told: Mapping[str, Any]) -> Window:
    """The window that was told."""
    if told["kind"] == WindowKind.ROLLING:
        return RollingWindow(told["seconds"])
    starts_on = told["starts_on"]
    return CalendarWindow(
        CalendarUnit(told["unit"]),
        told["count"],
        told["time_zone"],
        None if starts_on is None else date.fromisoformat(starts_on),
    )


def budgeting_from_json(told: Mapping[str, Any]) -> Budgeting:
    """The budgeting that was told."""
    return Budgeting(BudgetingMethod(told["method"]), told["slice_seconds"], _decimal(told["slice_objective"]))


def indicator_from_json(told: Mapping[str, Any]) -> Indicator | Composite:
    """The indicator that was told."""
    given = {name: value for name, value in told.items() if name != "kind"}
    match IndicatorKind(told["kind"]):
        case IndicatorKind.RATIO:
            return RatioIndicator(**given)
        case IndicatorKind.RAW_RATIO:
            return RawRatioIndicator(**given)
        case IndicatorKind.LATENCY:
            return LatencyIndicator(**given | {"threshold_seconds": Decimal(given["threshold_seconds"])})
        case IndicatorKind.AVAILABILITY:
            return AvailabilityIndicator(**given)
        case IndicatorKind.THRESHOLD:
            return ThresholdIndicator(given["value"], Comparison(given["comparison"]), Decimal(given["threshold"]))
        case IndicatorKind.COMPOSITE:
            members = tuple(
                Member(member["service"], member["name"], Decimal(member["weight"])) for member in given["members"]
            )
            return Composite(CompositeRule(given["rule"]), members)


def alerting_from_json(told: Mapping[str, Any]) -> Alerting:
    """The alerting that was told; what was left out is as usual."""
    given = dict(told)
    for response in ("page", "ticket"):
        if response in given:
            given[response] = AlertMessage(**given[response])
    given["burn_rates"] = tuple(
        BurnRateAlert(
            pair["name"],
            BurnResponse(pair["response"]),
            pair["long_window_seconds"],
            pair["short_window_seconds"],
            Decimal(pair["factor"]),
        )
        for pair in given.get("burn_rates", ())
    )
    return Alerting(**given)


def _decimal(told: str | None) -> Decimal | None:
    return None if told is None else Decimal(told)
