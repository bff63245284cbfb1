"""What people add to the story of an incident."""

from datetime import datetime
from uuid import UUID

from actions.idempotency import first_answer
from actions.recording import record, scope_of
from actions.rows import get
from db.database import Transaction
from db.identifiers import new_id
from db.incidents import incidents
from domain import narration, text
from domain.access import Actor
from domain.errors import ValidationFailed
from domain.moments import past_moment


async def add_note(
    tx: Transaction,
    incident_id: UUID,
    note: str,
    *,
    occurred_at: datetime | None = None,
    actor: Actor,
    idempotency_key: str | None = None,
) -> UUID:
    """Add a note to the timeline, at any time of the incident's life and after it, and return the entry's id.

    Raises NotFound, ValidationFailed, IdempotencyKeyReused.
    """
    note = text.required_prose(note, "Text", "text")
    if occurred_at is not None:
        occurred_at = past_moment(occurred_at, "Occurred at", "occurredAt", now=tx.now)
    id = new_id()
    asked = {"incident_id": incident_id, "text": note, "occurred_at": occurred_at}
    answer = await first_answer(
        tx, idempotency_key, operation="addTimelineNote", input=asked, answer_id=id, actor=actor
    )
    if answer != id:
        return answer
    incident = await get(tx, incidents, incident_id, "incidentId")
    if occurred_at is not None and occurred_at < incident["started_at"]:
        raise ValidationFailed("Occurred at lies before the incident started", ("occurredAt",))
    entry = narration.note(note, occurred_at=occurred_at)
    await record(
        tx,
        actor=actor,
        action="timeline_event.add_note",
        subject_id=id,
        created={"incident_id": incident_id, "text": note, "occurred_at": occurred_at},
        scope=await scope_of(tx, incident_id),
        entries=[entry],
        entry_id=id,
    )
    return id
