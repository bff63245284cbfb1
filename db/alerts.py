"""Alerts: what was delivered, what became of it, and each alert's life."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    UniqueConstraint,
    text,
)

from db.columns import (
    changed,
    enum,
    id_column,
    json_array,
    json_object,
    key,
    name,
    prose,
    reference,
    timestamp,
    title,
    url,
)
from db.metadata import metadata
from domain.alerts import AlertDisposition, AlertStatus
from domain.incidents import Severity

alerts = Table(
    "alerts",
    metadata,
    id_column(),
    *name(),
    *key("fingerprint"),
    enum("status", AlertStatus),
    enum("severity", Severity),
    *json_object("labels"),
    *json_object("annotations"),
    timestamp("starts_at"),
    timestamp("ends_at", nullable=True),
    *url("generator_url"),
    *name("source"),
    reference("service_id", "services.id", on_delete="SET NULL", nullable=True),
    reference("incident_id", "incidents.id", on_delete="SET NULL", nullable=True),
    Column("occurrences", Integer, nullable=False, server_default=text("1")),
    *changed(),
    UniqueConstraint("fingerprint", "starts_at"),
    CheckConstraint("status <> 'RESOLVED' or ends_at is not null", name="ends_at_when_resolved"),
    CheckConstraint("ends_at >= starts_at", name="ends_after_start"),
    CheckConstraint("occurrences > 0", name="occurrences_positive"),
    Index(None, "starts_at", "id"),
    Index(None, "status", "starts_at", "id"),
    Index(None, "severity", "starts_at", "id"),
    Index(None, "service_id", "starts_at", "id"),
    Index(None, "incident_id", "starts_at", "id"),
    Index(None, "name", "starts_at", "id"),
    Index(None, "labels", postgresql_using="gin", postgresql_ops={"labels": "jsonb_path_ops"}),
)

alert_occurrences = Table(
    "alert_occurrences",
    metadata,
    id_column(),
    reference("alert_id", "alerts.id", on_delete="CASCADE"),
    timestamp("starts_at"),
    timestamp("ends_at", nullable=True),
    Index(None, "alert_id", "starts_at", "id"),
)

alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    id_column(),
    *name("source"),
    timestamp("received_at"),
    timestamp("processed_at", nullable=True),
    Column("body", LargeBinary, nullable=False),
    Column("alert_count", Integer, nullable=False),
    CheckConstraint("alert_count >= 0", name="alert_count_counted"),
    Index(None, "received_at", "id"),
    Index("ix_alert_deliveries_waiting", "received_at", "id", postgresql_where=text("processed_at is null")),
)

alert_dispositions = Table(
    "alert_dispositions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    reference("delivery_id", "alert_deliveries.id", on_delete="CASCADE"),
    Column("position", Integer, nullable=False),
    enum("disposition", AlertDisposition),
    *prose("reason"),
    reference("alert_id", "alerts.id", on_delete="SET NULL", nullable=True),
    timestamp("created_at"),
    UniqueConstraint("delivery_id", "position"),
    Index(None, "alert_id"),
)

maintenance_windows = Table(
    "maintenance_windows",
    metadata,
    id_column(),
    *title(),
    reference("service_id", "services.id", on_delete="CASCADE", nullable=True),
    *json_array("matchers"),
    timestamp("starts_at"),
    timestamp("ends_at"),
    reference("created_by_id", "users.id", on_delete="SET NULL", nullable=True),
    *changed(),
    CheckConstraint("ends_at > starts_at", name="ends_after_start"),
    Index(None, "ends_at", "starts_at"),
    Index(None, "service_id"),
    Index(None, "created_by_id"),
)
