"""However deliveries are ordered, repeated and cut into pieces, they end in the same alerts and incidents."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from actions import dependencies
from actions.alerts.deliveries import Accepted, Received, accept, process
from actions.alerts.upkeep import settle
from actions.discovery import find_or_discover, references
from db.database import Database
from db.embedded import EmbeddedPostgres
from db.identifiers import new_id
from domain.access import Actor, Role
from domain.alerts import WebhookKind
from domain.grouping import GroupingRules
from tests.postgres import TEMPLATE, run_sql

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = GroupingRules()
SERVICES = ("checkout", "payment", "search")
IS_LONG = float(os.environ.get("CHAOS_SECONDS", "8")) > 60
TRIALS = 100 if IS_LONG else 15
PARALLEL = 40
EXAMPLES = 150 if IS_LONG else 15
NEEDS = {"frontend": "checkout", "checkout": "payment", "search": "payment"}
ACTOR = Actor(id=None, name="Ada", role=Role.ADMIN)

STATE = """
select jsonb_build_object(
  'alerts', (select jsonb_agg(jsonb_build_array(name, labels, status, severity, starts_at, ends_at, occurrences)
    order by name, labels::text) from alerts),
  'occurrences', (select jsonb_agg(jsonb_build_array(alerts.name, alerts.labels, o.starts_at, o.ends_at, o.is_over,
    o.incident_id is not null) order by alerts.name, alerts.labels::text, o.starts_at)
    from alert_occurrences o join alerts on alerts.id = o.alert_id),
  'incidents', (select jsonb_agg(jsonb_build_array(i.status, i.severity, i.started_at, (
      select jsonb_agg(distinct jsonb_build_array(alerts.name, alerts.labels, o.starts_at)) from alert_occurrences o
      join alerts on alerts.id = o.alert_id where o.incident_id = i.id
    )) order by (select min(name) from services s join incidents_services l on l.service_id = s.id
      where l.incident_id = i.id), i.started_at) from incidents i
    where exists (select from alert_occurrences o where o.incident_id = i.id)),
  'unaccounted', (select sum(alert_count) from alert_deliveries) - (select count(*) from alert_dispositions)
)::text
"""
GROUPED = """
select count(distinct incident_id) filter (where incident_id is not null), count(incident_id) from alerts
group by service_id
"""
RESET = "truncate alert_deliveries, alerts, incidents, services, outbox, alert_groups cascade"


@pytest.fixture(scope="module")
async def database(postgres: EmbeddedPostgres) -> Any:
    """One database for all examples of this module, emptied between them."""
    await run_sql(postgres.url, f"create database interleavings template {TEMPLATE} strategy file_copy")
    connected = await Database.connect(postgres.url_of("interleavings"))
    yield connected
    await connected.close()
    await run_sql(postgres.url, "drop database interleavings with (force)")


def occurrences() -> st.SearchStrategy[list[dict[str, Any]]]:
    """What a source tells: firings within the grouping window, each with its end or without."""
    return told_of(SERVICES)


def told_of(services: Sequence[str]) -> st.SearchStrategy[list[dict[str, Any]]]:
    one = st.fixed_dictionaries(
        {
            "service": st.sampled_from(services),
            "name": st.sampled_from(["Down", "Slow"]),
            "minute": st.integers(0, 4),
            "severity": st.sampled_from(["warning", "critical"]),
            "is_over": st.booleans(),
        }
    )
    return st.lists(one, min_size=1, max_size=6, unique_by=lambda it: (it["service"], it["name"], it["minute"]))


def told(occurrence: dict[str, Any], *, minutes_apart: int = 5) -> list[dict[str, Any]]:
    labels = {"alertname": occurrence["name"], "service": occurrence["service"], "severity": occurrence["severity"]}
    # The severity tells alerts apart, as for Alertmanager.
    start = NOON - timedelta(minutes=30 - minutes_apart * occurrence["minute"])
    firing = {"status": "firing", "labels": labels, "startsAt": start.isoformat()}
    ended = {**firing, "status": "resolved", "endsAt": (start + timedelta(minutes=2)).isoformat()}
    return [firing, ended] if occurrence["is_over"] else [firing]


async def outcome(
    database: Database,
    deliveries: Sequence[Sequence[dict[str, Any]]],
    *,
    at_once: bool,
    needs: Mapping[str, str] = MappingProxyType({}),
) -> str:
    async with database.writing(NOON) as tx:
        await tx.execute(text(RESET))
        for name, on in needs.items():
            [service] = await find_or_discover(tx, references([name], "name"), actor=ACTOR)
            await dependencies.declare(tx, service["id"], references([on], "dependsOn"), actor=ACTOR)
    for delivery in deliveries:
        body = orjson.dumps({"alerts": delivery})
        received = Received(
            id=new_id(), source="alertmanager", kind=WebhookKind.ALERTMANAGER, body=body, headers={}, at=NOON
        )
        await accept(database, [Accepted(received, received.read())])
        if not at_once:
            await work_off(database)
    await work_off(database)
    later = NOON + timedelta(hours=1)
    await database.transact(partial(settle, rules=RULES), now=later)
    async with database.reading() as connection:
        state: str = (await connection.execute(text(STATE))).scalar_one()
    return state


async def work_off(database: Database) -> None:
    while await database.transact(process, now=NOON) is not None:
        pass


@settings(max_examples=EXAMPLES)
@given(data=st.data())
async def test_any_order_and_repetition_of_deliveries_ends_the_same(database: Database, data: st.DataObject) -> None:
    alerts = [alert for occurrence in data.draw(occurrences()) for alert in told(occurrence)]
    shuffled = data.draw(st.permutations(alerts))
    repeated = [*shuffled, *data.draw(st.lists(st.sampled_from(alerts), max_size=4))]
    cuts = sorted(data.draw(st.lists(st.integers(1, len(repeated)), max_size=4)))
    pieces = [repeated[start:end] for start, end in zip([0, *cuts], [*cuts, len(repeated)], strict=True)]
    expected = await outcome(database, [alerts], at_once=True)
    pieces = [piece for piece in pieces if piece]
    assert await outcome(database, pieces, at_once=data.draw(st.booleans())) == expected
    assert orjson.loads(expected)["unaccounted"] == 0


@settings(max_examples=EXAMPLES)
@given(data=st.data())
async def test_any_order_ends_the_same_along_dependencies_too(database: Database, data: st.DataObject) -> None:
    """Services that are hit within the dependency window, and connected by dependencies, are one incident, whoever is
    told of first.

    That holds where each service depends on one other at most, and all are hit within one window, as here. Where two
    independent causes hurt what depends on both, the order decides whose incident that joins: merging the two would
    make one incident of whatever has a dependant in common. Where services are hit further apart than the window, the
    order decides which of them were known to be close. And titles, numbers and who is hurt first-hand always tell who
    was told of first.
    """
    tell = partial(told, minutes_apart=1)
    alerts = [alert for occurrence in data.draw(told_of((*NEEDS, "payment", "mail"))) for alert in tell(occurrence)]
    shuffled = data.draw(st.permutations(alerts))
    repeated = [*shuffled, *data.draw(st.lists(st.sampled_from(alerts), max_size=4))]
    expected = await outcome(database, [alerts], at_once=True, needs=NEEDS)
    one_by_one = [[alert] for alert in repeated]
    assert await outcome(database, one_by_one, at_once=data.draw(st.booleans()), needs=NEEDS) == expected


async def test_any_number_of_parallel_webhooks_for_one_key_make_one_incident(database: Database) -> None:
    async with database.writing(NOON) as tx:
        await tx.execute(text(RESET))
    for trial in range(TRIALS):

        async def post(number: int, service: str = f"service-{trial}") -> None:
            labels = {"alertname": f"Alert {number}", "service": service}
            body = orjson.dumps({"alerts": [{"status": "firing", "labels": labels, "startsAt": NOON.isoformat()}]})
            received = Received(
                id=new_id(), source="alertmanager", kind=WebhookKind.ALERTMANAGER, body=body, headers={}, at=NOON
            )
            await accept(database, [Accepted(received, received.read())])
            # Whoever gets to it: in a fleet, several processes try.
            await database.transact(partial(process, most=5), now=NOON)

        await asyncio.gather(*(post(number) for number in range(PARALLEL)))
    await work_off(database)
    async with database.reading() as connection:
        found = await connection.execute(text(GROUPED))
        assert [tuple(row) for row in found] == [(1, PARALLEL)] * TRIALS
