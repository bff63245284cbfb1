"""Incidents and the services that they hurt."""

from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, Index, Integer, Select, Table, exists, func, select, text
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

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
from db.people import users
from db.services import services
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

dismissed_impacts = Table(
    "dismissed_impacts",
    metadata,
    # Somebody said that the incident does not hurt the service, which no computation may contradict.
    reference("incident_id", "incidents.id", on_delete="CASCADE", primary_key=True),
    reference("service_id", "services.id", on_delete="CASCADE", primary_key=True),
    timestamp("created_at"),
    Index(None, "service_id"),
)


def select_incidents(
    *,
    id: UUID | None = None,
    statuses: tuple[IncidentStatus, ...] = (),
    severities: tuple[Severity, ...] = (),
    service: UUID | str | None = None,
) -> Select[Any]:
    """Incidents, each whole: its columns, its `commander` by name, and its `services` as JSON, the worst hurt first.

    `statuses` and `severities` let any of them pass, all when empty; `service` is an id, or a name in any case.
    """
    impact = incidents_services.c
    hurt = (
        select(
            func.coalesce(
                func.jsonb_agg(
                    aggregate_order_by(
                        func.jsonb_build_object("id", services.c.id, "name", services.c.name, "level", impact.level),
                        impact.level,
                        services.c.name,
                    )
                ),
                text("'[]'::jsonb"),
                type_=JSONB,
            )
        )
        .join_from(incidents_services, services)
        .where(impact.incident_id == incidents.c.id)
        .scalar_subquery()
    )
    columns = [column for column in incidents.c if column.computed is None]
    statement = select(*columns, users.c.name.label("commander"), hurt.label("services")).outerjoin(users)
    if id is not None:
        statement = statement.where(incidents.c.id == id)
    if statuses:
        statement = statement.where(incidents.c.status.in_(statuses))
    if severities:
        statement = statement.where(incidents.c.severity.in_(severities))
    if service is not None:
        meant = (
            services.c.id == service
            if isinstance(service, UUID)
            else func.lower(services.c.name) == func.lower(service)
        )
        is_hurt = (impact.incident_id == incidents.c.id) & (impact.service_id == services.c.id) & meant
        statement = statement.where(exists().where(is_hurt))
    return statement


HURT_SERVICES_SQL = """
with told as (
  select * from jsonb_to_recordset(cast(:rows as jsonb)) as told(incident_id uuid, service_id uuid, since timestamptz)
), known as (
  select impacts.incident_id, impacts.service_id, impacts.level
  from incidents_services impacts join told using (incident_id, service_id)
), undismissed as (
  delete from dismissed_impacts using told
  where dismissed_impacts.incident_id = told.incident_id and dismissed_impacts.service_id = told.service_id
), written as (
  insert into incidents_services (incident_id, service_id, level, source, since)
  select told.incident_id, told.service_id, cast(:level as impact_level), cast(:source as incident_source),
    greatest(told.since, incidents.started_at)
  from told join incidents on incidents.id = told.incident_id
  on conflict (incident_id, service_id) do update set level = excluded.level, source = excluded.source, score = null
  returning incident_id, service_id
)
select incident_id, service_id, services.name, known.level::text as before
from written join services on services.id = written.service_id left join known using (incident_id, service_id)
order by services.name, incident_id
"""
"""Says how incidents hurt services, and what was said before."""

LATEST_FIRST = (incidents.c.started_at.desc(), incidents.c.id.desc())
ACTIVE = tuple(status for status in IncidentStatus if status is not IncidentStatus.RESOLVED)
