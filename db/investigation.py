"""The work on an incident: tasks, hypotheses and the steps that test them."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Table,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from db.columns import changed, enum, id_column, json_object, prose, ratio, reference, timestamp, title
from db.metadata import metadata
from domain.correlation import RootCauseKind
from domain.investigation import HypothesisStatus, StepStatus, TaskStatus

incident_tasks = Table(
    "incident_tasks",
    metadata,
    id_column(),
    reference("incident_id", "incidents.id", on_delete="CASCADE"),
    *title(),
    *prose("description"),
    enum("status", TaskStatus, default=TaskStatus.OPEN),
    reference("assignee_id", "users.id", on_delete="SET NULL", nullable=True),
    timestamp("due_at", nullable=True),
    timestamp("completed_at", nullable=True),
    *changed(),
    CheckConstraint("(status in ('DONE', 'CANCELLED')) = (completed_at is not null)", name="completed_at_when_over"),
    Index(None, "incident_id", "created_at", "id"),
    Index(None, "assignee_id"),
)

investigation_hypotheses = Table(
    "investigation_hypotheses",
    metadata,
    id_column(),
    reference("incident_id", "incidents.id", on_delete="CASCADE"),
    *title(),
    *prose("description"),
    enum("status", HypothesisStatus, default=HypothesisStatus.PROPOSED),
    *ratio("confidence"),
    Column("is_automatic", Boolean, nullable=False, server_default=text("false")),
    enum("cause_kind", RootCauseKind, nullable=True),
    timestamp("judged_at", nullable=True),
    reference("service_id", "services.id", on_delete="SET NULL", nullable=True),
    Column("evidence_ids", ARRAY(Uuid), nullable=False, server_default=text("'{}'::uuid[]")),
    *changed(),
    UniqueConstraint("incident_id", "id"),
    CheckConstraint(
        "judged_at is null or status in ('CONFIRMED', 'REJECTED')", name="judged_when_confirmed_or_rejected"
    ),
    Index(None, "incident_id", "created_at", "id"),
    Index(
        "uq_investigation_hypotheses_automatic",
        "incident_id",
        "service_id",
        "cause_kind",
        unique=True,
        postgresql_where=text("is_automatic and cause_kind is not null"),
    ),
    Index(None, "service_id"),
)

investigation_steps = Table(
    "investigation_steps",
    metadata,
    id_column(),
    reference("incident_id", "incidents.id", on_delete="CASCADE"),
    Column("hypothesis_id", Uuid),
    *title(),
    *prose("description"),
    *prose("action"),
    enum("status", StepStatus, default=StepStatus.PENDING),
    *json_object("findings"),
    reference("assignee_id", "users.id", on_delete="SET NULL", nullable=True),
    timestamp("completed_at", nullable=True),
    *changed(),
    # Together with the incident, so that a step cannot test a hypothesis about another incident.
    ForeignKeyConstraint(
        ["incident_id", "hypothesis_id"],
        ["investigation_hypotheses.incident_id", "investigation_hypotheses.id"],
        ondelete="CASCADE",
    ),
    CheckConstraint("(status in ('COMPLETED', 'SKIPPED')) = (completed_at is not null)", name="completed_at_when_over"),
    Index(None, "incident_id", "created_at", "id"),
    Index(None, "hypothesis_id"),
    Index(None, "assignee_id"),
)
