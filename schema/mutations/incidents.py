"""Writes about incidents, their timelines and the services that they hurt."""

from typing import Annotated

import strawberry
from strawberry import UNSET, argument

from actions import analyses, impacts, incidents, timeline
from actions.incidents import AffectedService, IncidentChanges, NewIncident
from domain.errors import ValidationFailed
from domain.incidents import ImpactLevel, IncidentSource, IncidentStatus, Severity
from domain.permissions import INCIDENTS_WRITE
from domain.references import required_id
from resolvers import sql
from resolvers.mutations import given, or_none
from schema.incidents import Incident
from schema.mutations.declarations import (
    EXPECTED_VERSION,
    IDEMPOTENCY_KEY,
    input_type,
    mutation,
    optional,
    payload_type,
    required,
)
from schema.mutations.payloads import Info, Payload
from schema.scalars import JSON, URL, DateTime
from schema.timeline import TimelineEvent

IncidentId = Annotated[strawberry.ID, argument(description="The incident's id.")]


@payload_type
class IncidentPayload(Payload):
    """What came of a write to an incident."""

    incident: Incident | None = sql.member(
        "The incident as it is now. Null when nothing was written.", "incidents {it}", "row_id"
    )


@payload_type
class TimelineEventPayload(Payload):
    """What came of a write to a timeline."""

    timeline_event: TimelineEvent | None = sql.member(
        "The new entry. Null when nothing was written.", "timeline_events {it}", "row_id"
    )


@input_type
class CreateIncidentInput:
    """What is known of an incident when it is opened."""

    title: str = required("What is wrong, in a line.")
    severity: Severity = required("How much it hurts.")
    description: str | None = optional("What else is known.")
    services: list[str] | None = optional(
        "The services that it hurts, by name or id; a new name is added to the catalog. The first is hurt itself, the "
        "others suffer from it; `setServiceImpact` says otherwise."
    )
    source: IncidentSource | None = optional("Who says that something is wrong; MANUAL by default.")
    started_at: DateTime | None = optional("When users began to be hurt; when it became known by default.")
    detected_at: DateTime | None = optional("When it became known; now by default.")
    commander_id: strawberry.ID | None = optional("The user who leads the work.")
    labels: JSON | None = optional("Labels, a flat object of strings.")
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


@input_type
class UpdateIncidentInput:
    """What shall be different about an incident. What is left out stays; null empties what can be empty."""

    id: strawberry.ID = required("The incident's id.")
    expected_version: int | None = optional(EXPECTED_VERSION)
    title: str | None = optional("What is wrong, in a line.")
    description: str | None = optional("What else is known.")
    severity: Severity | None = optional("How much it hurts.")
    status: IncidentStatus | None = optional("Where the work on it stands: forward only, `reopenIncident` goes back.")
    commander_id: strawberry.ID | None = optional("The user who leads the work.")
    root_cause: str | None = optional("Why it happened.")
    resolution: str | None = optional("What ended it.")
    postmortem_url: URL | None = optional("Where it is written up.")
    labels: JSON | None = optional("Labels, a flat object of strings, instead of the present ones.")
    started_at: DateTime | None = optional("When users began to be hurt.")
    detected_at: DateTime | None = optional("When it became known.")
    acknowledged_at: DateTime | None = optional("When somebody began to act.")
    mitigated_at: DateTime | None = optional("When users were no longer hurt.")
    resolved_at: DateTime | None = optional("When the cause was removed.")


@strawberry.type
class IncidentMutations:
    """Writes about incidents."""

    @mutation(INCIDENTS_WRITE)
    async def create_incident(
        self, info: Info, input: Annotated[CreateIncidentInput, argument(description="What is known of it.")]
    ) -> IncidentPayload:
        """Open an incident."""
        hurt = [AffectedService(service=service) for service in or_none(input.services) or ()]
        return await IncidentPayload.of(
            info,
            lambda tx, actor: incidents.create(
                tx,
                given(NewIncident, input, services=hurt),
                idempotency_key=or_none(input.idempotency_key),
                actor=actor,
            ),
            "input",
        )

    @mutation(INCIDENTS_WRITE)
    async def update_incident(
        self, info: Info, input: Annotated[UpdateIncidentInput, argument(description="What shall be different.")]
    ) -> IncidentPayload:
        """Change fields, severity, status or times of an incident. A new status stamps its time."""
        return await IncidentPayload.of(
            info,
            lambda tx, actor: incidents.update(
                tx,
                required_id(input.id, "incident", "id"),
                given(IncidentChanges, input),
                expected_version=or_none(input.expected_version),
                actor=actor,
            ),
            "input",
        )

    @mutation(INCIDENTS_WRITE)
    async def acknowledge_incident(self, info: Info, id: IncidentId) -> IncidentPayload:
        """Say that somebody acts on an open incident."""
        return await IncidentPayload.of(
            info, lambda tx, actor: incidents.acknowledge(tx, required_id(id, "incident", "id"), actor=actor)
        )

    @mutation(INCIDENTS_WRITE)
    async def mitigate_incident(
        self,
        info: Info,
        id: IncidentId,
        note: Annotated[str | None, argument(description="What was done, for the timeline.")] = UNSET,
    ) -> IncidentPayload:
        """Say that users are no longer hurt."""
        return await IncidentPayload.of(
            info,
            lambda tx, actor: incidents.mitigate(
                tx, required_id(id, "incident", "id"), note=or_none(note), actor=actor
            ),
        )

    @mutation(INCIDENTS_WRITE)
    async def resolve_incident(
        self,
        info: Info,
        id: IncidentId,
        root_cause: Annotated[str | None, argument(description="Why it happened; as it was by default.")] = UNSET,
        resolution: Annotated[str | None, argument(description="What ended it; as it was by default.")] = UNSET,
    ) -> IncidentPayload:
        """Say that the cause is removed."""
        return await IncidentPayload.of(
            info,
            lambda tx, actor: incidents.resolve(
                tx,
                required_id(id, "incident", "id"),
                root_cause=or_none(root_cause),
                resolution=or_none(resolution),
                actor=actor,
            ),
        )

    @mutation(INCIDENTS_WRITE)
    async def reopen_incident(
        self, info: Info, id: IncidentId, reason: Annotated[str, argument(description="Why, for the timeline.")]
    ) -> IncidentPayload:
        """Go back to work on an incident that was mitigated or resolved."""
        return await IncidentPayload.of(
            info,
            lambda tx, actor: incidents.reopen(tx, required_id(id, "incident", "id"), reason=reason, actor=actor),
        )

    @mutation(INCIDENTS_WRITE)
    async def analyze_incident(self, info: Info, id: IncidentId) -> IncidentPayload:
        """Analyse an incident again, now: the run that is under way, if any, makes way. What is found comes as
        events."""
        return await IncidentPayload.of(
            info, lambda tx, actor: analyses.analyze(tx, required_id(id, "incident", "id"), actor=actor)
        )

    @mutation(INCIDENTS_WRITE)
    async def set_service_impact(
        self,
        info: Info,
        incident_id: IncidentId,
        service_id: Annotated[strawberry.ID, argument(description="The service's id.")],
        level: Annotated[
            ImpactLevel | None, argument(description="How it is hurt. Null says not at all, and cannot be left out.")
        ] = UNSET,
    ) -> IncidentPayload:
        """Say how an incident hurts a service."""
        return await IncidentPayload.of(
            info,
            lambda tx, actor: impacts.set_service_impact(
                tx,
                required_id(incident_id, "incident", "incidentId"),
                required_id(service_id, "service", "serviceId"),
                _level(level),
                actor=actor,
            ),
        )

    @mutation(INCIDENTS_WRITE)
    async def add_timeline_note(
        self,
        info: Info,
        incident_id: IncidentId,
        text: Annotated[str, argument(description="The note; its first line becomes the title.")],
        occurred_at: Annotated[DateTime | None, argument(description="When that was; now by default.")] = UNSET,
        idempotency_key: Annotated[str | None, argument(description=IDEMPOTENCY_KEY)] = UNSET,
    ) -> TimelineEventPayload:
        """Write something down on the timeline of an incident, resolved or not."""
        return await TimelineEventPayload.of(
            info,
            lambda tx, actor: timeline.add_note(
                tx,
                required_id(incident_id, "incident", "incidentId"),
                text,
                occurred_at=or_none(occurred_at),
                idempotency_key=or_none(idempotency_key),
                actor=actor,
            ),
        )


def _level(value: ImpactLevel | None) -> ImpactLevel | None:
    # A client that drops a variable without a value must not take the impact away by that.
    if value is UNSET:
        raise ValidationFailed("Level is required; null says that the service is not hurt", ("level",))
    return value
