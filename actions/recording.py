"""What a change leaves behind beside the changed row: its timeline entries, its audit entry and its events.

All three are written in the transaction of the change, so there is never one without the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Uuid, func, insert, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from db.audit import WRITE_AUDITS_SQL, audit_log
from db.database import Change as Written
from db.database import Transaction
from db.identifiers import new_id
from db.incidents import incidents, incidents_services
from db.outbox import WRITE_EVENTS_SQL, outbox
from db.people import users
from db.recordsets import as_rows
from db.timeline import WRITE_ENTRIES_SQL, timeline_events
from domain.access import Actor
from domain.audit import without_secrets
from domain.changes import Change, as_json
from domain.errors import NotFound
from domain.feed import EventType
from domain.incidents import Severity
from domain.limits import NAME_CHARACTERS, TEXT_CHARACTERS, TITLE_CHARACTERS
from domain.text import clipped
from domain.timeline import Entry
from domain.tracing import origin


@dataclass(frozen=True, slots=True)
class Scope:
    """What an event is about, for listeners who want to hear only of some incidents, services or severities. The
    service that it is about most comes first.
    """

    incident_id: UUID | None = None
    service_ids: tuple[UUID, ...] = ()
    severity: Severity | None = None


_NOTHING_SPECIAL = Scope()
_NO_PAYLOAD: Mapping[str, Any] = {}


async def scope_of(tx: Transaction, incident_id: UUID, *path: str) -> Scope:
    """The scope of what happens to an incident: its severity and services as they are now. Raises NotFound."""
    scopes = await scopes_of(tx, incident_scopes().where(incidents.c.id == incident_id))
    if not scopes:
        raise NotFound("incident", incident_id, path)
    return scopes[0]


def incident_scopes() -> Select[Any]:
    """Scopes of incidents, to be narrowed with `where` and given to `scopes_of`."""
    hurt = select(incidents_services.c.service_id).where(incidents_services.c.incident_id == incidents.c.id)
    hurt = hurt.order_by(incidents_services.c.level, incidents_services.c.service_id)
    service_ids = func.array(hurt.scalar_subquery(), type_=ARRAY(Uuid))
    return select(incidents.c.id, service_ids.label("service_ids"), incidents.c.severity)


async def scopes_of(tx: Transaction, narrowed: Select[Any]) -> list[Scope]:
    """The scopes that a narrowed `incident_scopes()` selects."""
    return [Scope(row.id, tuple(row.service_ids), row.severity) for row in await tx.execute(narrowed)]


def changes_of(written: Mapping[str, Written]) -> list[Change]:
    """What an update wrote, as it is recorded."""
    return [Change(column, change.before, change.after) for column, change in written.items()]


async def record(
    tx: Transaction,
    *,
    actor: Actor,
    action: str,
    subject_id: UUID,
    changes: Sequence[Change] = (),
    created: Mapping[str, Any] | None = None,
    deleted: Mapping[str, Any] | None = None,
    scope: Scope = _NOTHING_SPECIAL,
    event: EventType | None = None,
    entries: Sequence[Entry] = (),
    timelines: Sequence[Scope] | None = None,
    entry_id: UUID | None = None,
) -> None:
    """Write down that `actor` did `action` ("incident.resolve": what it was done to, and the verb).

    The audit entry holds the changed columns before and after, or the whole row that was created or deleted, without
    the secrets in them. `event`
    is told in `scope`, with the changes as payload. `entries` go to the timeline of each incident of `timelines` (that
    of `scope` by default), each with an event of its own; `entry_id` is the first entry's id, where it is known before.
    """
    told = [(entry, incident) for incident in (timelines if timelines is not None else (scope,)) for entry in entries]
    written = [(_entry_row(tx, entry, incident, actor), incident) for entry, incident in told]
    if entry_id is not None:
        written[0][0]["id"] = entry_id
    events: list[Mapping[str, Any]] = []
    if event is not None:
        events.append(_event_row(tx, event, subject_id, scope, actor, _payload(changes)))
    for row, incident in written:
        events.append(_event_row(tx, EventType.TIMELINE_EVENT_ADDED, row["id"], incident, actor, {}))
    before = deleted if deleted is not None else {change.column: change.before for change in changes}
    after = created if created is not None else {change.column: change.after for change in changes}
    await audit(
        tx,
        actor=actor,
        action=action,
        subject_id=subject_id,
        before=before if created is None else None,
        after=after if deleted is None else None,
    )
    if written:
        # Whoever acts need not be a user: then the source alone says who it was.
        known = select(users.c.id).where(users.c.id == actor.id).scalar_subquery()
        rows: list[Mapping[str, Any]] = [row for row, _ in written]
        await tx.execute(insert(timeline_events).values(actor_id=known), rows)
    if events:
        places = (await tx.execute(insert(outbox).returning(outbox.c.seq), events)).scalars()
        tx.last_event_seq = max(places)


async def audit(
    tx: Transaction,
    *,
    actor: Actor,
    action: str,
    subject_id: UUID | None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Write down what nobody but admins is told of, such as who signed in. `subject_id` is None for nobody known.

    Secrets are hidden, wherever they are.
    """
    row = _audit_row(tx, action, subject_id, actor)
    given = {name: value for name, value in (("before", before), ("after", after)) if value is not None}
    # Left out rather than None, which would be stored as JSON's null.
    row |= {name: without_secrets(as_json(value)) for name, value in given.items()}
    await tx.execute(insert(audit_log).values(row))


@dataclass(frozen=True, slots=True)
class Happening:
    """An event about a subject, told in a scope. With an `action` ("impact.set") its changes are audited too."""

    type: EventType
    subject_id: UUID
    scope: Scope
    changes: tuple[Change, ...] = ()
    action: str | None = None


async def record_all(
    tx: Transaction, *, actor: Actor, happenings: Sequence[Happening], entries: Sequence[tuple[Scope, Entry]]
) -> None:
    """Write down much at once that no person did: events, and entries of timelines with an event each.

    What has no action is not audited: what told of it is kept, alerts in their deliveries.
    """
    rows = [(_entry_row(tx, entry, scope, actor), scope) for scope, entry in entries]
    # What happens to many has the same changes.
    payloads = {id(it.changes): _payload(it.changes) for it in {id(it.changes): it for it in happenings}.values()}
    events = [_event(it.type, it.subject_id, it.scope, payloads[id(it.changes)]) for it in happenings]
    events += [_event(EventType.TIMELINE_EVENT_ADDED, row["id"], scope, _NO_PAYLOAD) for row, scope in rows]
    audits = [
        _audit_row(tx, it.action, it.subject_id, actor)
        | {"before": as_json({change.column: change.before for change in it.changes})}
        | {"after": as_json({change.column: change.after for change in it.changes})}
        for it in happenings
        if it.action is not None
    ]
    if audits:
        await tx.execute(text(WRITE_AUDITS_SQL), {"rows": as_rows(audits)})
    if rows:
        await tx.execute(text(WRITE_ENTRIES_SQL), {"rows": as_rows(row for row, _ in rows)})
    if events:
        values = {"rows": as_rows(events), "actor_id": actor.id, "now": tx.now, "traceparent": origin()}
        tx.last_event_seq = (await tx.execute(text(WRITE_EVENTS_SQL), values)).scalar_one()


def _event(type: EventType, subject_id: UUID, scope: Scope, payload: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": type,
        "incident_id": scope.incident_id,
        "service_ids": scope.service_ids,
        "severity": scope.severity,
        "subject_id": subject_id,
        "payload": payload,
    }


def _payload(changes: Sequence[Change]) -> dict[str, Any]:
    return {"changes": [change.as_json() for change in changes]}


def _entry_row(tx: Transaction, entry: Entry, incident: Scope, actor: Actor) -> dict[str, Any]:
    return {
        "id": new_id(),
        "incident_id": incident.incident_id,
        "type": entry.type,
        "occurred_at": entry.occurred_at or tx.now,
        "source": clipped(actor.name, NAME_CHARACTERS),
        "title": clipped(entry.title, TITLE_CHARACTERS),
        "description": clipped(entry.description, TEXT_CHARACTERS),
        "severity": entry.severity,
        "metadata": as_json(entry.metadata),
        "created_at": tx.now,
    }


def _event_row(
    tx: Transaction, type: EventType, subject_id: UUID, scope: Scope, actor: Actor, payload: Mapping[str, Any]
) -> dict[str, Any]:
    told = _event(type, subject_id, scope, payload)
    more = {"actor_id": actor.id, "occurred_at": tx.now, "traceparent": origin()}
    return {**told, "service_ids": [*scope.service_ids], **more}


def _audit_row(tx: Transaction, action: str, subject_id: UUID | None, actor: Actor) -> dict[str, Any]:
    return {
        "id": new_id(),
        "occurred_at": tx.now,
        "actor_id": actor.id,
        "actor_name": clipped(actor.name, NAME_CHARACTERS),
        "actor_subject": actor.subject,
        "action": action,
        "subject_type": action.partition(".")[0],
        "subject_id": subject_id,
        "request_id": actor.request_id,
        "address": actor.address,
    }
