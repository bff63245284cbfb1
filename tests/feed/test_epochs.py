"""What a log that was restored makes of cursors from before and after the restored state."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from db.database import Database
from db.embedded import EmbeddedPostgres
from db.embedded_programs import find_account, find_programs
from domain.errors import InvalidCursor
from feed.cursor import Cursor, decode
from feed.epoch import begin_epoch
from migrations.upgrade import upgrade
from tests.feed.conftest import Feed, running
from tests.postgres import run_sql
from tests.waiting import until

SETTINGS = {"fsync": "off", "autovacuum": "off", "restore_command": "false"}


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[Feed]:
    """A Postgres on this folder, with a log that is followed, and a relay."""
    async with EmbeddedPostgres(folder, settings=SETTINGS) as server, followed(server.url) as feed:
        yield feed


@asynccontextmanager
async def followed(url: str) -> AsyncIterator[Feed]:
    """The log of a database, which is followed, and a relay."""
    await upgrade(url)
    database = await Database.connect(url)
    try:
        feed = Feed(database, url)
        async with running(feed.relay, feed.log, feed.hub):
            await until(lambda: feed.relay.state.is_leader)
            await feed.log.started()
            yield feed
    finally:
        await database.close()


@pytest.fixture
async def cursors(folder: Path) -> dict[str, Cursor]:
    """A folder with a backup of three events, put back after two more; a cursor from then, and one from before."""
    async with started(folder) as feed:
        await feed.write(3)
        await feed.has_logged(3)
        before = await feed.now()
    await _run("cp", "-a", folder, _backup(folder))
    async with started(folder) as feed:
        await feed.write(2)
        await feed.has_logged(5)
        after = await feed.now()
    shutil.rmtree(folder)
    shutil.move(_backup(folder), folder)
    return {"before": before, "after": after}


@asynccontextmanager
async def _stopped(folder: Path) -> AsyncIterator[None]:
    """A Postgres that is stopped, whoever uses it, until the end of the block."""
    pid = int((folder / "cluster" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGINT)
    await until(lambda: not (folder / "cluster" / "postmaster.pid").exists())
    yield
    again = EmbeddedPostgres(folder, settings=SETTINGS)
    await again.start()
    await again.stop()


async def _run(*command: str | Path) -> None:
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 0


def _backup(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-backup")


async def goes_on_from_before_and_not_from_after(feed: Feed, cursors: dict[str, Cursor]) -> None:
    """Although the positions from after the backup are given again."""
    await feed.write(4)
    await feed.has_logged(7)
    with pytest.raises(InvalidCursor, match="another event log"):
        await feed.log.require(cursors["after"])
    now = await feed.now()
    assert now.epoch != cursors["before"].epoch
    assert await feed.log.require(cursors["before"]) == Cursor(now.epoch, 3)
    listener = feed.listen(cursors["before"])
    await listener.heard(4)
    assert listener.positions == [4, 5, 6, 7]
    assert listener.is_unbroken
    assert {decode(cursor).epoch for cursor in listener.cursors[1:]} == {now.epoch}
    await listener.leave()


async def test_files_that_were_put_back_are_another_log_once_somebody_says_so(
    folder: Path, cursors: dict[str, Cursor]
) -> None:
    async with EmbeddedPostgres(folder, settings=SETTINGS) as server:
        assert (await begin_epoch(server.url))[1] == 3
    async with started(folder) as feed:
        await goes_on_from_before_and_not_from_after(feed, cursors)


async def test_files_that_are_put_back_under_a_server_that_runs_on_are_another_log_by_itself(folder: Path) -> None:
    cluster = folder / "cluster"
    async with started(folder) as feed:
        await feed.write(3)
        await feed.has_logged(3)
        cursors = {"before": await feed.now()}
        async with _stopped(folder):
            await _run("cp", "-a", cluster, _backup(folder))
        await until(lambda: feed.writes(2))
        await feed.has_logged(5)
        cursors["after"] = await feed.now()
        async with _stopped(folder):
            shutil.rmtree(cluster)
            shutil.move(_backup(folder), cluster)
        await until(lambda: feed.log.epoch != cursors["before"].epoch)
        await goes_on_from_before_and_not_from_after(feed, cursors)


async def test_a_database_that_was_recovered_to_a_point_in_time_is_another_log_by_itself(
    folder: Path, cursors: dict[str, Cursor]
) -> None:
    await _run("cp", "-a", folder / "cluster" / "PG_VERSION", folder / "cluster" / "recovery.signal")
    async with started(folder) as feed:
        await goes_on_from_before_and_not_from_after(feed, cursors)


@pytest.mark.parametrize("place", ["the same database", "another database"])
async def test_a_dump_that_was_restored_on_the_same_server_is_another_log_by_itself(folder: Path, place: str) -> None:
    dump = _backup(folder)
    async with EmbeddedPostgres(folder, settings=SETTINGS) as server:
        programs = find_programs(find_account(folder / "cluster"), folder)
        async with followed(server.url) as feed:
            await feed.write(3)
            await feed.has_logged(3)
            cursors = {"before": await feed.now()}
            await _run(programs / "pg_dump", "--format=custom", "--file", dump, server.url)
            await feed.write(2)
            await feed.has_logged(5)
            cursors["after"] = await feed.now()
        url = server.url
        if place == "another database":
            await run_sql(server.url, "create database restored")
            url = server.url_of("restored")
        await _run(programs / "pg_restore", "--clean", "--if-exists", "--exit-on-error", "--dbname", url, dump)
        dump.unlink()
        async with followed(url) as feed:
            await goes_on_from_before_and_not_from_after(feed, cursors)


async def test_a_database_that_only_restarted_is_the_same_log(folder: Path) -> None:
    epochs = []
    for _ in range(2):
        async with started(folder) as feed:
            epochs.append((await feed.now()).epoch)
    assert epochs[0] == epochs[1]


async def test_subscribers_go_on_when_the_log_begins_an_epoch_without_a_loss(feed: Feed) -> None:
    listener = feed.listen(await feed.now())
    await feed.write(2)
    await listener.heard(2)
    epoch, position = await begin_epoch(feed.url)
    assert position == 2
    await feed.write(2)
    await listener.heard(4)
    assert listener.positions == [1, 2, 3, 4]
    assert listener.is_unbroken
    assert decode(listener.cursors[-1]) == Cursor(epoch, 4)
    assert await feed.log.require(decode(listener.cursors[2])) == Cursor(epoch, 2)
    await listener.leave()


async def test_subscribers_who_know_more_than_a_restored_log_are_sent_away(feed: Feed) -> None:
    start = await feed.now()
    listener = feed.listen(start)
    await feed.write(3)
    await listener.heard(3)
    await run_sql(feed.url, "delete from event_log where position > 1; update event_log_head set position = 1")
    epoch, _ = await begin_epoch(feed.url)
    with pytest.raises(InvalidCursor, match="replaced by an older one"):
        await listener.heard(4)
    resumed = feed.listen(Cursor(start.epoch, 1))
    await feed.write()
    await resumed.heard(1)
    assert decode(resumed.cursors[-1]) == Cursor(epoch, 2)
    await resumed.leave()


async def test_of_several_former_logs_each_is_good_up_to_where_its_way_and_ours_part(feed: Feed) -> None:
    start = await feed.now()
    await feed.write(3)
    await feed.has_logged(3)
    second, _ = await begin_epoch(feed.url)
    await feed.write(2)
    await feed.has_logged(5)
    await run_sql(feed.url, "delete from event_log where position > 2; update event_log_head set position = 2")
    third, _ = await begin_epoch(feed.url)
    for epoch in (start.epoch, second):
        assert await feed.log.require(Cursor(epoch, 2)) == Cursor(third, 2)
        with pytest.raises(InvalidCursor):
            await feed.log.require(Cursor(epoch, 3))
    with pytest.raises(InvalidCursor):
        await feed.log.require(Cursor(uuid4(), 1))
