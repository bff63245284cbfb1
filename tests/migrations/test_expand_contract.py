"""Zero-downtime upgrades: the program of the revision before goes on working on the tables of the revision after."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from alembic.script import Script, ScriptDirectory

from db.connecting import driver_url
from db.database import Database
from migrations.compatibility import SINCE
from migrations.upgrade import MigrationError, configuration, downgrade, upgrade
from tests.migrations.tables_before import read_tables, what_breaks
from tests.postgres import run_sql
from tests.resolvers.awkward_rows import awkward_rows
from tests.resolvers.awkward_values import NOW
from tests.resolvers.rows_by_table import write_rows
from tests.servers import ServerProcess, run_command

RULE = "CONTRIBUTING.md, 'Migrations', says how to do it in two steps"


def scripts() -> list[Script]:
    """All migrations, the oldest first."""
    return list(ScriptDirectory.from_config(configuration()).walk_revisions())[::-1]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    connection = await asyncpg.connect(driver_url(url))
    try:
        yield connection
    finally:
        await connection.close()


async def test_migrations_only_add_unless_they_say_which_programs_they_need(empty_database_url: str) -> None:
    await upgrade(empty_database_url, SINCE)
    async with connected(empty_database_url) as connection:
        before = await read_tables(connection)
        revisions = [script.revision for script in scripts()]
        for script in scripts()[revisions.index(SINCE) + 1 :]:
            await upgrade(empty_database_url, script.revision)
            after = await read_tables(connection)
            broken = list(what_breaks(before, after))
            needs = getattr(script.module, "oldest_revision", None)
            assert not broken or needs is not None, f"{script.revision}: {broken}. {RULE}"
            assert needs is None or needs in revisions[: revisions.index(script.revision)], (
                f"{script.revision} needs {needs}, which is no revision before it"
            )
            before = after


@pytest.mark.parametrize(
    ("change", "breaks"),
    [
        ("alter table services drop column labels", "services.labels is gone"),
        ("alter table incidents rename column title to name", "incidents.title is gone"),
        ("drop table jobs", "jobs.id is gone"),
        ("alter table users alter column name type varchar(9)", "users.name was text, and is"),
        ("alter table incidents alter column commander_id set not null", "incidents.commander_id could be null"),
        ("alter table incidents alter column title drop not null", "incidents.title could not be null"),
        ("alter table incidents add column weight int not null", "incidents.weight is new, has to be given"),
        ("alter table incidents add check (number < 1000000)", "incidents has a new rule: CHECK"),
        ("create unique index on services (display_name)", "services has a new rule: CREATE UNIQUE INDEX"),
    ],
)
async def test_what_would_break_the_program_before_is_found(database_url: str, change: str, breaks: str) -> None:
    async with connected(database_url) as connection:
        before = await read_tables(connection)
        await connection.execute(change)
        assert any(each.startswith(breaks) for each in what_breaks(before, await read_tables(connection)))


@pytest.mark.parametrize(
    "change",
    [
        "alter table incidents add column weight int",
        "alter table incidents add column weight int not null default 0",
        "create table weights (id int primary key check (id > 0))",
        "alter type severity add value 'TRIVIAL'",
        "create index on incidents (description)",
    ],
)
async def test_what_only_adds_breaks_nothing(database_url: str, change: str) -> None:
    async with connected(database_url) as connection:
        before = await read_tables(connection)
        await connection.execute(change)
        assert list(what_breaks(before, await read_tables(connection))) == []


async def test_what_the_program_before_writes_and_reads_goes_through(
    database_url: str, empty_database_url: str
) -> None:
    """Every row of every table, inserted, changed and read by the columns that the revision before knows."""
    before = scripts()[-1].down_revision
    assert isinstance(before, str)
    await upgrade(empty_database_url, before)
    async with connected(empty_database_url) as connection:
        tables = await read_tables(connection)
    database = await Database.connect(database_url)
    async with database.writing(NOW) as tx:
        await write_rows(tx, awkward_rows())
    await database.close()
    rows = 0
    async with connected(database_url) as connection:
        # Rows come back in any order, so what points to others is not looked at meanwhile.
        await connection.execute("set session_replication_role = replica")
        for table in sorted(tables.names):
            columns = ", ".join(f'"{name}"' for name in tables.written(table))
            same = ", ".join(f'"{name}" = "{name}"' for name in tables.changed(table))
            await connection.execute(f"create temporary table kept as select {columns} from {table}")
            await connection.execute(f"alter table {table} disable trigger user")  # Some may only be added to.
            await connection.execute(f"delete from {table}")
            await connection.execute(
                f"insert into {table} ({columns}) overriding system value select {columns} from kept"
            )
            await connection.execute(f"update {table} set {same}")
            assert await connection.fetch(f"table kept except select {columns} from {table}") == []
            rows += await connection.fetchval(f"select count(*) from {table}")
            await connection.execute("drop table kept")
    assert rows > 100


async def test_a_program_runs_on_tables_of_the_next_version_beside_it(database_url: str) -> None:
    await _migrate_further(database_url, needs=SINCE)
    async with (
        ServerProcess(DATABASE_URL=database_url) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):
        created = await http.post("/api/incidents", json={"title": "On newer tables", "severity": "high"})
        read = await http.post("/graphql", json={"query": "{ incidents { nodes { title severity } } }"})

    assert created.status_code == 201
    assert read.json() == {"data": {"incidents": {"nodes": [{"title": "On newer tables", "severity": "HIGH"}]}}}
    assert "A newer version has migrated the database to revision 9999, on which this one can run." in server.complaints


async def test_a_program_that_the_tables_left_behind_does_not_start(database_url: str) -> None:
    await _migrate_further(database_url, needs="9998")

    code, _, complaints = await run_command("serve", "--port", "0", settings={"DATABASE_URL": database_url})

    assert code == 1
    assert "The database is at revision 9999, which this version does not know" in complaints
    with pytest.raises(MigrationError, match="9999"):
        await downgrade(database_url, SINCE)


async def test_the_database_says_which_programs_it_needs_after_each_migration(empty_database_url: str) -> None:
    await upgrade(empty_database_url)
    needed = [each for script in scripts() if (each := getattr(script.module, "oldest_revision", None)) is not None]
    async with connected(empty_database_url) as connection:
        found = await connection.fetchval("select oldest_revision from schema_compatibility")
        assert found == (needed or [SINCE])[-1]
        await connection.execute("update schema_compatibility set oldest_revision = 'wrong'")
    await downgrade(empty_database_url, "base")
    await upgrade(empty_database_url)
    async with connected(empty_database_url) as connection:
        assert await connection.fetchval("select oldest_revision from schema_compatibility") == found


async def test_a_migration_that_has_to_wait_lets_others_pass_and_tries_again(empty_database_url: str) -> None:
    await upgrade(empty_database_url, SINCE)
    (before,) = [script.down_revision for script in scripts() if script.revision == SINCE]
    assert isinstance(before, str)
    async with connected(empty_database_url) as reader:
        await reader.execute("begin; select from schema_compatibility")
        await reader.execute("set local idle_in_transaction_session_timeout = '3500ms'")
        # The reader leaves after the first attempt has given up.
        assert await downgrade(empty_database_url, before) != []


async def _migrate_further(url: str, *, needs: str) -> None:
    """What a version does that is to come: it adds."""
    await run_sql(url, "alter table incidents add column weight int not null default 0")
    await run_sql(url, "alter type severity add value 'TRIVIAL'")
    await run_sql(url, "create table weights (id int primary key)")
    await run_sql(url, f"update schema_compatibility set oldest_revision = '{needs}'")  # ours
    await run_sql(url, "update alembic_version set version_num = '9999'")
