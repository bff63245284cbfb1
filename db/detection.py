"""What the built-in detection watches, and what it says now."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from db.columns import changed, enum, id_column, json_array, json_object, key, name, number, prose, reference, timestamp
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

log_baselines = Table(
    "log_baselines",
    metadata,
    reference("rule_id", "detection_rules.id", on_delete="CASCADE", primary_key=True),
    reference("service_id", "services.id", on_delete="CASCADE", primary_key=True),
    # What was logged before is not new, and what is logged after `until` has not been read.
    timestamp("since"),
    timestamp("until"),
    Index(None, "service_id"),
)

log_templates = Table(
    "log_templates",
    metadata,
    Column("rule_id", Uuid, primary_key=True),
    Column("service_id", Uuid, primary_key=True),
    *key("id", primary_key=True),
    *name("level"),
    # Where it is found among the others, and what it says.
    *json_array("path"),
    *json_array("tokens"),
    timestamp("first_seen_at"),
    timestamp("last_seen_at"),
    # When it was found among what was known already. Null where it was there from the beginning.
    timestamp("found_at", nullable=True),
    Column("count", BigInteger, nullable=False),
    Column("has_moved", Boolean, nullable=False),
    ForeignKeyConstraint(
        ["rule_id", "service_id"], ["log_baselines.rule_id", "log_baselines.service_id"], ondelete="CASCADE"
    ),
)

READ_LOG_BASELINES_SQL = "select service_id, since, until from log_baselines where rule_id = :rule_id"

READ_LOG_TEMPLATES_SQL = """
select service_id, id, level, path, tokens, first_seen_at, last_seen_at, found_at, count, has_moved
from log_templates
where rule_id = :rule_id and service_id = any(cast(:service_ids as uuid[])) order by last_seen_at, id
"""

WRITE_LOG_BASELINES_SQL = """
with baselines as (
  insert into log_baselines (rule_id, service_id, since, until)
  select cast(:rule_id as uuid), service_id, since, until
  from jsonb_to_recordset(cast(:baselines as jsonb)) as learnt(service_id uuid, since timestamptz, until timestamptz)
  on conflict (rule_id, service_id) do update set since = excluded.since, until = excluded.until
), forgotten as (
  delete from log_templates
  using jsonb_to_recordset(cast(:forgotten as jsonb)) as forgotten(service_id uuid, id text)
  where log_templates.rule_id = cast(:rule_id as uuid) and log_templates.service_id = forgotten.service_id
    and log_templates.id = forgotten.id
)
insert into log_templates (rule_id, service_id, id, level, path, tokens, first_seen_at, last_seen_at, found_at, count,
  has_moved)
select cast(:rule_id as uuid), service_id, id, level, path, tokens, first_seen_at, last_seen_at, found_at, count,
  has_moved
from jsonb_to_recordset(cast(:templates as jsonb)) as learnt(service_id uuid, id text, level text, path jsonb,
  tokens jsonb, first_seen_at timestamptz, last_seen_at timestamptz, found_at timestamptz, count bigint,
  has_moved boolean)
on conflict (rule_id, service_id, id) do update set tokens = excluded.tokens, first_seen_at = excluded.first_seen_at,
  last_seen_at = excluded.last_seen_at, found_at = excluded.found_at, count = excluded.count,
  has_moved = excluded.has_moved
"""
"""What an evaluation has learnt of the logs of services: what is known of them up to when, and what no longer."""

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
