"""The statements that compare our alerts with those of their sources."""

TOLD_SQL = """
select id, fingerprint, starts_at from alerts
where source = :source and fingerprint = any(cast(:fingerprints as text[]))
"""

IS_WAITING_SQL = "select exists (select 1 from alert_deliveries where processed_at is null)"

FIRING_SQL = """
select id, source, fingerprint, name, severity::text, labels, annotations, starts_at, ends_at, generator_url, group_key,
  updated_at
from alerts where status = 'FIRING'
"""

WRITE_SILENCES_SQL = """
insert into silences (id, matchers, starts_at, ends_at, created_by, comment, seen_at)
select id, matchers, starts_at, ends_at, created_by, comment, :now
from jsonb_to_recordset(cast(:rows as jsonb)) as told(id text, matchers jsonb, starts_at timestamptz,
  ends_at timestamptz, created_by text, comment text)
on conflict (id) do update set
  matchers = excluded.matchers, starts_at = excluded.starts_at, ends_at = excluded.ends_at,
  created_by = excluded.created_by, comment = excluded.comment, seen_at = excluded.seen_at
"""

FORGET_SILENCES_SQL = "delete from silences where ends_at <= :now and id <> all(cast(:ids as text[]))"
