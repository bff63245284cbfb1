"""The work on an incident: hypotheses, the steps that test them, and tasks."""

from enum import StrEnum


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
