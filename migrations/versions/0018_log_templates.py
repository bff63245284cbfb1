"""Keep the kinds of lines that services log, for rules that look for new ones."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the database to this revision."""
    op.create_table(
        "log_baselines",
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["rule_id"], ["detection_rules.id"], name=op.f("fk_log_baselines_rule_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["service_id"], ["services.id"], name=op.f("fk_log_baselines_service_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("rule_id", "service_id", name=op.f("pk_log_baselines")),
    )
    op.create_index(op.f("ix_log_baselines_service_id"), "log_baselines", ["service_id"], unique=False)
    op.create_table(
        "log_templates",
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column(
            "path", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
        sa.Column(
            "tokens", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("has_moved", sa.Boolean(), nullable=False),
        sa.CheckConstraint("jsonb_typeof(path) = 'array'", name=op.f("ck_log_templates_path_array")),
        sa.CheckConstraint("jsonb_typeof(tokens) = 'array'", name=op.f("ck_log_templates_tokens_array")),
        sa.CheckConstraint("char_length(id) between 1 and 200", name=op.f("ck_log_templates_id_length")),
        sa.CheckConstraint("char_length(level) between 1 and 200", name=op.f("ck_log_templates_level_length")),
        sa.ForeignKeyConstraint(
            ["rule_id", "service_id"],
            ["log_baselines.rule_id", "log_baselines.service_id"],
            name=op.f("fk_log_templates_rule_id_service_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("rule_id", "service_id", "id", name=op.f("pk_log_templates")),
    )


def downgrade() -> None:
    """Bring the database back to the revision before."""
    op.drop_table("log_templates")
    op.drop_index(op.f("ix_log_baselines_service_id"), table_name="log_baselines")
    op.drop_table("log_baselines")
