"""How incidents hurt services."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, insert, select, update

from actions.recording import record, scope_of
from actions.rows import lock
from actions.service_status import follow_incidents
from db.database import Transaction
from db.incidents import incidents, incidents_services
from db.services import services
from domain import narration
from domain.access import Actor
from domain.changes import Change
from domain.feed import EventType
from domain.incidents import ImpactLevel, IncidentSource


async def set_service_impact(
    tx: Transaction,
    incident_id: UUID,
    service_id: UUID,
    level: ImpactLevel | None,
    *,
    source: IncidentSource = IncidentSource.MANUAL,
    since: datetime | None = None,
    actor: Actor,
) -> UUID:
    """Say how an incident hurts a service, None meaning that it does not, and return the incident's id.

    It is hurt since now, unless `since` is known. What is as wanted already is left alone. Raises NotFound.
    """
    incident = await lock(tx, incidents, incident_id, "incidentId")
    service = await lock(tx, services, service_id, "serviceId")
    impact = (incidents_services.c.incident_id == incident_id) & (incidents_services.c.service_id == service_id)
    before = (await tx.execute(select(incidents_services.c.level).where(impact))).scalar_one_or_none()
    if level is before:
        return incident_id
    if level is None:
        await tx.execute(delete(incidents_services).where(impact))
    elif before is None:
        row = {"incident_id": incident_id, "service_id": service_id, "level": level, "source": source}
        since = max(since or tx.now, incident["started_at"])
        await tx.execute(insert(incidents_services).values(since=since, **row))
    else:
        await tx.execute(update(incidents_services).where(impact).values(level=level, source=source))
    scope = await scope_of(tx, incident_id)
    await record(
        tx,
        actor=actor,
        action="impact.set",
        subject_id=service_id,
        changes=[Change("level", before, level)],
        # Those who listen to the service also hear that it is no longer hurt.
        scope=replace(scope, service_ids=tuple(dict.fromkeys([service_id, *scope.service_ids]))),
        event=EventType.SERVICE_IMPACT_CHANGED,
        entries=[narration.impact_changed(service["name"], before, level)],
    )
    await follow_incidents(tx, [service_id], actor=actor)
    return incident_id
