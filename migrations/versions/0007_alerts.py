"""Keep the occurrences of alerts, and what their deliveries were.

An alert was a row for each of its starts; now it is one row, and its starts are its occurrences.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ENUM, JSONB

revision = "0007"
down_revision = "0004"
branch_labels = None
depends_on = None

_KIND = ENUM(
    "ALERTMANAGER",
    "GRAFANA",
    "PAGERDUTY",
    "CLOUD_EVENTS",
    "GENERIC",
    "DETECTION",
    "RECONCILIATION",
    name="webhook_kind",
    create_type=False,
)
_NEWEST_OF_EACH = """
create temporary table merged_alerts on commit drop as
select id, first_value(id) over (partition by source, fingerprint order by starts_at desc, id desc) as kept from alerts
"""


def upgrade() -> None:
    """Bring the database to this revision."""
    _KIND.create(op.get_bind())
    op.add_column("alert_deliveries", sa.Column("kind", _KIND, server_default=sa.text("'GENERIC'"), nullable=False))
    op.add_column(
        "alert_deliveries", sa.Column("headers", JSONB, server_default=sa.text("'{}'::jsonb"), nullable=False)
    )
    op.create_check_constraint("headers_object", "alert_deliveries", "jsonb_typeof(headers) = 'object'")
    for column in ("left_out", "attempts"):
        op.add_column("alert_deliveries", sa.Column(column, sa.Integer, server_default=sa.text("0"), nullable=False))
    _change_occurrences()
    op.add_column("alerts", sa.Column("group_key", sa.Text))
    op.create_check_constraint("group_key_length", "alerts", "char_length(group_key) between 0 and 20000")
    op.drop_constraint("uq_alerts_fingerprint_starts_at", "alerts", type_="unique")
    op.create_unique_constraint("uq_alerts_source_fingerprint", "alerts", ["source", "fingerprint"])


def _change_occurrences() -> None:
    table = "alert_occurrences"
    op.add_column(table, sa.Column("is_over", sa.Boolean, server_default=sa.text("false"), nullable=False))
    op.add_column(table, sa.Column("has_fired", sa.Boolean, server_default=sa.text("true"), nullable=False))
    op.add_column(table, sa.Column("incident_id", sa.Uuid))
    op.execute(
        "update alert_occurrences set is_over = alert_occurrences.ends_at is not null and alerts.status = 'RESOLVED',"
        " incident_id = alerts.incident_id from alerts where alerts.id = alert_occurrences.alert_id"
    )
    op.execute(_NEWEST_OF_EACH)
    op.execute(
        "update alert_occurrences set alert_id = merged_alerts.kept from merged_alerts"
        " where merged_alerts.id = alert_occurrences.alert_id"
    )
    op.execute(
        "update alert_dispositions set alert_id = merged_alerts.kept from merged_alerts"
        " where merged_alerts.id = alert_dispositions.alert_id"
    )
    op.execute("delete from alerts using merged_alerts where alerts.id = merged_alerts.id and merged_alerts.id <> kept")
    op.execute(
        "delete from alert_occurrences using alert_occurrences later where later.alert_id = alert_occurrences.alert_id"
        " and later.starts_at = alert_occurrences.starts_at and later.id > alert_occurrences.id"
    )
    op.execute(
        "update alerts set occurrences = counted.occurrences from"
        " (select alert_id, count(*)::integer as occurrences from alert_occurrences group by alert_id) counted"
        " where counted.alert_id = alerts.id"
    )
    op.drop_index("ix_alert_occurrences_alert_id_starts_at_id", table_name=table)
    op.create_index("ix_alert_occurrences_incident_id_alert_id", table, ["incident_id", "alert_id"])
    op.create_unique_constraint("uq_alert_occurrences_alert_id_starts_at", table, ["alert_id", "starts_at"])
    op.create_check_constraint("ends_after_start", table, "ends_at >= starts_at")
    op.create_check_constraint("ends_at_when_over", table, "not is_over or ends_at is not null")
    op.create_foreign_key(
        "fk_alert_occurrences_incident_id", table, "incidents", ["incident_id"], ["id"], ondelete="SET NULL"
    )


def downgrade() -> None:
    """Bring the database back to the revision before."""
    op.drop_constraint("uq_alerts_source_fingerprint", "alerts", type_="unique")
    op.create_unique_constraint("uq_alerts_fingerprint_starts_at", "alerts", ["fingerprint", "starts_at"])
    op.drop_column("alerts", "group_key")
    table = "alert_occurrences"
    op.drop_constraint("uq_alert_occurrences_alert_id_starts_at", table, type_="unique")
    op.drop_constraint("ends_after_start", table, type_="check")
    op.drop_constraint("ends_at_when_over", table, type_="check")
    op.create_index("ix_alert_occurrences_alert_id_starts_at_id", table, ["alert_id", "starts_at", "id"])
    for column in ("incident_id", "has_fired", "is_over"):
        op.drop_column(table, column)
    for column in ("attempts", "left_out", "headers", "kind"):
        op.drop_column("alert_deliveries", column)
    _KIND.drop(op.get_bind())
