"""Cursors: opaque, exact, and never believed blindly."""

import base64
from uuid import UUID

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from db.database import Database
from domain.errors import InvalidCursor
from feed.cursor import AS_OF_CURSOR_SQL, CURSOR_SQL, Cursor, Reach, Seen, Snapshot, decode, encode
from tests.feed.conftest import NOON, write

POSITIONS = st.integers(0, 2**63 - 1)


SNAPSHOTS = st.builds(
    lambda lowest, length, running: Snapshot(lowest, lowest + length, frozenset(lowest + xid for xid in running)),
    st.integers(3, 2**60),
    st.integers(31, 60),
    st.lists(st.integers(0, 30), max_size=5),
)


@given(st.builds(Cursor, st.uuids(), POSITIONS, st.none() | st.builds(Seen, POSITIONS, SNAPSHOTS)))
def test_a_cursor_survives_the_way_to_the_client_and_back(cursor: Cursor) -> None:
    assert decode(encode(cursor)) == cursor


@given(st.text() | st.binary().map(lambda junk: junk.decode("latin-1")))
def test_whatever_is_no_cursor_is_refused_as_such(text: str) -> None:
    with pytest.raises(InvalidCursor, match="`after` is not a cursor"):
        decode(text)


@pytest.mark.parametrize(
    "inside",
    [
        "[]",
        "{}",
        "null",
        '["6f0ad1b4-0e8b-4d0e-8a15-6b9c1f6f2c11"]',
        '["6f0ad1b4-0e8b-4d0e-8a15-6b9c1f6f2c11", -1]',
        '["6f0ad1b4-0e8b-4d0e-8a15-6b9c1f6f2c11", 1.5]',
        '["6f0ad1b4-0e8b-4d0e-8a15-6b9c1f6f2c11", true]',
        '["6f0ad1b4-0e8b-4d0e-8a15-6b9c1f6f2c11", 9223372036854775808]',
        '["6f0ad1b4-0e8b-4d0e-8a15-6b9c1f6f2c11", 1, 7, "3:x:"]',
        '["6f0ad1b4-0e8b-4d0e-8a15-6b9c1f6f2c11", 1, 7, "3:4:", 1]',
        '["6f0ad1b4-0e8b-4d0e-8a15-6b9c1f6f2c11", 1, 7, 3]',
        '["6f0ad1b4-0e8b-4d0e-8a15-6b9c1f6f2c11", 1, true, "3:4:"]',
        '["6f0ad1b4-0e8b-4d0e-8a15-6b9c1f6f2c11", 1, "3:4:"]',
        "[7, 1]",
    ],
)
def test_json_of_another_shape_is_refused(inside: str) -> None:
    with pytest.raises(InvalidCursor):
        decode(base64.b64encode(inside.encode()).decode())


async def test_postgres_writes_the_same_cursors(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        epoch = await connection.fetchval("select epoch from event_log_head")
        for position in (0, 1, 2**31, 2**63 - 1):
            assert await connection.fetchval(f"select {CURSOR_SQL.format(position=position)}") == encode(
                Cursor(epoch, position)
            )
    finally:
        await connection.close()


async def test_a_snapshot_s_cursor_says_what_the_snapshot_had_seen_of_the_outbox(
    database: Database, database_url: str
) -> None:
    reader = await asyncpg.connect(database_url)
    try:
        async with database.writing(NOON) as held:
            (open_seq,) = await write(held)
            open_xid = (await held.execute(select(func.pg_current_xact_id()))).scalar_one()
            async with database.writing(NOON) as done:
                (seen_seq,) = await write(done)
                seen_xid = (await done.execute(select(func.pg_current_xact_id()))).scalar_one()
            text = await reader.fetchval(f"select {AS_OF_CURSOR_SQL}")
    finally:
        await reader.close()
    cursor = decode(text)
    assert encode(cursor) == text
    assert not cursor.lacks(1, seen_seq, int(seen_xid))
    assert cursor.lacks(1, open_seq, int(open_xid))
    assert cursor.lacks(1, seen_seq + 1, int(seen_xid)), "another event of the same transaction id, after a crash"


async def test_where_nothing_waits_a_snapshot_s_cursor_is_as_short_as_any(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        cursor = decode(await connection.fetchval(f"select {AS_OF_CURSOR_SQL}"))
    finally:
        await connection.close()
    assert (cursor.position, cursor.seen) == (0, None)


def test_what_a_snapshot_had_seen_is_forgotten_at_its_last_event() -> None:
    epoch = UUID(int=1)
    cursor = Cursor(epoch, 5, Seen(9, Snapshot(3, 4, frozenset())))
    assert cursor.at(Reach(epoch, 6)).seen == cursor.seen
    assert cursor.at(Reach(epoch, 6, 8)).seen == cursor.seen
    assert cursor.at(Reach(epoch, 7, 9)) == Cursor(epoch, 7)


async def test_a_snapshot_is_read_as_postgres_reads_it(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        text = "10:20:11,15"
        snapshot = Snapshot.parse(text)
        for xid in range(5, 25):
            question = "select pg_visible_in_snapshot($1::text::xid8, $2::text::pg_snapshot)"
            assert snapshot.includes(xid) is await connection.fetchval(question, str(xid), text)
    finally:
        await connection.close()
