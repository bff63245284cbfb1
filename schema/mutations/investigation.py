"""Writes about the work on an incident: hypotheses, the steps that test them, and tasks."""

from typing import Annotated
from uuid import UUID

import strawberry
from strawberry import argument

from actions import hypotheses, steps, tasks
from actions.hypotheses import HypothesisChanges, NewHypothesis
from actions.steps import NewStep, StepChanges
from actions.tasks import NewTask, TaskChanges
from domain.investigation import HypothesisStatus, StepStatus, TaskStatus
from domain.permissions import INCIDENTS_WRITE
from domain.references import required_id
from resolvers import sql
from resolvers.mutations import given, or_none
from schema.investigation import Hypothesis, IncidentTask, InvestigationStep
from schema.mutations.declarations import IDEMPOTENCY_KEY, input_type, mutation, optional, payload_type, required
from schema.mutations.payloads import Info, Payload
from schema.scalars import JSON, DateTime


@payload_type
class HypothesisPayload(Payload):
    """What came of a write to a hypothesis."""

    hypothesis: Hypothesis | None = sql.member(
        "The hypothesis as it is now. Null when nothing was written.", "investigation_hypotheses {it}", "row_id"
    )


@payload_type
class InvestigationStepPayload(Payload):
    """What came of a write to an investigation step."""

    step: InvestigationStep | None = sql.member(
        "The step as it is now. Null when nothing was written.", "investigation_steps {it}", "row_id"
    )


@payload_type
class TaskPayload(Payload):
    """What came of a write to a task."""

    task: IncidentTask | None = sql.member(
        "The task as it is now. Null when nothing was written.", "incident_tasks {it}", "row_id"
    )


@input_type
class CreateHypothesisInput:
    """What may have caused an incident."""

    incident_id: strawberry.ID = required("The incident that it explains.")
    title: str = required("The hypothesis, in a line.")
    description: str | None = optional("Why one may think so.")
    status: HypothesisStatus | None = optional("What is thought of it; PROPOSED by default.")
    confidence: float | None = optional("How sure somebody is, 0 to 1; 0.5 by default.")
    service_id: strawberry.ID | None = optional("The service that it blames.")
    evidence_ids: list[strawberry.ID] | None = optional("The correlations of the incident that speak for it.")
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


@input_type
class UpdateHypothesisInput:
    """What shall be different about a hypothesis. What is left out stays; null empties what can be empty."""

    id: strawberry.ID = required("The hypothesis' id.")
    title: str | None = optional("The hypothesis, in a line.")
    description: str | None = optional("Why one may think so.")
    status: HypothesisStatus | None = optional("What is thought of it.")
    confidence: float | None = optional("How sure somebody is, 0 to 1.")
    service_id: strawberry.ID | None = optional("The service that it blames.")
    evidence_ids: list[strawberry.ID] | None = optional(
        "The correlations of the incident that speak for it, instead of the present ones."
    )


@input_type
class CreateInvestigationStepInput:
    """Something to do to find out what happened."""

    incident_id: strawberry.ID = required("The incident.")
    title: str = required("What to find out, in a line.")
    hypothesis_id: strawberry.ID | None = optional("The hypothesis of the same incident that it tests.")
    description: str | None = optional("What else there is to say.")
    action: str | None = optional("What to do: a query, a command, a place to look.")
    findings: JSON | None = optional("What came out, an object.")
    assignee_id: strawberry.ID | None = optional("The user who does it.")
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


@input_type
class UpdateInvestigationStepInput:
    """What shall be different about a step. What is left out stays; null empties what can be empty."""

    id: strawberry.ID = required("The step's id.")
    title: str | None = optional("What to find out, in a line.")
    hypothesis_id: strawberry.ID | None = optional("The hypothesis of the same incident that it tests.")
    description: str | None = optional("What else there is to say.")
    action: str | None = optional("What to do: a query, a command, a place to look.")
    status: StepStatus | None = optional("How far it is.")
    findings: JSON | None = optional("What came out, an object, instead of the present one.")
    assignee_id: strawberry.ID | None = optional("The user who does it.")


@input_type
class CreateTaskInput:
    """Something to be done about an incident."""

    incident_id: strawberry.ID = required("The incident.")
    title: str = required("What to do, in a line.")
    description: str | None = optional("What else there is to say.")
    assignee_id: strawberry.ID | None = optional("The user who does it.")
    due_at: DateTime | None = optional("By when.")
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


@input_type
class UpdateTaskInput:
    """What shall be different about a task. What is left out stays; null empties what can be empty."""

    id: strawberry.ID = required("The task's id.")
    title: str | None = optional("What to do, in a line.")
    description: str | None = optional("What else there is to say.")
    status: TaskStatus | None = optional("How far it is.")
    assignee_id: strawberry.ID | None = optional("The user who does it.")
    due_at: DateTime | None = optional("By when.")


@strawberry.type
class InvestigationMutations:
    """Writes about the work on an incident."""

    @mutation(INCIDENTS_WRITE)
    async def create_hypothesis(
        self, info: Info, input: Annotated[CreateHypothesisInput, argument(description="The hypothesis.")]
    ) -> HypothesisPayload:
        """Propose a cause of an incident."""
        return await HypothesisPayload.of(
            info,
            lambda tx, actor: hypotheses.create(
                tx,
                given(NewHypothesis, input, incident_id=_incident_id(input)),
                idempotency_key=or_none(input.idempotency_key),
                actor=actor,
            ),
            "input",
        )

    @mutation(INCIDENTS_WRITE)
    async def update_hypothesis(
        self, info: Info, input: Annotated[UpdateHypothesisInput, argument(description="What shall be different.")]
    ) -> HypothesisPayload:
        """Change what is thought of a cause."""
        return await HypothesisPayload.of(
            info,
            lambda tx, actor: hypotheses.update(
                tx, required_id(input.id, "hypothesis", "id"), given(HypothesisChanges, input), actor=actor
            ),
            "input",
        )

    @mutation(INCIDENTS_WRITE)
    async def create_investigation_step(
        self, info: Info, input: Annotated[CreateInvestigationStepInput, argument(description="The step.")]
    ) -> InvestigationStepPayload:
        """Add a step to the investigation of an incident."""
        return await InvestigationStepPayload.of(
            info,
            lambda tx, actor: steps.create(
                tx,
                given(NewStep, input, incident_id=_incident_id(input)),
                idempotency_key=or_none(input.idempotency_key),
                actor=actor,
            ),
            "input",
        )

    @mutation(INCIDENTS_WRITE)
    async def update_investigation_step(
        self,
        info: Info,
        input: Annotated[UpdateInvestigationStepInput, argument(description="What shall be different.")],
    ) -> InvestigationStepPayload:
        """Change an investigation step."""
        return await InvestigationStepPayload.of(
            info,
            lambda tx, actor: steps.update(
                tx, required_id(input.id, "step", "id"), given(StepChanges, input), actor=actor
            ),
            "input",
        )

    @mutation(INCIDENTS_WRITE)
    async def create_task(
        self, info: Info, input: Annotated[CreateTaskInput, argument(description="The task.")]
    ) -> TaskPayload:
        """Add a task to an incident."""
        return await TaskPayload.of(
            info,
            lambda tx, actor: tasks.create(
                tx,
                given(NewTask, input, incident_id=_incident_id(input)),
                idempotency_key=or_none(input.idempotency_key),
                actor=actor,
            ),
            "input",
        )

    @mutation(INCIDENTS_WRITE)
    async def update_task(
        self, info: Info, input: Annotated[UpdateTaskInput, argument(description="What shall be different.")]
    ) -> TaskPayload:
        """Change a task."""
        return await TaskPayload.of(
            info,
            lambda tx, actor: tasks.update(
                tx, required_id(input.id, "task", "id"), given(TaskChanges, input), actor=actor
            ),
            "input",
        )


def _incident_id(input: CreateHypothesisInput | CreateInvestigationStepInput | CreateTaskInput) -> UUID:
    return required_id(input.incident_id, "incident", "incidentId")
