"""What people do with incidents."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, func, insert, select

from actions.analyses import request as request_analysis
from actions.discovery import find_or_discover, references
from actions.idempotency import first_answer
from actions.inputs import Checks, checked
from actions.recording import changes_of, record, scope_of
from actions.rows import lock, optional, require_version
from actions.service_status import follow_incidents, lock_services
from db.database import Transaction
from db.identifiers import new_id
from db.incidents import incidents, incidents_services
from db.people import users
from domain import narration, text
from domain.access import Actor
from domain.changes import Change
from domain.correlation import AnalysisTrigger
from domain.errors import ValidationFailed
from domain.feed import EventType
from domain.incidents import (
    ImpactLevel,
    IncidentSource,
    IncidentStatus,
    Lifecycle,
    Severity,
    advance,
    correct,
    opened,
)
from domain.incidents import reopen as reopened
from domain.json_values import labels
from domain.limits import INCIDENT_SERVICES
from domain.references import optional_id
from domain.unset import UNSET, Unset

# Any number that no other advisory lock of ours has.
_NUMBERS: Final = 4_901_776_210


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedService:
    """A service, by id or name, that an incident hurts. `level` None: PRIMARY for the first service, else SECONDARY."""

    service: str | UUID
    level: ImpactLevel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewIncident:
    """What is known of an incident when it is opened. `severity` may be spelled in any case."""

    title: str | None
    severity: Severity | str | None
    description: str | None = None
    services: Sequence[AffectedService] = ()
    source: IncidentSource = IncidentSource.MANUAL
    started_at: datetime | None = None
    detected_at: datetime | None = None
    commander_id: UUID | None = None
    labels: Any = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentChanges:
    """What shall be different about an incident. Only what is set counts; None empties what can be empty."""

    title: str | Unset | None = UNSET
    description: str | Unset | None = UNSET
    severity: Severity | str | Unset | None = UNSET
    status: IncidentStatus | str | Unset | None = UNSET
    commander_id: UUID | Unset | None = UNSET
    root_cause: str | Unset | None = UNSET
    resolution: str | Unset | None = UNSET
    postmortem_url: str | Unset | None = UNSET
    labels: Any = UNSET
    started_at: datetime | Unset | None = UNSET
    detected_at: datetime | Unset | None = UNSET
    acknowledged_at: datetime | Unset | None = UNSET
    mitigated_at: datetime | Unset | None = UNSET
    resolved_at: datetime | Unset | None = UNSET


_CHECKS: Final[Checks] = {
    "title": lambda value: text.line(value, "Title", "title"),
    "description": lambda value: text.prose(value, "Description", "description"),
    "severity": lambda value: text.choice(Severity, value, "Severity", "severity"),
    "status": lambda value: text.choice(IncidentStatus, value, "Status", "status"),
    "root_cause": lambda value: text.optional_prose(value, "Root cause", "rootCause"),
    "resolution": lambda value: text.optional_prose(value, "Resolution", "resolution"),
    "postmortem_url": lambda value: text.optional_url(value, "Postmortem URL", "postmortemUrl"),
    "labels": lambda value: labels(value, "Labels", "labels"),
    "commander_id": lambda value: optional_id(value, "user", "commanderId"),
    "source": lambda value: text.choice(IncidentSource, value, "Source", "source"),
}
_TIMES: Final = tuple(time.name for time in fields(Lifecycle) if time.name != "status")


async def create(tx: Transaction, new: NewIncident, *, actor: Actor, idempotency_key: str | None = None) -> UUID:
    """Open an incident, with the services that it hurts; names never seen before are added to the catalog.

    Raises ValidationFailed, IdempotencyKeyReused.
    """
    values = checked(new, _CHECKS)
    lifecycle = opened(started_at=new.started_at, detected_at=new.detected_at, now=tx.now)
    if len(new.services) > INCIDENT_SERVICES:
        raise ValidationFailed(f"An incident has {INCIDENT_SERVICES} services at most", ("services",))
    wanted = references((affected.service for affected in new.services), "services")
    levels = [affected.level for affected in new.services]
    asked = {**values, "services": [reference.value for reference in wanted], "levels": levels}
    asked |= {"started_at": new.started_at, "detected_at": new.detected_at}
    id = new_id()
    answer = await first_answer(tx, idempotency_key, operation="createIncident", input=asked, answer_id=id, actor=actor)
    if answer != id:
        return answer
    await optional(tx, users, values["commander_id"], "commanderId")
    hurt = await find_or_discover(tx, wanted, actor=actor)
    await lock_services(tx, [service["id"] for service in hurt])
    number = await next_number(tx)
    incident = await tx.insert(incidents, id=id, number=number, **asdict(lifecycle), **values)
    await _affect(tx, incident, hurt, levels)
    scope = await scope_of(tx, id)
    names = [*dict.fromkeys(service["name"] for service in hurt)]
    opening = {**incident, "services": names}
    await record(
        tx,
        actor=actor,
        action="incident.create",
        subject_id=id,
        changes=[Change("status", None, incident["status"])],
        created=opening,
        scope=scope,
        event=EventType.INCIDENT_CREATED,
        entries=[narration.incident_opened(opening, by=actor.name)],
    )
    await follow_incidents(tx, scope.service_ids, actor=actor)
    await request_analysis(tx, id, AnalysisTrigger.INCIDENT_CREATED)
    return id


async def update(
    tx: Transaction, incident_id: UUID, wanted: IncidentChanges, *, expected_version: int | None = None, actor: Actor
) -> UUID:
    """Change fields, severity, status (forward) or times. What is as wanted already is left alone.

    A new status stamps its time, unless that time is given too. Raises NotFound, ValidationFailed, InvalidTransition,
    and Conflict when the incident is not at `expected_version` any more.
    """
    values = checked(wanted, _CHECKS)
    status = values.pop("status", None)
    times = {time: getattr(wanted, time) for time in _TIMES if getattr(wanted, time) is not UNSET}
    incident = await lock(tx, incidents, incident_id, "id")
    require_version(incident, expected_version, _name(incident))
    lifecycle = _lifecycle(incident)
    if status not in (None, lifecycle.status):
        lifecycle = advance(lifecycle, status, now=tx.now, version=incident["version"], path=("status",))
    values |= asdict(correct(lifecycle, times, now=tx.now))
    commander = await optional(tx, users, values.get("commander_id"), "commanderId")
    names = {commander["id"]: commander["name"]} if commander else {}
    return await _change(tx, incident, values, action="incident.update", names=names, actor=actor)


async def acknowledge(tx: Transaction, incident_id: UUID, *, actor: Actor) -> UUID:
    """Say that somebody acts. Raises NotFound, and InvalidTransition unless the incident is open: the first one to
    acknowledge it did, and its time stays.
    """
    return await _advance(tx, incident_id, IncidentStatus.INVESTIGATING, {}, action="incident.acknowledge", actor=actor)


async def mitigate(tx: Transaction, incident_id: UUID, *, note: str | None = None, actor: Actor) -> UUID:
    """Say that users are no longer hurt. Raises NotFound, ValidationFailed, InvalidTransition."""
    note = text.prose(note, "Note", "note")
    return await _advance(
        tx, incident_id, IncidentStatus.MITIGATED, {}, action="incident.mitigate", note=note, actor=actor
    )


async def resolve(
    tx: Transaction,
    incident_id: UUID,
    *,
    root_cause: str | None = None,
    resolution: str | None = None,
    actor: Actor,
) -> UUID:
    """Say that the cause is removed, and what it was; what is None here stays as it is.

    Raises NotFound, ValidationFailed, InvalidTransition.
    """
    said = IncidentChanges(
        root_cause=UNSET if root_cause is None else root_cause,
        resolution=UNSET if resolution is None else resolution,
    )
    values = checked(said, _CHECKS)
    return await _advance(tx, incident_id, IncidentStatus.RESOLVED, values, action="incident.resolve", actor=actor)


async def reopen(tx: Transaction, incident_id: UUID, *, reason: str, actor: Actor) -> UUID:
    """Go back to work on an incident that was mitigated or resolved. Raises NotFound, ValidationFailed,
    InvalidTransition.
    """
    note = text.required_prose(reason, "Reason", "reason")
    incident = await lock(tx, incidents, incident_id, "id")
    values = asdict(reopened(_lifecycle(incident), version=incident["version"]))
    return await _change(tx, incident, values, action="incident.reopen", note=note, actor=actor)


async def _advance(
    tx: Transaction,
    incident_id: UUID,
    to: IncidentStatus,
    values: Mapping[str, Any],
    *,
    action: str,
    note: str = "",
    actor: Actor,
) -> UUID:
    incident = await lock(tx, incidents, incident_id, "id")
    lifecycle = advance(_lifecycle(incident), to, now=tx.now, version=incident["version"])
    return await _change(tx, incident, {**values, **asdict(lifecycle)}, action=action, note=note, actor=actor)


async def _change(
    tx: Transaction,
    incident: RowMapping,
    values: Mapping[str, Any],
    *,
    action: str,
    note: str = "",
    names: Mapping[UUID, str] = MappingProxyType({}),
    actor: Actor,
) -> UUID:
    """Write what differs, tell of it, and let the services follow. Nothing differs: nothing is written."""
    id: UUID = incident["id"]
    changes = changes_of(await tx.update(incidents, incident, **values))
    if not changes:
        return id
    scope = await scope_of(tx, id)
    await record(
        tx,
        actor=actor,
        action=action,
        subject_id=id,
        changes=changes,
        scope=scope,
        event=EventType.INCIDENT_UPDATED,
        entries=narration.incident_changed(changes, by=actor.name, note=note, names=names),
    )
    if any(change.column in ("status", "severity") for change in changes):
        await follow_incidents(tx, scope.service_ids, actor=actor)
    return id


async def next_number(tx: Transaction) -> Any:
    """The next number as SQL. From here to the end of the transaction nobody else gets one, so that none is left out
    when a transaction fails; therefore this comes late.
    """
    await tx.execute(select(func.pg_advisory_xact_lock(_NUMBERS)))
    return select(func.coalesce(func.max(incidents.c.number), 0) + 1).scalar_subquery()


async def _affect(
    tx: Transaction, incident: RowMapping, hurt: Sequence[RowMapping], levels: Sequence[ImpactLevel | None]
) -> None:
    impacts: dict[UUID, ImpactLevel] = {}
    for position, (service, level) in enumerate(zip(hurt, levels, strict=True)):
        default = ImpactLevel.SECONDARY if position else ImpactLevel.PRIMARY
        impacts.setdefault(service["id"], level or default)
    if impacts:
        known = {"incident_id": incident["id"], "source": incident["source"], "since": incident["started_at"]}
        rows: list[Mapping[str, Any]] = [
            {"service_id": service_id, "level": level, **known} for service_id, level in impacts.items()
        ]
        await tx.execute(insert(incidents_services), rows)


def _lifecycle(incident: RowMapping) -> Lifecycle:
    return Lifecycle(**{column.name: incident[column.name] for column in fields(Lifecycle)})


def _name(incident: RowMapping) -> str:
    return f"INC-{incident['number']}"
