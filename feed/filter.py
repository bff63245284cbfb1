"""Which events a stream lets through."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from domain.feed import EventType
from domain.incidents import Severity
from feed.cursor import Snapshot


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """As much of an event in the log as decides who hears of it."""

    position: int
    xid: int
    seq: int
    type: str
    incident_id: UUID | None
    service_ids: tuple[UUID, ...]
    severity: str | None
    floor: int = 0
    """No transaction before this one wrote this event, or any that comes after it."""


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

    def values(self, seen: Snapshot | None) -> list[Any]:
        """The first values of PAGE_SQL, which asks the same, and leaves out what a snapshot has seen."""
        return [
            None if self.types is None else sorted(self.types),
            self.incident_id,
            None if self.service_ids is None else sorted(self.service_ids),
            None if self.severities is None else sorted(self.severities),
            None if seen is None else str(seen),
        ]


PAGE_SQL = """
select position from event_log
where position > $6 and position <= $7
  and ($1::text[] is null or type = any($1::text[]::event_type[]))
  and ($2::uuid is null or incident_id = $2::uuid)
  and ($3::uuid[] is null or service_ids && $3::uuid[])
  and ($4::text[] is null or severity = any($4::text[]::severity[]))
  and ($5::text is null or not pg_visible_in_snapshot(xid, $5::text::pg_snapshot))
order by position limit $8
"""
"""The next events of a filter: its five values, then after which position, up to which, and how many."""
