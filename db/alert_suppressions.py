"""The statements that end what kept alerts from being told, sooner than was said at first."""

FOLLOW_WINDOW_SQL = """
update alert_suppressions set ends_at = greatest(starts_at, cast(:ends_at as timestamptz))
where kind = 'MAINTENANCE' and by = :by and ends_at <> greatest(starts_at, cast(:ends_at as timestamptz))
"""

FOLLOW_SILENCES_SQL = """
update alert_suppressions set ends_at = greatest(alert_suppressions.starts_at, silences.ends_at)
from silences
where alert_suppressions.kind = 'SILENCE' and alert_suppressions.by = silences.id
  and (alert_suppressions.ends_at is null or alert_suppressions.ends_at > :now)
  and alert_suppressions.ends_at is distinct from greatest(alert_suppressions.starts_at, silences.ends_at)
"""

END_OF_PLACED_SQL = """
update alert_suppressions set ends_at = greatest(starts_at, :now)
where alert_id = any(cast(:alert_ids as uuid[])) and kind in ('MAINTENANCE', 'SILENCE')
  and (ends_at is null or ends_at > :now)
"""
"""What was decided here of alerts that have a place now: whatever kept them from it does not any more."""

END_OF_OVER_SQL = """
update alert_suppressions set ends_at = greatest(alert_suppressions.starts_at, alerts.ends_at)
from alerts
where alerts.id = alert_suppressions.alert_id and alerts.id = any(cast(:alert_ids as uuid[]))
  and alerts.status = 'RESOLVED' and alert_suppressions.ends_at is null
"""

END_UNSEEN_SQL = """
update alert_suppressions set ends_at = greatest(alert_suppressions.starts_at, :now)
from alerts
where alerts.id = alert_suppressions.alert_id and alerts.source = :source
  and alert_suppressions.ends_at is null and not starts_with(alert_suppressions.by, 'INC-')
  and not exists (
    select from jsonb_to_recordset(cast(:seen as jsonb)) as seen(fingerprint text, kind suppression_kind, by text)
    where seen.fingerprint = alerts.fingerprint and seen.kind = alert_suppressions.kind
      and seen.by = alert_suppressions.by
  )
"""
"""What a source no longer says. The incidents that explain symptoms are our own."""
