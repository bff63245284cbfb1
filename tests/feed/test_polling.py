"""Clients that poll `Query.events`: its cursors and those of subscriptions are the same."""

from typing import Any
from uuid import uuid4

import orjson
import pytest

from domain.feed import EventType
from feed.cursor import Cursor, decode, encode
from resolvers.operations import Operations
from schema.root import build_schema
from tests.feed.conftest import EVERYTHING, NOON, Feed, write
from tests.postgres import run_sql
from tests.resolvers.client import Client, ordered

PAGE = """
  query Poll($after: String, $first: Int, $filter: EventFilter) {
    events(after: $after, first: $first, filter: $filter) {
      nodes { cursor type } edges { cursor node { cursor } }
      pageInfo { startCursor endCursor hasNextPage hasPreviousPage }
      totalCount
    }
  }
"""


@pytest.fixture(scope="module")
def operations() -> Operations:
    return Operations(build_schema())


@pytest.fixture
def client(operations: Operations, feed: Feed) -> Client:
    return Client(operations, feed.database)


async def ask(client: Client, query: str, variables: dict[str, Any] | None = None) -> Any:
    """What a server answers, which is what ordinary execution answers."""
    answer = await client.answer(query, variables)
    if b"errors" not in answer:
        assert await client.compiled(query, variables)
    assert ordered(answer) == ordered(await client.ordinary(query, variables))
    return orjson.loads(answer)


async def poll(client: Client, after: str | None, **variables: Any) -> list[str]:
    """All pages after a cursor, to the end: the cursor of each event, by which it is known everywhere."""
    found: list[str] = []
    while True:
        page = (await ask(client, PAGE, {"after": after, **variables}))["data"]["events"]
        cursors = [node["cursor"] for node in page["nodes"]]
        assert page["edges"] == [{"cursor": cursor, "node": {"cursor": cursor}} for cursor in cursors]
        assert page["pageInfo"]["startCursor"] == (cursors[0] if cursors else None)
        assert page["pageInfo"]["endCursor"] == (cursors[-1] if cursors else None)
        found += cursors
        if not page["pageInfo"]["hasNextPage"]:
            return found
        after = page["pageInfo"]["endCursor"]


def positions(cursors: list[str]) -> list[int]:
    return [decode(cursor).position for cursor in cursors]


async def test_pages_and_streams_go_on_from_each_other_s_cursors(feed: Feed, client: Client) -> None:
    listener = feed.listen(await feed.now())
    await feed.write(7)
    await listener.heard(7)
    await listener.leave()

    polled = await poll(client, None, first=3)
    assert polled == listener.cursors[1:]
    assert await poll(client, listener.cursors[4], first=2) == polled[4:]
    subscribed = feed.listen(decode(polled[1]), EVERYTHING)
    await subscribed.heard(5)
    assert subscribed.positions == [3, 4, 5, 6, 7]
    await subscribed.leave()


async def test_a_page_after_a_snapshot_begins_where_the_snapshot_ends(feed: Feed, client: Client) -> None:
    """A transaction that was open at the snapshot comes, what was committed by then does not, whatever their order."""
    async with feed.database.writing(NOON) as held:
        await write(held)
        await feed.write(2)
        snapshot = (await client.ask("{ asOfCursor }"))["data"]["asOfCursor"]
        assert decode(snapshot).seen is not None
        await feed.write()
        await write(held)
    await feed.has_logged(5)
    for first in (1, 2, 5):
        assert positions(await poll(client, snapshot, first=first)) == [1, 4, 5]
    first = (await ask(client, PAGE, {"after": snapshot, "first": 1}))["data"]["events"]["nodes"][0]["cursor"]
    assert decode(first).seen == decode(snapshot).seen, "or the subscription would tell what the snapshot has"
    listener = feed.listen(decode(first))
    await listener.heard(2)
    assert listener.positions == [4, 5]
    assert decode(listener.cursors[-1]).seen is None
    await listener.leave()


async def test_a_filtered_page_says_how_many_there_are_and_whether_some_came_before(feed: Feed, client: Client) -> None:
    for type_ in (EventType.INCIDENT_CREATED, EventType.INCIDENT_UPDATED) * 3:
        await feed.write(type=type_)
    await feed.has_logged(6)
    after = encode(Cursor((await feed.now()).epoch, 3))
    page = await ask(client, PAGE, {"after": after, "filter": {"types": ["INCIDENT_UPDATED"]}})
    events = page["data"]["events"]
    assert positions([node["cursor"] for node in events["nodes"]]) == [4, 6]
    assert (events["totalCount"], events["pageInfo"]["hasPreviousPage"]) == (3, True)


async def test_cursors_of_other_logs_and_none_at_all_are_refused(feed: Feed, client: Client) -> None:
    await feed.write(2)
    await feed.has_logged(2)
    epoch = (await feed.now()).epoch
    for after in ("", "junk", encode(Cursor(uuid4(), 1)), encode(Cursor(epoch, 3))):
        error = await refused(client, after)
        assert error["extensions"]["code"] == "INVALID_CURSOR"
        assert error["path"] == ["events"]


async def test_a_cursor_that_is_too_old_is_told_the_oldest_to_go_on_from(feed: Feed, client: Client) -> None:
    await feed.write(5)
    await feed.has_logged(5)
    await run_sql(feed.url, "delete from event_log where position <= 3")
    epoch = (await feed.now()).epoch
    error = await refused(client, encode(Cursor(epoch, 2)))
    assert error["extensions"]["code"] == "CURSOR_EXPIRED"
    oldest = error["extensions"]["oldestCursor"]
    assert positions(await poll(client, oldest)) == [4, 5]
    assert await feed.log.require(decode(oldest)) == Cursor(epoch, 3)


async def refused(client: Client, after: str) -> dict[str, Any]:
    """The one error of a page that does not come."""
    for selection in ("nodes { type }", "totalCount", "pageInfo { hasNextPage }"):
        query = f"query Poll($after: String) {{ events(after: $after) {{ {selection} }} }}"
        answer = await ask(client, query, {"after": after})
        assert answer["data"] is None
    (error,) = answer["errors"]
    assert isinstance(error, dict)
    return error
