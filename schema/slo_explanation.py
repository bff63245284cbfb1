"""Why a budget is where it is, and what another promise would have said."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import strawberry

from domain.slos import BurnResponse, SLOStatus
from engines.slo.explanation import Explanation
from resolvers import sql
from resolvers.context import RequestContext
from resolvers.slos import OverlappingIncident, Trial, budget_burns
from schema.references import IncidentRef, SLORef
from schema.scalars import DateTime
from schema.telemetry import Needed


@strawberry.type(description="A stretch of time in which a budget was spent.")
class BudgetBurnStretch:
    """A stretch of time in which a budget was spent."""

    starts_at: DateTime = strawberry.field(description="From when.")
    ends_at: DateTime = strawberry.field(description="Until when.")
    bad_events: float = strawberry.field(description="Bad events in it.")
    total_events: float = strawberry.field(description="All events in it.")
    error_budget_consumed: float = strawberry.field(description="The part of the window's budget that it took.")


@strawberry.type(description="An incident, and what a budget lost during it.")
class IncidentOfBudget:
    """An incident, and what a budget lost during it."""

    incident_id: strawberry.Private[UUID]
    incident: IncidentRef | None = sql.member("The incident.", "incidents {it}", "incident_id")
    error_budget_consumed: float = strawberry.field(
        description="The part of the window's budget that was spent during it, within the range."
    )


@strawberry.type(description="What an SLO spent in a range of time.")
class SLOExplanation:
    """What an SLO spent in a range of time."""

    starts_at: DateTime = strawberry.field(description="The start of the range.")
    ends_at: DateTime = strawberry.field(description="The end of the range, now at the latest.")
    good_events: float = strawberry.field(description="Good events in it.")
    bad_events: float = strawberry.field(description="Bad events in it.")
    total_events: float = strawberry.field(description="All events in it.")
    excluded_seconds: float = strawberry.field(description="Time in it that counts for nothing.")
    no_data_seconds: float = strawberry.field(description="Time in it of which nothing is known.")
    error_budget_consumed: float = strawberry.field(
        description="The part of the budget that it took, of the window at the end of the range."
    )
    error_budget_returned: float = strawberry.field(
        description="The part that came back, because what was spent before left the window meanwhile."
    )
    worst: list[BudgetBurnStretch] = strawberry.field(description="When most was spent, the worst first.")
    incidents: list[IncidentOfBudget] = strawberry.field(
        description="The incidents of its service meanwhile, oldest first."
    )


@strawberry.type(description="What an incident took of an SLO's budget.")
class IncidentBudgetBurn:
    """What an incident took of an SLO's budget."""

    slo_id: strawberry.Private[UUID]
    slo: SLORef | None = sql.member("The SLO.", "slos {it}", "slo_id")
    error_budget_consumed: float = strawberry.field(description="The part of its window's budget.")
    bad_events: float = strawberry.field(description="Bad events during the incident.")


@strawberry.type(description="A time in which an alert would have fired.")
class TrialFiring:
    """A time in which an alert would have fired."""

    name: str = strawberry.field(description="The alert's pair of windows.")
    response: BurnResponse = strawberry.field(description="What it asks for.")
    starts_at: DateTime = strawberry.field(description="When it begins to fire.")
    ends_at: DateTime | None = strawberry.field(description="When it ends; null when it is firing at the end.")


@strawberry.type(description="What another promise would have said.")
class SLOTrial:
    """What another promise would have said."""

    status: SLOStatus = strawberry.field(description="The status at the end.")
    measured_at: DateTime = strawberry.field(description="The end: when it is measured.")
    sli: float | None = strawberry.field(description="Good of all at the end; null without events.")
    good_events: float = strawberry.field(description="Good events in the window.")
    total_events: float = strawberry.field(description="All events in the window.")
    error_budget_remaining: float = strawberry.field(description="What is left of the budget at the end.")
    error_budget_consumed: float = strawberry.field(description="What is spent of the budget at the end.")
    coverage: float = strawberry.field(description="How much of the window is known, 0 to 1.")
    firings: list[TrialFiring] = strawberry.field(description="When its alerts would have fired, at most 100 times.")
    warnings: list[str] = strawberry.field(description="What is allowed and probably not meant.")


async def incident_budget_burns(needed: Needed, info: strawberry.Info[RequestContext]) -> list[IncidentBudgetBurn]:
    """What the incident with the needed `id` and times took of the budgets of the services that it hurts."""
    resolved_at = needed["resolved_at"]
    found = await budget_burns(
        info.context,
        UUID(needed["id"]),
        datetime.fromisoformat(needed["started_at"]),
        None if resolved_at is None else datetime.fromisoformat(resolved_at),
    )
    return [
        IncidentBudgetBurn(slo_id=one.slo_id, error_budget_consumed=one.consumed, bad_events=one.bad_events)
        for one in found
    ]


def explained(found: Explanation, incidents: Sequence[OverlappingIncident]) -> SLOExplanation:
    """An explanation as clients see it."""
    return SLOExplanation(
        starts_at=DateTime(found.starts_at),
        ends_at=DateTime(found.ends_at),
        good_events=found.good_events,
        bad_events=found.bad_events,
        total_events=found.total_events,
        excluded_seconds=found.excluded_seconds,
        no_data_seconds=found.no_data_seconds,
        error_budget_consumed=found.consumed,
        error_budget_returned=found.left_window,
        worst=[
            BudgetBurnStretch(
                starts_at=DateTime(one.starts_at),
                ends_at=DateTime(one.ends_at),
                bad_events=one.bad_events,
                total_events=one.total_events,
                error_budget_consumed=one.consumed,
            )
            for one in found.worst
        ],
        incidents=[
            IncidentOfBudget(incident_id=one.incident_id, error_budget_consumed=one.consumed) for one in incidents
        ],
    )


def tried(found: Trial) -> SLOTrial:
    """A trial as clients see it."""
    measured = found.measurement
    return SLOTrial(
        status=measured.status,
        measured_at=DateTime(measured.measured_at),
        sli=measured.sli,
        good_events=measured.good_events,
        total_events=measured.total_events,
        error_budget_remaining=measured.remaining,
        error_budget_consumed=measured.consumed,
        coverage=measured.coverage,
        firings=[
            TrialFiring(
                name=one.alert.name,
                response=one.alert.response,
                starts_at=DateTime(one.starts_at),
                ends_at=None if one.ends_at is None else DateTime(one.ends_at),
            )
            for one in found.firings
        ],
        warnings=[*found.remarks],
    )
