"""A log that grows: outbox, relay, reader and hub at work on a real Postgres, without a server around them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import insert

from db.connecting import driver_url
from db.database import Database, Transaction
from db.identifiers import new_id
from db.outbox import outbox
from domain.errors import DatabaseUnavailable
from domain.feed import EventType
from feed.cursor import AS_OF_CURSOR_SQL, Cursor, decode, encode
from feed.filter import EventFilter
from feed.hub import Hub
from feed.log import EventLog
from feed.relay import Relay
from feed.stream import Place
from tests.waiting import until

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVERYTHING = EventFilter()


@asynccontextmanager
async def running(*services: Any) -> AsyncIterator[None]:
    """Services at work: whatever has a `run` that never ends."""
    tasks = [asyncio.create_task(service.run()) for service in services]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


@dataclass
class Text:
    """Renders an event as its position and that of the one before, as soon as `open` is set."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    rendered: int = 0

    def __post_init__(self) -> None:
        self.open.set()

    async def events(self, places: Sequence[Place]) -> list[bytes]:
        await self.open.wait()
        self.rendered += len(places)
        return [f"{place.previous}<{place.cursor}".encode() for place in places]

    async def checkpoint(self, place: Place) -> bytes:
        return f"{place.previous}<{place.cursor}!".encode()


class Listener:
    """A subscriber that takes everything at once, unless told to take nothing."""

    def __init__(self, hub: Hub, start: Cursor, filter_: EventFilter, renderer: Text) -> None:
        self.positions: list[int] = []
        self.texts: list[str] = []
        self.cursors = [encode(start)]
        self.takes = asyncio.Event()
        self.takes.set()
        self._frames = hub.subscribe((filter_, id(renderer)), filter_, renderer, start, encode(start))
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async with aclosing(self._frames) as frames:
            async for frame in frames:
                self.texts.append(frame.body.decode())
                self.cursors.append(frame.cursor)
                if not self.texts[-1].endswith("!"):
                    self.positions.append(frame.reached.position)
                await self.takes.wait()

    @property
    def is_unbroken(self) -> bool:
        """Whether each frame names the one before it."""
        links = [f"{before}<{cursor}" for before, cursor in pairwise(self.cursors)]
        return links == [text.rstrip("!") for text in self.texts]

    async def heard(self, count: int) -> None:
        await until(lambda: len(self.positions) >= count or self._task.done())
        if self._task.done():
            self._task.result()

    async def leave(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


class Feed:
    """One process' relay, log and hub over a database, and what tests do with them."""

    def __init__(self, database: Database, url: str) -> None:
        self.database = database
        self.url = url
        self.log = EventLog(database, url)
        self.relay = Relay(url, self.log)
        self.hub = Hub(self.log, checkpoint_seconds=1)

    async def write(self, count: int = 1, **known: Any) -> list[int]:
        """Commit some events in one transaction; return their numbers in the outbox."""
        async with self.database.writing(NOON) as tx:
            return await write(tx, count, **known)

    async def writes(self, count: int = 1) -> bool:
        """Whether some events could be written, where the database has just been lost."""
        try:
            await self.write(count)
        except DatabaseUnavailable:
            return False
        return True

    async def logged(self) -> list[asyncpg.Record]:
        """The log, by position."""
        connection = await asyncpg.connect(driver_url(self.url))
        try:
            return await connection.fetch(
                "select position, seq, xid::text::bigint as xid, type::text, incident_id, service_ids, severity::text"
                " from event_log order by position"
            )
        finally:
            await connection.close()

    async def has_logged(self, count: int) -> list[asyncpg.Record]:
        """The log, as soon as it has so many events and this process has read them."""

        async def is_there() -> bool:
            return len(await self.logged()) >= count

        await until(is_there)
        events = await self.logged()
        await until(lambda: self.log.position >= events[-1]["position"])
        return events

    async def now(self) -> Cursor:
        """The place where the log stands for this process."""
        return Cursor(await self.log.started(), self.log.position)

    async def as_of_now(self) -> Cursor:
        """The cursor that a snapshot of this moment comes with."""
        connection = await asyncpg.connect(driver_url(self.url))
        try:
            return decode(await connection.fetchval(f"select {AS_OF_CURSOR_SQL}"))
        finally:
            await connection.close()

    def listen(self, start: Cursor, filter_: EventFilter = EVERYTHING, renderer: Text | None = None) -> Listener:
        return Listener(self.hub, start, filter_, renderer or Text())


async def write(
    tx: Transaction,
    count: int = 1,
    *,
    type: EventType = EventType.INCIDENT_UPDATED,
    incident_id: UUID | None = None,
    service_ids: Sequence[UUID] = (),
    severity: str | None = None,
) -> list[int]:
    """Insert events into the outbox; return their numbers there."""
    rows = [
        {
            "type": type,
            "incident_id": incident_id,
            "service_ids": [*service_ids],
            "severity": severity,
            "subject_id": new_id(),
            "payload": {},
            "occurred_at": NOON,
        }
        for _ in range(count)
    ]
    return [*(await tx.execute(insert(outbox).values(rows).returning(outbox.c.seq))).scalars()]


@pytest.fixture
async def feed(database: Database, database_url: str) -> AsyncIterator[Feed]:
    """A log that is followed, and a relay that leads."""
    made = Feed(database, database_url)
    async with running(made.relay, made.log, made.hub):
        await made.log.started()
        await until(lambda: made.relay.state.is_leader)
        yield made
