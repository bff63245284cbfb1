"""What the correlation engine found."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from migrations.baseline.kinds import ANALYSIS_STATUS, CORRELATION_KIND, ROOT_CAUSE_KIND, TELEMETRY_BACKEND


def create() -> None:
    """Create the tables, each after those it points to."""
    op.create_table(
        "analyses",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("incident_id", sa.Uuid, nullable=False),
        sa.Column("status", ANALYSIS_STATUS, nullable=False),
        sa.Column("is_shown", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("engine_version", sa.Text, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True)),
        sa.Column("confidence", sa.Float(53), nullable=False),
        sa.Column("summary", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("impacts", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
        sa.Column("gaps", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
        sa.CheckConstraint("char_length(engine_version) between 1 and 200", name="engine_version_length"),
        sa.CheckConstraint("confidence between 0 and 1", name="confidence_ratio"),
        sa.CheckConstraint("char_length(summary) between 0 and 20000", name="summary_length"),
        sa.CheckConstraint("jsonb_typeof(impacts) = 'array'", name="impacts_array"),
        sa.CheckConstraint("jsonb_typeof(gaps) = 'array'", name="gaps_array"),
        sa.CheckConstraint("completed_at >= started_at", name="completed_after_start"),
        sa.CheckConstraint("(status = 'RUNNING') = (completed_at is null)", name="completed_when_over"),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], ondelete="CASCADE"),
    )
    op.create_index("ix_analyses_incident_id_started_at_id", "analyses", ["incident_id", "started_at", "id"])
    op.create_index("uq_analyses_shown", "analyses", ["incident_id"], unique=True, postgresql_where=sa.text("is_shown"))

    op.create_table(
        "correlations",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("incident_id", sa.Uuid, nullable=False),
        sa.Column("analysis_id", sa.Uuid, nullable=False),
        sa.Column("kind", CORRELATION_KIND, nullable=False),
        sa.Column("service_id", sa.Uuid),
        sa.Column("summary", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("score", sa.Float(53), nullable=False),
        sa.Column("score_components", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("lag_seconds", sa.Float(53)),
        sa.Column("backend", TELEMETRY_BACKEND),
        sa.Column("query", sa.Text),
        sa.Column("link", sa.Text),
        sa.Column("evidence", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(summary) between 0 and 20000", name="summary_length"),
        sa.CheckConstraint("score between 0 and 1", name="score_ratio"),
        sa.CheckConstraint("jsonb_typeof(score_components) = 'array'", name="score_components_array"),
        sa.CheckConstraint("lag_seconds > '-Infinity' and lag_seconds < 'Infinity'", name="lag_seconds_finite"),
        sa.CheckConstraint("char_length(query) <= 10000", name="query_length"),
        sa.CheckConstraint("char_length(link) between 1 and 2000", name="link_length"),
        sa.CheckConstraint("jsonb_typeof(evidence) = 'object'", name="evidence_object"),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["analysis_id"], ["analyses.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], ondelete="SET NULL"),
    )
    op.create_index("ix_correlations_analysis_id", "correlations", ["analysis_id"])
    op.create_index("ix_correlations_incident_id_score_id", "correlations", ["incident_id", "score", "id"])
    op.create_index("ix_correlations_service_id", "correlations", ["service_id"])

    op.create_table(
        "root_causes",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("analysis_id", sa.Uuid, nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("service_id", sa.Uuid, nullable=False),
        sa.Column("kind", ROOT_CAUSE_KIND, nullable=False),
        sa.Column("score", sa.Float(53), nullable=False),
        sa.Column("confidence", sa.Float(53), nullable=False),
        sa.Column("explanation", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("evidence_ids", ARRAY(sa.Uuid), nullable=False, server_default=sa.text("'{}'::uuid[]")),
        sa.CheckConstraint("rank > 0", name="rank_positive"),
        sa.CheckConstraint("score between 0 and 1", name="score_ratio"),
        sa.CheckConstraint("confidence between 0 and 1", name="confidence_ratio"),
        sa.CheckConstraint("char_length(explanation) between 0 and 20000", name="explanation_length"),
        sa.UniqueConstraint("analysis_id", "rank"),
        sa.ForeignKeyConstraint(["analysis_id"], ["analyses.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], ondelete="RESTRICT"),
    )
    op.create_index("ix_root_causes_service_id", "root_causes", ["service_id"])

    op.create_table(
        "recommendations",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("analysis_id", sa.Uuid, nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("rationale", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("action", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("runbook_url", sa.Text),
        sa.Column("evidence_ids", ARRAY(sa.Uuid), nullable=False, server_default=sa.text("'{}'::uuid[]")),
        sa.CheckConstraint("char_length(title) between 1 and 300", name="title_length"),
        sa.CheckConstraint("char_length(rationale) between 0 and 20000", name="rationale_length"),
        sa.CheckConstraint("char_length(action) between 0 and 20000", name="action_length"),
        sa.CheckConstraint("char_length(runbook_url) between 1 and 2000", name="runbook_url_length"),
        sa.UniqueConstraint("analysis_id", "rank"),
        sa.ForeignKeyConstraint(["analysis_id"], ["analyses.id"], ondelete="CASCADE"),
    )
