"""Where a subscription begins, and who shares it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest

from domain.access import Role
from feed.log import EventLog
from feed.relay import Relay
from feed.stream import Frame
from resolvers.operations import Operations
from resolvers.subscriptions import Subscription, Subscriptions
from schema.root import build_schema
from tests.feed.conftest import NOON, Feed, running, write
from tests.resolvers.client import Client
from tests.waiting import until

EVENTS = "subscription { events { cursor previousCursor type } }"


@pytest.fixture(scope="module")
def operations() -> Operations:
    return Operations(build_schema())


@pytest.fixture
def idle(database, database_url) -> Feed:
    """A log that nobody relays to or reads from yet."""
    return Feed(database, database_url)


async def subscribe(operations: Operations, feed: Feed, role: Role = Role.ADMIN) -> Subscription:
    client = Client(operations, feed.database)
    context = client.context()
    context = replace(context, actor=replace(context.actor, role=role))
    subscriptions = Subscriptions(operations.sources, feed.hub, lambda: datetime.now(UTC))
    return await subscriptions.open(client.prepared(EVENTS), None, context)


async def position(frames: AsyncGenerator[Frame]) -> int:
    return (await anext(frames)).reached.position


async def test_from_now_on_means_from_the_moment_of_asking_whatever_a_process_has_read(
    operations: Operations, idle: Feed
) -> None:
    """What was committed before does not come, although it has no place yet; what is still open does."""
    async with idle.database.writing(NOON) as open_:
        await write(open_)
        await idle.write(2)
        subscription = await subscribe(operations, idle)
    await idle.write()
    async with running(idle.relay, idle.log, idle.hub), aclosing(subscription.frames) as frames:
        assert [await position(frames), await position(frames)] == [1, 4]


async def test_a_process_that_has_read_less_than_was_committed_tells_nothing_old(
    operations: Operations, idle: Feed
) -> None:
    async with running(idle.log):
        await idle.log.started()
    await idle.write(3)
    other = EventLog(idle.database, idle.url)
    async with running(Relay(idle.url), other):
        await until(lambda: other.position == 3)
        assert idle.log.position == 0
        subscription = await subscribe(operations, idle)
        async with running(idle.log), aclosing(subscription.frames) as frames:
            await idle.write()
            frame = await anext(frames)
    assert frame.reached.position == 4
    assert orjson.loads(frame.body)["data"]["events"]["previousCursor"] is None


async def test_who_has_other_rights_shares_no_stream(operations: Operations, feed: Feed) -> None:
    same = [await subscribe(operations, feed, role) for role in (Role.VIEWER, Role.VIEWER, Role.ADMIN)]
    await feed.write()
    for subscription in same:
        assert await position(subscription.frames) == 1
    assert (feed.hub.subscribers, feed.hub.streams) == (3, 2)
    for subscription in same:
        await subscription.frames.aclose()
