"""Alerts, and the detection that makes its own."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from migrations.baseline.kinds import (
    ALERT_DISPOSITION,
    ALERT_STATUS,
    COMPARISON,
    DETECTION_KIND,
    DETECTION_STATUS,
    GOLDEN_SIGNAL,
    SEVERITY,
)


def create() -> None:
    """Create the tables, each after those it points to."""
    _create_alerts()
    _create_detection()


def _create_alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("status", ALERT_STATUS, nullable=False),
        sa.Column("severity", SEVERITY, nullable=False),
        sa.Column("labels", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("annotations", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True)),
        sa.Column("generator_url", sa.Text),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("service_id", sa.Uuid),
        sa.Column("incident_id", sa.Uuid),
        sa.Column("occurrences", sa.Integer, nullable=False, server_default=sa.text("1")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(name) between 1 and 200", name="name_length"),
        sa.CheckConstraint("char_length(fingerprint) between 1 and 200", name="fingerprint_length"),
        sa.CheckConstraint("jsonb_typeof(labels) = 'object'", name="labels_object"),
        sa.CheckConstraint("jsonb_typeof(annotations) = 'object'", name="annotations_object"),
        sa.CheckConstraint("char_length(generator_url) between 1 and 2000", name="generator_url_length"),
        sa.CheckConstraint("char_length(source) between 1 and 200", name="source_length"),
        sa.CheckConstraint("status <> 'RESOLVED' or ends_at is not null", name="ends_at_when_resolved"),
        sa.CheckConstraint("ends_at >= starts_at", name="ends_after_start"),
        sa.CheckConstraint("occurrences > 0", name="occurrences_positive"),
        sa.UniqueConstraint("fingerprint", "starts_at"),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], ondelete="SET NULL"),
    )
    op.create_index("ix_alerts_incident_id_starts_at_id", "alerts", ["incident_id", "starts_at", "id"])
    op.create_index(
        "ix_alerts_labels", "alerts", ["labels"], postgresql_using="gin", postgresql_ops={"labels": "jsonb_path_ops"}
    )
    op.create_index("ix_alerts_name_starts_at_id", "alerts", ["name", "starts_at", "id"])
    op.create_index("ix_alerts_service_id_starts_at_id", "alerts", ["service_id", "starts_at", "id"])
    op.create_index("ix_alerts_severity_starts_at_id", "alerts", ["severity", "starts_at", "id"])
    op.create_index("ix_alerts_starts_at_id", "alerts", ["starts_at", "id"])
    op.create_index("ix_alerts_status_starts_at_id", "alerts", ["status", "starts_at", "id"])

    op.create_table(
        "alert_occurrences",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("alert_id", sa.Uuid, nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], ondelete="CASCADE"),
    )
    op.create_index("ix_alert_occurrences_alert_id_starts_at_id", "alert_occurrences", ["alert_id", "starts_at", "id"])

    op.create_table(
        "alert_deliveries",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("processed_at", sa.DateTime(timezone=True)),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("alert_count", sa.Integer, nullable=False),
        sa.CheckConstraint("char_length(source) between 1 and 200", name="source_length"),
        sa.CheckConstraint("alert_count >= 0", name="alert_count_counted"),
    )
    op.create_index("ix_alert_deliveries_received_at_id", "alert_deliveries", ["received_at", "id"])
    op.create_index(
        "ix_alert_deliveries_waiting",
        "alert_deliveries",
        ["received_at", "id"],
        postgresql_where=sa.text("processed_at is null"),
    )

    op.create_table(
        "alert_dispositions",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("delivery_id", sa.Uuid, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("disposition", ALERT_DISPOSITION, nullable=False),
        sa.Column("reason", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("alert_id", sa.Uuid),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(reason) between 0 and 20000", name="reason_length"),
        sa.UniqueConstraint("delivery_id", "position"),
        sa.ForeignKeyConstraint(["delivery_id"], ["alert_deliveries.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], ondelete="SET NULL"),
    )
    op.create_index("ix_alert_dispositions_alert_id", "alert_dispositions", ["alert_id"])

    op.create_table(
        "maintenance_windows",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("service_id", sa.Uuid),
        sa.Column("matchers", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by_id", sa.Uuid),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(title) between 1 and 300", name="title_length"),
        sa.CheckConstraint("jsonb_typeof(matchers) = 'array'", name="matchers_array"),
        sa.CheckConstraint("ends_at > starts_at", name="ends_after_start"),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], ondelete="SET NULL"),
    )
    op.create_index("ix_maintenance_windows_created_by_id", "maintenance_windows", ["created_by_id"])
    op.create_index("ix_maintenance_windows_ends_at_starts_at", "maintenance_windows", ["ends_at", "starts_at"])
    op.create_index("ix_maintenance_windows_service_id", "maintenance_windows", ["service_id"])


def _create_detection() -> None:
    op.create_table(
        "detection_rules",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("kind", DETECTION_KIND, nullable=False),
        sa.Column("is_enabled", sa.Boolean, nullable=False, server_default=sa.text("true")),
        sa.Column("signal", GOLDEN_SIGNAL),
        sa.Column("query", sa.Text),
        sa.Column("comparison", COMPARISON),
        sa.Column("threshold", sa.Float(53)),
        sa.Column("for_seconds", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("severity", SEVERITY, nullable=False),
        sa.Column("service_id", sa.Uuid),
        sa.Column("labels", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("parameters", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("last_evaluated_at", sa.DateTime(timezone=True)),
        sa.Column("last_error", sa.Text),
        sa.Column("failing_since", sa.DateTime(timezone=True)),
        sa.Column("version", sa.Integer, nullable=False, server_default=sa.text("1")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(name) between 1 and 200", name="name_length"),
        sa.CheckConstraint("char_length(description) between 0 and 20000", name="description_length"),
        sa.CheckConstraint("char_length(query) between 1 and 10000", name="query_length"),
        sa.CheckConstraint("threshold > '-Infinity' and threshold < 'Infinity'", name="threshold_finite"),
        sa.CheckConstraint("for_seconds >= 0", name="for_seconds_counted"),
        sa.CheckConstraint("jsonb_typeof(labels) = 'object'", name="labels_object"),
        sa.CheckConstraint("jsonb_typeof(parameters) = 'object'", name="parameters_object"),
        sa.CheckConstraint("char_length(last_error) between 0 and 20000", name="last_error_length"),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], ondelete="CASCADE"),
    )
    op.create_index("ix_detection_rules_name_id", "detection_rules", ["name", "id"])
    op.create_index("ix_detection_rules_service_id", "detection_rules", ["service_id"])
    op.create_index("uq_detection_rules_name", "detection_rules", [sa.text("lower(name)")], unique=True)

    op.create_table(
        "detection_states",
        sa.Column("rule_id", sa.Uuid, primary_key=True),
        sa.Column("service_id", sa.Uuid, primary_key=True),
        sa.Column("status", DETECTION_STATUS, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_value", sa.Float(53)),
        sa.Column("evaluated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_error", sa.Text),
        sa.CheckConstraint("last_value > '-Infinity' and last_value < 'Infinity'", name="last_value_finite"),
        sa.CheckConstraint("char_length(last_error) between 0 and 20000", name="last_error_length"),
        sa.ForeignKeyConstraint(["rule_id"], ["detection_rules.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], ondelete="CASCADE"),
    )
    op.create_index("ix_detection_states_service_id", "detection_states", ["service_id"])
