"""What happened to an incident, when."""

from db.timeline import timeline_events
from domain.incidents import Severity
from domain.timeline import TimelineEventType
from resolvers import sql
from schema.filters import TIMELINE_ORDER, TimelineEventFilter
from schema.nodes import Connection, Node
from schema.people import User
from schema.references import IncidentRef
from schema.scalars import JSON, DateTime


@sql.type(timeline_events)
class TimelineEvent(Node):
    """Something that happened to an incident. Entries are never changed: a correction is a new entry."""

    incident: IncidentRef = sql.one(
        "The incident that it belongs to.", "incidents {it}", "{it}.id = {parent}.incident_id"
    )
    type: TimelineEventType = sql.column("What kind of thing happened.")
    occurred_at: DateTime = sql.column("When it happened.")
    created_at: DateTime = sql.column("When it was written down.")
    source: str = sql.column("Who or what says so.")
    title: str = sql.column("What happened, in a line.")
    description: str = sql.column("What else there is to say.")
    severity: Severity | None = sql.column("How bad it is, where that can be said.")
    actor: User | None = sql.one("Who did it.", "users {it}", "{it}.id = {parent}.actor_id")
    metadata: JSON = sql.column("Details for programs.")


def timeline(description: str, where: str) -> Connection[TimelineEvent]:
    """A connection of timeline entries, oldest first."""
    made: Connection[TimelineEvent] = sql.connection(
        description, "timeline_events {it}", where, TIMELINE_ORDER, filter=TimelineEventFilter
    )
    return made
