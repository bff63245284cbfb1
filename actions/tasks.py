"""Tasks: what has to be done about an incident, and by whom."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from actions.idempotency import first_answer
from actions.inputs import Checks, checked
from actions.recording import changes_of, record, scope_of
from actions.rows import lock, optional
from db.database import Transaction
from db.identifiers import new_id
from db.investigation import incident_tasks
from db.people import users
from domain import narration, text
from domain.access import Actor
from domain.changes import Change
from domain.feed import EventType
from domain.investigation import TaskStatus, completed_at
from domain.moments import moment
from domain.references import optional_id
from domain.timeline import TimelineEventType
from domain.unset import UNSET, Unset


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """Something to be done about an incident."""

    incident_id: UUID
    title: str | None
    description: str | None = None
    assignee_id: UUID | str | None = None
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskChanges:
    """What shall be different about a task. Only what is set counts; None empties what can be empty."""

    title: str | Unset | None = UNSET
    description: str | Unset | None = UNSET
    status: TaskStatus | str | Unset | None = UNSET
    assignee_id: UUID | str | Unset | None = UNSET
    due_at: datetime | Unset | None = UNSET


_CHECKS: Final[Checks] = {
    "title": lambda value: text.line(value, "Title", "title"),
    "description": lambda value: text.prose(value, "Description", "description"),
    "status": lambda value: text.choice(TaskStatus, value, "Status", "status"),
    "assignee_id": lambda value: optional_id(value, "user", "assigneeId"),
    "due_at": lambda value: None if value is None else moment(value, "Due at", "dueAt"),
}


async def create(tx: Transaction, new: NewTask, *, actor: Actor, idempotency_key: str | None = None) -> UUID:
    """Add a task to an incident. Raises NotFound, ValidationFailed, IdempotencyKeyReused."""
    values = {"incident_id": new.incident_id, **checked(new, _CHECKS)}
    id = new_id()
    answer = await first_answer(tx, idempotency_key, operation="createTask", input=values, answer_id=id, actor=actor)
    if answer != id:
        return answer
    scope = await scope_of(tx, new.incident_id, "incidentId")
    await optional(tx, users, values["assignee_id"], "assigneeId")
    task = await tx.insert(incident_tasks, id=id, **values)
    await record(
        tx,
        actor=actor,
        action="task.create",
        subject_id=id,
        changes=[Change("status", None, task["status"])],
        created={**task},
        scope=scope,
        event=EventType.TASK_CHANGED,
        entries=[narration.work_added(TimelineEventType.TASK, "Task", id, task["title"], task["description"])],
    )
    return id


async def update(tx: Transaction, task_id: UUID, wanted: TaskChanges, *, actor: Actor) -> UUID:
    """Change a task; the time when it was first over is kept. What is as wanted already is left alone.

    Raises NotFound, ValidationFailed.
    """
    values = checked(wanted, _CHECKS)
    task = await lock(tx, incident_tasks, task_id, "id")
    await optional(tx, users, values.get("assignee_id"), "assigneeId")
    status = values.get("status", task["status"])
    values["completed_at"] = completed_at(status, task["completed_at"], now=tx.now)
    changes = changes_of(await tx.update(incident_tasks, task, **values))
    if changes:
        title = values.get("title", task["title"])
        await record(
            tx,
            actor=actor,
            action="task.update",
            subject_id=task_id,
            changes=changes,
            scope=await scope_of(tx, task["incident_id"]),
            event=EventType.TASK_CHANGED,
            entries=[narration.work_changed(TimelineEventType.TASK, "Task", task_id, title, changes)],
        )
    return task_id
