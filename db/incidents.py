"""Incidents and the services that they hurt."""

from sqlalchemy import CheckConstraint, Column, Index, Integer, Table, text

from db.columns import (
    changed,
    enum,
    id_column,
    json_object,
    prose,
    ratio,
    reference,
    search_vector,
    timestamp,
    title,
    url,
)
from db.metadata import metadata
from domain.incidents import ImpactLevel, IncidentSource, IncidentStatus, Severity

incidents = Table(
    "incidents",
    metadata,
    id_column(),
    Column("number", Integer, nullable=False, unique=True),
    *title(),
    *prose("description"),
    enum("severity", Severity),
    enum("status", IncidentStatus, default=IncidentStatus.OPEN),
    enum("source", IncidentSource),
    timestamp("started_at"),
    timestamp("detected_at", nullable=True),
    timestamp("acknowledged_at", nullable=True),
    timestamp("mitigated_at", nullable=True),
    timestamp("resolved_at", nullable=True),
    reference("commander_id", "users.id", on_delete="SET NULL", nullable=True),
    *prose("root_cause", nullable=True),
    *prose("resolution", nullable=True),
    *url("postmortem_url"),
    *json_object("labels"),
    Column("version", Integer, nullable=False, server_default=text("1")),
    *changed(),
    search_vector("title", "description"),
    CheckConstraint("number > 0", name="number_positive"),
    CheckConstraint("(status = 'RESOLVED') = (resolved_at is not null)", name="resolved_at_when_resolved"),
    CheckConstraint("status <> 'MITIGATED' or mitigated_at is not null", name="mitigated_at_when_mitigated"),
    CheckConstraint(
        "status <> 'INVESTIGATING' or (acknowledged_at is not null and mitigated_at is null)",
        name="acknowledged_at_when_investigating",
    ),
    CheckConstraint(
        "status <> 'OPEN' or (acknowledged_at is null and mitigated_at is null)", name="untouched_when_open"
    ),
    CheckConstraint(
        "started_at <= least(detected_at, acknowledged_at, mitigated_at, resolved_at)", name="started_before_everything"
    ),
    Index(None, "started_at", "id"),
    Index(None, "updated_at", "id"),
    Index(None, "severity", "id"),
    Index(None, "status", "started_at", "id"),
    Index(None, "source", "started_at", "id"),
    Index("ix_incidents_active", "started_at", "id", postgresql_where=text("status <> 'RESOLVED'")),
    Index(None, "commander_id"),
    Index(None, "labels", postgresql_using="gin", postgresql_ops={"labels": "jsonb_path_ops"}),
    Index(None, "search", postgresql_using="gin"),
)

incidents_services = Table(
    "incidents_services",
    metadata,
    reference("incident_id", "incidents.id", on_delete="CASCADE", primary_key=True),
    # A service that was hurt by an incident is part of that incident's history, which outlives the catalog entry.
    reference("service_id", "services.id", on_delete="RESTRICT", primary_key=True),
    enum("level", ImpactLevel),
    enum("source", IncidentSource),
    *ratio("score", nullable=True),
    timestamp("since"),
    Index(None, "service_id", "incident_id"),
)
