"""What happened to an incident, when. Append-only: a correction is a new entry."""

from typing import Any
from uuid import UUID

from sqlalchemy import Index, Select, Table, select

from db.columns import enum, id_column, json_object, name, prose, reference, search_vector, timestamp, title
from db.metadata import metadata
from db.people import users
from domain.incidents import Severity
from domain.timeline import TimelineEventType

timeline_events = Table(
    "timeline_events",
    metadata,
    id_column(),
    reference("incident_id", "incidents.id", on_delete="CASCADE"),
    enum("type", TimelineEventType),
    timestamp("occurred_at"),
    *name("source"),
    *title(),
    *prose("description"),
    enum("severity", Severity, nullable=True),
    reference("actor_id", "users.id", on_delete="SET NULL", nullable=True),
    *json_object("metadata"),
    timestamp("created_at"),
    search_vector("title", "description"),
    Index(None, "incident_id", "occurred_at", "id"),
    Index(None, "occurred_at", "id"),
    Index(None, "type", "occurred_at", "id"),
    Index(None, "severity", "occurred_at", "id"),
    Index(None, "source", "occurred_at", "id"),
    Index(None, "actor_id"),
    Index(None, "search", postgresql_using="gin"),
)


WRITE_ENTRIES_SQL = """
insert into timeline_events (id, incident_id, type, occurred_at, source, title, description, severity, metadata,
  created_at)
select id, incident_id, type, occurred_at, source, title, description, severity, metadata, created_at
from jsonb_to_recordset(cast(:rows as jsonb)) as told(id uuid, incident_id uuid, type timeline_event_type,
  occurred_at timestamptz, source text, title text, description text, severity severity, metadata jsonb,
  created_at timestamptz)
"""
"""Writes entries that no person made."""


def select_timeline(incident_id: UUID, entry_id: UUID | None = None) -> Select[Any]:
    """The entries of an incident's timeline, or one of them, each with its `actor` by name."""
    columns = [column for column in timeline_events.c if column.computed is None]
    statement = select(*columns, users.c.name.label("actor")).outerjoin(users)
    statement = statement.where(timeline_events.c.incident_id == incident_id)
    return statement if entry_id is None else statement.where(timeline_events.c.id == entry_id)


OLDEST_FIRST = (timeline_events.c.occurred_at, timeline_events.c.id)
