"""The log as one process reads it."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from db.connecting import driver_url
from domain.errors import CursorExpired, InvalidCursor
from domain.feed import EventType
from feed.cursor import Cursor, decode
from feed.filter import EventFilter
from feed.log import EventLog
from tests.feed.conftest import EVERYTHING, Feed, running
from tests.postgres import run_sql
from tests.waiting import until


async def test_listeners_hear_of_everything_once_and_in_order(feed: Feed) -> None:
    heard: list[int] = []
    feed.log.listeners.append(lambda events: heard.extend(event.position for event in events))
    await asyncio.gather(*(feed.write(3) for _ in range(10)))
    await until(lambda: len(heard) >= 30)
    assert heard == list(range(1, 31))


async def test_what_happens_while_the_database_is_lost_is_heard_afterwards(feed: Feed) -> None:
    heard: list[int] = []
    feed.log.listeners.append(lambda events: heard.extend(event.position for event in events))
    await feed.write()
    await until(lambda: heard == [1])
    await run_sql(
        feed.url,
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()",
    )
    await until(lambda: feed.writes(3))
    await until(lambda: len(heard) >= 4)
    assert heard == [1, 2, 3, 4]


async def test_a_process_begins_where_the_log_stands(feed: Feed) -> None:
    await feed.write(5)
    await feed.has_logged(5)
    newcomer = EventLog(feed.database, feed.url)
    heard: list[int] = []
    newcomer.listeners.append(lambda events: heard.extend(event.position for event in events))
    async with running(newcomer):
        assert await newcomer.started() == feed.log.epoch
        await feed.write()
        await until(lambda: bool(heard))
    assert heard == [6]


async def test_the_place_of_an_event_can_be_awaited_before_and_after_it_has_one(feed: Feed) -> None:
    (first,) = await feed.write()
    assert await feed.log.position_of(first) == 1
    (second,) = await feed.write()
    assert await asyncio.gather(feed.log.position_of(second), feed.log.position_of(first)) == [2, 1]


async def test_pages_follow_each_other_without_a_gap(feed: Feed) -> None:
    for type_ in (EventType.INCIDENT_CREATED, EventType.INCIDENT_UPDATED) * 5:
        await feed.write(type=type_)
    await feed.has_logged(10)
    start = await feed.now()
    asked = EventFilter(types=frozenset({EventType.INCIDENT_UPDATED}))
    found: list[int] = []
    cursor = Cursor(start.epoch, 0)
    while page := await feed.log.page(asked, cursor, until=10, limit=2):
        assert len(page) <= 2
        found += [at.position for at in page]
        cursor = page[-1]
    assert found == [2, 4, 6, 8, 10]
    page = await feed.log.page(asked, Cursor(start.epoch, 0), until=5, limit=100)
    assert [at.position for at in page] == [2, 4]


async def test_a_cursor_of_another_log_or_of_the_future_is_invalid(feed: Feed) -> None:
    await feed.write(2)
    await feed.has_logged(2)
    now = await feed.now()
    await feed.log.require(now)
    for foreign in (Cursor(uuid4(), 1), Cursor(now.epoch, 3)):
        with pytest.raises(InvalidCursor, match="another event log"):
            await feed.log.require(foreign)


async def test_a_cursor_that_the_log_has_forgotten_is_told_the_oldest_that_it_remembers(feed: Feed) -> None:
    await feed.write(5)
    await feed.has_logged(5)
    connection = await asyncpg.connect(driver_url(feed.url))
    epoch = (await feed.now()).epoch
    for forgotten, oldest in ((3, 3), (5, 5)):
        await connection.execute("delete from event_log where position <= $1", forgotten)
        with pytest.raises(CursorExpired) as told:
            await feed.log.require(Cursor(epoch, oldest - 1))
        assert decode(told.value.oldest_cursor) == Cursor(epoch, oldest)
        await feed.log.require(Cursor(epoch, oldest))
        with pytest.raises(CursorExpired):
            await feed.log.page(EVERYTHING, Cursor(epoch, 0), until=5, limit=10)
    await connection.close()
