-- The data that the benchmarks read: 50 000 incidents over a year, 200 services, 500 000 timeline events, 600 SLOs.
-- Every value is a hash of the row's number and a salt, so that two runs make the same rows on any machine.

create function pg_temp.pick(n bigint, salt text, choices int) returns int immutable language sql as $$
  select (((hashint8extended(n, hashtextextended(salt, 7)) % choices) + choices) % choices)::int
$$;

create function pg_temp.choose(n bigint, salt text, variadic choices text[]) returns text immutable language sql as $$
  select choices[1 + pg_temp.pick(n, salt, cardinality(choices))]
$$;

create function pg_temp.uuid7(at timestamptz, kind text, n bigint) returns uuid immutable language sql as $$
  select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || left(md5(kind || n), 3)
          || '8' || right(md5(kind || n), 15))::uuid
$$;

create function pg_temp.early() returns timestamptz immutable language sql as $$ select timestamptz '2025-01-01T00:00:00Z' $$;

-- Incident n starts in the n-th ten minutes of 2025, so that `startedBefore` can name any of them.
create function pg_temp.started(n bigint) returns timestamptz immutable language sql as $$
  select pg_temp.early() + n * interval '10 minutes' + (1 + pg_temp.pick(n, 'start', 590000)) * interval '1 millisecond'
$$;

insert into teams (id, name, description, created_at, updated_at)
select pg_temp.uuid7(pg_temp.early(), 'team', n), 'Team ' || n, 'Owns services ' || n || ', ' || n + 20 || ' and so on.',
       pg_temp.early(), pg_temp.early()
from generate_series(0, 19) n;

insert into users (id, email, name, role, created_at, updated_at)
select pg_temp.uuid7(pg_temp.early(), 'user', n), 'engineer' || n || '@example.com', 'Engineer ' || n, 'RESPONDER',
       pg_temp.early(), pg_temp.early()
from generate_series(0, 99) n;

insert into team_members (team_id, user_id, since)
select pg_temp.uuid7(pg_temp.early(), 'team', n % 20), pg_temp.uuid7(pg_temp.early(), 'user', n), pg_temp.early()
from generate_series(0, 99) n;

insert into services (id, name, display_name, description, tier, team_id, status, repository_url, runbook_url, labels,
                      selectors, created_at, updated_at)
select pg_temp.uuid7(pg_temp.early(), 'service', n), name, initcap(replace(name, '-', ' ')),
       'Serves ' || replace(name, '-', ' ') || ' to the other services and to the web shop.', 1 + pg_temp.pick(n, 'tier', 4),
       pg_temp.uuid7(pg_temp.early(), 'team', n % 20),
       pg_temp.choose(n, 'status', 'HEALTHY', 'HEALTHY', 'HEALTHY', 'DEGRADED', 'UNKNOWN')::service_status,
       'https://git.example.com/shop/' || name, 'https://runbooks.example.com/' || name,
       jsonb_build_object('domain', pg_temp.choose(n, 'domain', 'buying', 'selling', 'shipping', 'platform')),
       jsonb_build_object('prometheus', jsonb_build_object('job', name)), pg_temp.early(), pg_temp.early()
from (select n, pg_temp.choose(n, 'name', 'cart', 'catalog', 'checkout', 'payments', 'pricing', 'search', 'shipping', 'stock')
                || '-' || lpad(n::text, 3, '0') as name
      from generate_series(0, 199) n) s;

insert into service_dependencies (service_id, depends_on_id, source, created_at)
select pg_temp.uuid7(pg_temp.early(), 'service', n),
       pg_temp.uuid7(pg_temp.early(), 'service', (n + 1 + 60 * k + pg_temp.pick(n * 3 + k, 'dependency', 60)) % 200),
       'DECLARED', pg_temp.early()
from generate_series(0, 199) n, generate_series(0, 2) k;

insert into slos (id, name, description, service_id, objective, window_days, indicator_kind, indicator, created_at, updated_at)
select pg_temp.uuid7(pg_temp.early(), 'slo', n * 3 + k),
       (array['availability', 'latency', 'freshness'])[k + 1],
       'What the callers of this service were promised.', pg_temp.uuid7(pg_temp.early(), 'service', n),
       (array[0.999, 0.99, 0.95])[k + 1], 28, (array['RATIO', 'LATENCY', 'THRESHOLD']::indicator_kind[])[k + 1], '{}',
       pg_temp.early(), pg_temp.early()
from generate_series(0, 199) n, generate_series(0, 2) k;

insert into slo_states (slo_id, status, measured_at, sli, good_events, total_events, error_budget_remaining,
                        error_budget_consumed, coverage, burn_rates)
select id, status::slo_status, pg_temp.early() + interval '365 days', 1 - (1 - objective) * consumed, 1e6 - 1e3 * consumed, 1e6,
       1 - consumed, consumed, 1, '[]'
from (select id, objective::float8, consumed,
             case when consumed < 0.7 then 'HEALTHY' when consumed < 0.9 then 'WARNING'
                  when consumed < 1 then 'CRITICAL' else 'EXHAUSTED' end as status
      from (select slos.*, pg_temp.pick(row_number() over (order by id), 'consumed', 1200) / 1000.0 as consumed from slos) c) s;

-- All but the newest 60 incidents are over.
insert into incidents (id, number, title, description, severity, status, source, started_at, detected_at, acknowledged_at,
                       mitigated_at, resolved_at, commander_id, root_cause, resolution, labels, version, created_at, updated_at)
select pg_temp.uuid7(started_at, 'incident', n), n + 1, title,
       title || '. Customers see errors or wait longer than usual; the on-call engineer was told by '
             || pg_temp.choose(n, 'told', 'an alert', 'support', 'a colleague', 'a customer') || '.',
       pg_temp.choose(n, 'severity', 'LOW', 'LOW', 'MEDIUM', 'MEDIUM', 'HIGH', 'CRITICAL')::severity, status::incident_status,
       pg_temp.choose(n, 'source', 'MANUAL', 'API', 'ALERT', 'ALERT', 'DETECTION')::incident_source, started_at,
       started_at + interval '1 minute',
       case when status <> 'OPEN' then started_at + interval '4 minutes' end,
       case when status in ('MITIGATED', 'RESOLVED') then started_at + interval '20 minutes' end,
       case when status = 'RESOLVED' then started_at + interval '45 minutes' end,
       case when n % 3 > 0 then pg_temp.uuid7(pg_temp.early(), 'user', pg_temp.pick(n, 'commander', 100)) end,
       case when status = 'RESOLVED' then pg_temp.choose(n, 'cause', 'A bad deploy', 'A full disk', 'A slow query') end,
       case when status = 'RESOLVED' then pg_temp.choose(n, 'cure', 'Rolled back', 'Made room', 'Added an index') end,
       jsonb_build_object('region', pg_temp.choose(n, 'region', 'eu-west-1', 'us-east-1')), 4, started_at, started_at
from (select n, pg_temp.started(n) as started_at,
             pg_temp.choose(n, 'what', 'Checkout', 'Payments', 'Search', 'Order history', 'Stock levels', 'Price updates') || ' '
             || pg_temp.choose(n, 'how', 'fails for some customers', 'answers slowly', 'times out', 'returns stale data',
                               'drops "express" orders') || ' in '
             || pg_temp.choose(n, 'region', 'eu-west-1', 'us-east-1') as title,
             case when n < 49940 then 'RESOLVED' else pg_temp.choose(n, 'status', 'OPEN', 'INVESTIGATING', 'MITIGATED') end as status
      from generate_series(0, 49999) n) i;

insert into incidents_services (incident_id, service_id, level, source, since)
select pg_temp.uuid7(pg_temp.started(n), 'incident', n),
       pg_temp.uuid7(pg_temp.early(), 'service', (pg_temp.pick(n, 'service', 200) + 67 * k) % 200),
       (array['PRIMARY', 'SECONDARY', 'SUSPECTED']::impact_level[])[k + 1], 'MANUAL', pg_temp.started(n)
from generate_series(0, 49999) n, generate_series(0, pg_temp.pick(n, 'services', 3)) k;

-- Neighbouring incidents share 20 events, so that they have ten each on average, and from 4 to 16.
insert into timeline_events (id, incident_id, type, occurred_at, source, title, description, actor_id, metadata, created_at)
select pg_temp.uuid7(occurred_at, 'event', n * 20 + k), pg_temp.uuid7(pg_temp.started(n), 'incident', n),
       pg_temp.choose(n * 20 + k, 'type', 'ALERT', 'NOTE', 'STATUS_CHANGE', 'METRIC_ANOMALY', 'DEPLOYMENT')::timeline_event_type,
       occurred_at, 'bench',
       pg_temp.choose(n * 20 + k, 'title', 'Error ratio above 5 %', 'Looking at the "checkout" dashboard', 'Rolled back',
                      'Queue is draining', 'Customers report that it works again'),
       'Entry ' || k || ' of this incident.',
       case when k % 2 = 0 then pg_temp.uuid7(pg_temp.early(), 'user', pg_temp.pick(n * 20 + k, 'actor', 100)) end,
       '{}', occurred_at
from generate_series(0, 49999) n,
     lateral (select 4 + pg_temp.pick(n / 2, 'events', 13) as half) h,
     lateral generate_series(1, case n % 2 when 0 then half else 20 - half end) k,
     lateral (select pg_temp.started(n) + k * interval '3 minutes' as occurred_at) o;
