"""What subscribers get from the hub when they join, fall behind and come back at awkward moments."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from uuid import UUID

import pytest
from sqlalchemy import text

from db.database import Database
from domain.errors import CursorExpired
from feed.cursor import AS_OF_CURSOR_SQL, Cursor, decode, encode
from feed.filter import EventFilter
from feed.hub import Hub
from feed.log import EventLog
from feed.relay import Relay
from feed.stream import QUEUE_FRAMES, Frame, Place
from tests.feed.logs import fill, running, tell
from tests.postgres import run_sql
from tests.waiting import until

EVERYTHING = EventFilter()


class Plain:
    """Renders an event as its position and the last one. What begins with a position in `gates` has to wait."""

    def __init__(self) -> None:
        self.gates: dict[int, asyncio.Event] = {}
        self.renderings = 0

    async def events(self, places: Sequence[Place]) -> list[bytes]:
        self.renderings += 1
        if (gate := self.gates.get(places[0].position)) is not None:
            await gate.wait()
        return [f"{place.position} after {_position(place.previous)}".encode() for place in places]

    async def checkpoint(self, place: Place) -> bytes:
        return f"nothing up to {place.position} after {_position(place.previous)}".encode()


@pytest.fixture
def event_log(database: Database, database_url: str) -> EventLog:
    return EventLog(database, database_url)


@pytest.fixture
def hub(event_log: EventLog) -> Hub:
    return Hub(event_log)


@pytest.fixture
async def epoch(database: Database) -> UUID:
    async with database.reading() as connection:
        found: UUID = (await connection.execute(text("select epoch from event_log_head"))).scalar_one()
    return found


def subscribe(hub: Hub, start: Cursor, renderer: Plain) -> AsyncGenerator[Frame]:
    return hub.subscribe("stream", EVERYTHING, renderer, start, encode(start))


def _position(cursor: str | None) -> int | None:
    return None if cursor is None else decode(cursor).position


async def take(frames: AsyncIterator[Frame], count: int) -> list[str]:
    async with asyncio.timeout(20):
        return [(await anext(frames)).body.decode() for _ in range(count)]


async def test_who_has_seen_more_than_this_process_has_read_gets_nothing_twice(
    database: Database, database_url: str, event_log: EventLog, hub: Hub, epoch: UUID
) -> None:
    renderer = Plain()
    async with running(event_log.run):
        await event_log.started()
    await fill(database, database_url, 5)
    assert event_log.position == 0  # The reader was away, as one of another server may be.

    ahead = subscribe(hub, Cursor(epoch, 3), renderer)
    behind = subscribe(hub, Cursor(epoch, 1), renderer)
    first_ahead, first_behind = asyncio.create_task(take(ahead, 1)), asyncio.create_task(take(behind, 1))
    await until(lambda: hub.subscribers == 2)
    async with running(event_log.run):
        assert await first_ahead == ["4 after 3"]
        assert await first_behind == ["2 after 1"]
        assert await take(ahead, 1) == ["5 after 4"]
        assert await take(behind, 3) == ["3 after 2", "4 after 3", "5 after 4"]
        await ahead.aclose()
        await behind.aclose()


async def test_what_comes_while_the_only_other_member_leaves_reaches_who_joins(
    database: Database, database_url: str, event_log: EventLog, hub: Hub, epoch: UUID
) -> None:
    renderer = Plain()
    renderer.gates = {1: asyncio.Event(), 2: asyncio.Event()}
    await fill(database, database_url, 1)
    async with running(event_log.run):
        await event_log.started()
        leaving = asyncio.create_task(take(subscribe(hub, Cursor(epoch, 1), renderer), 1))
        await until(lambda: hub.up_to_date == 1)
        joining = subscribe(hub, Cursor(epoch, 0), renderer)
        joined = asyncio.create_task(take(joining, 3))
        await until(lambda: renderer.renderings == 1)  # Of the first event, for who joins.
        await fill(database, database_url, 1)
        await until(lambda: renderer.renderings == 2)  # Of the second, for who leaves.
        leaving.cancel()
        await asyncio.wait([leaving])
        await fill(database, database_url, 1)
        await until(lambda: event_log.position == 3)
        renderer.gates[1].set()
        await until(lambda: hub.up_to_date == 1)
        renderer.gates[2].set()

        assert await joined == ["1 after 0", "2 after 1", "3 after 2"]
        await joining.aclose()


async def test_who_falls_behind_reads_on_in_the_log(
    database: Database, database_url: str, event_log: EventLog, hub: Hub, epoch: UUID
) -> None:
    renderer = Plain()
    count = QUEUE_FRAMES + 50
    async with running(event_log.run):
        await event_log.started()
        lazy = subscribe(hub, Cursor(epoch, 0), renderer)
        first = asyncio.create_task(take(lazy, 1))
        await until(lambda: hub.up_to_date == 1)
        await fill(database, database_url, count)
        await until(lambda: event_log.position == count)

        expected = [f"{position} after {position - 1}" for position in range(2, count + 1)]
        assert await first + await take(lazy, count - 1) == ["1 after 0", *expected]
        await lazy.aclose()


async def test_more_than_can_be_rendered_as_it_happens_is_read_from_the_log_instead_and_nothing_is_missed(
    database: Database, database_url: str, event_log: EventLog, epoch: UUID
) -> None:
    hub, renderer = Hub(event_log, waiting_events=20), Plain()
    renderer.gates = {1: asyncio.Event()}
    async with running(event_log.run):
        await event_log.started()
        early = subscribe(hub, Cursor(epoch, 0), renderer)
        told = asyncio.create_task(take(early, 151))
        await until(lambda: hub.up_to_date == 1)
        await fill(database, database_url, 150)
        await until(lambda: event_log.position == 150)
        late = subscribe(hub, Cursor(epoch, 0), renderer)
        told_late = asyncio.create_task(take(late, 151))
        await until(lambda: hub.subscribers == 2)
        renderer.gates[1].set()
        await until(lambda: hub.up_to_date == 2)
        await fill(database, database_url, 1)

        expected = [f"{position} after {position - 1}" for position in range(1, 152)]
        assert await told == expected
        assert await told_late == expected
        await early.aclose()
        await late.aclose()


async def test_who_is_too_slow_for_the_logs_memory_is_told_so(
    database: Database, database_url: str, event_log: EventLog, hub: Hub, epoch: UUID
) -> None:
    await fill(database, database_url, 150)
    async with running(event_log.run):
        await event_log.started()
        slow = subscribe(hub, Cursor(epoch, 0), Plain())
        await take(slow, 10)
        await run_sql(database_url, "delete from event_log where position <= 120")

        await take(slow, 90)  # They had been read.
        with pytest.raises(CursorExpired):
            await take(slow, 1)


async def test_what_a_snapshot_had_seen_stops_to_matter_once_the_log_is_past_it(
    database: Database, database_url: str, event_log: EventLog, hub: Hub
) -> None:
    renderer = Plain()
    await tell(database)
    async with database.reading() as connection:
        start = decode((await connection.execute(text(f"select {AS_OF_CURSOR_SQL}"))).scalar_one())
    assert start.seen is not None
    async with running(event_log.run):
        await event_log.started()
        members = [subscribe(hub, start, renderer) for _ in range(3)]
        firsts = [asyncio.create_task(anext(member)) for member in members]
        await until(lambda: hub.up_to_date == 3)
        await tell(database)
        async with running(Relay(database_url).run):
            for first in firsts:
                frame = await asyncio.wait_for(first, 20)
                assert frame.body == b"2 after 0"
                assert frame.reached == Cursor(start.epoch, 2)
        assert renderer.renderings == 1
        for member in members:
            await member.aclose()


async def test_a_position_is_known_to_who_asks_early_and_to_who_asks_late(
    database: Database, database_url: str, event_log: EventLog
) -> None:
    async with running(event_log.run):
        await event_log.started()
        seq = await tell(database)
        early = asyncio.create_task(event_log.position_of(seq))
        async with running(Relay(database_url).run):
            assert await asyncio.wait_for(early, 20) == 1
        assert await asyncio.wait_for(event_log.position_of(seq), 20) == 1
