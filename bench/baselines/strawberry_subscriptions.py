"""The subscriptions of the contract with stock Strawberry, as its guide shows it: an async generator a subscriber.

One listener hears of new events, reads each once with its incident, and puts the same object into a queue a
subscriber; Strawberry executes and encodes it for each of them.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any

import asyncpg
import orjson
import strawberry
from strawberry.asgi import GraphQL
from strawberry.scalars import ID, JSON

from bench.baselines.serve import serve
from db.event_log import CHANNEL
from domain.incidents import IncidentStatus, Severity

_NEW_SQL = """
select event_log.position, event_log.occurred_at, event_log.payload, incidents.id, incidents.number, incidents.title,
  incidents.severity, incidents.status
from event_log join incidents on incidents.id = event_log.incident_id
where event_log.position > $1 order by event_log.position
"""

for enum in (IncidentStatus, Severity):
    strawberry.enum(enum)


@strawberry.type
class Incident:
    id: ID
    number: int
    title: str
    severity: Severity
    status: IncidentStatus


@strawberry.type
class FieldChange:
    field: str
    to: JSON | None


@strawberry.interface
class Event:
    cursor: str
    previous_cursor: str | None
    occurred_at: datetime
    incident: Incident | None


@strawberry.type
class IncidentUpdated(Event):
    changes: list[FieldChange]


class Broadcast:
    """Tells subscribers of events, by incident or of all (None)."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._queues: dict[str | None, set[asyncio.Queue[Event]]] = defaultdict(set)
        self._previous: dict[str | None, str] = {}
        self._listening: asyncio.Task[None] | None = None

    async def events(self, incident_id: str | None) -> AsyncGenerator[Event]:
        """What happens from now on."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self._queues[incident_id].add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues[incident_id].discard(queue)

    async def _listen(self) -> None:
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(self._url)
        grown = asyncio.Event()
        await connection.add_listener(CHANNEL, lambda *_: grown.set())
        position = await connection.fetchval("select position from event_log_head")
        while True:
            await grown.wait()
            grown.clear()
            for row in await connection.fetch(_NEW_SQL, position):
                position = row["position"]
                self._tell(row)

    def _tell(self, row: asyncpg.Record) -> None:
        for topic in (None, str(row["id"])):
            if self._queues[topic]:
                event = _event(row, self._previous.get(topic))
                self._previous[topic] = event.cursor
                for queue in self._queues[topic]:
                    queue.put_nowait(event)


def _event(row: asyncpg.Record, previous: str | None) -> IncidentUpdated:
    return IncidentUpdated(
        cursor=str(row["position"]),
        previous_cursor=previous,
        occurred_at=row["occurred_at"],
        incident=Incident(
            id=ID(str(row["id"])),
            number=row["number"],
            title=row["title"],
            severity=Severity(row["severity"]),
            status=IncidentStatus(row["status"]),
        ),
        changes=[FieldChange(field=each["field"], to=each["to"]) for each in orjson.loads(row["payload"])["changes"]],
    )


@strawberry.type
class Query:
    @strawberry.field
    def version(self) -> str:
        return strawberry.__name__


def application(database_url: str) -> Any:
    """Strawberry's own view."""
    broadcast = Broadcast(database_url)

    @strawberry.type
    class Subscription:
        @strawberry.subscription
        async def events(self) -> AsyncGenerator[Event]:
            async for event in broadcast.events(None):
                yield event

        @strawberry.subscription
        async def incident_events(self, incident_id: ID) -> AsyncGenerator[Event]:
            async for event in broadcast.events(incident_id):
                yield event

    return GraphQL(strawberry.Schema(Query, subscription=Subscription, types=[IncidentUpdated]))


if __name__ == "__main__":
    serve(application)
