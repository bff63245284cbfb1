"""Where people say that alerts belong."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, select, text, update

from actions.impacts import set_service_impact
from actions.incidents import IncidentChanges
from actions.incidents import update as update_incident
from actions.recording import Scope, record, scope_of
from actions.rows import lock
from actions.service_status import follow_incidents
from db.alert_grouping import PLACE_OCCURRENCES_SQL, WRITE_GROUPS_SQL
from db.alert_statements import ALERTS_LOCK
from db.alerts import alerts
from db.database import Transaction
from db.incidents import incidents, incidents_services
from db.recordsets import as_rows
from domain import narration
from domain.access import Actor
from domain.alerts import AlertStatus
from domain.changes import Change
from domain.errors import Conflict, ValidationFailed
from domain.incidents import ImpactLevel, IncidentStatus, Severity

_ORDER: Final = tuple(Severity)


async def move(tx: Transaction, alert_id: UUID, incident_id: UUID, *, actor: Actor) -> UUID:
    """Let an alert belong to an incident, where it stays. Raises NotFound, and Conflict for a resolved incident."""
    alert = await _lock(tx, alert_id)
    incident = await lock(tx, incidents, incident_id, "incidentId")
    if incident["status"] is IncidentStatus.RESOLVED:
        raise Conflict(f"INC-{incident['number']} is resolved: reopen it first", path=("incidentId",))
    if alert["incident_id"] == incident_id and alert["is_pinned"]:
        return alert_id
    apart = [id for id in alert["apart_from"] if id != incident_id]
    await _place(tx, alert, incident_id, is_pinned=True, apart_from=apart)
    groups = [{"incident_id": incident_id, "last_fired_at": alert["starts_at"]}]
    await tx.execute(text(WRITE_GROUPS_SQL), {"rows": as_rows(groups)})
    await _hurt(tx, alert, incident, actor)
    await _tell(tx, alert, alert["incident_id"], f"was moved to INC-{incident['number']} by {actor.name}", actor)
    await _tell(tx, alert, incident_id, f"was moved here by {actor.name}", actor)
    await _record(tx, alert, incident_id, "alert.move", actor)
    return alert_id


async def detach(tx: Transaction, alert_id: UUID, *, actor: Actor) -> UUID:
    """Let an alert stand alone, for ever. Where it fires, an incident of its own is opened soon.

    Raises NotFound, and ValidationFailed for an alert that belongs to no incident.
    """
    alert = await _lock(tx, alert_id)
    former = alert["incident_id"]
    if former is None:
        raise ValidationFailed("The alert belongs to no incident", ("alertId",))
    await _place(tx, alert, None, is_pinned=False, apart_from=[*{*alert["apart_from"], former}])
    await _tell(tx, alert, former, f"was detached by {actor.name}: it stands alone from now on", actor)
    await _record(tx, alert, None, "alert.detach", actor)
    return alert_id


async def _hurt(tx: Transaction, alert: RowMapping, incident: RowMapping, actor: Actor) -> None:
    """The incident is as severe as the alert at least while that fires, and hurts its service."""
    if alert["status"] is AlertStatus.FIRING and _ORDER.index(alert["severity"]) > _ORDER.index(incident["severity"]):
        await update_incident(tx, incident["id"], IncidentChanges(severity=alert["severity"]), actor=actor)
    if alert["service_id"] is None:
        return
    impact = incidents_services.c
    known = select(impact.level).where(impact.incident_id == incident["id"], impact.service_id == alert["service_id"])
    if (await tx.execute(known)).first() is None:
        await set_service_impact(
            tx, incident["id"], alert["service_id"], ImpactLevel.SECONDARY, since=alert["starts_at"], actor=actor
        )


async def _lock(tx: Transaction, alert_id: UUID) -> RowMapping:
    """The alert, while nothing else decides where alerts belong."""
    await tx.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": ALERTS_LOCK})
    return await lock(tx, alerts, alert_id, "alertId")


async def _place(tx: Transaction, alert: RowMapping, incident_id: UUID | None, **values: Any) -> None:
    changed = update(alerts).where(alerts.c.id == alert["id"])
    await tx.execute(changed.values(incident_id=incident_id, updated_at=tx.now, **values))
    # What it was part of is history, unless it goes on.
    if alert["status"] is AlertStatus.FIRING or incident_id is not None:
        place = {"alert_id": alert["id"], "starts_at": alert["starts_at"], "incident_id": incident_id}
        await tx.execute(text(PLACE_OCCURRENCES_SQL), {"rows": as_rows([place])})


async def _tell(tx: Transaction, alert: RowMapping, incident_id: UUID | None, said: str, actor: Actor) -> None:
    if incident_id is None:
        return
    scope = await scope_of(tx, incident_id)
    entry = narration.alert_moved(alert["name"], said, alert["id"])
    await record(tx, actor=actor, action="incident.alerts", subject_id=incident_id, scope=scope, entries=[entry])
    await follow_incidents(tx, scope.service_ids, actor=actor)


async def _record(tx: Transaction, alert: RowMapping, incident_id: UUID | None, action: str, actor: Actor) -> None:
    change = Change("incident_id", alert["incident_id"], incident_id)
    service_ids = () if alert["service_id"] is None else (alert["service_id"],)
    scope = Scope(incident_id, service_ids, alert["severity"])
    await record(tx, actor=actor, action=action, subject_id=alert["id"], changes=[change], scope=scope)
