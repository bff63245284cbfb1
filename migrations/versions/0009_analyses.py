"""Let analyses be replayed, judged and told apart."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TRIGGER = postgresql.ENUM(
    "INCIDENT_CREATED", "INCIDENT_CHANGED", "REQUESTED", name="analysis_trigger", create_type=False
)
_ADVICE = postgresql.ENUM(
    "ROLL_BACK",
    "SCALE",
    "RESTART",
    "OPEN_CIRCUIT",
    "CONTACT_OWNER",
    "FOLLOW_RUNBOOK",
    "REPEAT_RESOLUTION",
    "LOOK_CLOSER",
    name="recommendation_kind",
    create_type=False,
)
_CAUSE_KIND = postgresql.ENUM(name="root_cause_kind", create_type=False)
_CHECKS = {
    "analyses": {"why_not_length": "char_length(why_not) between 0 and 20000"},
    "correlations": {"name_length": "char_length(name) between 1 and 300"},
    "root_causes": {
        "score_components_array": "jsonb_typeof(score_components) = 'array'",
        "score_finite": "score > '-Infinity' and score < 'Infinity'",
        "score_positive": "score >= 0",
    },
    "investigation_hypotheses": {
        "judged_when_confirmed_or_rejected": "judged_at is null or status in ('CONFIRMED', 'REJECTED')"
    },
}


def upgrade() -> None:
    """Bring the database to this revision."""
    for enum in (_TRIGGER, _ADVICE):
        enum.create(op.get_bind())
    op.create_table(
        "dismissed_impacts",
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name=op.f("fk_dismissed_impacts_incident_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["service_id"], ["services.id"], name=op.f("fk_dismissed_impacts_service_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("incident_id", "service_id", name=op.f("pk_dismissed_impacts")),
    )
    op.create_index(op.f("ix_dismissed_impacts_service_id"), "dismissed_impacts", ["service_id"], unique=False)
    op.create_table(
        "analysis_records",
        sa.Column("analysis_id", sa.Uuid(), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=False),
        sa.Column("evidence_digest", sa.Text(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("answer_digest", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "char_length(answer_digest) between 1 and 200", name=op.f("ck_analysis_records_answer_digest_length")
        ),
        sa.CheckConstraint(
            "char_length(evidence_digest) between 1 and 200", name=op.f("ck_analysis_records_evidence_digest_length")
        ),
        sa.ForeignKeyConstraint(
            ["analysis_id"], ["analyses.id"], name=op.f("fk_analysis_records_analysis_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("analysis_id", name=op.f("pk_analysis_records")),
    )
    op.add_column(
        "analyses",
        sa.Column(
            "trigger",
            _TRIGGER,
            server_default=sa.text("'REQUESTED'"),
            nullable=False,
        ),
    )
    op.add_column("analyses", sa.Column("is_superseded", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("analyses", sa.Column("why_not", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("correlations", sa.Column("name", sa.Text(), nullable=True))
    op.add_column("correlations", sa.Column("related_incident_id", sa.Uuid(), nullable=True))
    op.drop_index(op.f("ix_correlations_service_id"), table_name="correlations")
    op.create_index(op.f("ix_correlations_related_incident_id"), "correlations", ["related_incident_id"], unique=False)
    op.create_index(
        op.f("ix_correlations_service_id_kind_name"), "correlations", ["service_id", "kind", "name"], unique=False
    )
    op.create_foreign_key(
        op.f("fk_correlations_related_incident_id"),
        "correlations",
        "incidents",
        ["related_incident_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.add_column(
        "investigation_hypotheses",
        sa.Column(
            "cause_kind",
            _CAUSE_KIND,
            nullable=True,
        ),
    )
    op.add_column("investigation_hypotheses", sa.Column("judged_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "uq_investigation_hypotheses_automatic",
        "investigation_hypotheses",
        ["incident_id", "service_id", "cause_kind"],
        unique=True,
        postgresql_where=sa.text("is_automatic and cause_kind is not null"),
    )
    op.add_column(
        "recommendations",
        sa.Column(
            "kind",
            _ADVICE,
            nullable=True,
        ),
    )
    op.add_column(
        "root_causes",
        sa.Column(
            "score_components",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
    )
    op.add_column("root_causes", sa.Column("started_at", sa.DateTime(timezone=True), nullable=True))
    op.drop_constraint(op.f("ck_root_causes_score_ratio"), "root_causes", type_="check")
    for table, checks in _CHECKS.items():
        for name, condition in checks.items():
            op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)


def downgrade() -> None:
    """Bring the database back to the revision before."""
    for name in ("score_finite", "score_positive"):
        op.drop_constraint(op.f(f"ck_root_causes_{name}"), "root_causes", type_="check")
    op.execute("update root_causes set score = 1 where score > 1")
    op.create_check_constraint(op.f("ck_root_causes_score_ratio"), "root_causes", "score between 0 and 1")
    op.drop_constraint(
        op.f("ck_investigation_hypotheses_judged_when_confirmed_or_rejected"), "investigation_hypotheses", type_="check"
    )
    op.drop_column("root_causes", "started_at")
    op.drop_column("root_causes", "score_components")
    op.drop_column("recommendations", "kind")
    op.drop_index(
        "uq_investigation_hypotheses_automatic",
        table_name="investigation_hypotheses",
        postgresql_where=sa.text("is_automatic and cause_kind is not null"),
    )
    op.drop_column("investigation_hypotheses", "judged_at")
    op.drop_column("investigation_hypotheses", "cause_kind")
    op.drop_constraint(op.f("fk_correlations_related_incident_id"), "correlations", type_="foreignkey")
    op.drop_index(op.f("ix_correlations_service_id_kind_name"), table_name="correlations")
    op.drop_index(op.f("ix_correlations_related_incident_id"), table_name="correlations")
    op.create_index(op.f("ix_correlations_service_id"), "correlations", ["service_id"], unique=False)
    op.drop_column("correlations", "related_incident_id")
    op.drop_column("correlations", "name")
    op.drop_column("analyses", "why_not")
    op.drop_column("analyses", "is_superseded")
    op.drop_column("analyses", "trigger")
    op.drop_table("analysis_records")
    op.drop_index(op.f("ix_dismissed_impacts_service_id"), table_name="dismissed_impacts")
    op.drop_table("dismissed_impacts")
    for enum in (_ADVICE, _TRIGGER):
        enum.drop(op.get_bind())
