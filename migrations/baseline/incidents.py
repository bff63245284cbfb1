"""Incidents, their timelines and the work on them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR

from migrations.baseline.kinds import (
    HYPOTHESIS_STATUS,
    IMPACT_LEVEL,
    INCIDENT_SOURCE,
    INCIDENT_STATUS,
    SEVERITY,
    STEP_STATUS,
    TASK_STATUS,
    TIMELINE_EVENT_TYPE,
)


def create() -> None:
    """Create the tables, each after those it points to."""
    _create_incidents()
    _create_timeline()
    _create_investigation()


def _create_incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("severity", SEVERITY, nullable=False),
        sa.Column("status", INCIDENT_STATUS, nullable=False, server_default=sa.text("'OPEN'")),
        sa.Column("source", INCIDENT_SOURCE, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("detected_at", sa.DateTime(timezone=True)),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True)),
        sa.Column("mitigated_at", sa.DateTime(timezone=True)),
        sa.Column("resolved_at", sa.DateTime(timezone=True)),
        sa.Column("commander_id", sa.Uuid),
        sa.Column("root_cause", sa.Text),
        sa.Column("resolution", sa.Text),
        sa.Column("postmortem_url", sa.Text),
        sa.Column("labels", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("version", sa.Integer, nullable=False, server_default=sa.text("1")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "search",
            TSVECTOR,
            sa.Computed(
                "setweight(to_tsvector('english', title), 'A') || setweight(to_tsvector('english', description), 'B')",
                persisted=True,
            ),
        ),
        sa.CheckConstraint("char_length(title) between 1 and 300", name="title_length"),
        sa.CheckConstraint("char_length(description) between 0 and 20000", name="description_length"),
        sa.CheckConstraint("char_length(root_cause) between 0 and 20000", name="root_cause_length"),
        sa.CheckConstraint("char_length(resolution) between 0 and 20000", name="resolution_length"),
        sa.CheckConstraint("char_length(postmortem_url) between 1 and 2000", name="postmortem_url_length"),
        sa.CheckConstraint("jsonb_typeof(labels) = 'object'", name="labels_object"),
        sa.CheckConstraint("number > 0", name="number_positive"),
        sa.CheckConstraint("(status = 'RESOLVED') = (resolved_at is not null)", name="resolved_at_when_resolved"),
        sa.CheckConstraint("status <> 'MITIGATED' or mitigated_at is not null", name="mitigated_at_when_mitigated"),
        sa.CheckConstraint(
            "status <> 'INVESTIGATING' or (acknowledged_at is not null and mitigated_at is null)",
            name="acknowledged_at_when_investigating",
        ),
        sa.CheckConstraint(
            "status <> 'OPEN' or (acknowledged_at is null and mitigated_at is null)", name="untouched_when_open"
        ),
        sa.CheckConstraint(
            "started_at <= least(detected_at, acknowledged_at, mitigated_at, resolved_at)",
            name="started_before_everything",
        ),
        sa.UniqueConstraint("number"),
        sa.ForeignKeyConstraint(["commander_id"], ["users.id"], ondelete="SET NULL"),
    )
    op.create_index(
        "ix_incidents_active", "incidents", ["started_at", "id"], postgresql_where=sa.text("status <> 'RESOLVED'")
    )
    op.create_index("ix_incidents_commander_id", "incidents", ["commander_id"])
    op.create_index(
        "ix_incidents_labels",
        "incidents",
        ["labels"],
        postgresql_using="gin",
        postgresql_ops={"labels": "jsonb_path_ops"},
    )
    op.create_index("ix_incidents_search", "incidents", ["search"], postgresql_using="gin")
    op.create_index("ix_incidents_severity_id", "incidents", ["severity", "id"])
    op.create_index("ix_incidents_source_started_at_id", "incidents", ["source", "started_at", "id"])
    op.create_index("ix_incidents_started_at_id", "incidents", ["started_at", "id"])
    op.create_index("ix_incidents_status_started_at_id", "incidents", ["status", "started_at", "id"])
    op.create_index("ix_incidents_updated_at_id", "incidents", ["updated_at", "id"])

    op.create_table(
        "incidents_services",
        sa.Column("incident_id", sa.Uuid, primary_key=True),
        sa.Column("service_id", sa.Uuid, primary_key=True),
        sa.Column("level", IMPACT_LEVEL, nullable=False),
        sa.Column("source", INCIDENT_SOURCE, nullable=False),
        sa.Column("score", sa.Float(53)),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("score between 0 and 1", name="score_ratio"),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], ondelete="RESTRICT"),
    )
    op.create_index("ix_incidents_services_service_id_incident_id", "incidents_services", ["service_id", "incident_id"])


def _create_timeline() -> None:
    op.create_table(
        "timeline_events",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("incident_id", sa.Uuid, nullable=False),
        sa.Column("type", TIMELINE_EVENT_TYPE, nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("severity", SEVERITY),
        sa.Column("actor_id", sa.Uuid),
        sa.Column("metadata", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "search",
            TSVECTOR,
            sa.Computed(
                "setweight(to_tsvector('english', title), 'A') || setweight(to_tsvector('english', description), 'B')",
                persisted=True,
            ),
        ),
        sa.CheckConstraint("char_length(source) between 1 and 200", name="source_length"),
        sa.CheckConstraint("char_length(title) between 1 and 300", name="title_length"),
        sa.CheckConstraint("char_length(description) between 0 and 20000", name="description_length"),
        sa.CheckConstraint("jsonb_typeof(metadata) = 'object'", name="metadata_object"),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["actor_id"], ["users.id"], ondelete="SET NULL"),
    )
    op.create_index("ix_timeline_events_actor_id", "timeline_events", ["actor_id"])
    op.create_index(
        "ix_timeline_events_incident_id_occurred_at_id", "timeline_events", ["incident_id", "occurred_at", "id"]
    )
    op.create_index("ix_timeline_events_occurred_at_id", "timeline_events", ["occurred_at", "id"])
    op.create_index("ix_timeline_events_search", "timeline_events", ["search"], postgresql_using="gin")
    op.create_index("ix_timeline_events_severity_occurred_at_id", "timeline_events", ["severity", "occurred_at", "id"])
    op.create_index("ix_timeline_events_source_occurred_at_id", "timeline_events", ["source", "occurred_at", "id"])
    op.create_index("ix_timeline_events_type_occurred_at_id", "timeline_events", ["type", "occurred_at", "id"])


def _create_investigation() -> None:
    op.create_table(
        "incident_tasks",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("incident_id", sa.Uuid, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("status", TASK_STATUS, nullable=False, server_default=sa.text("'OPEN'")),
        sa.Column("assignee_id", sa.Uuid),
        sa.Column("due_at", sa.DateTime(timezone=True)),
        sa.Column("completed_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(title) between 1 and 300", name="title_length"),
        sa.CheckConstraint("char_length(description) between 0 and 20000", name="description_length"),
        sa.CheckConstraint(
            "(status in ('DONE', 'CANCELLED')) = (completed_at is not null)", name="completed_at_when_over"
        ),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["assignee_id"], ["users.id"], ondelete="SET NULL"),
    )
    op.create_index("ix_incident_tasks_assignee_id", "incident_tasks", ["assignee_id"])
    op.create_index(
        "ix_incident_tasks_incident_id_created_at_id", "incident_tasks", ["incident_id", "created_at", "id"]
    )

    op.create_table(
        "investigation_hypotheses",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("incident_id", sa.Uuid, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("status", HYPOTHESIS_STATUS, nullable=False, server_default=sa.text("'PROPOSED'")),
        sa.Column("confidence", sa.Float(53), nullable=False),
        sa.Column("is_automatic", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("service_id", sa.Uuid),
        sa.Column("evidence_ids", ARRAY(sa.Uuid), nullable=False, server_default=sa.text("'{}'::uuid[]")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(title) between 1 and 300", name="title_length"),
        sa.CheckConstraint("char_length(description) between 0 and 20000", name="description_length"),
        sa.CheckConstraint("confidence between 0 and 1", name="confidence_ratio"),
        sa.UniqueConstraint("incident_id", "id"),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], ondelete="SET NULL"),
    )
    op.create_index(
        "ix_investigation_hypotheses_incident_id_created_at_id",
        "investigation_hypotheses",
        ["incident_id", "created_at", "id"],
    )
    op.create_index("ix_investigation_hypotheses_service_id", "investigation_hypotheses", ["service_id"])

    op.create_table(
        "investigation_steps",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("incident_id", sa.Uuid, nullable=False),
        sa.Column("hypothesis_id", sa.Uuid),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("action", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("status", STEP_STATUS, nullable=False, server_default=sa.text("'PENDING'")),
        sa.Column("findings", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("assignee_id", sa.Uuid),
        sa.Column("completed_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(title) between 1 and 300", name="title_length"),
        sa.CheckConstraint("char_length(description) between 0 and 20000", name="description_length"),
        sa.CheckConstraint("char_length(action) between 0 and 20000", name="action_length"),
        sa.CheckConstraint("jsonb_typeof(findings) = 'object'", name="findings_object"),
        sa.CheckConstraint(
            "(status in ('COMPLETED', 'SKIPPED')) = (completed_at is not null)", name="completed_at_when_over"
        ),
        sa.ForeignKeyConstraint(
            ["incident_id", "hypothesis_id"],
            ["investigation_hypotheses.incident_id", "investigation_hypotheses.id"],
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["assignee_id"], ["users.id"], ondelete="SET NULL"),
    )
    op.create_index("ix_investigation_steps_assignee_id", "investigation_steps", ["assignee_id"])
    op.create_index("ix_investigation_steps_hypothesis_id", "investigation_steps", ["hypothesis_id"])
    op.create_index(
        "ix_investigation_steps_incident_id_created_at_id", "investigation_steps", ["incident_id", "created_at", "id"]
    )
