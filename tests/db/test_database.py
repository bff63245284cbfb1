"""Transactions, snapshots, and what callers are told when the database goes away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import RowMapping, Table, func, select, text
from sqlalchemy.exc import DBAPIError

from db.database import Change, Database, Transaction
from db.embedded import EmbeddedPostgres
from db.tables import deployments, detection_rules, incidents, services, slos, team_members, teams, users
from domain.errors import Conflict, DatabaseUnavailable, DeadlineExceeded, NotFound
from domain.incidents import IncidentSource, IncidentStatus, Severity
from tests.postgres import crash, run_sql
from tests.waiting import until

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


async def add_service(database: Database, name: str = "checkout") -> RowMapping:
    async with database.writing(NOW) as tx:
        return await tx.insert(services, name=name, display_name=name.title())


async def names(database: Database) -> list[str]:
    async with database.reading() as connection:
        return list((await connection.execute(select(services.c.name).order_by(services.c.name))).scalars())


async def test_a_block_that_ends_is_committed_and_one_that_raises_is_not(database: Database) -> None:
    await add_service(database, "kept")
    with pytest.raises(NotFound):
        async with database.writing(NOW) as tx:
            await tx.lock(services, (await tx.insert(services, name="dropped", display_name="Dropped"))["team_id"])
    assert await names(database) == ["kept"]


async def test_an_inserted_row_comes_back_whole_with_a_sortable_id_and_the_time_of_the_transaction(
    database: Database,
) -> None:
    first = await add_service(database, "first")
    second = await add_service(database, "second")
    assert isinstance(first["id"], UUID)
    assert first["id"].version == 7
    assert first["id"] < second["id"]
    assert (first["created_at"], first["updated_at"], first["version"]) == (NOW, NOW, 1)
    assert first["labels"] == {}
    assert "search" not in first


async def test_what_the_caller_gives_is_taken_as_it_is(database: Database) -> None:
    id = UUID("0198c2f3-0000-7000-8000-000000000000")
    async with database.writing(NOW) as tx:
        row = await tx.insert(
            incidents,
            id=id,
            number=1,
            title="Checkout fails",
            severity=Severity.HIGH,
            source=IncidentSource.API,
            started_at=NOW,
            created_at=LATER,
            labels={"region": "eu", "tags": [1, None, "ü"]},
        )
    assert (row["id"], row["created_at"], row["status"]) == (id, LATER, IncidentStatus.OPEN)
    assert row["severity"] is Severity.HIGH
    assert row["labels"] == {"region": "eu", "tags": [1, None, "ü"]}


async def test_tables_without_an_id_of_ours_get_none(database: Database) -> None:
    async with database.writing(NOW) as tx:
        team = await tx.insert(teams, name="payments")
        user = await tx.insert(users, email="a@example.com", name="A")
        member = await tx.insert(team_members, team_id=team["id"], user_id=user["id"], since=NOW)
    assert set(member) == {"team_id", "user_id", "since"}


async def test_an_update_writes_only_what_differs_and_says_what_it_was(database: Database) -> None:
    service = await add_service(database)
    async with database.writing(LATER) as tx:
        locked = await tx.lock(services, service["id"])
        changes = await tx.update(services, locked, name="checkout", description="Takes money", tier=1)
    assert changes == {"description": Change("", "Takes money"), "tier": Change(None, 1)}
    async with database.writing(LATER) as tx:
        row = await tx.get(services, service["id"])
    assert row is not None
    assert (row["description"], row["tier"], row["version"], row["updated_at"]) == ("Takes money", 1, 2, LATER)
    assert row["created_at"] == NOW


async def test_an_update_that_changes_nothing_writes_nothing(database: Database) -> None:
    service = await add_service(database)
    async with database.writing(LATER) as tx:
        assert await tx.update(services, await tx.lock(services, service["id"]), name="checkout", labels={}) == {}
        assert await tx.get(services, service["id"]) == service


async def test_an_update_of_a_row_that_has_moved_on_is_a_conflict_with_its_version(database: Database) -> None:
    service = await add_service(database)
    async with database.writing(LATER) as tx:
        await tx.update(services, await tx.lock(services, service["id"]), tier=1)
    with pytest.raises(Conflict, match="The service was changed") as conflict:
        async with database.writing(LATER) as tx:
            await tx.update(services, service, tier=2)
    assert conflict.value.current_version == 2


async def test_a_version_that_names_what_was_deployed_is_not_counted_up(database: Database) -> None:
    service = await add_service(database)
    async with database.writing(NOW) as tx:
        values = {"version": "1.2.3", "environment": "production", "outcome": "IN_PROGRESS", "started_at": NOW}
        deployment = await tx.insert(deployments, service_id=service["id"], **values)
        await tx.update(deployments, deployment, outcome="FAILED", finished_at=LATER)
        assert (await tx.lock(deployments, deployment["id"]))["version"] == "1.2.3"


@pytest.mark.parametrize(
    ("table", "noun"), [(incidents, "incident"), (detection_rules, "detection rule"), (slos, "SLO")], ids=str
)
async def test_a_row_that_is_not_there_is_named_as_people_call_it(database: Database, table: Table, noun: str) -> None:
    id = UUID(int=7)
    with pytest.raises(NotFound, match=f"There is no {noun} {id}"):
        async with database.writing(NOW) as tx:
            await tx.lock(table, id)
    async with database.writing(NOW) as tx:
        assert await tx.get(table, id) is None


async def test_a_locked_row_is_changed_by_one_at_a_time(database: Database) -> None:
    service = await add_service(database)
    order: list[str] = []
    locked, release = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with database.writing(NOW) as tx:
            row = await tx.lock(services, service["id"])
            locked.set()
            await release.wait()
            await tx.update(services, row, tier=1)
            order.append("first")

    async def second() -> None:
        await locked.wait()
        async with database.writing(NOW) as tx:
            row = await tx.lock(services, service["id"])
            order.append(f"second sees tier {row['tier']}")

    async def is_waiting() -> bool:
        waiting = (
            "select count(*)::text from pg_stat_activity where wait_event_type = 'Lock'"
            " and datname = current_database()"
        )
        return await database.reads.fetch_text(waiting, (), timeout_seconds=5) == b"1"

    both = asyncio.gather(first(), second())
    await until(is_waiting)
    release.set()
    await both
    assert order == ["first", "second sees tier 1"]


async def test_a_row_can_be_pointed_to_while_it_is_locked(database: Database) -> None:
    service = await add_service(database)
    async with database.writing(NOW) as outer:
        await outer.lock(services, service["id"])
        async with database.writing(NOW) as inner:
            await inner.execute(text("set local lock_timeout = '1s'"))
            await inner.execute(
                text("insert into service_dependencies (service_id, depends_on_id, created_at) values (:a, :b, :now)"),
                {"a": service["id"], "b": (await inner.insert(services, name="b", display_name="B"))["id"], "now": NOW},
            )


async def test_two_that_lock_in_opposite_orders_both_succeed(database: Database) -> None:
    one, other = await add_service(database, "one"), await add_service(database, "other")
    met = asyncio.Barrier(2)
    attempts: list[str] = []

    def work(name: str, first: RowMapping, second: RowMapping) -> Any:
        async def lock_both(tx: Transaction) -> str:
            attempts.append(name)
            row = await tx.lock(services, first["id"])
            await tx.update(services, row, tier=(row["tier"] or 0) + 1)
            if attempts.count(name) == 1:
                await met.wait()
            row = await tx.lock(services, second["id"])
            await tx.update(services, row, tier=(row["tier"] or 0) + 1)
            return name

        return lock_both

    results = await asyncio.gather(
        database.transact(work("a", one, other), now=NOW), database.transact(work("b", other, one), now=NOW)
    )
    assert results == ["a", "b"]
    assert len(attempts) == 3, "one of them was done again"
    async with database.reading() as connection:
        assert list((await connection.execute(select(services.c.tier))).scalars()) == [2, 2]


async def test_work_that_always_has_to_give_way_ends_as_a_conflict(database: Database) -> None:
    attempts = 0

    async def give_way(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        await tx.execute(text("do $$ begin raise exception 'x' using errcode = 'serialization_failure'; end $$"))

    with pytest.raises(Conflict, match="try again"):
        await database.transact(give_way, now=NOW)
    assert attempts == 5


async def test_work_that_fails_is_done_once_and_its_error_is_told(database: Database) -> None:
    attempts = 0

    async def fail(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        await tx.insert(services, name="", display_name="Empty")

    with pytest.raises(DBAPIError, match="ck_services_name_length"):
        await database.transact(fail, now=NOW)
    assert attempts == 1


async def test_a_savepoint_undoes_what_failed_and_nothing_before_or_after_it(database: Database) -> None:
    async with database.writing(NOW) as tx:
        await tx.insert(services, name="before", display_name="Before")
        for display_name in ("Empty", "Inside"):
            with contextlib.suppress(DBAPIError):
                async with tx.savepoint():
                    await tx.insert(services, name=display_name.lower(), display_name=display_name)
                    tx.last_event_seq = 1
                    await tx.insert(services, name="" if display_name == "Empty" else "more", display_name="More")
            assert tx.last_event_seq == (None if display_name == "Empty" else 1)
        await tx.insert(services, name="after", display_name="After")
    async with database.reading() as connection:
        names = {*(await connection.execute(select(services.c.name))).scalars()}
    assert names == {"before", "inside", "more", "after"}


async def test_what_is_written_at_once_is_committed_and_leaves_transactions_as_they_are(database: Database) -> None:
    rename = text("update services set display_name = :name")
    async with database.writing(NOW) as tx:
        await tx.insert(services, name="checkout", display_name="Checkout")
        await database.write_at_once(rename, {"name": "Not there yet"})
    await database.write_at_once(rename, {"name": "Shop"})
    async with database.writing(NOW) as tx:  # on the connection that was just used
        await tx.execute(rename, {"name": "Undone"})
        await tx.connection.rollback()
    async with database.reading() as connection:
        assert (await connection.execute(select(services.c.display_name))).scalars().all() == ["Shop"]


async def test_a_statement_at_once_that_takes_too_long_exceeds_the_deadline(database: Database) -> None:
    await database.write_at_once(text("set statement_timeout = 10"), {})
    with pytest.raises(DeadlineExceeded):
        await database.write_at_once(text("select pg_sleep(:seconds)"), {"seconds": 30})


async def test_reading_refuses_a_write_and_sees_one_snapshot(database: Database) -> None:
    with pytest.raises(DBAPIError, match="read-only transaction"):
        async with database.reading() as connection:
            await connection.execute(services.delete())
    count = select(func.count()).select_from(services)
    async with database.reading() as connection:
        before = (await connection.execute(count)).scalar_one()
        await add_service(database)
        assert (await connection.execute(count)).scalar_one() == before == 0
    await add_service(database, "writable again")
    assert await names(database) == ["checkout", "writable again"]


async def test_a_ping_tells_how_long_it_took(database: Database) -> None:
    assert 0 < await database.ping(5) < 5


async def test_a_ping_that_gets_no_answer_in_time_says_so(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="did not answer within 1e-06 s"):
        await database.ping(0.000001)


async def test_sessions_are_in_utc_and_have_their_limits(database: Database) -> None:
    settings = {
        "TimeZone": "UTC",
        "application_name": "reliability-studio",
        "idle_in_transaction_session_timeout": "1min",
        "statement_timeout": "30s",
    }
    async with database.writing(NOW) as tx:
        for name, value in settings.items():
            assert (await tx.execute(text(f"show {name}"))).scalar_one() == value
    for name, value in (settings | {"jit": "off", "plan_cache_mode": "force_generic_plan"}).items():
        sql = f"select current_setting('{name}')"
        assert await database.reads.fetch_text(sql, (), timeout_seconds=5) == value.encode()


async def test_a_statement_that_takes_too_long_exceeds_the_deadline(database_url: str) -> None:
    database = await Database.connect(database_url, statement_timeout_seconds=0.1)
    with pytest.raises(DeadlineExceeded):
        async with database.writing(NOW) as tx:
            await tx.execute(text("select pg_sleep(60)"))
    await add_service(database)
    await database.close()


async def test_a_write_that_finds_no_connection_in_time_says_so(database_url: str) -> None:
    database = await Database.connect(database_url, pool_size=1, pool_max=1, acquire_timeout_seconds=0.05)
    async with database.writing(NOW):
        with pytest.raises(DatabaseUnavailable, match="Too many writes"):
            await add_service(database)
    await add_service(database)
    await database.close()


async def test_a_cancelled_write_is_stopped_and_not_written(database: Database) -> None:
    async def write() -> None:
        async with database.writing(NOW) as tx:
            await tx.insert(services, name="cancelled", display_name="Cancelled")
            await tx.execute(text("select pg_sleep(60)"))

    async def sleeps(number: int) -> bool:
        sql = (
            "select count(*)::text from pg_stat_activity where state = 'active' and query like 'select pg_sleep%'"
            " and datname = current_database()"
        )
        return await database.reads.fetch_text(sql, (), timeout_seconds=5) == str(number).encode()

    task = asyncio.create_task(write())
    await until(lambda: sleeps(1))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: sleeps(0))
    assert await names(database) == []


async def test_connections_that_were_closed_while_idle_are_replaced_unseen(
    database: Database, database_url: str
) -> None:
    await add_service(database, "before")
    others = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where pid <> pg_backend_pid()"
    await run_sql(database_url, f"{others} and datname = current_database()")
    await add_service(database, "after")
    assert await names(database) == ["after", "before"]


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A Postgres to crash, which keeps what was committed."""
    started = EmbeddedPostgres(folder, settings={"fsync": "off"})
    await started.start()
    yield started
    await started.stop()


async def test_writes_in_flight_at_a_crash_get_a_clear_error_and_later_ones_work(server: EmbeddedPostgres) -> None:
    database = await Database.connect(server.url)
    async with database.writing(NOW) as tx:
        await tx.execute(text("create table kept (a int)"))
    inside = asyncio.Event()

    async def write() -> None:
        async with database.writing(NOW) as tx:
            await tx.execute(text("insert into kept values (1)"))
            inside.set()
            await tx.execute(text("select pg_sleep(60)"))

    in_flight = asyncio.create_task(write())
    await inside.wait()
    crash(server)
    with pytest.raises(DatabaseUnavailable) as told:
        await in_flight
    assert told.value.message == "The database is not available at the moment, try again"
    with pytest.raises(DatabaseUnavailable):
        await database.ping(5)
    with pytest.raises(DatabaseUnavailable):
        async with database.reading() as connection:
            await connection.execute(text("select 1"))

    async with EmbeddedPostgres(server.directory, settings={"fsync": "off"}):
        async with database.writing(NOW) as tx:
            assert (await tx.execute(text("select count(*) from kept"))).scalar_one() == 0
        assert await database.reads.fetch_text("select 'up'", (), timeout_seconds=5) == b"up"
        await database.close()


async def test_a_database_that_cannot_be_reached_is_told_without_its_address(folder: Path) -> None:
    with pytest.raises(DatabaseUnavailable) as told:
        await Database.connect("postgresql://someone:s3cret@127.0.0.1:1/hidden")
    assert told.value.message == DatabaseUnavailable().message
    assert isinstance(told.value.__cause__, OSError), "the operator finds the reason here"
    with pytest.raises(DatabaseUnavailable) as told:
        await Database.connect(f"postgresql://someone@/hidden?host={folder}")
    assert str(folder) not in str(told.value)


async def test_a_database_or_account_that_does_not_exist_is_unavailable_with_the_reason(
    postgres: EmbeddedPostgres,
) -> None:
    with pytest.raises(DatabaseUnavailable) as told:
        await Database.connect(postgres.url_of("no_such_database"))
    assert isinstance(told.value.__cause__, asyncpg.InvalidCatalogNameError)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
async def test_every_form_of_url_connects(database_url: str, scheme: str) -> None:
    database = await Database.connect(database_url.replace("postgresql", scheme, 1) + "&sslmode=prefer")
    assert await names(database) == []
    assert await database.reads.fetch_text("select 'x'", (), timeout_seconds=5) == b"x"
    await database.close()
