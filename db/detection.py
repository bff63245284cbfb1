"""What the built-in detection watches, and what it says now."""

from sqlalchemy import Boolean, CheckConstraint, Column, Index, Integer, Table, Text, func, text

from db.columns import changed, enum, id_column, json_object, name, number, prose, reference, timestamp
from db.metadata import metadata
from domain.alerts import Comparison, DetectionKind, DetectionStatus
from domain.incidents import Severity
from domain.limits import QUERY_CHARACTERS
from domain.telemetry import GoldenSignal

detection_rules = Table(
    "detection_rules",
    metadata,
    id_column(),
    *name(),
    *prose("description"),
    enum("kind", DetectionKind),
    Column("is_enabled", Boolean, nullable=False, server_default=text("true")),
    enum("signal", GoldenSignal, nullable=True),
    Column("query", Text),
    CheckConstraint(f"char_length(query) between 1 and {QUERY_CHARACTERS}", name="query_length"),
    enum("comparison", Comparison, nullable=True),
    *number("threshold", nullable=True),
    Column("for_seconds", Integer, nullable=False, server_default=text("0")),
    CheckConstraint("for_seconds >= 0", name="for_seconds_counted"),
    enum("severity", Severity),
    reference("service_id", "services.id", on_delete="CASCADE", nullable=True),
    *json_object("labels"),
    *json_object("parameters"),
    timestamp("last_evaluated_at", nullable=True),
    *prose("last_error", nullable=True),
    timestamp("failing_since", nullable=True),
    Column("version", Integer, nullable=False, server_default=text("1")),
    *changed(),
    Index(None, "name", "id"),
    Index(None, "service_id"),
)
Index("uq_detection_rules_name", func.lower(detection_rules.c.name), unique=True)

detection_states = Table(
    "detection_states",
    metadata,
    reference("rule_id", "detection_rules.id", on_delete="CASCADE", primary_key=True),
    reference("service_id", "services.id", on_delete="CASCADE", primary_key=True),
    enum("status", DetectionStatus),
    timestamp("since"),
    *number("last_value", nullable=True),
    timestamp("evaluated_at"),
    *prose("last_error", nullable=True),
    timestamp("bad_since", nullable=True),
    timestamp("good_since", nullable=True),
    timestamp("seen_at", nullable=True),
    *number("baseline_centre", nullable=True),
    *number("baseline_deviation", nullable=True),
    Index(None, "service_id"),
)

EVALUATED_SQL = """
select json_build_array(
  extract(epoch from clock_timestamp() - min(coalesce(last_evaluated_at, created_at))),
  count(failing_since)
)::text
from detection_rules where is_enabled
"""
"""For how many seconds the enabled rule has not been evaluated that was evaluated longest ago (null without a rule),
and how many rules could not be, for some services or all, when they were last.
"""

SLO_BURNS_SQL = """
select slos.service_id,
  max(least((rate->>'long_rate')::double precision, (rate->>'short_rate')::double precision)) as burn
from slos join slo_states on slo_states.slo_id = slos.id
cross join lateral jsonb_array_elements(slo_states.burn_rates) rate
where slo_states.status not in ('NO_DATA', 'ERROR') and slo_states.measured_at > :measured_after
  and (rate->>'long_window_seconds')::double precision = :long
  and (rate->>'short_window_seconds')::double precision = :short
  and rate->>'long_rate' is not null and rate->>'short_rate' is not null
group by slos.service_id
"""
"""How fast error budgets burn over two windows, for the services that have SLOs with these windows."""
