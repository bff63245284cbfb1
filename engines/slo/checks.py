"""What a definition has to be, before it is asked of Prometheus. Every refusal says where, and what to do instead."""

import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from domain import text
from domain.errors import ValidationFailed
from domain.json_values import labels
from domain.objectives import (
    Alerting,
    AlertMessage,
    Budgeting,
    BurnRateAlert,
    CalendarUnit,
    Composite,
    Indicator,
    LatencyIndicator,
    ObjectiveDefinition,
    RatioIndicator,
    RollingWindow,
    Window,
)
from domain.services import service_name
from engines.slo import promql
from engines.slo.burn_rates import alerts_of, never_fires
from engines.slo.indicators import queries
from engines.slo.windows import DAY_SECONDS, usual_seconds

LONGEST_WINDOW_SECONDS: Final = 366 * DAY_SECONDS
MOST_MEMBERS: Final = 50
MOST_LABELS_TO_GROUP_BY: Final = 5
MOST_PAIRS: Final = 20
SCRAPES_OF_A_SLICE: Final = 4

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_DIGITS: Final = 12


def checked_definition(given: ObjectiveDefinition) -> ObjectiveDefinition:
    """The definition as it will be kept. Raises ValidationFailed."""
    objective = _ratio(given.objective, "Objective", "objective")
    return replace(
        given,
        service=service_name(given.service, "service"),
        name=text.name(given.name, "Name", "name"),
        display_name=text.name(given.display_name, "Display name", "displayName") if given.display_name else "",
        description=text.prose(given.description, "Description", "description"),
        objective=objective,
        window=_window(given.window),
        budgeting=_budgeting(given.budgeting, given.window),
        indicator=_indicator(given.indicator),
        group_by=_group_by(given.group_by, given.indicator),
        alerting=_alerting(given.alerting, given.window),
        labels=labels(given.labels, "Labels", "labels"),
        annotations=labels(given.annotations, "Annotations", "annotations"),
    )


def remarks(definition: ObjectiveDefinition) -> list[str]:
    """What is allowed and probably not meant."""
    return [
        f'The alert "{alert.name}" can never fire: {alert.factor.normalize():f} times a budget of '
        f"{1 - definition.objective:f} is more than all events. Lower its factor below "
        f"{(1 / (1 - definition.objective)).quantize(Decimal('0.01')):f}."
        for alert in alerts_of(definition.alerting, definition.window)
        if never_fires(alert, definition.objective)
    ]


def require_scrapes(definition: ObjectiveDefinition, scrape_interval_seconds: float) -> None:
    """Raise ValidationFailed unless slices and short windows hold enough scrapes to tell an increase."""
    least_seconds = SCRAPES_OF_A_SLICE * scrape_interval_seconds
    if isinstance(definition.indicator, Composite):
        return
    if definition.budgeting.slice_seconds < least_seconds:
        raise ValidationFailed(
            f"Slices of {definition.budgeting.slice_seconds} s hold fewer than {SCRAPES_OF_A_SLICE} scrapes, one every "
            f"{scrape_interval_seconds:g} s. Use {least_seconds:g} s or more.",
            ("sliceSeconds",),
        )
    for position, pair in enumerate(definition.alerting.burn_rates):
        if pair.short_window_seconds < least_seconds:
            raise ValidationFailed(
                f'The short window of "{pair.name}" holds fewer than {SCRAPES_OF_A_SLICE} scrapes, one every '
                f"{scrape_interval_seconds:g} s. Use {least_seconds:g} s or more.",
                ("alerting", "burnRates", str(position), "shortWindowSeconds"),
            )


def _ratio(value: Decimal, label: str, *path: str) -> Decimal:
    if not value.is_finite():
        raise ValidationFailed(f"{label} must be a number", path)
    if value >= 1:
        hint = f"; {value.normalize():f} % is {(value / 100).normalize():f}" if 1 < value < 100 else ""
        raise ValidationFailed(
            f"{label} must be less than 1{hint}. With 1 there is no budget: a single failure spends it for ever", path
        )
    if value <= 0:
        raise ValidationFailed(f"{label} must be more than 0", path)
    if -int(value.normalize().as_tuple().exponent) > _DIGITS:
        raise ValidationFailed(f"{label} has more than {_DIGITS} digits", path)
    return value


def _window(window: Window) -> Window:
    if isinstance(window, RollingWindow):
        if not 0 < window.seconds <= LONGEST_WINDOW_SECONDS:
            raise ValidationFailed("The window must be longer than 0 and at most 366 days", ("windowSeconds",))
        return window
    if window.count < 1 or usual_seconds(window) > LONGEST_WINDOW_SECONDS:
        raise ValidationFailed("A calendar window must be one or more units, at most 366 days", ("calendar", "count"))
    try:
        ZoneInfo(window.time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise ValidationFailed(
            f"There is no time zone {window.time_zone!r:.100}. Use a name of the IANA database, such as Europe/Berlin.",
            ("calendar", "timeZone"),
        ) from error
    if window.starts_on is not None and window.unit is not CalendarUnit.WEEK and window.starts_on.day > 28:
        raise ValidationFailed("A window cannot start on a day that not every month has", ("calendar", "startsOn"))
    return window


def _budgeting(budgeting: Budgeting, window: Window) -> Budgeting:
    seconds = budgeting.slice_seconds
    if seconds < 1 or DAY_SECONDS % seconds:
        raise ValidationFailed(f"Slices of {seconds} s do not divide a day evenly", ("sliceSeconds",))
    if seconds > 300 and seconds % 300:
        raise ValidationFailed("Slices longer than 5 minutes must be a multiple of 5 minutes", ("sliceSeconds",))
    if seconds > usual_seconds(window):
        raise ValidationFailed("A slice cannot be longer than the window", ("sliceSeconds",))
    if budgeting.slice_objective is not None and budgeting.slice_objective != 1:
        _ratio(budgeting.slice_objective, "Slice objective", "sliceObjective")
    return budgeting


def _indicator(indicator: Indicator | Composite) -> Indicator | Composite:
    if isinstance(indicator, Composite):
        return _composite(indicator)
    for field, query in queries(indicator).items():
        promql.check(query, f"The {field} query", "indicator", field)
    if isinstance(indicator, RatioIndicator):
        if (indicator.good is None) == (indicator.bad is None):
            raise ValidationFailed("A ratio needs either a good or a bad query, and not both", ("indicator",))
        part, field = (indicator.good, "good") if indicator.good is not None else (indicator.bad or "", "bad")
        if "".join(part.split()) == "".join(indicator.total.split()):
            raise ValidationFailed(
                f"The {field} query is the same as the total query: then everything is {field}", ("indicator", field)
            )
    if isinstance(indicator, LatencyIndicator):
        if not promql.is_selector(indicator.histogram):
            raise ValidationFailed(
                'The histogram must be a selector without a suffix, such as http_request_duration_seconds{job="api"}',
                ("indicator", "histogram"),
            )
        if indicator.threshold_seconds <= 0:
            raise ValidationFailed("The threshold must be more than 0 s", ("indicator", "thresholdSeconds"))
    return indicator


def _composite(composite: Composite) -> Composite:
    path = ("indicator", "members")
    if not 2 <= len(composite.members) <= MOST_MEMBERS:
        raise ValidationFailed(f"A composite has from 2 to {MOST_MEMBERS} members", path)
    names = [(member.service.lower(), member.name.lower()) for member in composite.members]
    for position, member in enumerate(composite.members):
        if names.index(names[position]) != position:
            raise ValidationFailed(f'"{member.name}" of {member.service} is a member twice', (*path, str(position)))
        if not member.weight.is_finite() or member.weight <= 0:
            raise ValidationFailed("A weight must be more than 0", (*path, str(position), "weight"))
    return composite


def _group_by(names: Sequence[str], indicator: Indicator | Composite) -> tuple[str, ...]:
    if names and isinstance(indicator, Composite):
        raise ValidationFailed("A composite has one budget and cannot be grouped", ("groupBy",))
    if len(names) > MOST_LABELS_TO_GROUP_BY:
        raise ValidationFailed(f"Group by at most {MOST_LABELS_TO_GROUP_BY} labels", ("groupBy",))
    for position, name in enumerate(names):
        if not _LABEL_NAME.fullmatch(name) or name == "slo_id" or name in names[:position]:
            raise ValidationFailed(
                f"{name!r:.100} is no label to group by, or is given twice", ("groupBy", str(position))
            )
    return tuple(names)


def _alerting(alerting: Alerting, window: Window) -> Alerting:
    if len(alerting.burn_rates) > MOST_PAIRS:
        raise ValidationFailed(f"At most {MOST_PAIRS} pairs of windows can alert", ("alerting", "burnRates"))
    for position, pair in enumerate(alerting.burn_rates):
        _pair(pair, alerting.burn_rates[:position], window, "alerting", "burnRates", str(position))
    for name in ("minimum_total_events", "minimum_bad_events"):
        if getattr(alerting, name) < 0:
            raise ValidationFailed("A minimum of events cannot be negative", ("alerting",))
    return replace(
        alerting,
        labels=labels(alerting.labels, "Labels", "alerting", "labels"),
        annotations=labels(alerting.annotations, "Annotations", "alerting", "annotations"),
        page=_message(alerting.page, "page"),
        ticket=_message(alerting.ticket, "ticket"),
    )


def _pair(pair: BurnRateAlert, others: Sequence[BurnRateAlert], window: Window, *path: str) -> None:
    text.name(pair.name, "Name", *path, "name")
    if pair.name in (other.name for other in others):
        raise ValidationFailed(f"Another pair is called {pair.name!r:.100}", (*path, "name"))
    if not 0 < pair.short_window_seconds <= pair.long_window_seconds:
        raise ValidationFailed("The short window must be longer than 0 and not longer than the long one", path)
    if pair.long_window_seconds > usual_seconds(window):
        raise ValidationFailed(
            "The long window cannot be longer than the objective's own", (*path, "longWindowSeconds")
        )
    if not pair.factor.is_finite() or pair.factor <= 0:
        raise ValidationFailed("The factor must be more than 0", (*path, "factor"))


def _message(message: AlertMessage, name: str) -> AlertMessage:
    return replace(
        message,
        labels=labels(message.labels, "Labels", "alerting", name, "labels"),
        annotations=labels(message.annotations, "Annotations", "alerting", name, "annotations"),
    )
