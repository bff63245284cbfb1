"""The work on an incident: hypotheses, the steps that test them, and tasks."""

from datetime import datetime
from enum import StrEnum

from domain.errors import ValidationFailed


class HypothesisStatus(StrEnum):
    """What is thought of a hypothesis."""

    PROPOSED = "PROPOSED"
    INVESTIGATING = "INVESTIGATING"
    CONFIRMED = "CONFIRMED"
    REJECTED = "REJECTED"


class StepStatus(StrEnum):
    """How far an investigation step is."""

    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    SKIPPED = "SKIPPED"


class TaskStatus(StrEnum):
    """How far a task is."""

    OPEN = "OPEN"
    IN_PROGRESS = "IN_PROGRESS"
    DONE = "DONE"
    CANCELLED = "CANCELLED"


def is_over(status: StepStatus | TaskStatus) -> bool:
    """Whether nobody has to do anything about a step or a task any more."""
    return status in (StepStatus.COMPLETED, StepStatus.SKIPPED, TaskStatus.DONE, TaskStatus.CANCELLED)


def completed_at(
    status: StepStatus | TaskStatus, completed_before: datetime | None, *, now: datetime
) -> datetime | None:
    """When a step or task in this status was over: when it first was, and nothing while there is work left."""
    return (completed_before or now) if is_over(status) else None


def confidence(value: object, *path: str) -> float:
    """How sure somebody is, from 0 to 1. Raises ValidationFailed."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValidationFailed("Confidence must be a number from 0 to 1", path)
    return float(value)
