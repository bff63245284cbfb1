"""The read pool: what it returns, who waits, what breaks, and that Postgres stops working on what nobody waits for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import asyncpg
import pytest

from db.connecting import driver_url
from db.embedded import EmbeddedPostgres
from db.read_pool import ReadPool
from domain.errors import DatabaseUnavailable, DeadlineExceeded
from tests.postgres import FORGETFUL, crash, run_sql
from tests.waiting import until

PID = "select pg_backend_pid()::text"
SLEEP = "select pg_sleep($1)::text"

MakePool = Callable[..., ReadPool]


@pytest.fixture
async def make_pool(database_url: str) -> AsyncIterator[MakePool]:
    pools: list[ReadPool] = []

    def make(**options: float) -> ReadPool:
        pools.append(ReadPool(driver_url(database_url), **options))  # type: ignore[arg-type]  # whole or not, as given
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()


@pytest.fixture
async def pool(make_pool: MakePool) -> ReadPool:
    return make_pool(connections=3)


@pytest.fixture
async def observer(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that looks at the others."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


def running(observer: asyncpg.Connection, number: int) -> Callable[[], Awaitable[bool]]:
    """Whether Postgres is working on so many of our sleeps."""

    async def count() -> bool:
        sleeps = (
            "select count(*) from pg_stat_activity where state = 'active' and query like 'select pg_sleep%'"
            " and datname = current_database()"
        )
        return bool(await observer.fetchval(sleeps) == number)

    return count


async def fetch(pool: ReadPool, sql: str, *arguments: object, timeout_seconds: float = 10) -> bytes | None:
    return await pool.fetch_text(sql, arguments, timeout_seconds=timeout_seconds)


async def test_a_read_returns_the_bytes_of_the_text(pool: ReadPool) -> None:
    assert await fetch(pool, "select 'Ünïcode ☃'") == "Ünïcode ☃".encode()
    assert await fetch(pool, """select json '{"a": 1}'""") == b'{"a": 1}'


async def test_no_row_and_null_are_none_and_empty_text_is_not(pool: ReadPool) -> None:
    assert await fetch(pool, "select 'x' where false") is None
    assert await fetch(pool, "select null::text") is None
    assert await fetch(pool, "select ''") == b""


async def test_arguments_are_plain_python_values(pool: ReadPool) -> None:
    id = UUID("0198c2f3-0000-7000-8000-000000000000")
    assert await fetch(pool, "select $1::text || $2::int", "Ünï", 7) == "Ünï7".encode()
    assert await fetch(pool, "select $1::uuid::text", id) == str(id).encode()
    assert await fetch(pool, "select array_to_string($1::text[], '+')", ["a", "b"]) == b"a+b"
    assert await fetch(pool, "select $1::text::severity::text", "HIGH") == b"HIGH"
    assert await fetch(pool, "select ($1::jsonb -> 'a')::text", '{"a": true}') == b"true"
    assert await fetch(pool, "select ($1::text is null)::text", None) == b"true"


async def test_postgres_refuses_a_write(pool: ReadPool) -> None:
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await fetch(pool, "with gone as (delete from services returning id) select id::text from gone")


async def test_a_wrong_statement_or_argument_is_an_error_of_that_read_alone(pool: ReadPool) -> None:
    pid = await fetch(pool, PID)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await fetch(pool, "select (1 / $1::int)::text", 0)
    with pytest.raises(asyncpg.UndefinedTableError):
        await fetch(pool, "select 'x' from nowhere")
    with pytest.raises(asyncpg.DataError):
        await fetch(pool, "select $1::int::text", "seven")
    await until(lambda: pool.idle == 1)
    assert await fetch(pool, PID) == pid
    assert (pool.in_use, pool.idle, pool.waiting) == (0, 1, 0)


async def test_the_connection_given_back_last_is_used_next(pool: ReadPool) -> None:
    assert pool.idle == 0
    await asyncio.gather(*(fetch(pool, SLEEP, 0.05) for _ in range(3)))
    assert pool.idle == 3
    assert len({await fetch(pool, PID) for _ in range(10)}) == 1


async def test_whoever_waited_longest_is_served_first(make_pool: MakePool, observer: asyncpg.Connection) -> None:
    pool = make_pool(connections=1)
    served: list[int] = []

    async def read(number: int) -> None:
        await fetch(pool, SLEEP, 0.01)
        served.append(number)

    reads = [asyncio.create_task(read(number)) for number in range(5)]
    await until(lambda: pool.waiting == 4)
    assert pool.in_use == 1
    await asyncio.gather(*reads)
    assert served == [0, 1, 2, 3, 4]
    assert (pool.in_use, pool.idle, pool.waiting) == (0, 1, 0)


async def test_waiting_ends_at_the_deadline(make_pool: MakePool) -> None:
    pool = make_pool(connections=1)
    busy = asyncio.create_task(fetch(pool, SLEEP, 30))
    await until(lambda: pool.in_use == 1)
    with pytest.raises(DeadlineExceeded):
        await fetch(pool, PID, timeout_seconds=0.05)
    assert pool.waiting == 0
    busy.cancel()


async def test_when_too_many_wait_the_next_is_told_at_once(make_pool: MakePool) -> None:
    pool = make_pool(connections=1, waiting_limit=2)
    reads = [asyncio.create_task(fetch(pool, SLEEP, 0.2)) for _ in range(3)]
    await until(lambda: pool.waiting == 2)
    with pytest.raises(DatabaseUnavailable, match="Too many reads"):
        await fetch(pool, PID)
    await asyncio.gather(*reads)


async def test_a_read_that_stops_waiting_leaves_the_connection_to_the_next(make_pool: MakePool) -> None:
    pool = make_pool(connections=1)
    busy = asyncio.create_task(fetch(pool, SLEEP, 0.1))
    await until(lambda: pool.in_use == 1)
    waiting = [asyncio.create_task(fetch(pool, "select 'x'")) for _ in range(3)]
    await until(lambda: pool.waiting == 3)
    waiting[0].cancel()
    await until(lambda: pool.waiting == 2)
    await busy
    assert await asyncio.gather(*waiting[1:]) == [b"x", b"x"]
    assert (pool.in_use, pool.idle, pool.waiting) == (0, 1, 0)


async def test_a_read_that_is_cancelled_as_its_turn_comes_passes_the_turn_on(make_pool: MakePool) -> None:
    pool = make_pool(connections=1)
    waiting: list[asyncio.Task[bytes | None]] = []

    async def read_and_cancel_the_next() -> None:
        await fetch(pool, SLEEP, 0.05)
        waiting[0].cancel()  # It has been handed the connection, and has not woken up yet to take it.

    first = asyncio.create_task(read_and_cancel_the_next())
    await until(lambda: pool.in_use == 1)
    waiting.extend(asyncio.create_task(fetch(pool, "select 'x'")) for _ in range(2))
    await until(lambda: pool.waiting == 2)
    await first
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1] == b"x"
    assert (pool.in_use, pool.idle, pool.waiting) == (0, 1, 0)


async def test_at_the_deadline_postgres_stops_working_and_the_connection_serves_on(
    make_pool: MakePool, observer: asyncpg.Connection
) -> None:
    pool = make_pool(connections=1)
    pid = await fetch(pool, PID)
    read = asyncio.create_task(fetch(pool, SLEEP, 60, timeout_seconds=2))
    await until(running(observer, 1))
    done, _ = await asyncio.wait([read], timeout=20)
    assert done, "Postgres' own limit, after 30 s, must not be needed"
    with pytest.raises(DeadlineExceeded):
        await read
    await until(running(observer, 0))
    assert await fetch(pool, PID) == pid


async def test_a_cancelled_read_is_stopped_in_postgres_too(make_pool: MakePool, observer: asyncpg.Connection) -> None:
    pool = make_pool(connections=1)
    read = asyncio.create_task(fetch(pool, SLEEP, 60, timeout_seconds=60))
    await until(running(observer, 1))
    read.cancel()
    with pytest.raises(asyncio.CancelledError):
        await read
    await until(running(observer, 0))
    await until(lambda: (pool.in_use, pool.idle) == (0, 1))


async def test_the_servers_own_time_limit_is_a_deadline_too(make_pool: MakePool) -> None:
    pool = make_pool(connections=1, statement_timeout_seconds=0.05)
    with pytest.raises(DeadlineExceeded):
        await fetch(pool, SLEEP, 60)
    assert (pool.in_use, pool.idle) == (0, 1)


async def test_statements_stay_prepared_up_to_a_number_the_least_recently_used_going_first(make_pool: MakePool) -> None:
    pool = make_pool(connections=1, statement_limit=3)
    look = "select string_agg(statement, chr(10) order by prepare_time) from pg_prepared_statements"

    async def prepared() -> list[str]:
        return (await fetch(pool, look) or b"").decode().split("\n")

    for number in (1, 2, 3, 1, 4):
        assert await fetch(pool, f"select '{number}'") == str(number).encode()
    assert await prepared() == ["select '1'", "select '4'", look]
    await fetch(pool, "select '1'")
    await fetch(pool, "select '5'")
    assert await prepared() == ["select '1'", look, "select '5'"]


async def test_a_connection_closed_while_idle_is_replaced_unseen(pool: ReadPool, observer: asyncpg.Connection) -> None:
    pid = int(await fetch(pool, PID) or 0)
    assert await observer.fetchval("select pg_terminate_backend($1, 5000)", pid)
    assert await fetch(pool, PID) != str(pid).encode()
    assert (pool.in_use, pool.idle) == (0, 1)


async def test_a_read_that_loses_a_used_connection_is_repeated_on_a_fresh_one(
    pool: ReadPool, observer: asyncpg.Connection
) -> None:
    pid = int(await fetch(pool, PID) or 0)
    read = asyncio.create_task(fetch(pool, SLEEP, 0.5))
    await until(running(observer, 1))
    await observer.fetchval("select pg_terminate_backend($1)", pid)
    assert await read == b""
    assert (pool.in_use, pool.idle) == (0, 1)


async def test_a_read_that_loses_a_fresh_connection_is_told_so(pool: ReadPool, observer: asyncpg.Connection) -> None:
    read = asyncio.create_task(fetch(pool, SLEEP, 60))
    await until(running(observer, 1))
    await observer.fetchval(
        "select pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_sleep%'"
        " and datname = current_database()"
    )
    with pytest.raises(DatabaseUnavailable) as told:
        await read
    assert "select" not in told.value.message
    assert await fetch(pool, "select 'on'") == b"on"


async def test_a_goodbye_from_the_server_that_comes_before_its_end_is_noticed(database_url: str, folder: Path) -> None:
    text = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
    goodbye = b"E" + (len(text) + 4).to_bytes(4, "big") + text
    clients: list[asyncio.StreamWriter] = []

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
        sink.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.append(writer)
        server_reader, server_writer = await asyncio.open_unix_connection(f"{server_folder}/.s.PGSQL.5432")
        await asyncio.gather(pump(reader, server_writer), pump(server_reader, writer))

    server_folder = parse_qs(urlsplit(database_url).query)["host"][0]
    folder.mkdir()
    async with await asyncio.start_unix_server(carry, folder / ".s.PGSQL.5432"):
        pool = ReadPool(driver_url(database_url.replace(server_folder, str(folder))), connections=1)
        assert await fetch(pool, "select 'x'") == b"x"
        clients[0].write(goodbye)
        for _ in range(50):  # The client reads it, and nothing follows.
            await asyncio.sleep(0)
        assert await fetch(pool, "select 'x'") == b"x"
        assert len(clients) == 2
        await pool.close()


async def test_old_connections_are_replaced(make_pool: MakePool) -> None:
    pool = make_pool(connections=1, connection_lifetime_seconds=0.1)
    pid = await fetch(pool, PID)
    await until(lambda: pool.idle == 0)
    assert await fetch(pool, PID) != pid


async def test_a_connection_that_grows_old_in_use_is_closed_when_given_back(make_pool: MakePool) -> None:
    pool = make_pool(connections=1, connection_lifetime_seconds=0.05)
    assert await fetch(pool, SLEEP, 0.2) == b""
    assert (pool.in_use, pool.idle) == (0, 0)


async def test_a_changed_column_does_not_break_a_prepared_statement(pool: ReadPool, database_url: str) -> None:
    await run_sql(database_url, "create table changing (a varchar(10)); insert into changing values ('x')")
    assert await fetch(pool, "select a from changing") == b"x"
    await run_sql(database_url, "alter table changing alter a type text")
    assert await fetch(pool, "select a from changing") == b"x"


async def test_two_statements_in_one_connection_see_one_snapshot(pool: ReadPool, database_url: str) -> None:
    await run_sql(database_url, "create table counted (a int)")
    async with pool.connection(timeout_seconds=10) as connection:
        before = await connection.fetch_text("select count(*)::text from counted", ())
        await run_sql(database_url, "insert into counted values (1)")
        after = await connection.fetch_text("select count(*)::text from counted", ())
    assert before == after == b"0"
    assert await fetch(pool, "select count(*)::text from counted") == b"1"


async def test_a_snapshot_can_begin_after_a_value_that_could_not_be_sent(pool: ReadPool) -> None:
    for value in ("text", 2**40):
        with pytest.raises(asyncpg.DataError):
            await fetch(pool, "select $1::integer::text", value)
        async with pool.connection(timeout_seconds=5) as connection:
            assert await connection.fetch_text("select 'begun'", []) == b"begun"


async def test_a_snapshot_is_read_only_and_ends_whatever_happens_in_it(pool: ReadPool) -> None:
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with pool.connection(timeout_seconds=10) as connection:
            await connection.execute("delete from services")
    with pytest.raises(KeyError):
        async with pool.connection(timeout_seconds=10):
            raise KeyError
    await until(lambda: pool.in_use == 0)
    left_open = "state like 'idle in trans%' and datname = current_database()"
    assert await fetch(pool, f"select count(*)::text from pg_stat_activity where {left_open}") == b"0"


async def test_a_snapshot_that_takes_too_long_is_cancelled(pool: ReadPool, observer: asyncpg.Connection) -> None:
    with pytest.raises(DeadlineExceeded):
        async with pool.connection(timeout_seconds=0.1) as connection:
            await connection.fetch_text(SLEEP, (60,))
    await until(running(observer, 0))
    with pytest.raises(DeadlineExceeded):
        async with pool.connection(timeout_seconds=0.1):
            await asyncio.Event().wait()
    await until(lambda: pool.in_use == 0)


async def test_closing_ends_what_runs_and_what_waits(make_pool: MakePool, observer: asyncpg.Connection) -> None:
    pool = make_pool(connections=1)
    await fetch(pool, PID)
    reads = [asyncio.create_task(fetch(pool, SLEEP, 60)) for _ in range(3)]
    await until(running(observer, 1))
    await pool.close()
    results = await asyncio.gather(*reads, return_exceptions=True)
    assert [type(result) for result in results] == [DatabaseUnavailable] * 3
    with pytest.raises(DatabaseUnavailable):
        await fetch(pool, PID)


async def test_an_unreachable_database_is_unavailable_and_frees_the_place(folder: Path) -> None:
    pool = ReadPool(f"postgresql://nobody@/none?host={folder}", connections=1)
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable) as told:
            await fetch(pool, PID)
        assert str(folder) not in told.value.message
    assert (pool.in_use, pool.idle, pool.waiting) == (0, 0, 0)
    await pool.close()


async def test_reads_heal_by_themselves_after_a_crash_under_load(folder: Path) -> None:
    server = EmbeddedPostgres(folder, settings=FORGETFUL)
    await server.start()
    pool = ReadPool(driver_url(server.url), connections=3)
    outcomes: list[bytes | type[Exception] | None] = []
    stop = asyncio.Event()

    async def read() -> None:
        while not stop.is_set():
            try:
                outcomes.append(await fetch(pool, "select 'up' from pg_sleep(0.005)"))
            except DatabaseUnavailable as error:
                outcomes.append(type(error))
                await asyncio.sleep(0.005)

    readers = [asyncio.create_task(read()) for _ in range(6)]
    await until(lambda: b"up" in outcomes)
    crash(server)
    await until(lambda: DatabaseUnavailable in outcomes)
    again = EmbeddedPostgres(folder, settings=FORGETFUL)
    await again.start()
    healed = len(outcomes)
    await until(lambda: b"up" in outcomes[healed:])
    stop.set()
    await asyncio.gather(*readers)
    assert set(outcomes) == {b"up", DatabaseUnavailable}
    assert pool.waiting == 0
    await pool.close()
    await again.stop()
    await server.stop()
