"""What happened to an incident, when. Append-only: a correction is a new entry."""

from sqlalchemy import Index, Table

from db.columns import enum, id_column, json_object, name, prose, reference, search_vector, timestamp, title
from db.metadata import metadata
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
    Index(None, "actor_id"),
    Index(None, "search", postgresql_using="gin"),
)
