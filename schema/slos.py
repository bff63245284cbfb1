"""Service level objectives and what is left of their budgets."""

from db.slos import slo_states, slos
from domain.slos import BudgetingMethod, BurnResponse, IndicatorKind, SLOStatus, WindowKind
from resolvers import sql
from schema.nodes import Node
from schema.references import ServiceRef
from schema.scalars import JSON, DateTime
from schema.slo_formats import open_slo_field, prometheus_rules_field

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


@sql.type(slos)
class SLO(Node):
    """How good a service has to be."""

    name: str = sql.column("What it is called, unique for its service.")
    description: str = sql.column("What it promises.")
    service: ServiceRef = sql.one("The service that promises it.", "services {it}", "{it}.id = {parent}.service_id")
    objective: float = sql.column("Good events of all events, 0 to 1.")
    window_days: int = sql.column("The days that it is judged over.")
    window_kind: WindowKind = sql.column("Which days these are.")
    budgeting_method: BudgetingMethod = sql.column("What is counted.")
    indicator: Indicator = sql.embedded("How good events are told.")
    status: SLOStatus = sql.expression(
        "What is left of its budget, in one word.", f"coalesce({STATE.format(column='status')}, 'NO_DATA')"
    )
    labels: JSON = sql.column("Labels, a flat object of strings.")
    version: int = sql.column("Counts its changes.")
    created_at: DateTime = sql.column("When it was made.")
    updated_at: DateTime = sql.column("When it was last changed.")
    current: SLOMeasurement | None = sql.one("Its last evaluation.", "slo_states {it}", "{it}.slo_id = {parent}.id")
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
