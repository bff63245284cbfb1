"""Keep the occurrences of alerts, and what their deliveries were.

An alert was a row for each of its starts; now it is one row, and its starts are its occurrences.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, ENUM, JSONB

revision = "0007"
down_revision = "0006"
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
_SUPPRESSION_KIND = ENUM("MAINTENANCE", "SILENCE", "INHIBITION", "MUTE", name="suppression_kind", create_type=False)
_COUNTED = (
    "deliveries",
    "received",
    "created",
    "updated",
    "duplicate",
    "suppressed",
    "stale",
    "rejected",
    "unaccounted",
    "waiting",
    "ungrouped",
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
    for column in ("source", "kind"):
        op.create_index(
            f"ix_alert_deliveries_{column}_received_at_id", "alert_deliveries", [column, "received_at", "id"]
        )
    for column in ("left_out", "attempts"):
        op.add_column("alert_deliveries", sa.Column(column, sa.Integer, server_default=sa.text("0"), nullable=False))
    _change_occurrences()
    op.add_column("alerts", sa.Column("group_key", sa.Text))
    op.create_check_constraint("group_key_length", "alerts", "char_length(group_key) between 0 and 20000")
    op.drop_constraint("uq_alerts_fingerprint_starts_at", "alerts", type_="unique")
    op.create_unique_constraint("uq_alerts_source_fingerprint", "alerts", ["source", "fingerprint"])
    op.add_column("alerts", sa.Column("is_pinned", sa.Boolean, server_default=sa.text("false"), nullable=False))
    op.add_column(
        "alerts", sa.Column("apart_from", ARRAY(sa.Uuid), server_default=sa.text("'{}'::uuid[]"), nullable=False)
    )
    op.create_index(
        "ix_alerts_loose", "alerts", ["id"], postgresql_where=sa.text("status = 'FIRING' and incident_id is null")
    )
    _create_groups()
    _create_suppressions()


def _create_groups() -> None:
    op.create_table(
        "alert_groups",
        sa.Column("incident_id", sa.Uuid, primary_key=True),
        sa.Column("last_fired_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("flapping_since", sa.DateTime(timezone=True)),
        sa.Column("is_quiet", sa.Boolean, server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], ondelete="CASCADE"),
    )
    op.create_index("ix_alert_groups_loud", "alert_groups", ["incident_id"], postgresql_where=sa.text("not is_quiet"))
    op.create_table(
        "alert_group_keys",
        sa.Column("incident_id", sa.Uuid, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.ForeignKeyConstraint(["incident_id"], ["alert_groups.incident_id"], ondelete="CASCADE"),
    )
    op.create_index("ix_alert_group_keys_key", "alert_group_keys", ["key"], postgresql_using="hash")


def _create_suppressions() -> None:
    _SUPPRESSION_KIND.create(op.get_bind())
    op.create_table(
        "alert_suppressions",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("alert_id", sa.Uuid, nullable=False),
        sa.Column("kind", _SUPPRESSION_KIND, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, server_default=sa.text("''"), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(by) between 1 and 300", name="by_length"),
        sa.CheckConstraint("char_length(reason) between 0 and 20000", name="reason_length"),
        sa.UniqueConstraint("alert_id", "kind", "by"),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], ondelete="CASCADE"),
    )
    op.create_table(
        "silences",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("matchers", JSONB, server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text, server_default=sa.text("''"), nullable=False),
        sa.Column("comment", sa.Text, server_default=sa.text("''"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(id) between 1 and 200", name="id_length"),
        sa.CheckConstraint("jsonb_typeof(matchers) = 'array'", name="matchers_array"),
        sa.CheckConstraint("char_length(created_by) between 0 and 20000", name="created_by_length"),
        sa.CheckConstraint("char_length(comment) between 0 and 20000", name="comment_length"),
    )
    op.create_index("ix_silences_ends_at_starts_at", "silences", ["ends_at", "starts_at"])
    _create_audits()


def _create_audits() -> None:
    op.create_table(
        "alert_audits",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("audited_at", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(counted, sa.Integer, nullable=False) for counted in _COUNTED),
        sa.Column("oldest_waiting_seconds", sa.Float(53)),
        sa.CheckConstraint(
            "oldest_waiting_seconds > '-Infinity' and oldest_waiting_seconds < 'Infinity'",
            name="oldest_waiting_seconds_finite",
        ),
    )
    op.create_index("ix_alert_audits_audited_at", "alert_audits", ["audited_at"])


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
    for table in ("alert_audits", "alert_group_keys", "alert_groups", "alert_suppressions", "silences"):
        op.drop_table(table)
    _SUPPRESSION_KIND.drop(op.get_bind())
    op.drop_index("ix_alerts_loose", table_name="alerts")
    for column in ("apart_from", "is_pinned"):
        op.drop_column("alerts", column)
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
    op.drop_index("ix_alert_deliveries_source_received_at_id", table_name="alert_deliveries")
    for column in ("attempts", "left_out", "headers", "kind"):
        op.drop_column("alert_deliveries", column)
    _KIND.drop(op.get_bind())
