"""Let SLOs have windows of any length, calendars, groups, alerting and composites."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ENUM, JSONB

from migrations.baseline.kinds import SLO_STATUS

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None

_CALENDAR_UNIT = ENUM("DAY", "WEEK", "MONTH", "QUARTER", "YEAR", name="calendar_unit", create_type=False)
_CHECKS = {
    "display_name_length": "char_length(display_name) between 1 and 200",
    "window_seconds_range": "window_seconds between 1 and 31622400",
    "calendar_count_range": "calendar_count between 1 and 366",
    "calendar_unit_when_calendar": "(window_kind = 'CALENDAR') = (calendar_unit is not null)",
    "time_zone_length": "char_length(time_zone) between 1 and 200",
    "slice_seconds_range": "slice_seconds between 1 and 86400",
    "slice_objective_ratio": "slice_objective > 0 and slice_objective <= 1",
    "group_by_array": "jsonb_typeof(group_by) = 'array'",
    "alerting_object": "jsonb_typeof(alerting) = 'object'",
    "error_budget_policy_array": "jsonb_typeof(error_budget_policy) = 'array'",
    "annotations_object": "jsonb_typeof(annotations) = 'object'",
}


def _columns() -> tuple[sa.Column[Any], ...]:
    """What `slos` gains. A column belongs to one table only, so they are made anew each time."""
    return (
        sa.Column("display_name", sa.Text),
        sa.Column("window_seconds", sa.Integer, nullable=False, server_default=sa.text("2592000")),
        sa.Column("calendar_unit", _CALENDAR_UNIT),
        sa.Column("calendar_count", sa.Integer, nullable=False, server_default=sa.text("1")),
        sa.Column("time_zone", sa.Text),
        sa.Column("starts_on", sa.Date),
        sa.Column("slice_seconds", sa.Integer, nullable=False, server_default=sa.text("300")),
        sa.Column("slice_objective", sa.Numeric),
        sa.Column("group_by", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
        sa.Column("alerting", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("error_budget_policy", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
        sa.Column("annotations", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("revision", sa.Integer, nullable=False, server_default=sa.text("1")),
    )


def upgrade() -> None:
    """Bring the database to this revision."""
    op.execute("alter type budgeting_method add value if not exists 'RATIO_TIMESLICES' after 'TIMESLICES'")
    op.execute("alter type indicator_kind add value if not exists 'RAW_RATIO' after 'THRESHOLD'")
    op.execute("alter type indicator_kind add value if not exists 'COMPOSITE' after 'RAW_RATIO'")
    _CALENDAR_UNIT.create(op.get_bind())
    for column in _columns():
        op.add_column("slos", column)
    op.execute(
        "update slos set window_seconds = window_days * 86400,"
        " calendar_unit = case when window_kind = 'CALENDAR' then 'MONTH'::calendar_unit end,"
        " time_zone = case when window_kind = 'CALENDAR' then 'UTC' end"
    )
    for name, condition in _CHECKS.items():
        op.create_check_constraint(op.f(f"ck_slos_{name}"), "slos", condition)
    op.add_column("slo_adjustments", sa.Column("time_zone", sa.Text))
    op.create_check_constraint(
        op.f("ck_slo_adjustments_time_zone_length"), "slo_adjustments", "char_length(time_zone) between 1 and 200"
    )
    op.add_column("slo_states", sa.Column("evaluated_through", sa.DateTime(timezone=True)))
    op.create_table(
        "slo_group_states",
        sa.Column("slo_id", sa.Uuid, primary_key=True),
        sa.Column("group_key", sa.Text, primary_key=True),
        sa.Column("labels", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
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
        sa.CheckConstraint("jsonb_typeof(labels) = 'object'", name="labels_object"),
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
        sa.ForeignKeyConstraint(["slo_id"], ["slos.id"], ondelete="CASCADE"),
    )


def downgrade() -> None:
    """Bring the database back to the revision before. Labels of enums stay: Postgres cannot drop them."""
    op.drop_table("slo_group_states")
    op.drop_column("slo_states", "evaluated_through")
    op.drop_column("slo_adjustments", "time_zone")
    for name in _CHECKS:
        op.drop_constraint(op.f(f"ck_slos_{name}"), "slos")
    for column in reversed(_columns()):
        op.drop_column("slos", column.name)
    _CALENDAR_UNIT.drop(op.get_bind())
