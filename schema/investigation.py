"""The work on an incident: hypotheses, the steps that test them, and tasks."""

from db.investigation import incident_tasks, investigation_hypotheses, investigation_steps
from domain.correlation import RootCauseKind
from domain.investigation import HypothesisStatus, StepStatus, TaskStatus
from resolvers import sql
from schema.correlation import EVIDENCE_ORDER, Correlation
from schema.nodes import Node
from schema.people import User
from schema.references import IncidentRef, InvestigationStepRef, ServiceRef
from schema.scalars import JSON, DateTime

OF_INCIDENT = ("incidents {it}", "{it}.id = {parent}.incident_id")
ASSIGNEE = ("users {it}", "{it}.id = {parent}.assignee_id")


@sql.type(investigation_hypotheses)
class Hypothesis(Node):
    """What may have happened."""

    incident: IncidentRef = sql.one("What it explains.", *OF_INCIDENT)
    title: str = sql.column("The hypothesis, in a line.")
    description: str = sql.column("Why one may think so.")
    status: HypothesisStatus = sql.column("What is thought of it.")
    confidence: float = sql.column("How sure somebody is, 0 to 1.")
    is_automatic: bool = sql.column("Whether the correlation engine made it.")
    cause_kind: RootCauseKind | None = sql.column("What kind of thing went wrong, where the engine made it.")
    judged_at: DateTime | None = sql.column("When somebody confirmed or rejected it.")
    service: ServiceRef | None = sql.one(
        "The service that it blames.", "services {it}", "{it}.id = {parent}.service_id"
    )
    evidence: list[Correlation] = sql.many(
        "What speaks for it.", "correlations {it}", "{it}.id = any({parent}.evidence_ids)", EVIDENCE_ORDER
    )
    steps: list[InvestigationStepRef] = sql.many(
        "What is done to test it.",
        "investigation_steps {it}",
        "{it}.hypothesis_id = {parent}.id",
        "{it}.created_at, {it}.id",
    )
    created_at: DateTime = sql.column("When it was made.")
    updated_at: DateTime = sql.column("When it was last changed.")


@sql.type(investigation_steps)
class InvestigationStep(Node):
    """Something that is done to find out what happened."""

    incident: IncidentRef = sql.one("The incident.", *OF_INCIDENT)
    hypothesis: Hypothesis | None = sql.one(
        "The hypothesis that it tests.", "investigation_hypotheses {it}", "{it}.id = {parent}.hypothesis_id"
    )
    title: str = sql.column("What to find out, in a line.")
    description: str = sql.column("What else there is to say.")
    action: str = sql.column("What to do: a query, a command, a place to look.")
    status: StepStatus = sql.column("How far it is.")
    findings: JSON = sql.column("What came out.")
    assignee: User | None = sql.one("Who does it.", *ASSIGNEE)
    created_at: DateTime = sql.column("When it was made.")
    updated_at: DateTime = sql.column("When it was last changed.")
    completed_at: DateTime | None = sql.column("When it was done or given up.")


@sql.type(incident_tasks)
class IncidentTask(Node):
    """Something that has to be done about an incident."""

    incident: IncidentRef = sql.one("The incident.", *OF_INCIDENT)
    title: str = sql.column("What to do, in a line.")
    description: str = sql.column("What else there is to say.")
    status: TaskStatus = sql.column("How far it is.")
    assignee: User | None = sql.one("Who does it.", *ASSIGNEE)
    due_at: DateTime | None = sql.column("By when.")
    created_at: DateTime = sql.column("When it was made.")
    updated_at: DateTime = sql.column("When it was last changed.")
    completed_at: DateTime | None = sql.column("When it was done or given up.")
