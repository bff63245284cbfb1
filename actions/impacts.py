"""How incidents hurt services."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as insert_or_not

from actions.analyses import request_after_change
from actions.recording import Happening, incident_scopes, record, record_all, scope_of, scopes_of
from actions.rows import lock
from actions.service_status import follow_incidents, lock_services
from db.arrays import among
from db.database import Transaction
from db.incidents import HURT_SERVICES_SQL, dismissed_impacts, incidents, incidents_services
from db.recordsets import as_rows
from db.services import services
from domain import narration
from domain.access import Actor
from domain.changes import Change
from domain.feed import EventType
from domain.incidents import ImpactLevel, IncidentSource


@dataclass(frozen=True, slots=True)
class ComputedImpact:
    """How an analysis says that a service is hurt, how sure it is (0 to 1), and since when."""

    level: ImpactLevel
    score: float
    since: datetime


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
    await _remember_dismissal(tx, incident_id, service_id, is_dismissed=level is None)
    impact = (incidents_services.c.incident_id == incident_id) & (incidents_services.c.service_id == service_id)
    known = (await tx.execute(select(incidents_services.c.level, incidents_services.c.score).where(impact))).first()
    before = None if known is None else known.level
    if level is before and (known is None or known.score is None):
        return incident_id
    if level is None:
        await tx.execute(delete(incidents_services).where(impact))
    elif before is None:
        row = {"incident_id": incident_id, "service_id": service_id, "level": level, "source": source}
        since = max(since or tx.now, incident["started_at"])
        await tx.execute(insert(incidents_services).values(since=since, **row))
    else:
        await tx.execute(update(incidents_services).where(impact).values(level=level, source=source, score=None))
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
    await request_after_change(tx, incident_id)
    return incident_id


async def hurt_by_alerts(
    tx: Transaction, since: Mapping[tuple[UUID, UUID], datetime], *, source: IncidentSource, actor: Actor
) -> None:
    """Say that alerts hurt services second-hand, each (incident, service) since a time, all at once.

    Nobody resolves the incidents before this transaction ends.
    """
    if not since:
        return
    service_ids = {service_id for _, service_id in since}
    await lock_services(tx, service_ids)
    rows = [{"incident_id": it, "service_id": service_id, "since": time} for (it, service_id), time in since.items()]
    values = {"rows": as_rows(rows), "level": ImpactLevel.SECONDARY, "source": source}
    written = (await tx.execute(text(HURT_SERVICES_SQL), values)).all()
    scopes = incident_scopes().where(among(incidents.c.id, {row.incident_id for row in written}))
    told = {scope.incident_id: scope for scope in await scopes_of(tx, scopes)}
    happenings, entries = [], []
    for row in written:
        scope = told[row.incident_id]
        before = None if row.before is None else ImpactLevel(row.before)
        change = Change("level", before, ImpactLevel.SECONDARY)
        about = replace(scope, service_ids=tuple(dict.fromkeys([row.service_id, *scope.service_ids])))
        happening = Happening(EventType.SERVICE_IMPACT_CHANGED, row.service_id, about, (change,), "impact.set")
        happenings.append(happening)
        entries.append((about, narration.impact_changed(row.name, before, ImpactLevel.SECONDARY)))
    await record_all(tx, actor=actor, happenings=happenings, entries=entries)
    await follow_incidents(tx, service_ids, actor=actor)


async def _remember_dismissal(tx: Transaction, incident_id: UUID, service_id: UUID, *, is_dismissed: bool) -> None:
    """What people say of an impact is not computed again."""
    row = {"incident_id": incident_id, "service_id": service_id}
    if is_dismissed:
        await tx.execute(insert_or_not(dismissed_impacts).values(created_at=tx.now, **row).on_conflict_do_nothing())
    else:
        dismissed = dismissed_impacts.c
        await tx.execute(
            delete(dismissed_impacts).where(dismissed.incident_id == incident_id, dismissed.service_id == service_id)
        )


async def renew_computed_impacts(
    tx: Transaction, incident_id: UUID, computed: Mapping[UUID, ComputedImpact], *, actor: Actor
) -> None:
    """Let an analysis say whom an incident hurts, but for what people and alerts have said, who always win.

    What an earlier analysis said and this one does not is gone.
    """
    # Before its services, as everybody who changes both: alerts may say at this moment that it hurts them.
    await lock(tx, incidents, incident_id, "incidentId")
    hurt = incidents_services.c
    rows = await tx.execute(select(incidents_services).where(hurt.incident_id == incident_id).order_by(hurt.service_id))
    known = {row["service_id"]: row for row in rows.mappings()}
    dismissed = dismissed_impacts.c.service_id
    said = {*(await tx.execute(select(dismissed).where(dismissed_impacts.c.incident_id == incident_id))).scalars()}
    said |= {id for id, row in known.items() if row["score"] is None}
    wanted = {id: impact for id, impact in computed.items() if id not in said}
    changed: dict[UUID, tuple[ImpactLevel | None, ImpactLevel | None]] = {}
    for id, row in known.items():
        if id not in said and id not in wanted:
            await tx.execute(delete(incidents_services).where(hurt.incident_id == incident_id, hurt.service_id == id))
            changed[id] = row["level"], None
    for id, impact in sorted(wanted.items()):
        before = known[id]["level"] if id in known else None
        values = {"level": impact.level, "score": impact.score, "source": IncidentSource.DETECTION}
        if id in known:
            one = (hurt.incident_id == incident_id) & (hurt.service_id == id)
            await tx.execute(update(incidents_services).where(one).values(**values))
        else:
            place = {"incident_id": incident_id, "service_id": id, "since": impact.since}
            await tx.execute(insert(incidents_services).values(**place, **values))
        if before is not impact.level:
            changed[id] = before, impact.level
    if not changed:
        return
    scope = await scope_of(tx, incident_id)
    for id, (before, after) in changed.items():
        services_told = tuple(dict.fromkeys([id, *scope.service_ids]))
        await record(
            tx,
            actor=actor,
            action="impact.compute",
            subject_id=id,
            changes=[Change("level", before, after)],
            scope=replace(scope, service_ids=services_told),
            event=EventType.SERVICE_IMPACT_CHANGED,
        )
    await follow_incidents(tx, [*changed], actor=actor)
