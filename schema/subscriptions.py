"""What clients can subscribe to."""

import strawberry

from domain.feed import EventType
from domain.permissions import READ, TELEMETRY_QUERY
from domain.telemetry import LogLevel
from resolvers import sql
from resolvers.sql import Given
from schema.events import Event
from schema.filters import EventFilter
from schema.logs import LogEntry, tail_service

AFTER = Given(str | None, "Only what comes after this cursor. Without it, what happens from now on.")
FILTER = Given(EventFilter | None, "Which of them.")
INCIDENT_ID = Given(strawberry.ID | None, "Only those about this incident.")


@strawberry.type(
    description="What happens, as it happens: every event once, in order, and resumable; and lines of logs, live."
)
class Subscription:
    """What happens, as it happens."""

    events: Event = sql.stream("Everything that happens.", {"filter": FILTER, "after": AFTER}, permission=READ)
    incident_events: Event = sql.stream(
        "What happens to incidents: created, updated, other services hurt, tasks.",
        {"incident_id": INCIDENT_ID, "filter": FILTER, "after": AFTER},
        [
            EventType.INCIDENT_CREATED,
            EventType.INCIDENT_UPDATED,
            EventType.SERVICE_IMPACT_CHANGED,
            EventType.TASK_CHANGED,
        ],
        permission=READ,
    )
    correlation_events: Event = sql.stream(
        "What the correlation engine finds.",
        {"incident_id": INCIDENT_ID, "after": AFTER},
        [EventType.CORRELATION_FOUND, EventType.ANALYSIS_COMPLETED],
        permission=READ,
    )
    timeline_events: Event = sql.stream(
        "What is added to the timeline of an incident.",
        {"incident_id": Given(strawberry.ID, "The incident."), "after": AFTER},
        [EventType.TIMELINE_EVENT_ADDED],
        permission=READ,
    )
    log_tail: LogEntry = sql.live(
        "The lines of a service as they are written, from Loki. It cannot be resumed. Where lines come faster than "
        "they are taken, the oldest are left out, and `extensions.missed` says how many.",
        tail_service,
        {
            "service": Given(str, "Its name or id."),
            "search": Given(str | None, "Only lines that contain this text as it stands."),
            "level": Given(list[LogLevel] | None, "Only lines of one of these levels."),
        },
        permission=TELEMETRY_QUERY,
    )
