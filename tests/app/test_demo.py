import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import RowMapping, Select, func, select

from actions import services as service_actions
from app.demo import load
from app.demo.present import STARTED_BEFORE
from db.alerts import alerts
from db.database import Database
from db.deployments import deployments
from db.embedded import EmbeddedPostgres
from db.incidents import incidents, incidents_services
from db.metadata import metadata
from db.services import service_dependencies, services
from db.timeline import timeline_events
from domain.access import Actor, Role
from domain.alerts import AlertStatus
from domain.incidents import IncidentStatus
from domain.services import ServiceStatus
from tests.postgres import TEMPLATE, run_sql

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
SOMEBODY = Actor(id=None, name="somebody", role=Role.ADMIN)


@pytest.fixture(scope="module")
async def shop(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A database with the demo, to be looked at only."""
    await run_sql(postgres.url, f"create database shop template {TEMPLATE} strategy file_copy")
    database = await Database.connect(postgres.url_of("shop"))
    await load(database, now=NOW)
    yield database
    await database.close()


async def rows(database: Database, statement: Select[Any]) -> Sequence[RowMapping]:
    async with database.reading() as connection:
        return (await connection.execute(statement)).mappings().all()


async def value(database: Database, statement: Select[Any]) -> Any:
    async with database.reading() as connection:
        return (await connection.execute(statement)).scalar_one()


async def contents(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, as text."""
    async with database.reading() as connection:
        return {
            table.name: sorted(str(tuple(row)) for row in await connection.execute(select(table)))
            for table in metadata.sorted_tables
        }


async def test_the_demo_is_a_shop_with_a_year_of_incidents(database: Database):
    steps: list[tuple[str, int, int]] = []

    counts = await load(database, now=NOW, progress=lambda *step: steps.append(step))

    assert counts["services"] >= 12
    assert counts["incidents"] >= 200
    assert counts["timeline_events"] > 10 * counts["incidents"]
    assert counts["incidents"] == await value(database, select(func.count()).select_from(incidents))
    assert steps[-1] == ("Incidents", 250, 250)


async def test_loading_the_demo_again_a_week_later_changes_nothing(shop: Database):
    before = await contents(shop)

    assert await load(shop, now=NOW + timedelta(days=7)) == {}

    assert await contents(shop) == before


async def test_two_who_load_the_demo_at_the_same_time_load_it_once(database: Database):
    counts = await asyncio.gather(load(database, now=NOW), load(database, now=NOW))

    assert sorted(map(bool, counts)) == [False, True]


async def test_services_that_are_there_already_are_used_as_they_are(database: Database):
    async with database.writing(now=NOW) as tx:
        new = service_actions.NewService(name="Payments", description="The real one", tier=2)
        id = await service_actions.create(tx, new, actor=SOMEBODY)

    await load(database, now=NOW)

    [payments] = await rows(database, select(services).where(func.lower(services.c.name) == "payments"))
    assert (payments["id"], payments["description"], payments["tier"]) == (id, "The real one", 2)
    hurt = select(func.count()).select_from(incidents_services).where(incidents_services.c.service_id == id)
    assert await value(database, hurt) > 0


async def test_one_incident_is_open_and_started_25_minutes_ago(shop: Database):
    [active] = await rows(shop, select(incidents).where(incidents.c.status != IncidentStatus.RESOLVED))

    assert active["started_at"] == NOW - STARTED_BEFORE
    assert active["status"] is IncidentStatus.INVESTIGATING
    firing = await rows(shop, select(alerts).where(alerts.c.status == AlertStatus.FIRING))
    assert {alert["incident_id"] for alert in firing} == {active["id"]}
    statuses = {row["name"]: row["status"] for row in await rows(shop, select(services))}
    assert statuses.pop("payments") is ServiceStatus.DOWN
    assert statuses.pop("checkout") is ServiceStatus.DEGRADED
    assert set(statuses.values()) == {ServiceStatus.HEALTHY}


async def test_nothing_in_the_demo_happens_in_the_future_or_before_its_incident_started(shop: Database):
    entries = timeline_events.join(incidents, incidents.c.id == timeline_events.c.incident_id)
    impossible = (timeline_events.c.occurred_at > NOW) | (timeline_events.c.occurred_at < incidents.c.started_at)

    assert await rows(shop, select(timeline_events).select_from(entries).where(impossible)) == []
    assert await value(shop, select(func.max(incidents.c.resolved_at))) < NOW
    assert await value(shop, select(func.max(deployments.c.finished_at))) < NOW


async def test_no_text_of_the_demo_has_a_blank_left_to_fill(shop: Database):
    told = (incidents.c.title, incidents.c.description, incidents.c.root_cause, incidents.c.resolution)
    texts = [text for row in await rows(shop, select(*told)) for text in row.values() if text]
    texts += [text for row in await rows(shop, select(timeline_events.c.title)) for text in row.values()]

    assert [text for text in texts if "{" in text or "}" in text] == []


async def test_incidents_are_numbered_by_when_they_started_after_those_that_are_there(shop: Database):
    numbers = [row["number"] for row in await rows(shop, select(incidents).order_by(incidents.c.started_at))]

    assert numbers == [*range(1, len(numbers) + 1)]


async def test_the_services_of_the_demo_depend_on_one_another_without_a_cycle(shop: Database):
    edges = [(row["service_id"], row["depends_on_id"]) for row in await rows(shop, select(service_dependencies))]
    left = {service for edge in edges for service in edge}
    while leaves := {service for service in left if not any(one == service and other in left for one, other in edges)}:
        left -= leaves

    assert edges
    assert not left
