"""Service level objectives and what is left of their budgets."""

from typing import Annotated, Any
from uuid import UUID

import strawberry
from strawberry.types.nodes import SelectedField

from db.slos import slo_adjustments, slo_group_states, slo_states, slo_versions, slos
from domain.objectives import CalendarUnit
from domain.slos import AdjustmentKind, BudgetingMethod, BurnResponse, IndicatorKind, SLOStatus, WindowKind
from resolvers import sql
from resolvers.context import RequestContext
from resolvers.slos import as_selected, explanation, history
from schema.nodes import Node, TimeRange
from schema.people import User
from schema.references import ServiceRef
from schema.scalars import JSON, URL, DateTime
from schema.slo_explanation import SLOExplanation, explained
from schema.slo_formats import open_slo_field, prometheus_rules_field
from schema.telemetry import Needed

BURN_RATE = (
    "name text, long_window_seconds integer, short_window_seconds integer, long_rate double precision,"
    " short_rate double precision, threshold double precision, breached boolean, response burn_response"
)
STATE = "(select state.{column} from slo_states state where state.slo_id = {{it}}.id)"


@sql.type()
class Indicator:
    """How good and total events are told from metrics."""

    kind: IndicatorKind = sql.expression("What kind of indicator it is.", "{it}.indicator_kind")
    good_query: str | None = sql.expression("Counts good events, PromQL.", "{it}.indicator->>'good'")
    bad_query: str | None = sql.expression("Counts bad events, PromQL.", "{it}.indicator->>'bad'")
    total_query: str | None = sql.expression("Counts all events, PromQL.", "{it}.indicator->>'total'")
    specification: JSON = sql.expression("All of it, as it was given.", "{it}.indicator")


@sql.type(slo_states)
class SLOMeasurement:
    """An objective at one moment."""

    measured_at: DateTime = sql.column("The moment.")
    sli: float | None = sql.column("Good events of all events in the window, 0 to 1; null without events.")
    good_events: float | None = sql.column("Good events in the window.")
    total_events: float | None = sql.column("All events in the window.")
    error_budget_remaining: float = sql.column("What is left of the budget: 1 all, 0 nothing, negative overspent.")
    error_budget_consumed: float = sql.column("What is spent of the budget: 0 nothing, 1 all, more when overspent.")


@sql.type(record=BURN_RATE)
class BurnRate:
    """How fast a budget burns (Google SRE workbook, chapter 5)."""

    name: str = sql.expression("What this pair of windows is called.", "{it}.name")
    long_window_seconds: int = sql.expression("The long window.", "{it}.long_window_seconds")
    short_window_seconds: int = sql.expression("The short window.", "{it}.short_window_seconds")
    long_rate: float | None = sql.expression("The rate over the long window; 1 spends it exactly.", "{it}.long_rate")
    short_rate: float | None = sql.expression("The rate over the short window.", "{it}.short_rate")
    threshold: float = sql.expression("The rate that is too fast.", "{it}.threshold")
    breached: bool = sql.expression("Whether both rates are too fast.", "{it}.breached")
    response: BurnResponse = sql.expression("What that asks for.", "{it}.response")


@sql.type(record="status slo_status, action text, url text, applies boolean")
class ErrorBudgetPolicyRule:
    """What a status of an SLO asks of people."""

    status: SLOStatus = sql.expression("The status.", "{it}.status")
    action: str = sql.expression("What it asks for.", "{it}.action")
    url: URL | None = sql.expression("Where to read more.", "{it}.url")
    applies: bool = sql.expression("Whether that is the status now.", "coalesce({it}.applies, false)")


@sql.type(record="unit calendar_unit, count integer, time_zone text, starts_on text")
class CalendarPeriod:
    """The period of the calendar that a window follows."""

    unit: CalendarUnit = sql.expression("What it is as long as.", "{it}.unit")
    count: int = sql.expression("How many of these.", "{it}.count")
    time_zone: str = sql.expression("Whose midnights count, by the IANA database.", "{it}.time_zone")
    starts_on: str | None = sql.expression("A first day of a period, YYYY-MM-DD.", "{it}.starts_on")


@sql.type(slo_group_states)
class SLOGroup:
    """A group of an objective's events, with a budget of its own."""

    labels: JSON = sql.column("The labels that make the group.")
    status: SLOStatus = sql.column("What is left of its budget, in one word.")
    measured_at: DateTime = sql.column("When it was measured.")
    sli: float | None = sql.column("Good events of all events in the window; null without events.")
    good_events: float | None = sql.column("Good events in the window.")
    total_events: float | None = sql.column("All events in the window.")
    error_budget_remaining: float = sql.column("What is left of the budget: 1 all, 0 nothing, negative overspent.")
    error_budget_consumed: float = sql.column("What is spent of the budget.")
    coverage: float = sql.column("How much of the window is known, 0 to 1.")
    budget_exhausts_at: DateTime | None = sql.column("When the budget will be gone at the present rate.")
    burn_rates: JSON = sql.column("How fast its budget burns.")


@sql.type(slo_adjustments)
class SLOAdjustment:
    """What does not count against a budget, by whom and why."""

    id: strawberry.ID = sql.column("Its id.")
    kind: AdjustmentKind = sql.column("Whether time or events are taken out.")
    starts_at: DateTime = sql.column("From when.")
    ends_at: DateTime = sql.column("Until when.")
    recurrence: str | None = sql.column("How it recurs, an RRULE (RFC 5545).")
    time_zone: str | None = sql.column("The time zone in which it recurs; UTC when null.")
    good_events: float | None = sql.column("Good events that it adds.")
    total_events: float | None = sql.column("Events that it adds.")
    reason: str = sql.column("Why.")
    actor: User | None = sql.one("Who did it.", "users {it}", "{it}.id = {parent}.actor_id")
    created_at: DateTime = sql.column("When it was made.")


@sql.type(slo_versions)
class SLOVersion:
    """What was promised from a moment on."""

    version: int = sql.column("The SLO's version that promised it.")
    valid_from: DateTime = sql.column("Since when slices are judged by it.")
    definition: JSON = sql.column("All of the promise.")
    actor: User | None = sql.one("Who promised it.", "users {it}", "{it}.id = {parent}.actor_id")


async def slo_history(
    needed: Needed,
    info: strawberry.Info[RequestContext],
    range: Annotated[TimeRange, strawberry.argument(description="When.")],
    step_seconds: Annotated[
        int | None,
        strawberry.argument(description="Seconds from one measurement to the next; chosen to suit, at most 1000."),
    ] = strawberry.UNSET,
) -> list[SLOMeasurement]:
    """The measurements of the SLO with the needed `id`, each over the window before it."""
    step = None if step_seconds is strawberry.UNSET else step_seconds
    found = await history(info.context, UUID(needed["id"]), range.from_, range.to, step)
    answer: list[SLOMeasurement] = as_selected(found, _plainly_selected(info))
    return answer


async def slo_explanation(
    needed: Needed,
    info: strawberry.Info[RequestContext],
    range: Annotated[TimeRange, strawberry.argument(description="When.")],
) -> SLOExplanation:
    """What the SLO with the needed `id` spent."""
    return explained(*await explanation(info.context, UUID(needed["id"]), range.from_, range.to))


def _plainly_selected(info: strawberry.Info[Any]) -> list[tuple[str, str]] | None:
    """Key and name of each selected field, or None where fragments or directives make it less simple."""
    fields: dict[str, str] = {}
    for field in info.selected_fields:
        for selected in field.selections:
            if not isinstance(selected, SelectedField) or selected.directives or field.directives:
                return None
            fields[selected.alias or selected.name] = selected.name
    return list(fields.items())


@sql.type(slos)
class SLO(Node):
    """How good a service has to be."""

    name: str = sql.column("What it is called, unique for its service.")
    description: str = sql.column("What it promises.")
    service: ServiceRef = sql.one("The service that promises it.", "services {it}", "{it}.id = {parent}.service_id")
    objective: float = sql.column("Good events of all events, 0 to 1.")
    display_name: str | None = sql.column("What people call it, where that is not its name.")
    window_days: int = sql.column("The days that it is judged over, rounded up.")
    window_seconds: int = sql.column("The time that it is judged over; a month counts as 30 days, a quarter as 90.")
    calendar: CalendarPeriod | None = sql.one(
        "The period of the calendar that its window follows; null for a rolling one.",
        "(select {parent}.calendar_unit as unit, {parent}.calendar_count as count,"
        " coalesce({parent}.time_zone, 'UTC') as time_zone, {parent}.starts_on::text as starts_on) {it}",
        "{it}.unit is not null",
    )
    window_kind: WindowKind = sql.column("Which days these are.")
    budgeting_method: BudgetingMethod = sql.column("What is counted.")
    slice_seconds: int = sql.column("How long its slices of time are.")
    slice_objective: float | None = sql.column("The ratio that makes a slice good; its objective when null.")
    group_by: JSON = sql.column("The labels of which every combination has a budget of its own.")
    alerting: JSON = sql.column("Whom it alerts about which burns.")
    annotations: JSON = sql.column("Annotations, a flat object of strings.")
    error_budget_policy: list[ErrorBudgetPolicyRule] = sql.many(
        "What which status asks for.",
        "(select rule.status, rule.action, rule.url,"
        " rule.status = (select state.status from slo_states state where state.slo_id = {parent}.id) as applies,"
        " rule.position from rows from (jsonb_to_recordset({parent}.error_budget_policy)"
        " as (status slo_status, action text, url text)) with ordinality as rule(status, action, url, position)) {it}",
        "true",
        "{it}.position",
    )
    indicator: Indicator = sql.embedded("How good events are told.")
    status: SLOStatus = sql.expression(
        "What is left of its budget, in one word.", f"coalesce({STATE.format(column='status')}, 'NO_DATA')"
    )
    labels: JSON = sql.column("Labels, a flat object of strings.")
    version: int = sql.column("Counts its changes.")
    created_at: DateTime = sql.column("When it was made.")
    updated_at: DateTime = sql.column("When it was last changed.")
    current: SLOMeasurement | None = sql.one(
        "Its last evaluation; null when nothing happened in its window.",
        "slo_states {it}",
        "{it}.slo_id = {parent}.id and {it}.sli is not null",
    )
    coverage: float | None = sql.expression(
        "How much of its window is known, 0 to 1; null before the first evaluation.", STATE.format(column="coverage")
    )
    evaluated_at: DateTime | None = sql.expression(
        "The end of the last slice that was evaluated.", STATE.format(column="evaluated_through")
    )
    last_error: str | None = sql.expression(
        "Why it could not be evaluated, where it could not.", STATE.format(column="last_error")
    )
    groups: list[SLOGroup] = sql.many(
        "Its groups, the worst first.",
        "slo_group_states {it}",
        "{it}.slo_id = {parent}.id",
        "{it}.error_budget_remaining, {it}.group_key",
    )
    adjustments: list[SLOAdjustment] = sql.many(
        "What does not count, oldest first.", "slo_adjustments {it}", "{it}.slo_id = {parent}.id", "{it}.id"
    )
    versions: list[SLOVersion] = sql.many(
        "What was promised when, oldest first.", "slo_versions {it}", "{it}.slo_id = {parent}.id", "{it}.version"
    )
    history: list[SLOMeasurement] = sql.elsewhere(
        "How it was measured over time, from its stored slices. Moments without events in their window are left out.",
        slo_history,
        id="{it}.id",
    )
    explanation: SLOExplanation = sql.elsewhere(
        "What it spent in a range of time, and when most of that.", slo_explanation, id="{it}.id"
    )
    burn_rates: list[BurnRate] = sql.many(
        "How fast its budget burns.",
        f"slo_states {{it}}_state, lateral jsonb_to_recordset({{it}}_state.burn_rates) as {{it}}({BURN_RATE})",
        "{it}_state.slo_id = {parent}.id",
        "{it}.long_window_seconds, {it}.name",
    )
    budget_exhausts_at: DateTime | None = sql.expression(
        "When the budget will be gone at the present rate.", STATE.format(column="budget_exhausts_at")
    )
    open_slo: str = open_slo_field()
    prometheus_rules: str = prometheus_rules_field()
