"""Service level objectives, the slices they are computed from, and their last evaluation."""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    Float,
    Identity,
    Index,
    Integer,
    Numeric,
    Select,
    Table,
    Text,
    UniqueConstraint,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from db.columns import (
    changed,
    enum,
    enum_type,
    id_column,
    json_array,
    json_object,
    key,
    name,
    number,
    prose,
    ratio,
    reference,
    search_vector,
    timestamp,
)
from db.metadata import metadata
from db.services import services
from domain.objectives import CalendarUnit
from domain.slos import AdjustmentKind, BudgetingMethod, BurnResponse, IndicatorKind, SLOStatus, WindowKind

enum_type(BurnResponse)  # Read from the JSON of `burn_rates`.

EVALUATION_LOCK: Final = 0x5253_0016
"""The session-level advisory lock of the one process that evaluates."""

slos = Table(
    "slos",
    metadata,
    id_column(),
    *name(),
    *name("display_name", nullable=True),
    *prose("description"),
    reference("service_id", "services.id", on_delete="RESTRICT"),
    Column("objective", Numeric, nullable=False),
    CheckConstraint("objective > 0 and objective < 1", name="objective_ratio"),
    Column("window_days", Integer, nullable=False),
    CheckConstraint("window_days between 1 and 366", name="window_days_range"),
    Column("window_seconds", Integer, nullable=False, server_default=text("2592000")),
    CheckConstraint("window_seconds between 1 and 31622400", name="window_seconds_range"),
    enum("window_kind", WindowKind, default=WindowKind.ROLLING),
    enum("calendar_unit", CalendarUnit, nullable=True),
    Column("calendar_count", Integer, nullable=False, server_default=text("1")),
    CheckConstraint("calendar_count between 1 and 366", name="calendar_count_range"),
    CheckConstraint("(window_kind = 'CALENDAR') = (calendar_unit is not null)", name="calendar_unit_when_calendar"),
    *key("time_zone", nullable=True),
    Column("starts_on", Date),
    enum("budgeting_method", BudgetingMethod, default=BudgetingMethod.OCCURRENCES),
    Column("slice_seconds", Integer, nullable=False, server_default=text("300")),
    CheckConstraint("slice_seconds between 1 and 86400", name="slice_seconds_range"),
    Column("slice_objective", Numeric),
    CheckConstraint("slice_objective > 0 and slice_objective <= 1", name="slice_objective_ratio"),
    enum("indicator_kind", IndicatorKind),
    *json_object("indicator"),
    *json_array("group_by"),
    *json_object("alerting"),
    *json_array("error_budget_policy"),
    *json_object("labels"),
    *json_object("annotations"),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("revision", Integer, nullable=False, server_default=text("1")),
    *changed(),
    search_vector("name", "description"),
    Index(None, "name", "id"),
    Index(None, "created_at", "id"),
    Index(None, "objective", "id"),
    Index(None, "labels", postgresql_using="gin", postgresql_ops={"labels": "jsonb_path_ops"}),
    Index(None, "search", postgresql_using="gin"),
)
Index("uq_slos_service_id_name", slos.c.service_id, func.lower(slos.c.name), unique=True)

slo_states = Table(
    "slo_states",
    metadata,
    reference("slo_id", "slos.id", on_delete="CASCADE", primary_key=True),
    enum("status", SLOStatus),
    timestamp("measured_at"),
    *ratio("sli", nullable=True),
    *number("good_events", nullable=True),
    *number("total_events", nullable=True),
    *number("error_budget_remaining"),
    *number("error_budget_consumed"),
    *ratio("coverage"),
    *json_array("burn_rates"),
    timestamp("budget_exhausts_at", nullable=True),
    *prose("last_error", nullable=True),
    timestamp("evaluated_through", nullable=True),
    Index(None, "status", "slo_id"),
)

slo_group_states = Table(
    "slo_group_states",
    metadata,
    reference("slo_id", "slos.id", on_delete="CASCADE", primary_key=True),
    Column("group_key", Text, primary_key=True),
    *json_object("labels"),
    enum("status", SLOStatus),
    timestamp("measured_at"),
    *ratio("sli", nullable=True),
    *number("good_events", nullable=True),
    *number("total_events", nullable=True),
    *number("error_budget_remaining"),
    *number("error_budget_consumed"),
    *ratio("coverage"),
    *json_array("burn_rates"),
    timestamp("budget_exhausts_at", nullable=True),
)

slo_slices = Table(
    "slo_slices",
    metadata,
    reference("slo_id", "slos.id", on_delete="CASCADE", primary_key=True),
    Column("group_key", Text, primary_key=True, server_default=text("''")),
    Column("day", Date, primary_key=True),
    Column("slice_seconds", Integer, nullable=False, server_default=text("300")),
    Column("good", ARRAY(Float(53)), nullable=False),
    Column("total", ARRAY(Float(53)), nullable=False),
    CheckConstraint("slice_seconds > 0", name="slice_seconds_positive"),
    CheckConstraint("cardinality(good) = cardinality(total)", name="same_slices"),
    Index(None, "day"),
)

slo_versions = Table(
    "slo_versions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    reference("slo_id", "slos.id", on_delete="CASCADE"),
    Column("version", Integer, nullable=False),
    *json_object("definition"),
    timestamp("valid_from"),
    reference("actor_id", "users.id", on_delete="SET NULL", nullable=True),
    timestamp("created_at"),
    UniqueConstraint("slo_id", "version"),
    Index(None, "actor_id"),
)

slo_adjustments = Table(
    "slo_adjustments",
    metadata,
    id_column(),
    reference("slo_id", "slos.id", on_delete="CASCADE"),
    enum("kind", AdjustmentKind),
    timestamp("starts_at"),
    timestamp("ends_at"),
    Column("recurrence", Text),
    *key("time_zone", nullable=True),
    *number("good_events", nullable=True),
    *number("total_events", nullable=True),
    *prose("reason"),
    reference("actor_id", "users.id", on_delete="SET NULL", nullable=True),
    timestamp("created_at"),
    CheckConstraint("ends_at > starts_at", name="ends_after_start"),
    Index(None, "slo_id", "starts_at"),
    Index(None, "actor_id"),
)

EVALUATED_SQL: Final = """
select json_build_array(
  coalesce(extract(epoch from clock_timestamp() - min(
    coalesce(evaluated_through + make_interval(secs => slice_seconds), created_at)
  ) filter (where status is distinct from 'ERROR')), 0),
  count(*) filter (where status = 'ERROR')
)::text
from slos left join slo_states on slo_id = id
"""
"""For how many seconds the next slice of the latest SLO has been over (or an SLO has been there that never was
evaluated), those aside that cannot be evaluated; and how many those are.
"""


def select_slos() -> Select[Any]:
    """The SLOs, each with the name of its `service` and what its last evaluation said, NULL where there was none."""
    columns = [column for column in slos.c if column.computed is None]
    states = [column for column in slo_states.c if column.name != "slo_id"]
    return select(*columns, services.c.name.label("service"), *states).join(services).outerjoin(slo_states)
