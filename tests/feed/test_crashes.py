"""What a crash of Postgres takes back and gives again: positions, numbers, transaction ids. No event is lost by it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from db.database import Database
from db.embedded import EmbeddedPostgres
from migrations.upgrade import upgrade
from tests.feed.conftest import NOON, Feed, running, write
from tests.postgres import crash

# What need not be durable is not written for a long time: the end of a transaction that was rolled back, for one.
SLUGGISH = {"fsync": "off", "wal_writer_delay": "10s", "autovacuum": "off"}


@pytest.fixture
async def folder_of_a_database(folder: Path) -> Path:
    async with EmbeddedPostgres(folder, settings=SLUGGISH) as server:
        await upgrade(server.url)
    return folder


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[tuple[EmbeddedPostgres, Feed]]:
    """A Postgres on this folder, and a log in it that nobody follows yet."""
    async with EmbeddedPostgres(folder, settings=SLUGGISH) as server:
        database = await Database.connect(server.url)
        try:
            yield server, Feed(database, server.url)
        finally:
            await database.close()


async def roll_back(feed: Feed) -> int:
    """Write an event that never comes to be; return the transaction's id."""
    try:
        async with feed.database.writing(NOON) as tx:
            await write(tx)
            xid = int((await tx.execute(select(func.pg_current_xact_id()))).scalar_one())
            raise LookupError
    except LookupError:
        return xid


@pytest.mark.parametrize("waiting", [0, 2])
async def test_an_event_whose_transaction_id_a_snapshot_saw_rolled_back_before_a_crash_is_not_taken_for_seen(
    folder_of_a_database: Path, waiting: int
) -> None:
    """Postgres forgets that the id was ever given, and gives it to the next who writes."""
    async with started(folder_of_a_database) as (server, feed):
        for _ in range(waiting):
            await feed.write()
        rolled_back = await roll_back(feed)
        snapshot = await feed.as_of_now()
        crash(server)
    async with started(folder_of_a_database) as (_, feed):
        (unseen,) = await feed.write()
        async with running(feed.relay, feed.log, feed.hub):
            events = await feed.has_logged(waiting + 1)
            assert (events[-1]["xid"], events[-1]["seq"]) == (rolled_back, unseen)
            listener = feed.listen(snapshot)
            await listener.heard(1)
            assert listener.positions == [waiting + 1]
            await listener.leave()
