"""Every table of the database. Importing this module fills `metadata`."""

from db.alerts import (
    alert_audits,
    alert_deliveries,
    alert_dispositions,
    alert_group_keys,
    alert_groups,
    alert_occurrences,
    alert_suppressions,
    alerts,
    maintenance_windows,
    silences,
)
from db.audit import audit_log
from db.compatibility import schema_compatibility
from db.correlation import analyses, analysis_records, correlations, recommendations, root_causes
from db.credentials import api_tokens, refresh_tokens, sign_in_attempts, signing_keys
from db.deployments import deployments
from db.detection import detection_rules, detection_states, log_baselines, log_templates
from db.event_log import event_log, event_log_epochs, event_log_head
from db.idempotency import idempotency_keys
from db.incidents import dismissed_impacts, incidents, incidents_services
from db.investigation import incident_tasks, investigation_hypotheses, investigation_steps
from db.jobs import jobs
from db.metadata import metadata
from db.outbox import outbox
from db.people import team_members, teams, users
from db.rate_limits import rate_limits
from db.services import service_dependencies, services
from db.slos import slo_adjustments, slo_group_states, slo_slices, slo_states, slo_versions, slos
from db.timeline import timeline_events

__all__ = [
    "alert_audits",
    "alert_deliveries",
    "alert_dispositions",
    "alert_group_keys",
    "alert_groups",
    "alert_occurrences",
    "alert_suppressions",
    "alerts",
    "analyses",
    "analysis_records",
    "api_tokens",
    "audit_log",
    "correlations",
    "deployments",
    "detection_rules",
    "detection_states",
    "dismissed_impacts",
    "event_log",
    "event_log_epochs",
    "event_log_head",
    "idempotency_keys",
    "incident_tasks",
    "incidents",
    "incidents_services",
    "investigation_hypotheses",
    "investigation_steps",
    "jobs",
    "log_baselines",
    "log_templates",
    "maintenance_windows",
    "metadata",
    "outbox",
    "rate_limits",
    "recommendations",
    "refresh_tokens",
    "root_causes",
    "schema_compatibility",
    "service_dependencies",
    "services",
    "sign_in_attempts",
    "signing_keys",
    "silences",
    "slo_adjustments",
    "slo_group_states",
    "slo_slices",
    "slo_states",
    "slo_versions",
    "slos",
    "team_members",
    "teams",
    "timeline_events",
    "users",
]
