"""The relay: one place for every event, dense, final, and none before its time."""

import asyncio
import random
import threading
from pathlib import Path

import asyncpg
from sqlalchemy import func, select

from db.connecting import driver_url
from db.database import Database
from db.embedded import EmbeddedPostgres
from feed.relay import CANDIDACY_SECONDS, HUNG_SECONDS, Relay
from migrations.upgrade import upgrade
from tests.feed.conftest import NOON, Feed, running, write
from tests.postgres import crash
from tests.waiting import until

BUSY_SECONDS = 5.0
"""How long a takeover may take on a machine that is busy with other tests."""


async def test_positions_are_dense_and_in_the_order_of_writing_while_many_write_at_once(feed: Feed) -> None:
    pace = random.Random(7)  # noqa: S311 # a pace, not a secret

    async def write_some() -> list[int]:
        numbers = []
        for _ in range(12):
            async with feed.database.writing(NOON) as tx:
                numbers += await write(tx, pace.randint(1, 3))
                await asyncio.sleep(pace.choice((0, 0, 0.02)))  # Transactions that overlap, and end in another order.
                numbers += await write(tx)
        return numbers

    written = [number for numbers in await asyncio.gather(*(write_some() for _ in range(8))) for number in numbers]
    events = await feed.has_logged(len(written))
    assert [event["position"] for event in events] == list(range(1, len(written) + 1))
    assert [event["seq"] for event in events] == sorted(written)


async def test_an_effect_comes_after_its_cause_although_its_transaction_is_older(feed: Feed) -> None:
    """One begins, another changes a row and commits, and the first changes the same row then."""
    async with feed.database.writing(NOON) as older:
        await older.execute(select(func.pg_current_xact_id()))
        (cause,) = await feed.write()
        (effect,) = await write(older)
    events = await feed.has_logged(2)
    assert [event["seq"] for event in events] == [cause, effect]
    assert events[0]["xid"] > events[1]["xid"]


async def test_an_effect_waits_for_its_cause_that_waits_for_a_transaction_that_still_runs(feed: Feed) -> None:
    async with feed.database.writing(NOON) as older:
        await older.execute(select(func.pg_current_xact_id()))
        async with feed.database.writing(NOON) as running_:
            await running_.execute(select(func.pg_current_xact_id()))
            (cause,) = await feed.write()
            (effect,) = await write(older)
            await older.connection.commit()
            await _ticks(feed, 5)
    events = await feed.has_logged(2)
    assert [event["seq"] for event in events] == [cause, effect]


async def test_nothing_gets_a_place_before_an_older_transaction_has_ended(feed: Feed) -> None:
    async with feed.database.writing(NOON) as held:
        (first,) = await write(held)
        (second,) = await feed.write()
        before = feed.relay.state.moved
        (unhurt,) = await _waiting(feed)
        await _ticks(feed, 5)
        assert (unhurt, feed.relay.state.moved, await feed.logged()) == (second, before, [])
    assert [event["seq"] for event in await feed.has_logged(2)] == [first, second]


async def test_what_was_rolled_back_leaves_no_hole(feed: Feed) -> None:
    (first,) = await feed.write()
    try:
        async with feed.database.writing(NOON) as tx:
            await write(tx, 3)
            raise LookupError
    except LookupError:
        pass
    (second,) = await feed.write()
    events = await feed.has_logged(2)
    assert [(event["position"], event["seq"]) for event in events] == [(1, first), (2, second)]


def test_a_leader_that_dies_or_hangs_is_replaced_within_a_second() -> None:
    """As far as it is ours to say: on a busy machine, it takes as long as that makes it."""
    assert CANDIDACY_SECONDS + HUNG_SECONDS < 0.9


async def test_of_two_relays_one_moves_and_the_other_takes_over_when_its_session_ends(feed: Feed) -> None:
    other = Relay(feed.url)
    async with running(other):
        await feed.write(5)
        await feed.has_logged(5)
        assert (feed.relay.state.moved, other.state.is_leader, other.state.moved) == (5, False, 0)
        await _end_sessions(feed)
        await until(lambda: feed.relay.state.is_leader or other.state.is_leader, timeout_seconds=BUSY_SECONDS)
        await feed.write(3)
        events = await feed.has_logged(8)
    assert [event["position"] for event in events] == list(range(1, 9))
    assert feed.relay.state.moved + other.state.moved == 8


async def test_a_leader_that_hangs_is_replaced_and_moves_nothing_when_it_wakes_up(
    database: Database, database_url: str
) -> None:
    hanging, follower, wakes = Relay(database_url), Feed(database, database_url), threading.Event()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(_run_until(hanging, wakes),))
    thread.start()
    try:
        await until(lambda: hanging.state.is_leader)
        async with running(follower.relay, follower.log):
            await follower.write(2)
            await follower.has_logged(2)
            loop.call_soon_threadsafe(wakes.wait)
            await until(lambda: follower.relay.state.is_leader, timeout_seconds=BUSY_SECONDS)
            await follower.write(2)
            await follower.has_logged(4)
            wakes.set()
            await asyncio.to_thread(thread.join)
            events = await follower.has_logged(4)
    finally:
        wakes.set()
        await asyncio.to_thread(thread.join)
        loop.close()
    assert [event["position"] for event in events] == [1, 2, 3, 4]
    assert (hanging.state.moved, follower.relay.state.moved) == (2, 2)


async def test_positions_go_on_where_they_were_when_the_log_has_been_emptied(feed: Feed) -> None:
    await feed.write(3)
    await feed.has_logged(3)
    connection = await asyncpg.connect(driver_url(feed.url))
    await connection.execute("delete from event_log")
    await connection.close()
    await feed.write()
    await until(lambda: feed.log.position == 4)
    assert [event["position"] for event in await feed.logged()] == [4]


async def test_a_place_that_was_heard_of_survives_a_crash_of_a_careless_postgres(
    folder: Path,
) -> None:
    """Otherwise it would be given again, to another event, which whoever had heard of the first would never get."""
    careless = {"fsync": "off", "synchronous_commit": "off", "wal_writer_delay": "10s", "autovacuum": "off"}
    server = EmbeddedPostgres(folder, settings=careless)
    await server.start()
    await upgrade(server.url)
    database = await Database.connect(server.url)
    feed = Feed(database, server.url)
    async with running(feed.relay, feed.log):
        await feed.log.started()
        (written,) = await feed.write()
        await until(lambda: feed.log.position == 1)
        crash(server)
    await database.close()
    async with EmbeddedPostgres(folder, settings=careless):
        assert [(event["position"], event["seq"]) for event in await feed.logged()] == [(1, written)]
    await server.stop()


async def _run_until(relay: Relay, ends: threading.Event) -> None:
    """Run a relay until its event loop, which may have hung meanwhile, finds that it has to end."""
    async with running(relay):
        await until(ends.is_set, timeout_seconds=60)
        await until(lambda: not relay.state.is_leader, timeout_seconds=60)


async def _ticks(feed: Feed, count: int) -> None:
    """Let the relay look at the outbox so often."""
    connection = await asyncpg.connect(driver_url(feed.url))
    try:
        question = (
            "select query_start from pg_stat_activity where query like '%from outbox_seq_seq%' and pid <> $1"
            " and datname = current_database()"
        )
        own = connection.get_server_pid()
        seen: set[object] = set()

        async def has_looked() -> bool:
            seen.add(await connection.fetchval(question, own))
            return len(seen) > count

        await until(has_looked)
    finally:
        await connection.close()


async def _waiting(feed: Feed) -> list[int]:
    """What the outbox holds."""
    connection = await asyncpg.connect(driver_url(feed.url))
    try:
        return [row["seq"] for row in await connection.fetch("select seq from outbox order by seq")]
    finally:
        await connection.close()


async def _end_sessions(feed: Feed) -> None:
    """End the sessions of the relays, the leader's among them."""
    connection = await asyncpg.connect(driver_url(feed.url))
    try:
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
            " and pid in (select pid from pg_locks where locktype = 'advisory' and granted)"
        )
    finally:
        await connection.close()
