"""Alerts: what was delivered, what became of it, and each alert's life."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    UniqueConstraint,
    text,
)

from db.columns import (
    changed,
    enum,
    id_column,
    json_array,
    json_object,
    key,
    name,
    prose,
    reference,
    timestamp,
    title,
    url,
)
from db.metadata import metadata
from domain.alerts import AlertDisposition, AlertStatus, WebhookKind
from domain.incidents import Severity

alerts = Table(
    "alerts",
    metadata,
    id_column(),
    *name(),
    *key("fingerprint"),
    enum("status", AlertStatus),
    enum("severity", Severity),
    *json_object("labels"),
    *json_object("annotations"),
    timestamp("starts_at"),
    timestamp("ends_at", nullable=True),
    *url("generator_url"),
    *name("source"),
    *prose("group_key", nullable=True),
    reference("service_id", "services.id", on_delete="SET NULL", nullable=True),
    reference("incident_id", "incidents.id", on_delete="SET NULL", nullable=True),
    Column("occurrences", Integer, nullable=False, server_default=text("1")),
    *changed(),
    UniqueConstraint("source", "fingerprint"),
    CheckConstraint("status <> 'RESOLVED' or ends_at is not null", name="ends_at_when_resolved"),
    CheckConstraint("ends_at >= starts_at", name="ends_after_start"),
    CheckConstraint("occurrences > 0", name="occurrences_positive"),
    Index(None, "starts_at", "id"),
    Index(None, "status", "starts_at", "id"),
    Index(None, "severity", "starts_at", "id"),
    Index(None, "service_id", "starts_at", "id"),
    Index(None, "incident_id", "starts_at", "id"),
    Index(None, "name", "starts_at", "id"),
    Index(None, "labels", postgresql_using="gin", postgresql_ops={"labels": "jsonb_path_ops"}),
)

alert_occurrences = Table(
    "alert_occurrences",
    metadata,
    id_column(),
    reference("alert_id", "alerts.id", on_delete="CASCADE"),
    timestamp("starts_at"),
    timestamp("ends_at", nullable=True),
    # An end that was told; `ends_at` alone may be one that its source expects.
    Column("is_over", Boolean, nullable=False, server_default=text("false")),
    # Whether a firing was told, and not only the end.
    Column("has_fired", Boolean, nullable=False, server_default=text("true")),
    reference("incident_id", "incidents.id", on_delete="SET NULL", nullable=True),
    UniqueConstraint("alert_id", "starts_at"),
    CheckConstraint("ends_at >= starts_at", name="ends_after_start"),
    CheckConstraint("not is_over or ends_at is not null", name="ends_at_when_over"),
    Index(None, "incident_id", "alert_id"),
)

alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    id_column(),
    *name("source"),
    enum("kind", WebhookKind, default=WebhookKind.GENERIC),
    timestamp("received_at"),
    timestamp("processed_at", nullable=True),
    Column("body", LargeBinary, nullable=False),
    # What the body alone does not say: the headers of a binary CloudEvent.
    *json_object("headers"),
    # Alerts that the source has and did not send.
    Column("left_out", Integer, nullable=False, server_default=text("0")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("alert_count", Integer, nullable=False),
    CheckConstraint("alert_count >= 0", name="alert_count_counted"),
    Index(None, "received_at", "id"),
    Index("ix_alert_deliveries_waiting", "received_at", "id", postgresql_where=text("processed_at is null")),
)

alert_dispositions = Table(
    "alert_dispositions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    reference("delivery_id", "alert_deliveries.id", on_delete="CASCADE"),
    Column("position", Integer, nullable=False),
    enum("disposition", AlertDisposition),
    *prose("reason"),
    reference("alert_id", "alerts.id", on_delete="SET NULL", nullable=True),
    timestamp("created_at"),
    UniqueConstraint("delivery_id", "position"),
    Index(None, "alert_id"),
)

maintenance_windows = Table(
    "maintenance_windows",
    metadata,
    id_column(),
    *title(),
    reference("service_id", "services.id", on_delete="CASCADE", nullable=True),
    *json_array("matchers"),
    timestamp("starts_at"),
    timestamp("ends_at"),
    reference("created_by_id", "users.id", on_delete="SET NULL", nullable=True),
    *changed(),
    CheckConstraint("ends_at > starts_at", name="ends_after_start"),
    Index(None, "ends_at", "starts_at"),
    Index(None, "service_id"),
    Index(None, "created_by_id"),
)

ALERTS_LOCK = 0x5253_0004  # That of the transaction that tells alerts apart.

WAITING_DELIVERIES_SQL = """
select id, source, kind::text, received_at, body, headers, alert_count from (
  select *, sum(octet_length(body)) over (order by received_at, id) - octet_length(body) as bytes_before
  from (
    select * from alert_deliveries where processed_at is null order by received_at, id limit :most
  ) waiting
) sized
where bytes_before < :most_bytes
order by received_at, id
"""
"""The oldest deliveries that nobody has looked at: a batch of them, and always at least one."""

KNOWN_ALERTS_SQL = """
select alerts.id, alerts.source, alerts.fingerprint, alerts.occurrences, alerts.name, alerts.severity::text,
  alerts.labels, alerts.annotations, alerts.generator_url, alerts.group_key,
  coalesce(newest.starts_at, alerts.starts_at) as newest_starts_at,
  case when newest.id is null then alerts.ends_at else newest.ends_at end as newest_ends_at,
  coalesce(newest.is_over, alerts.status = 'RESOLVED') as newest_is_over,
  coalesce(newest.has_fired, true) as newest_has_fired
from unnest(cast(:sources as text[]), cast(:fingerprints as text[])) as told(source, fingerprint)
join alerts on alerts.source = told.source and alerts.fingerprint = told.fingerprint
left join lateral (
  select * from alert_occurrences where alert_id = alerts.id order by starts_at desc limit 1
) newest on true
"""

KNOWN_OCCURRENCES_SQL = """
select occurrences.alert_id, occurrences.starts_at, occurrences.ends_at, occurrences.is_over, occurrences.has_fired
from unnest(cast(:alert_ids as uuid[]), cast(:starts as timestamptz[])) as told(alert_id, starts_at)
join alert_occurrences occurrences
  on occurrences.alert_id = told.alert_id and occurrences.starts_at = told.starts_at
"""

WRITE_ALERTS_SQL = """
insert into alerts (id, source, fingerprint, status, starts_at, ends_at, occurrences, name, severity, labels,
  annotations, generator_url, group_key, created_at, updated_at)
select id, source, fingerprint, status, starts_at, ends_at, occurrences, name, severity, labels, annotations,
  generator_url, group_key, :now, :now
from jsonb_to_recordset(cast(:rows as jsonb)) as told(id uuid, source text, fingerprint text, status alert_status,
  starts_at timestamptz, ends_at timestamptz, occurrences integer, name text, severity severity, labels jsonb,
  annotations jsonb, generator_url text, group_key text)
on conflict (source, fingerprint) do update set
  status = excluded.status, starts_at = excluded.starts_at, ends_at = excluded.ends_at,
  occurrences = excluded.occurrences, name = excluded.name, severity = excluded.severity, labels = excluded.labels,
  annotations = excluded.annotations, generator_url = excluded.generator_url, group_key = excluded.group_key,
  updated_at = excluded.updated_at
"""

WRITE_OCCURRENCES_SQL = """
insert into alert_occurrences (id, alert_id, starts_at, ends_at, is_over, has_fired)
select id, alert_id, starts_at, ends_at, is_over, has_fired
from jsonb_to_recordset(cast(:rows as jsonb)) as told(id uuid, alert_id uuid, starts_at timestamptz,
  ends_at timestamptz, is_over boolean, has_fired boolean)
on conflict (alert_id, starts_at) do update set
  ends_at = excluded.ends_at, is_over = excluded.is_over, has_fired = excluded.has_fired
"""

WRITE_DISPOSITIONS_SQL = """
insert into alert_dispositions (delivery_id, position, disposition, reason, alert_id, created_at)
select delivery_id, position, disposition, reason, alert_id, :now
from jsonb_to_recordset(cast(:rows as jsonb)) as told(delivery_id uuid, position integer,
  disposition alert_disposition, reason text, alert_id uuid)
"""

MARK_PROCESSED_SQL = """
update alert_deliveries set processed_at = :now where id = any(cast(:ids as uuid[])) and processed_at is null
"""
