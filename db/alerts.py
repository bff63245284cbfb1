"""Alerts: what was delivered, what became of it, and each alert's life."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from db.columns import (
    changed,
    enum,
    id_column,
    json_array,
    json_object,
    key,
    name,
    number,
    prose,
    reference,
    timestamp,
    title,
    traceparent,
    url,
)
from db.metadata import metadata
from domain.alerts import AlertDisposition, AlertStatus, WebhookKind
from domain.incidents import Severity
from domain.suppressions import SuppressionKind

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
    *prose("group_key", nullable=True),
    reference("service_id", "services.id", on_delete="SET NULL", nullable=True),
    reference("incident_id", "incidents.id", on_delete="SET NULL", nullable=True),
    Column("occurrences", Integer, nullable=False, server_default=text("1")),
    # A person said that it belongs to its incident, or that it does not belong to those.
    Column("is_pinned", Boolean, nullable=False, server_default=text("false")),
    Column("apart_from", ARRAY(Uuid), nullable=False, server_default=text("'{}'::uuid[]")),
    *changed(),
    UniqueConstraint("source", "fingerprint"),
    CheckConstraint("status <> 'RESOLVED' or ends_at is not null", name="ends_at_when_resolved"),
    CheckConstraint("ends_at >= starts_at", name="ends_after_start"),
    CheckConstraint("occurrences > 0", name="occurrences_positive"),
    Index(None, "starts_at", "id"),
    Index(None, "status", "starts_at", "id"),
    Index(None, "severity", "starts_at", "id"),
    Index(None, "service_id", "starts_at", "id"),
    Index(None, "incident_id", "starts_at", "id"),
    Index(None, "name", "starts_at", "id"),
    Index("ix_alerts_apart", "id", postgresql_where=text("apart_from <> '{}'::uuid[]")),
    Index("ix_alerts_loose", "id", postgresql_where=text("status = 'FIRING' and incident_id is null")),
    Index(None, "labels", postgresql_using="gin", postgresql_ops={"labels": "jsonb_path_ops"}),
)

alert_occurrences = Table(
    "alert_occurrences",
    metadata,
    id_column(),
    reference("alert_id", "alerts.id", on_delete="CASCADE"),
    timestamp("starts_at"),
    timestamp("ends_at", nullable=True),
    # An end that was told; `ends_at` alone may be one that its source expects.
    Column("is_over", Boolean, nullable=False, server_default=text("false")),
    # Whether a firing was told, and not only the end.
    Column("has_fired", Boolean, nullable=False, server_default=text("true")),
    reference("incident_id", "incidents.id", on_delete="SET NULL", nullable=True),
    UniqueConstraint("alert_id", "starts_at"),
    CheckConstraint("ends_at >= starts_at", name="ends_after_start"),
    CheckConstraint("not is_over or ends_at is not null", name="ends_at_when_over"),
    Index(None, "incident_id", "alert_id"),
)

alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    id_column(),
    *name("source"),
    enum("kind", WebhookKind, default=WebhookKind.GENERIC),
    timestamp("received_at"),
    timestamp("processed_at", nullable=True),
    Column("body", LargeBinary, nullable=False),
    # What the body alone does not say: the headers of a binary CloudEvent.
    *json_object("headers"),
    # Alerts that the source has and did not send.
    Column("left_out", Integer, nullable=False, server_default=text("0")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("alert_count", Integer, nullable=False),
    traceparent(),
    CheckConstraint("alert_count >= 0", name="alert_count_counted"),
    Index(None, "received_at", "id"),
    Index(None, "source", "received_at", "id"),
    Index(None, "kind", "received_at", "id"),
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

alert_suppressions = Table(
    "alert_suppressions",
    metadata,
    id_column(),
    reference("alert_id", "alerts.id", on_delete="CASCADE"),
    enum("kind", SuppressionKind),
    # A window's or a silence's id, the number of an incident, the fingerprint of another alert.
    *title("by"),
    *prose("reason"),
    timestamp("starts_at"),
    timestamp("ends_at", nullable=True),
    timestamp("created_at"),
    UniqueConstraint("alert_id", "kind", "by"),
)

silences = Table(
    "silences",
    metadata,
    *key("id", primary_key=True),
    *json_array("matchers"),
    timestamp("starts_at"),
    timestamp("ends_at"),
    *prose("created_by"),
    *prose("comment"),
    timestamp("seen_at"),
    Index(None, "ends_at", "starts_at"),
)

alert_audits = Table(
    "alert_audits",
    metadata,
    id_column(),
    timestamp("audited_at"),
    *(
        Column(counted, Integer, nullable=False)
        for counted in (
            "deliveries",
            "received",
            *(disposition.lower() for disposition in AlertDisposition),
            "unaccounted",
            "waiting",
            "ungrouped",
        )
    ),
    *number("oldest_waiting_seconds", nullable=True),
    Index(None, "audited_at"),
)

alert_groups = Table(
    "alert_groups",
    metadata,
    reference("incident_id", "incidents.id", on_delete="CASCADE", primary_key=True),
    # When the alert that began last, of those in the incident, began.
    timestamp("last_fired_at"),
    timestamp("flapping_since", nullable=True),
    # That all alerts are over was acted on: what a person does afterwards counts.
    Column("is_quiet", Boolean, nullable=False, server_default=text("false")),
    Index("ix_alert_groups_loud", "incident_id", postgresql_where=text("not is_quiet")),
)

alert_group_keys = Table(
    "alert_group_keys",
    metadata,
    reference("incident_id", "alert_groups.incident_id", on_delete="CASCADE", primary_key=True),
    Column("key", Text, primary_key=True),
    Index(None, "key", postgresql_using="hash"),
)
