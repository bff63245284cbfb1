"""Migrating a database: to the newest revision and back, with data in it, and by several at once."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import RowMapping, Table, func, select
from sqlalchemy.exc import ProgrammingError

from db.database import Database, Transaction
from db.tables import (
    alert_deliveries,
    alert_dispositions,
    alerts,
    analyses,
    correlations,
    event_log,
    event_log_head,
    incidents,
    incidents_services,
    investigation_hypotheses,
    investigation_steps,
    outbox,
    service_dependencies,
    services,
    slos,
    timeline_events,
    users,
)
from domain.errors import DatabaseUnavailable
from domain.incidents import ImpactLevel, IncidentSource, Severity
from domain.timeline import TimelineEventType
from migrations.upgrade import LOCK, MigrationError, Step, current, downgrade, head, upgrade
from tests.postgres import run_sql

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

# What the command `migrate` does, in a process of its own.
PROCESS = "import asyncio, sys; from migrations.upgrade import upgrade; print(asyncio.run(upgrade(sys.argv[1])))"


async def fill(tx: Transaction) -> list[tuple[Table, RowMapping]]:
    """A few rows in tables that point to each other."""
    rows: list[tuple[Table, RowMapping]] = []

    async def add(table: Table, **values: object) -> UUID | None:
        rows.append((table, await tx.insert(table, **values)))
        return rows[-1][1].get("id")

    user = await add(users, email="a@example.com", name="A")
    shop = await add(services, name="shop", display_name="Shop", labels={"team": "x"})
    cart = await add(services, name="cart", display_name="Cart")
    await add(service_dependencies, service_id=shop, depends_on_id=cart, created_at=NOW)
    about = {"severity": Severity.HIGH, "source": IncidentSource.API, "started_at": NOW}
    incident = await add(incidents, number=1, title="Shop is slow", commander_id=user, **about)
    hurt = {"level": ImpactLevel.PRIMARY, "source": IncidentSource.API, "since": NOW}
    await add(incidents_services, incident_id=incident, service_id=shop, **hurt)
    note = {"type": TimelineEventType.NOTE, "source": "people", "occurred_at": NOW}
    await add(timeline_events, incident_id=incident, title="Looking", actor_id=user, **note)
    idea = await add(investigation_hypotheses, incident_id=incident, title="Cart", confidence=0.5, service_id=cart)
    await add(investigation_steps, incident_id=incident, hypothesis_id=idea, title="Look")
    delivery = await add(alert_deliveries, source="test", received_at=NOW, body=b"{}", alert_count=1)
    firing = {"status": "FIRING", "severity": Severity.LOW, "starts_at": NOW, "source": "test"}
    alert = await add(alerts, name="Slow", fingerprint="f", incident_id=incident, service_id=shop, **firing)
    await add(alert_dispositions, delivery_id=delivery, position=0, disposition="CREATED", alert_id=alert)
    run = {"status": "RUNNING", "engine_version": "1", "started_at": NOW, "confidence": 0.0}
    analysis = await add(analyses, incident_id=incident, **run)
    await add(correlations, incident_id=incident, analysis_id=analysis, kind="METRIC", score=0.5)
    await add(slos, name="fast", service_id=shop, objective=0.99, window_days=30, indicator_kind="RATIO")
    await add(outbox, type="INCIDENT_CREATED", incident_id=incident, occurred_at=NOW)
    await add(event_log, position=1, xid=1, seq=1, type="INCIDENT_CREATED", occurred_at=NOW, recorded_at=NOW)
    return rows


async def relations(url: str) -> set[str]:
    """The names of all tables, indexes, sequences and types that are there."""
    connection = await asyncpg.connect(url)
    try:
        sql = (
            "select relname::text from pg_class where relnamespace = 'public'::regnamespace"
            " union all select typname::text from pg_type where typnamespace = 'public'::regnamespace"
        )
        return {row[0] for row in await connection.fetch(sql)}
    finally:
        await connection.close()


async def test_an_empty_database_is_brought_to_the_newest_revision_once(empty_database_url: str) -> None:
    steps: list[Step] = []
    assert await current(empty_database_url) is None
    applied = await upgrade(empty_database_url, progress=steps.append)
    assert applied[-1] == head() == await current(empty_database_url)
    assert [(step.number, step.total) for step in steps] == [(n + 1, len(applied)) for n in range(len(applied))]
    assert (steps[0].revision, steps[0].description) == ("0001", "Create the database.")
    assert await upgrade(empty_database_url) == []


async def test_a_filled_database_goes_back_and_forth(empty_database_url: str) -> None:
    await upgrade(empty_database_url)
    made = await relations(empty_database_url)
    for _ in range(2):
        database = await Database.connect(empty_database_url)
        rows = await database.transact(fill, now=NOW)
        async with database.reading() as connection:
            for table, row in rows:
                key = [column == row[column.name] for column in table.primary_key]
                stored = (await connection.execute(select(table).where(*key))).mappings().one()
                assert row.items() <= stored.items()
        await database.close()

        steps: list[Step] = []
        await downgrade(empty_database_url, "base", progress=steps.append)
        assert [step.number for step in steps] == list(range(1, steps[0].total + 1))
        assert await current(empty_database_url) is None
        assert {name for name in await relations(empty_database_url) if "alembic" not in name} == set()

        await upgrade(empty_database_url)
        assert await relations(empty_database_url) == made


async def test_the_event_log_has_its_head_from_the_beginning(database: Database) -> None:
    async with database.reading() as connection:
        head = (await connection.execute(select(func.count(), func.max(event_log_head.c.position)))).one()
    assert head == (1, 0)


async def test_processes_that_migrate_at_the_same_time_do_it_once(empty_database_url: str) -> None:
    command = [sys.executable, "-W", "error", "-c", PROCESS, empty_database_url]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    outcomes = [await asyncio.to_thread(process.communicate) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outcomes
    done = [output.strip() for output, _ in outcomes]
    assert done.count("[]") == 2
    assert next(output for output in done if output != "[]").startswith("['0001'")
    assert await current(empty_database_url) == head()


async def test_a_migration_waits_for_the_one_that_is_under_way(empty_database_url: str) -> None:
    other = await asyncpg.connect(empty_database_url)
    assert await other.fetchval("select pg_try_advisory_lock($1)", LOCK)
    waiting = asyncio.create_task(upgrade(empty_database_url))
    done, _ = await asyncio.wait([waiting], timeout=0.5)
    assert not done
    assert await current(empty_database_url) is None
    await other.close()
    assert (await waiting)[-1] == head()


async def test_a_failing_migration_changes_nothing(empty_database_url: str) -> None:
    await run_sql(empty_database_url, "create table jobs (in_the_way int)")
    with pytest.raises(ProgrammingError, match='relation "jobs" already exists'):
        await upgrade(empty_database_url)
    assert await current(empty_database_url) is None
    assert "incidents" not in await relations(empty_database_url)
    await run_sql(empty_database_url, "drop table jobs")
    assert (await upgrade(empty_database_url))[-1] == head()


async def test_a_database_of_a_newer_version_is_refused_and_said_to_be_newer(database_url: str) -> None:
    await run_sql(database_url, "update alembic_version set version_num = '9999'")
    await run_sql(database_url, "update schema_compatibility set oldest_revision = '9998'")
    with pytest.raises(MigrationError, match=r"revision 9999, which this version does not know: a newer version"):
        await upgrade(database_url)
    with pytest.raises(MigrationError, match="9999"):
        await downgrade(database_url, "base")


async def test_an_unknown_revision_is_refused(database_url: str) -> None:
    with pytest.raises(MigrationError, match="no_such_revision"):
        await upgrade(database_url, "no_such_revision")


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(DatabaseUnavailable):
        await upgrade("postgresql://nobody@127.0.0.1:1/none")
