"""Create the database."""

from alembic import op

from migrations.baseline import alerts, correlation, incidents, kinds, people, records, services, slos

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = (
    "alert_deliveries",
    "audit_log",
    "event_log",
    "event_log_head",
    "idempotency_keys",
    "jobs",
    "outbox",
    "teams",
    "users",
    "api_tokens",
    "incidents",
    "refresh_tokens",
    "services",
    "team_members",
    "alerts",
    "analyses",
    "deployments",
    "detection_rules",
    "incident_tasks",
    "incidents_services",
    "investigation_hypotheses",
    "maintenance_windows",
    "service_dependencies",
    "slos",
    "timeline_events",
    "alert_dispositions",
    "alert_occurrences",
    "correlations",
    "detection_states",
    "investigation_steps",
    "recommendations",
    "root_causes",
    "slo_adjustments",
    "slo_slices",
    "slo_states",
    "slo_versions",
)


def upgrade() -> None:
    """Create every table, and the one row that one of them always has."""
    kinds.create()
    people.create()
    services.create()
    incidents.create()
    alerts.create()
    correlation.create()
    slos.create()
    records.create()
    op.execute("insert into event_log_head default values")


def downgrade() -> None:
    """Drop every table."""
    for table in reversed(_TABLES):
        op.drop_table(table)
    kinds.drop()
