"""The catalog: services and what depends on what."""

from typing import Any

from sqlalchemy import CheckConstraint, Column, Index, Integer, Select, SmallInteger, Table, func, select, text

from db.columns import (
    changed,
    enum,
    id_column,
    json_object,
    name,
    number,
    prose,
    ratio,
    reference,
    search_vector,
    timestamp,
    url,
)
from db.metadata import metadata
from db.people import teams
from domain.services import DependencySource, ServiceStatus

services = Table(
    "services",
    metadata,
    id_column(),
    *name(),
    *name("display_name"),
    *prose("description"),
    Column("tier", SmallInteger),
    CheckConstraint("tier between 1 and 5", name="tier_range"),
    reference("team_id", "teams.id", on_delete="SET NULL", nullable=True),
    enum("status", ServiceStatus, default=ServiceStatus.UNKNOWN),
    *url("repository_url"),
    *url("documentation_url"),
    *url("runbook_url"),
    *json_object("labels"),
    *json_object("selectors"),
    *json_object("telemetry_instances"),
    timestamp("discovered_at", nullable=True),
    Column("version", Integer, nullable=False, server_default=text("1")),
    *changed(),
    search_vector("name", "display_name", "description"),
    Index(None, "name", "id"),
    Index(None, "updated_at", "id"),
    Index("ix_services_tier_id", func.coalesce(text("tier"), text("6")), "id"),
    Index(None, "status", "id"),
    Index(None, "team_id"),
    Index(None, "labels", postgresql_using="gin", postgresql_ops={"labels": "jsonb_path_ops"}),
    Index(None, "search", postgresql_using="gin"),
)
Index("uq_services_name", func.lower(services.c.name), unique=True)

service_dependencies = Table(
    "service_dependencies",
    metadata,
    reference("service_id", "services.id", on_delete="CASCADE", primary_key=True),
    reference("depends_on_id", "services.id", on_delete="CASCADE", primary_key=True),
    enum("source", DependencySource, default=DependencySource.DECLARED),
    timestamp("created_at"),
    timestamp("last_seen_at", nullable=True),
    *number("request_rate", nullable=True),
    *ratio("error_ratio", nullable=True),
    *number("latency_p95_seconds", nullable=True),
    CheckConstraint("service_id <> depends_on_id", name="no_self_loop"),
    Index(None, "depends_on_id"),
)


def select_services() -> Select[Any]:
    """The catalog, each service with its `team` by name."""
    columns = [column for column in services.c if column.computed is None]
    return select(*columns, teams.c.name.label("team")).outerjoin(teams)
