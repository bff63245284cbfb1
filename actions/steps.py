"""Investigation steps: what somebody looks at to find the cause of an incident."""

from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from actions.idempotency import first_answer
from actions.inputs import Checks, checked
from actions.recording import changes_of, record, scope_of
from actions.rows import lock, optional
from db.database import Transaction
from db.identifiers import new_id
from db.investigation import investigation_hypotheses, investigation_steps
from db.people import users
from domain import narration, text
from domain.access import Actor
from domain.changes import Change
from domain.errors import ValidationFailed
from domain.feed import EventType
from domain.investigation import StepStatus, completed_at
from domain.json_values import json_object
from domain.references import optional_id
from domain.timeline import TimelineEventType
from domain.unset import UNSET, Unset


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStep:
    """Something to look at, for a hypothesis of the same incident or for none."""

    incident_id: UUID
    title: str | None
    hypothesis_id: UUID | str | None = None
    description: str | None = None
    action: str | None = None
    findings: Any = field(default_factory=dict)
    assignee_id: UUID | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepChanges:
    """What shall be different about a step. Only what is set counts; None empties what can be empty."""

    title: str | Unset | None = UNSET
    hypothesis_id: UUID | str | Unset | None = UNSET
    description: str | Unset | None = UNSET
    action: str | Unset | None = UNSET
    status: StepStatus | str | Unset | None = UNSET
    findings: Any = UNSET
    assignee_id: UUID | str | Unset | None = UNSET


_CHECKS: Final[Checks] = {
    "title": lambda value: text.line(value, "Title", "title"),
    "hypothesis_id": lambda value: optional_id(value, "hypothesis", "hypothesisId"),
    "description": lambda value: text.prose(value, "Description", "description"),
    "action": lambda value: text.prose(value, "Action", "action"),
    "status": lambda value: text.choice(StepStatus, value, "Status", "status"),
    "findings": lambda value: json_object(value, "Findings", "findings"),
    "assignee_id": lambda value: optional_id(value, "user", "assigneeId"),
}


async def create(tx: Transaction, new: NewStep, *, actor: Actor, idempotency_key: str | None = None) -> UUID:
    """Add a step to the investigation. Raises NotFound, ValidationFailed, IdempotencyKeyReused."""
    values = {"incident_id": new.incident_id, **checked(new, _CHECKS)}
    id = new_id()
    answer = await first_answer(
        tx, idempotency_key, operation="createInvestigationStep", input=values, answer_id=id, actor=actor
    )
    if answer != id:
        return answer
    scope = await scope_of(tx, new.incident_id, "incidentId")
    await _require_hypothesis(tx, new.incident_id, values["hypothesis_id"])
    await optional(tx, users, values["assignee_id"], "assigneeId")
    step = await tx.insert(investigation_steps, id=id, **values)
    await record(
        tx,
        actor=actor,
        action="step.create",
        subject_id=id,
        changes=[Change("status", None, step["status"])],
        created={**step},
        scope=scope,
        event=EventType.STEP_CHANGED,
        entries=[narration.work_added(TimelineEventType.HYPOTHESIS, "Step", id, step["title"], step["description"])],
    )
    return id


async def update(tx: Transaction, step_id: UUID, wanted: StepChanges, *, actor: Actor) -> UUID:
    """Change a step; the time when it was first over is kept. What is as wanted already is left alone.

    Raises NotFound, ValidationFailed.
    """
    values = checked(wanted, _CHECKS)
    step = await lock(tx, investigation_steps, step_id, "id")
    await _require_hypothesis(tx, step["incident_id"], values.get("hypothesis_id"))
    await optional(tx, users, values.get("assignee_id"), "assigneeId")
    status = values.get("status", step["status"])
    values["completed_at"] = completed_at(status, step["completed_at"], now=tx.now)
    changes = changes_of(await tx.update(investigation_steps, step, **values))
    if changes:
        title = values.get("title", step["title"])
        await record(
            tx,
            actor=actor,
            action="step.update",
            subject_id=step_id,
            changes=changes,
            scope=await scope_of(tx, step["incident_id"]),
            event=EventType.STEP_CHANGED,
            entries=[narration.work_changed(TimelineEventType.HYPOTHESIS, "Step", step_id, title, changes)],
        )
    return step_id


async def _require_hypothesis(tx: Transaction, incident_id: UUID, hypothesis_id: UUID | None) -> None:
    if hypothesis_id is None:
        return
    of_this_incident = (
        select(investigation_hypotheses.c.id)
        .where(investigation_hypotheses.c.id == hypothesis_id, investigation_hypotheses.c.incident_id == incident_id)
        .with_for_update(read=True, key_share=True)
    )
    if (await tx.execute(of_this_incident)).first() is None:
        raise ValidationFailed(f"This incident has no hypothesis {hypothesis_id}", ("hypothesisId",))
