"""Deliveries that arrive at the same time: stored together, and each as if it were alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from actions.alerts.deliveries import Accepted, Received
from app.group_commit import GroupCommit
from db.alerts import alert_deliveries
from db.database import Database
from db.identifiers import new_id
from domain.alerts import WebhookKind
from domain.errors import DeadlineExceeded
from tests.schema.conftest import NOON

REFUSE = """
create function refuse_cursed() returns trigger language plpgsql as $$
begin
  if new.source = 'cursed' then raise exception 'a bug' using errcode = '{sqlstate}'; end if;
  return new;
end $$
"""
LOCK = text("lock table alert_deliveries in exclusive mode")


def told(source: str, *, size: int = 0) -> Accepted:
    body = b'{"alerts": [{"labels": {"alertname": "x"}, "status": "firing"}]}' + b" " * size
    received = Received(
        id=new_id(), source=source, kind=WebhookKind.ALERTMANAGER, body=body, headers={"ce-type": "é"}, at=NOON
    )
    return Accepted(received, received.read())


async def stored(database: Database) -> dict[str, str]:
    """The sources of the deliveries that are there, and the transaction that wrote each."""
    async with database.reading() as connection:
        rows = await connection.execute(select(alert_deliveries.c.source, text("xmin::text")))
        return {row.source: row.xmin for row in rows}


@asynccontextmanager
async def blocked(database: Database) -> AsyncIterator[None]:
    """While it lasts, nobody can write deliveries."""
    async with database.writing(NOON) as tx:
        await tx.execute(LOCK)
        yield


@asynccontextmanager
async def refusing(database: Database, *, sqlstate: str = "P0001") -> AsyncIterator[None]:
    """While it lasts, deliveries of the source "cursed" cannot be written."""
    async with database.writing(NOON) as tx:
        await tx.execute(text(REFUSE.format(sqlstate=sqlstate)))
        on = "on alert_deliveries for each row execute function refuse_cursed()"
        await tx.execute(text(f"create trigger refuses before insert {on}"))
    try:
        yield
    finally:
        async with database.writing(NOON) as tx:
            await tx.execute(text("drop function refuse_cursed() cascade"))


async def test_all_that_arrive_while_others_are_written_are_written_together(database: Database):
    group_commit = GroupCommit(database, most_groups=1)
    async with blocked(database):
        first = asyncio.create_task(group_commit.store(told("first")))
        await asyncio.sleep(0)
        others = [asyncio.create_task(group_commit.store(told(f"source-{number}"))) for number in range(20)]
    await asyncio.gather(first, *others)
    transactions = await stored(database)
    assert len(transactions) == 21
    assert len({*transactions.values()}) <= 2


async def test_what_is_stored_is_what_came_in(database: Database):
    each = told("eu")
    await GroupCommit(database).store(each)
    async with database.reading() as connection:
        row = (await connection.execute(select(alert_deliveries))).mappings().one()
    assert (row["id"], row["received_at"], row["headers"]) == (each.received.id, NOON, {"ce-type": "é"})
    assert (row["body"], row["alert_count"], row["left_out"]) == (each.received.body, 1, 0)
    assert (row["kind"], row["traceparent"], row["processed_at"]) == (WebhookKind.ALERTMANAGER, None, None)


async def test_one_that_cannot_be_written_leaves_its_neighbours_alone(database: Database):
    group_commit = GroupCommit(database, most_groups=1)
    names = ["before", "cursed", "after"]
    async with refusing(database):
        told_to_each = await asyncio.gather(*(group_commit.store(told(it)) for it in names), return_exceptions=True)
    assert [type(it) for it in told_to_each] == [type(None), DBAPIError, type(None)]
    assert (await stored(database)).keys() == {"before", "after"}


async def test_where_the_database_takes_too_long_all_are_told_and_none_is_stored(database: Database):
    group_commit = GroupCommit(database, most_groups=1)
    names = ["before", "cursed", "after"]
    async with refusing(database, sqlstate="57014"):
        told_to_each = await asyncio.gather(*(group_commit.store(told(it)) for it in names), return_exceptions=True)
    assert [type(it) for it in told_to_each] == [DeadlineExceeded] * 3
    assert await stored(database) == {}


async def test_nothing_is_written_for_a_sender_that_went_away_before_its_turn(database: Database):
    group_commit = GroupCommit(database, most_groups=1)
    async with blocked(database):
        first = asyncio.create_task(group_commit.store(told("first")))
        await asyncio.sleep(0)  # It waits for its turn,
        await asyncio.sleep(0)  # and is being written.
        gone, second = (asyncio.create_task(group_commit.store(told(it))) for it in ("gone", "second"))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
    await asyncio.gather(first, second)
    assert (await stored(database)).keys() == {"first", "second"}


async def test_large_deliveries_are_not_written_at_once_and_none_is_too_large(database: Database):
    group_commit = GroupCommit(database, most_groups=1, most_bytes=1_000)
    await asyncio.gather(*(group_commit.store(told(f"source-{number}", size=2_000)) for number in range(3)))
    transactions = await stored(database)
    assert len({*transactions.values()}) == len(transactions) == 3
