"""The statements that count alerts, and forget their deliveries."""

AUDIT_SQL = """
with processed as (
  select deliveries.id, deliveries.alert_count, coalesce(sum(kinds.count), 0) as disposed,
    coalesce(jsonb_object_agg(kinds.disposition, kinds.count) filter (where kinds.disposition is not null), '{}') as by
  from alert_deliveries deliveries
  left join lateral (
    select disposition::text as disposition, count(*) as count from alert_dispositions
    where delivery_id = deliveries.id group by disposition
  ) kinds on true
  where deliveries.processed_at is not null and deliveries.received_at > cast(:after as timestamptz)
  group by deliveries.id
), waiting as (
  select count(*) as count, extract(epoch from cast(:now as timestamptz) - min(received_at)) as seconds
  from alert_deliveries where processed_at is null
), ungrouped as (
  select count(*) as count from alerts
  where status = 'FIRING' and incident_id is null and updated_at < cast(:settled as timestamptz)
    and not exists (
      select 1 from alert_suppressions
      where alert_id = alerts.id and (ends_at is null or ends_at > cast(:settled as timestamptz))
    )
)
insert into alert_audits (id, audited_at, deliveries, received, created, updated, duplicate, suppressed, stale,
  rejected, unaccounted, waiting, oldest_waiting_seconds, ungrouped)
select :id, :now, count(*), coalesce(sum(alert_count), 0),
  coalesce(sum((by->>'CREATED')::bigint), 0), coalesce(sum((by->>'UPDATED')::bigint), 0),
  coalesce(sum((by->>'DUPLICATE')::bigint), 0), coalesce(sum((by->>'SUPPRESSED')::bigint), 0),
  coalesce(sum((by->>'STALE')::bigint), 0), coalesce(sum((by->>'REJECTED')::bigint), 0),
  count(*) filter (where alert_count <> disposed),
  (select count from waiting), (select seconds from waiting), (select count from ungrouped)
from processed
returning deliveries, received, created, updated, duplicate, suppressed, stale, rejected, unaccounted, waiting,
  oldest_waiting_seconds, ungrouped
"""
"""Counts what came in after a moment, and writes down the result."""

NEWEST_AUDIT_SQL = """
select (
  coalesce((
    select to_jsonb(newest) || jsonb_build_object(
      'audit_age_seconds', greatest(0, extract(epoch from clock_timestamp() - newest.audited_at))
    )
    from (select * from alert_audits order by audited_at desc, id desc limit 1) newest
  ), '{}') || (
    select jsonb_build_object('waiting', count(*), 'oldest_waiting_seconds',
      greatest(0, coalesce(extract(epoch from clock_timestamp() - min(received_at)), 0)))
    from alert_deliveries where processed_at is null
  )
)::text
"""
"""The newest result, how old it is, and what waits at this moment."""

FORGET_AUDITS_SQL = "delete from alert_audits where audited_at < :before"

FORGET_DELIVERIES_SQL = """
delete from alert_deliveries where id in (
  select id from alert_deliveries where received_at < :before and processed_at is not null
  order by received_at, id limit :most
)
"""
