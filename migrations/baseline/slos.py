"""Service level objectives."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR

from migrations.baseline.kinds import ADJUSTMENT_KIND, BUDGETING_METHOD, INDICATOR_KIND, SLO_STATUS, WINDOW_KIND


def create() -> None:
    """Create the tables, each after those it points to."""
    op.create_table(
        "slos",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("service_id", sa.Uuid, nullable=False),
        sa.Column("objective", sa.Numeric, nullable=False),
        sa.Column("window_days", sa.Integer, nullable=False),
        sa.Column("window_kind", WINDOW_KIND, nullable=False, server_default=sa.text("'ROLLING'")),
        sa.Column("budgeting_method", BUDGETING_METHOD, nullable=False, server_default=sa.text("'OCCURRENCES'")),
        sa.Column("indicator_kind", INDICATOR_KIND, nullable=False),
        sa.Column("indicator", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("labels", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("version", sa.Integer, nullable=False, server_default=sa.text("1")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "search",
            TSVECTOR,
            sa.Computed(
                "setweight(to_tsvector('english', name), 'A') || setweight(to_tsvector('english', description), 'B')",
                persisted=True,
            ),
        ),
        sa.CheckConstraint("char_length(name) between 1 and 200", name="name_length"),
        sa.CheckConstraint("char_length(description) between 0 and 20000", name="description_length"),
        sa.CheckConstraint("objective > 0 and objective < 1", name="objective_ratio"),
        sa.CheckConstraint("window_days between 1 and 366", name="window_days_range"),
        sa.CheckConstraint("jsonb_typeof(indicator) = 'object'", name="indicator_object"),
        sa.CheckConstraint("jsonb_typeof(labels) = 'object'", name="labels_object"),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], ondelete="RESTRICT"),
    )
    op.create_index("ix_slos_created_at_id", "slos", ["created_at", "id"])
    op.create_index(
        "ix_slos_labels", "slos", ["labels"], postgresql_using="gin", postgresql_ops={"labels": "jsonb_path_ops"}
    )
    op.create_index("ix_slos_name_id", "slos", ["name", "id"])
    op.create_index("ix_slos_objective_id", "slos", ["objective", "id"])
    op.create_index("ix_slos_search", "slos", ["search"], postgresql_using="gin")
    op.create_index("uq_slos_service_id_name", "slos", ["service_id", sa.text("lower(name)")], unique=True)

    op.create_table(
        "slo_states",
        sa.Column("slo_id", sa.Uuid, primary_key=True),
        sa.Column("status", SLO_STATUS, nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sli", sa.Float(53)),
        sa.Column("good_events", sa.Float(53)),
        sa.Column("total_events", sa.Float(53)),
        sa.Column("error_budget_remaining", sa.Float(53), nullable=False),
        sa.Column("error_budget_consumed", sa.Float(53), nullable=False),
        sa.Column("coverage", sa.Float(53), nullable=False),
        sa.Column("burn_rates", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
        sa.Column("budget_exhausts_at", sa.DateTime(timezone=True)),
        sa.Column("last_error", sa.Text),
        sa.CheckConstraint("sli between 0 and 1", name="sli_ratio"),
        sa.CheckConstraint("good_events > '-Infinity' and good_events < 'Infinity'", name="good_events_finite"),
        sa.CheckConstraint("total_events > '-Infinity' and total_events < 'Infinity'", name="total_events_finite"),
        sa.CheckConstraint(
            "error_budget_remaining > '-Infinity' and error_budget_remaining < 'Infinity'",
            name="error_budget_remaining_finite",
        ),
        sa.CheckConstraint(
            "error_budget_consumed > '-Infinity' and error_budget_consumed < 'Infinity'",
            name="error_budget_consumed_finite",
        ),
        sa.CheckConstraint("coverage between 0 and 1", name="coverage_ratio"),
        sa.CheckConstraint("jsonb_typeof(burn_rates) = 'array'", name="burn_rates_array"),
        sa.CheckConstraint("char_length(last_error) between 0 and 20000", name="last_error_length"),
        sa.ForeignKeyConstraint(["slo_id"], ["slos.id"], ondelete="CASCADE"),
    )
    op.create_index("ix_slo_states_status_slo_id", "slo_states", ["status", "slo_id"])

    op.create_table(
        "slo_slices",
        sa.Column("slo_id", sa.Uuid, primary_key=True),
        sa.Column("group_key", sa.Text, primary_key=True, server_default=sa.text("''")),
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("slice_seconds", sa.Integer, nullable=False, server_default=sa.text("300")),
        sa.Column("good", ARRAY(sa.Float(53)), nullable=False),
        sa.Column("total", ARRAY(sa.Float(53)), nullable=False),
        sa.CheckConstraint("slice_seconds > 0", name="slice_seconds_positive"),
        sa.CheckConstraint("cardinality(good) = cardinality(total)", name="same_slices"),
        sa.ForeignKeyConstraint(["slo_id"], ["slos.id"], ondelete="CASCADE"),
    )
    op.create_index("ix_slo_slices_day", "slo_slices", ["day"])

    op.create_table(
        "slo_versions",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("slo_id", sa.Uuid, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("definition", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.Uuid),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("jsonb_typeof(definition) = 'object'", name="definition_object"),
        sa.UniqueConstraint("slo_id", "version"),
        sa.ForeignKeyConstraint(["slo_id"], ["slos.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["actor_id"], ["users.id"], ondelete="SET NULL"),
    )
    op.create_index("ix_slo_versions_actor_id", "slo_versions", ["actor_id"])

    op.create_table(
        "slo_adjustments",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("slo_id", sa.Uuid, nullable=False),
        sa.Column("kind", ADJUSTMENT_KIND, nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recurrence", sa.Text),
        sa.Column("good_events", sa.Float(53)),
        sa.Column("total_events", sa.Float(53)),
        sa.Column("reason", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("actor_id", sa.Uuid),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("good_events > '-Infinity' and good_events < 'Infinity'", name="good_events_finite"),
        sa.CheckConstraint("total_events > '-Infinity' and total_events < 'Infinity'", name="total_events_finite"),
        sa.CheckConstraint("char_length(reason) between 0 and 20000", name="reason_length"),
        sa.CheckConstraint("ends_at > starts_at", name="ends_after_start"),
        sa.ForeignKeyConstraint(["slo_id"], ["slos.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["actor_id"], ["users.id"], ondelete="SET NULL"),
    )
    op.create_index("ix_slo_adjustments_actor_id", "slo_adjustments", ["actor_id"])
    op.create_index("ix_slo_adjustments_slo_id_starts_at", "slo_adjustments", ["slo_id", "starts_at"])
