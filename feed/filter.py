"""Which events a stream lets through."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from domain.feed import EventType
from domain.incidents import Severity
from feed.cursor import Cursor, Reach


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """As much of an event in the log as decides who hears of it."""

    epoch: UUID
    position: int
    xid: int
    seq: int
    type: str
    incident_id: UUID | None
    service_ids: tuple[UUID, ...]
    severity: str | None
    traceparent: str | None = None
    """The span that the event happened in, where that was recorded."""

    @property
    def reach(self) -> Reach:
        """How far the log has been read with this event."""
        return Reach(self.epoch, self.position, self.seq)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What an event must be to be let through; None asks nothing. Hashable: equal filters are one stream."""

    types: frozenset[EventType] | None = None
    incident_id: UUID | None = None
    service_ids: frozenset[UUID] | None = None
    severities: frozenset[Severity] | None = None

    def lets_through(self, event: LoggedEvent) -> bool:
        """Whether an event is part of the stream."""
        return (
            (self.incident_id is None or event.incident_id == self.incident_id)
            and (self.types is None or event.type in self.types)
            and (self.service_ids is None or not self.service_ids.isdisjoint(event.service_ids))
            and (self.severities is None or event.severity in self.severities)
        )

    def values(self, cursor: Cursor) -> list[Any]:
        """The first values of PAGE_SQL, which asks the same, and leaves out what is known at a cursor."""
        return [
            None if self.types is None else sorted(self.types),
            self.incident_id,
            None if self.service_ids is None else sorted(self.service_ids),
            None if self.severities is None else sorted(self.severities),
            cursor.position,
            None if cursor.seen is None else cursor.seen.last,
            None if cursor.seen is None else str(cursor.seen.snapshot),
        ]


PAGE_SQL = """
select position, seq from event_log
where position > $5 and position <= $8
  and ($1::text[] is null or type = any($1::text[]::event_type[]))
  and ($2::uuid is null or incident_id = $2::uuid)
  and ($3::uuid[] is null or service_ids && $3::uuid[])
  and ($4::text[] is null or severity = any($4::text[]::severity[]))
  and ($6::bigint is null or seq > $6::bigint or not pg_visible_in_snapshot(xid, $7::text::pg_snapshot))
order by position limit $9
"""
"""The next events of a filter after a cursor: their seven values, then up to which position, and how many."""
