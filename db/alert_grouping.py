"""The statements that fold alerts into incidents, a batch at a time."""

PLACES_SQL = """
select id, service_id, incident_id, is_pinned, apart_from from alerts where id = any(cast(:ids as uuid[]))
"""

OCCURRENCE_INCIDENTS_SQL = """
select occurrences.alert_id, occurrences.starts_at, occurrences.incident_id
from unnest(cast(:alert_ids as uuid[]), cast(:starts as timestamptz[])) as told(alert_id, starts_at)
join alert_occurrences occurrences
  on occurrences.alert_id = told.alert_id and occurrences.starts_at = told.starts_at
"""

CATALOG_SQL = """
select id, name, selectors->'prometheus' as prometheus, selectors->'loki' as loki from services
where lower(name) = any(cast(:names as text[])) or selectors <> '{}'
"""

EDGES_SQL = """
select service_id, depends_on_id,
  service_id = any(cast(:ids as uuid[])) or depends_on_id = any(cast(:ids as uuid[])) as is_near
from service_dependencies
where service_id = any(cast(:ids as uuid[])) or service_id in (
  select service_id from service_dependencies where depends_on_id = any(cast(:ids as uuid[]))
)
"""
"""What services depend on and what depends on them, which is near, and on what else that depends."""

SERVICES_SQL = "select id, name, status::text from services where id = any(cast(:ids as uuid[]))"

INCIDENTS_SQL = """
select incidents.id, incidents.number, incidents.title, incidents.status::text, incidents.source::text,
  incidents.severity::text, incidents.started_at, alert_groups.last_fired_at,
  exists (select 1 from alerts where alerts.incident_id = incidents.id and alerts.status = 'FIRING') as fires
from incidents left join alert_groups on alert_groups.incident_id = incidents.id
where incidents.status <> 'RESOLVED' and incidents.id in (
  select unnest(cast(:ids as uuid[]))
  union all select incident_id from alert_group_keys where key = any(cast(:keys as text[]))
  union all select incident_id from incidents_services where service_id = any(cast(:service_ids as uuid[]))
)
order by incidents.id
for no key update of incidents
"""
"""Active incidents that alerts may join. Nobody resolves them before this transaction ends."""

HURT_SQL = """
select incident_id, service_id, since, level::text from incidents_services
where incident_id = any(cast(:ids as uuid[])) and level <> 'SUSPECTED'
"""

KEYS_SQL = "select incident_id, key from alert_group_keys where incident_id = any(cast(:ids as uuid[]))"

PLACE_ALERTS_SQL = """
update alerts set incident_id = told.incident_id, service_id = coalesce(told.service_id, alerts.service_id)
from jsonb_to_recordset(cast(:rows as jsonb)) as told(alert_id uuid, service_id uuid, incident_id uuid)
where alerts.id = told.alert_id and (alerts.incident_id, alerts.service_id)
  is distinct from (told.incident_id, coalesce(told.service_id, alerts.service_id))
"""

PLACE_OCCURRENCES_SQL = """
update alert_occurrences set incident_id = told.incident_id
from jsonb_to_recordset(cast(:rows as jsonb)) as told(alert_id uuid, starts_at timestamptz, incident_id uuid)
where alert_occurrences.alert_id = told.alert_id and alert_occurrences.starts_at = told.starts_at
"""

WRITE_GROUPS_SQL = """
insert into alert_groups (incident_id, last_fired_at)
select incident_id, last_fired_at
from jsonb_to_recordset(cast(:rows as jsonb)) as told(incident_id uuid, last_fired_at timestamptz)
on conflict (incident_id) do update set
  last_fired_at = greatest(alert_groups.last_fired_at, excluded.last_fired_at), is_quiet = false
"""

WRITE_KEYS_SQL = """
insert into alert_group_keys (incident_id, key)
select incident_id, key from jsonb_to_recordset(cast(:rows as jsonb)) as told(incident_id uuid, key text)
on conflict do nothing
"""

MERGE_SQL = """
with moved as (
  update alert_occurrences set incident_id = :into where incident_id = :merged
), keyed as (
  delete from alert_group_keys where incident_id = :merged
)
update alerts set incident_id = :into where incident_id = :merged
"""
"""Lets the alerts of one incident be those of another."""

UNTOUCHED_SQL = """
select incidents.id from incidents
where incidents.id = any(cast(:ids as uuid[])) and status = 'OPEN' and source in ('ALERT', 'DETECTION')
  and commander_id is null
  and not exists (
    select from timeline_events told
    where told.incident_id = incidents.id and (told.actor_id is not null or told.type in ('NOTE', 'TASK'))
  )
  and not exists (
    select from audit_log
    where subject_id = incidents.id and (audit_log.actor_id is not null or audit_log.request_id is not null)
  )
  and not exists (select from alerts where alerts.incident_id = incidents.id and (is_pinned or apart_from <> '{}'))
  and not exists (select from alerts where apart_from <> '{}' and incidents.id = any(apart_from))
"""
"""Of these incidents, those that no person had a hand in."""

MOVE_STARTS_SQL = """
update incidents set started_at = told.started_at, updated_at = :now, version = incidents.version + 1
from (
  select incidents.id, incidents.started_at as before, told.started_at
  from jsonb_to_recordset(cast(:rows as jsonb)) as told(incident_id uuid, started_at timestamptz)
  join incidents on incidents.id = told.incident_id and incidents.started_at > told.started_at
) told
where incidents.id = told.id
returning incidents.id, told.before, incidents.started_at
"""

MOVE_HURT_SQL = """
update incidents_services set since = told.since
from jsonb_to_recordset(cast(:rows as jsonb)) as told(incident_id uuid, service_id uuid, since timestamptz)
where incidents_services.incident_id = told.incident_id and incidents_services.service_id = told.service_id
  and incidents_services.since > told.since
"""

FLAPPING_SQL = """
select alerts.incident_id, alerts.id, alerts.name, count(*) as firings
from alerts join alert_occurrences on alert_occurrences.alert_id = alerts.id
join alert_groups on alert_groups.incident_id = alerts.incident_id and alert_groups.flapping_since is null
where alerts.id = any(cast(:ids as uuid[])) and alert_occurrences.starts_at > cast(:after as timestamptz)
group by alerts.id having count(*) >= :firings
order by alerts.name, alerts.id
"""

QUIETS_SQL = """
select 'MAINTENANCE' as kind, id::text as by, title as reason, starts_at, ends_at, service_id, matchers
from maintenance_windows where starts_at <= :now and ends_at > :now
union all
select 'SILENCE', id, comment, starts_at, ends_at, null, matchers
from silences where starts_at <= :now and ends_at > :now
"""

WRITE_SUPPRESSIONS_SQL = """
insert into alert_suppressions (id, alert_id, kind, by, reason, starts_at, ends_at, created_at)
select id, alert_id, kind, by, reason, starts_at, ends_at, :now
from jsonb_to_recordset(cast(:rows as jsonb)) as told(id uuid, alert_id uuid, kind suppression_kind, by text,
  reason text, starts_at timestamptz, ends_at timestamptz)
on conflict (alert_id, kind, by) do update set
  reason = excluded.reason, starts_at = excluded.starts_at, ends_at = excluded.ends_at
where (alert_suppressions.reason, alert_suppressions.starts_at, alert_suppressions.ends_at)
  is distinct from (excluded.reason, excluded.starts_at, excluded.ends_at)
"""

LOOSE_SQL = """
select id, source, name, labels, annotations, severity::text, starts_at, group_key from alerts
where status = 'FIRING' and incident_id is null and id > :after order by id limit :most
"""
"""Alerts that fire and belong nowhere: those that were suppressed."""

QUIET_GROUPS_SQL = """
select incidents.id, alert_groups.flapping_since is not null as is_flapping, ended.spent_budgets,
  coalesce(ended.trouble_at, ended.at) as ended_at
from alert_groups join incidents on incidents.id = alert_groups.incident_id
cross join lateral (
  select max(least(coalesce(told.ends_at, told.began_at), told.updated_at)) as at,
    max(least(coalesce(told.ends_at, told.began_at), told.updated_at)) filter (where not told.is_budget) as trouble_at,
    bool_and(told.is_over) as all_over, bool_and(told.is_over) filter (where not told.is_budget) as trouble_over,
    count(*) filter (where told.is_budget and not told.is_over) as spent_budgets
  from (
    select alert_occurrences.ends_at, alerts.starts_at as began_at, alerts.updated_at,
      alert_occurrences.is_over or alert_occurrences.starts_at < alerts.starts_at as is_over,
      alerts.source = 'slo' and alerts.fingerprint like 'slo\\:%\\:exhausted' as is_budget
    from alert_occurrences join alerts on alerts.id = alert_occurrences.alert_id
    where alert_occurrences.incident_id = incidents.id
  ) told
) ended
where not alert_groups.is_quiet and incidents.status in ('OPEN', 'INVESTIGATING')
  and incidents.source in ('ALERT', 'DETECTION') and coalesce(ended.trouble_over, ended.all_over)
  and coalesce(ended.trouble_at, ended.at) <= case when alert_groups.flapping_since is null
    then cast(:held as timestamptz) else cast(:settled as timestamptz) end
order by incidents.id limit :most
"""
"""Incidents whose alerts have all been over for long enough. Of an alert that fired again, only the last end counts.

That a budget is spent says what has been, for the rest of its window, and not that anybody is hurt now: it keeps an
incident open only where nothing else is told.
"""

FALL_QUIET_SQL = """
update alert_groups set is_quiet = true, flapping_since = null where incident_id = any(cast(:ids as uuid[]))
"""

EXPIRED_SQL = """
select source, fingerprint, name, severity::text, labels, annotations, starts_at, ends_at, generator_url, group_key
from alerts where status = 'FIRING' and ends_at <= :now order by ends_at, id limit :most
"""
"""Alerts that were said to fire until a time which has come."""
