"""The statements that tell alerts apart, a batch of deliveries at a time."""

ALERTS_LOCK = 0x5253_0004  # That of the transaction that tells alerts apart.

ACCEPT_DELIVERIES_SQL = """
insert into alert_deliveries
  (id, source, kind, received_at, body, headers, alert_count, left_out, traceparent)
select id, source, cast(kind as webhook_kind), received_at, body, cast(headers as jsonb), alert_count, left_out,
  traceparent
from unnest(cast(:ids as uuid[]), cast(:sources as text[]), cast(:kinds as text[]), cast(:times as timestamptz[]),
  cast(:bodies as bytea[]), cast(:headers as text[]), cast(:alert_counts as integer[]), cast(:left_out as integer[]),
  cast(:traceparents as text[]))
  as told(id, source, kind, received_at, body, headers, alert_count, left_out, traceparent)
"""

WAITING_DELIVERIES_SQL = """
select id, source, kind::text, received_at, body, headers, alert_count, attempts from (
  select *, sum(octet_length(body)) over (order by received_at, id) - octet_length(body) as bytes_before,
    sum(alert_count) over (order by received_at, id) - alert_count as alerts_before
  from (
    select * from alert_deliveries where processed_at is null order by received_at, id limit :most
  ) waiting
) sized
where bytes_before < :most_bytes and alerts_before < :most_alerts
order by received_at, id
"""
"""The oldest deliveries that nobody has looked at: a batch of them, and always at least one."""

WAITING_TRACES_SQL = """
select coalesce(json_agg(distinct traceparent), '[]')::text from (
  select traceparent from alert_deliveries where processed_at is null order by received_at, id limit 200
) waiting
where traceparent is not null
"""
"""The spans that brought the oldest deliveries that nobody has looked at, as far as they were recorded."""

KNOWN_ALERTS_SQL = """
select alerts.id, alerts.source, alerts.fingerprint, alerts.occurrences, alerts.name, alerts.severity::text,
  alerts.labels, alerts.annotations, alerts.generator_url, alerts.group_key,
  alerts.service_id, alerts.incident_id, alerts.is_pinned, alerts.apart_from,
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
  annotations, generator_url, group_key, service_id, incident_id, created_at, updated_at)
select id, source, fingerprint, status, starts_at, ends_at, occurrences, name, severity, labels, annotations,
  generator_url, group_key, service_id, incident_id, :now, :now
from jsonb_to_recordset(cast(:rows as jsonb)) as told(id uuid, source text, fingerprint text, status alert_status,
  starts_at timestamptz, ends_at timestamptz, occurrences integer, name text, severity severity, labels jsonb,
  annotations jsonb, generator_url text, group_key text, service_id uuid, incident_id uuid)
on conflict (source, fingerprint) do update set
  status = excluded.status, starts_at = excluded.starts_at, ends_at = excluded.ends_at,
  occurrences = excluded.occurrences, name = excluded.name, severity = excluded.severity, labels = excluded.labels,
  annotations = excluded.annotations, generator_url = excluded.generator_url, group_key = excluded.group_key,
  service_id = excluded.service_id, incident_id = excluded.incident_id, updated_at = excluded.updated_at
"""

WRITE_OCCURRENCES_SQL = """
insert into alert_occurrences (id, alert_id, starts_at, ends_at, is_over, has_fired, incident_id)
select id, alert_id, starts_at, ends_at, is_over, has_fired, incident_id
from jsonb_to_recordset(cast(:rows as jsonb)) as told(id uuid, alert_id uuid, starts_at timestamptz,
  ends_at timestamptz, is_over boolean, has_fired boolean, incident_id uuid)
on conflict (alert_id, starts_at) do update set
  ends_at = excluded.ends_at, is_over = excluded.is_over, has_fired = excluded.has_fired,
  incident_id = coalesce(excluded.incident_id, alert_occurrences.incident_id)
"""

WRITE_DISPOSITIONS_SQL = """
insert into alert_dispositions (delivery_id, position, disposition, reason, alert_id, created_at)
select delivery_id, position, disposition, reason, alert_id, :now
from jsonb_to_recordset(cast(:rows as jsonb)) as told(delivery_id uuid, position integer,
  disposition alert_disposition, reason text, alert_id uuid)
"""

COUNT_ATTEMPT_SQL = """
update alert_deliveries set attempts = attempts + 1
where id = (select id from alert_deliveries where processed_at is null order by received_at, id limit 1)
returning id, attempts, alert_count
"""

MARK_PROCESSED_SQL = """
update alert_deliveries set processed_at = :now where id = any(cast(:ids as uuid[])) and processed_at is null
"""
