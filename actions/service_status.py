"""The status of a service, which follows the incidents that hurt it."""

from collections import defaultdict
from collections.abc import Collection
from typing import Final
from uuid import UUID

from sqlalchemy import RowMapping, select, update

from actions.recording import Happening, Scope, record_all
from db.arrays import among
from db.database import Transaction
from db.incidents import incidents, incidents_services
from db.services import services
from domain.access import Actor
from domain.changes import Change
from domain.feed import EventType
from domain.incidents import ImpactLevel, IncidentStatus
from domain.services import ActiveImpact, ServiceStatus, status_under

HURTING: Final = (IncidentStatus.OPEN, IncidentStatus.INVESTIGATING)
"""In these an incident hurts its services; once it is mitigated it does no more."""


async def lock_services(tx: Transaction, service_ids: Collection[UUID]) -> list[RowMapping]:
    """Hold services, always in the order of their ids, so that two transactions never wait for each other."""
    if not service_ids:
        return []
    statement = select(services.c.id, services.c.status).where(among(services.c.id, service_ids))
    statement = statement.order_by(services.c.id).with_for_update(key_share=True)
    return [*(await tx.execute(statement)).mappings()]


async def follow_incidents(tx: Transaction, service_ids: Collection[UUID], *, actor: Actor) -> None:
    """Bring the status of services in line with the incidents that hurt them, as they are after this transaction."""
    # Only a later statement sees what other transactions wrote before they let go of the services.
    rows = await lock_services(tx, service_ids)
    if not rows:
        return
    active = await _active_impacts(tx, service_ids)
    were_hurt = await _were_hurt(tx, service_ids)
    changed: dict[ServiceStatus, list[UUID]] = defaultdict(list)
    happenings = []
    for row in rows:
        id, status = row["id"], row["status"]
        new = status_under(status, active[id], was_hurt=id in were_hurt)
        if new is not status:
            changed[new].append(id)
            change = Change("status", status, new)
            scope = Scope(service_ids=(id,))
            happenings.append(Happening(EventType.SERVICE_CHANGED, id, scope, (change,), "service.follow_incidents"))
    for new, ids in changed.items():
        # Without counting up the version: the fields that people edit are as they were.
        await tx.execute(update(services).where(among(services.c.id, ids)).values(status=new, updated_at=tx.now))
    await record_all(tx, actor=actor, happenings=happenings, entries=())


async def _active_impacts(tx: Transaction, service_ids: Collection[UUID]) -> dict[UUID, list[ActiveImpact]]:
    hurt = incidents_services.c
    statement = (
        select(hurt.service_id, hurt.level, incidents.c.severity)
        .join(incidents, incidents.c.id == hurt.incident_id)
        .where(among(hurt.service_id, service_ids), incidents.c.status.in_(HURTING))
        .distinct()
    )
    impacts: dict[UUID, list[ActiveImpact]] = defaultdict(list)
    for impact in await tx.execute(statement):
        impacts[impact.service_id].append(ActiveImpact(impact.level, impact.severity))
    return impacts


async def _were_hurt(tx: Transaction, service_ids: Collection[UUID]) -> set[UUID]:
    hurt = incidents_services.c
    past = (
        select(hurt.incident_id)
        .join(incidents, incidents.c.id == hurt.incident_id)
        .where(hurt.service_id == services.c.id, hurt.level != ImpactLevel.SUSPECTED)
        .where(incidents.c.status.not_in(HURTING))
    )
    statement = select(services.c.id).where(among(services.c.id, service_ids), past.exists())
    return {*(await tx.execute(statement)).scalars()}
