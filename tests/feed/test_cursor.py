"""Cursors: opaque, exact, and never believed blindly."""

import asyncio
import base64

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidCursor
from feed.cursor import AS_OF_CURSOR_SQL, CURSOR_SQL, Cursor, Snapshot, decode, encode

POSITIONS = st.integers(0, 2**63 - 1)


SNAPSHOTS = st.builds(
    lambda lowest, length, running: Snapshot(lowest, lowest + length, frozenset(lowest + xid for xid in running)),
    st.integers(3, 2**60),
    st.integers(31, 60),
    st.lists(st.integers(0, 30), max_size=5),
)


@given(st.builds(Cursor, st.uuids(), POSITIONS, st.none() | SNAPSHOTS))
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
        '["6f0ad1b4-0e8b-4d0e-8a15-6b9c1f6f2c11", 1, "3:x:"]',
        '["6f0ad1b4-0e8b-4d0e-8a15-6b9c1f6f2c11", 1, "3:4:", 1]',
        '["6f0ad1b4-0e8b-4d0e-8a15-6b9c1f6f2c11", 1, 3]',
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


async def test_a_snapshot_s_cursor_says_what_the_snapshot_had_seen(database_url: str) -> None:
    holder, reader = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
    try:
        held = holder.transaction()
        await held.start()
        open_xid = int(await holder.fetchval("select pg_current_xact_id()::text"))
        done_xid = int(await reader.fetchval("select pg_current_xact_id()::text"))
        text = await reader.fetchval(f"select {AS_OF_CURSOR_SQL}")
        cursor = decode(text)
        later_xid = int(await reader.fetchval("select pg_current_xact_id()::text"))
        await held.rollback()
    finally:
        await asyncio.gather(holder.close(), reader.close())
    assert cursor.snapshot is not None
    assert encode(cursor) == text
    assert [cursor.snapshot.has_seen(xid) for xid in (open_xid, done_xid, later_xid)] == [False, True, False]


async def test_a_snapshot_is_read_as_postgres_reads_it(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        text = "10:20:11,15"
        snapshot = Snapshot.parse(text)
        for xid in range(5, 25):
            question = "select pg_visible_in_snapshot($1::text::xid8, $2::text::pg_snapshot)"
            assert snapshot.has_seen(xid) is await connection.fetchval(question, str(xid), text)
    finally:
        await connection.close()
