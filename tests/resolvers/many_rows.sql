-- As much of everything as a busy organisation has after a year or two. Row n of kind k has the id pg_temp.id(k, n).

set session_replication_role = replica;  -- The references below are right by construction.
set gin_pending_list_limit = '1GB';  -- The words are sorted once, by the vacuum that follows.
set maintenance_work_mem = '1GB';
set jit = off;

create function pg_temp.id(kind text, n bigint) returns uuid immutable language sql as $$
  select (lpad(to_hex(n), 12, '0') || '7' || lpad(to_hex(ascii(kind)), 3, '0') || '8000000000000000')::uuid
$$;

create function pg_temp.at(minutes bigint) returns timestamptz stable language sql as $$
  select timestamptz '2025-01-01T00:00:00Z' + minutes * interval '1 minute'
$$;

insert into teams (id, name, created_at, updated_at)
select pg_temp.id('T', n), 'team-' || n, pg_temp.at(0), pg_temp.at(0) from generate_series(0, 19) n;

insert into users (id, email, name, created_at, updated_at)
select pg_temp.id('U', n), 'user-' || n || '@example.com', 'User ' || n, pg_temp.at(0), pg_temp.at(0)
from generate_series(0, 99) n;

insert into team_members (team_id, user_id, since)
select pg_temp.id('T', n % 20), pg_temp.id('U', n), pg_temp.at(0) from generate_series(0, 99) n;

insert into services (id, name, display_name, tier, team_id, status, labels, created_at, updated_at)
select pg_temp.id('s', n), 'service-' || n, 'Service ' || n, 1 + n % 4, pg_temp.id('T', n % 20),
       (array['HEALTHY', 'HEALTHY', 'HEALTHY', 'DEGRADED', 'DOWN']::service_status[])[1 + n % 5],
       jsonb_build_object('domain', 'domain-' || n % 10), pg_temp.at(0), pg_temp.at(n)
from generate_series(0, 299) n;

insert into service_dependencies (service_id, depends_on_id, created_at)
select pg_temp.id('s', n), pg_temp.id('s', (n + step) % 300), pg_temp.at(0)
from generate_series(0, 299) n, unnest(array[1, 7, 31]) step;

insert into slos (id, name, service_id, objective, window_days, indicator_kind, indicator, labels, created_at, updated_at)
select pg_temp.id('o', n), 'objective-' || n, pg_temp.id('s', n % 300), (array[0.999, 0.99, 0.95])[1 + n % 3], 28, 'RATIO', '{}',
       jsonb_build_object('domain', 'domain-' || n % 10), pg_temp.at(n), pg_temp.at(n)
from generate_series(0, 599) n;

insert into slo_states (slo_id, status, measured_at, error_budget_remaining, error_budget_consumed, coverage)
select pg_temp.id('o', n), (select enum_range(null::slo_status))[1 + n % 4], pg_temp.at(500000), 0.5, 0.5, 1
from generate_series(0, 599) n;

insert into slo_group_states (slo_id, group_key, status, measured_at, error_budget_remaining, error_budget_consumed, coverage)
select pg_temp.id('o', n % 600), n::text, 'HEALTHY', pg_temp.at(500000), 0.5, 0.5, 1
from generate_series(0, 11999) n;

insert into slo_adjustments (id, slo_id, kind, starts_at, ends_at, created_at)
select pg_temp.id('j', n), pg_temp.id('o', n % 600), 'EXCLUSION', pg_temp.at(n), pg_temp.at(n + 1), pg_temp.at(n)
from generate_series(0, 11999) n;

insert into slo_versions (slo_id, version, valid_from, created_at)
select pg_temp.id('o', n % 600), n, pg_temp.at(n), pg_temp.at(n)
from generate_series(0, 11999) n;

insert into detection_rules (id, name, kind, severity, service_id, created_at, updated_at)
select pg_temp.id('d', n), 'rule-' || n, (select enum_range(null::detection_kind))[1], 'HIGH', pg_temp.id('s', n), pg_temp.at(0),
       pg_temp.at(0)
from generate_series(0, 49) n;

insert into incidents (id, number, title, severity, status, source, started_at, acknowledged_at, mitigated_at, resolved_at,
                       commander_id, labels, created_at, updated_at)
select pg_temp.id('i', n), n, what || ' ' || n % 997, (select enum_range(null::severity))[1 + n % 4],
       case when n <= 99900 then 'RESOLVED' when n % 3 = 0 then 'MITIGATED' when n % 3 = 1 then 'INVESTIGATING' else 'OPEN'
       end::incident_status,
       (select enum_range(null::incident_source))[1 + n / 4 % 4], at,
       case when n <= 99900 or n % 3 < 2 then at + interval '5 minutes' end,
       case when n <= 99900 or n % 3 = 0 then at + interval '20 minutes' end,
       case when n <= 99900 then at + interval '1 hour' end,
       pg_temp.id('U', n % 100), jsonb_build_object('region', 'region-' || n / 7 % 30), at, at + interval '1 hour'
from (select n, pg_temp.at(n * 5) as at,
             (array['checkout down', 'search slow', 'payments failing', 'cart empty'])[1 + n % 4] as what
      from generate_series(1, 100000) n) numbered;

insert into incidents_services (incident_id, service_id, level, source, since)
select pg_temp.id('i', n), pg_temp.id('s', service), (select enum_range(null::impact_level))[1 + n % 3], 'MANUAL', pg_temp.at(n * 5)
from generate_series(1, 100000) n, lateral (values (n % 300), ((n + 1 + n % 11) % 300)) hurt(service);

insert into timeline_events (id, incident_id, type, occurred_at, source, title, severity, actor_id, created_at)
select pg_temp.id('t', n), pg_temp.id('i', 1 + n / 3), (select enum_range(null::timeline_event_type))[1 + n % 14],
       pg_temp.at(5 * (1 + n / 3) + n % 3), 'source-' || n % 100, 'entry ' || n % 997, (select enum_range(null::severity))[1 + n % 4],
       pg_temp.id('U', n % 100), pg_temp.at(5 * (1 + n / 3) + n % 3)
from generate_series(0, 299999) n;

insert into alerts (id, name, fingerprint, status, severity, labels, starts_at, ends_at, source, service_id, incident_id,
                    created_at, updated_at)
select pg_temp.id('a', n), 'alert-' || n % 200, 'fingerprint-' || n,
       case when n <= 99900 then 'RESOLVED' else 'FIRING' end::alert_status, (select enum_range(null::severity))[1 + n % 4],
       jsonb_build_object('region', 'region-' || n / 7 % 30), pg_temp.at(n * 5), case when n <= 99900 then pg_temp.at(n * 5 + 9) end,
       'alertmanager', pg_temp.id('s', n % 300), pg_temp.id('i', n), pg_temp.at(n * 5), pg_temp.at(n * 5)
from generate_series(1, 100000) n;

insert into deployments (id, service_id, version, environment, outcome, started_at, finished_at, created_at)
select pg_temp.id('p', n), pg_temp.id('s', n % 300), '1.' || n, 'production', 'SUCCEEDED', pg_temp.at(n * 10),
       pg_temp.at(n * 10 + 4), pg_temp.at(n * 10)
from generate_series(1, 50000) n;

insert into analyses (id, incident_id, status, is_shown, engine_version, started_at, completed_at, confidence)
select pg_temp.id('y', n), pg_temp.id('i', n), 'COMPLETE', true, '1', pg_temp.at(n * 5), pg_temp.at(n * 5 + 1), 0.5
from generate_series(1, 50000) n;

insert into analysis_records (analysis_id, evidence, evidence_digest, answer, answer_digest, created_at)
select pg_temp.id('y', n), '{}', 'digest', '{}', 'digest', pg_temp.at(n * 5 + 1)
from generate_series(1, 50000) n;

insert into correlations (id, incident_id, analysis_id, kind, service_id, summary, score, created_at)
select pg_temp.id('c', n), pg_temp.id('i', n), pg_temp.id('y', n), (select enum_range(null::correlation_kind))[1 + n % 7],
       pg_temp.id('s', n % 300), 'moved together', n % 100 / 100.0, pg_temp.at(n * 5)
from generate_series(1, 50000) n;

insert into root_causes (id, analysis_id, rank, service_id, kind, score, confidence, explanation, evidence_ids)
select pg_temp.id('r', n), pg_temp.id('y', n), 1, pg_temp.id('s', n % 300), 'ERRORS', 0.5, 0.5, 'because',
       array[pg_temp.id('c', n)]
from generate_series(1, 50000) n;

insert into recommendations (id, analysis_id, rank, title, evidence_ids)
select pg_temp.id('v', n), pg_temp.id('y', n), 1, 'roll back', array[pg_temp.id('c', n)] from generate_series(1, 50000) n;

insert into investigation_hypotheses (id, incident_id, title, confidence, service_id, evidence_ids, created_at, updated_at)
select pg_temp.id('h', n), pg_temp.id('i', n), 'a guess', 0.5, pg_temp.id('s', n % 300), array[pg_temp.id('c', n)],
       pg_temp.at(n * 5), pg_temp.at(n * 5)
from generate_series(1, 50000) n;

insert into investigation_steps (id, incident_id, hypothesis_id, title, assignee_id, created_at, updated_at)
select pg_temp.id('e', n), pg_temp.id('i', n), pg_temp.id('h', n), 'look at it', pg_temp.id('U', n % 100), pg_temp.at(n * 5),
       pg_temp.at(n * 5)
from generate_series(1, 50000) n;

insert into incident_tasks (id, incident_id, title, assignee_id, created_at, updated_at)
select pg_temp.id('k', n), pg_temp.id('i', n), 'do it', pg_temp.id('U', n % 100), pg_temp.at(n * 5), pg_temp.at(n * 5)
from generate_series(1, 50000) n;

insert into alert_occurrences (id, alert_id, starts_at, ends_at, is_over, incident_id)
select pg_temp.id('o', n), pg_temp.id('a', n), pg_temp.at(n * 5), pg_temp.at(n * 5), true, pg_temp.id('i', n)
from generate_series(1, 50000) n;

insert into alert_deliveries (id, source, kind, received_at, processed_at, body, alert_count)
select pg_temp.id('D', n), 'source-' || n % 50, (select enum_range(null::webhook_kind))[1 + n % 7], pg_temp.at(n * 5),
       case when n < 49990 then pg_temp.at(n * 5) end, '', 1
from generate_series(1, 50000) n;

insert into alert_dispositions (delivery_id, position, disposition, alert_id, created_at)
select pg_temp.id('D', n), 0, (select enum_range(null::alert_disposition))[1 + n % 6], pg_temp.id('a', n), pg_temp.at(n * 5)
from generate_series(1, 50000) n;

insert into alert_suppressions (id, alert_id, kind, by, starts_at, created_at)
select pg_temp.id('z', n), pg_temp.id('a', n), 'SILENCE', 'silence', pg_temp.at(n * 5), pg_temp.at(n * 5)
from generate_series(1, 50000) n;

insert into alert_audits (id, audited_at, deliveries, received, created, updated, duplicate, suppressed, stale, rejected,
  unaccounted, waiting, ungrouped)
select pg_temp.id('q', n), pg_temp.at(n * 5), 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0 from generate_series(1, 10000) n;

insert into event_log (position, xid, seq, type, incident_id, service_ids, severity, subject_id, occurred_at, recorded_at)
select n, '1', n, (select enum_range(null::event_type))[1 + n % 14], pg_temp.id('i', n), array[pg_temp.id('s', n % 300)],
       (select enum_range(null::severity))[1 + n % 4], pg_temp.id('i', n), pg_temp.at(n * 5), pg_temp.at(n * 5)
from generate_series(1, 100000) n;

insert into audit_log (id, occurred_at, actor_id, actor_name, action, subject_type, subject_id, after)
select pg_temp.id('A', n), pg_temp.at(n * 5), pg_temp.id('U', n % 100), 'user ' || n % 100, 'incident.action' || n % 30,
       'incident', pg_temp.id('i', n), '{}'
from generate_series(1, 100000) n;

update event_log_head set position = 100000;

reset session_replication_role;
