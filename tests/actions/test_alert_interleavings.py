"""However deliveries are ordered, repeated and cut into pieces, they end in the same alerts and incidents."""

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from actions.alert_upkeep import settle
from actions.alerts import Received, accept, process
from db.database import Database
from db.embedded import EmbeddedPostgres
from db.identifiers import new_id
from domain.alerts import WebhookKind
from domain.grouping import GroupingRules
from tests.postgres import TEMPLATE, run_sql

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = GroupingRules()
SERVICES = ("checkout", "payment", "search")
IS_LONG = float(os.environ.get("CHAOS_SECONDS", "8")) > 60
TRIALS = 100 if IS_LONG else 15
PARALLEL = 40

STATE = """
select jsonb_build_object(
  'alerts', (select jsonb_agg(jsonb_build_array(name, labels, status, severity, starts_at, ends_at, occurrences)
    order by name, labels->>'service') from alerts),
  'occurrences', (select jsonb_agg(jsonb_build_array(alerts.name, alerts.labels, o.starts_at, o.ends_at, o.is_over,
    o.incident_id is not null) order by alerts.name, alerts.labels->>'service', o.starts_at)
    from alert_occurrences o join alerts on alerts.id = o.alert_id),
  'incidents', (select jsonb_agg(jsonb_build_array(i.status, i.severity, i.started_at, (
      select jsonb_agg(distinct jsonb_build_array(alerts.name, alerts.labels, o.starts_at)) from alert_occurrences o
      join alerts on alerts.id = o.alert_id where o.incident_id = i.id
    )) order by (select min(name) from services s join incidents_services l on l.service_id = s.id
      where l.incident_id = i.id)) from incidents i),
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
    one = st.fixed_dictionaries(
        {
            "service": st.sampled_from(SERVICES),
            "name": st.sampled_from(["Down", "Slow"]),
            "minute": st.integers(0, 4),
            "severity": st.sampled_from(["warning", "critical"]),
            "is_over": st.booleans(),
        }
    )
    return st.lists(one, min_size=1, max_size=6, unique_by=lambda it: (it["service"], it["name"], it["minute"]))


def told(occurrence: dict[str, Any]) -> list[dict[str, Any]]:
    labels = {"alertname": occurrence["name"], "service": occurrence["service"], "severity": occurrence["severity"]}
    # The severity tells alerts apart, as for Alertmanager.
    start = NOON - timedelta(minutes=30 - 5 * occurrence["minute"])
    firing = {"status": "firing", "labels": labels, "startsAt": start.isoformat()}
    ended = {**firing, "status": "resolved", "endsAt": (start + timedelta(minutes=2)).isoformat()}
    return [firing, ended] if occurrence["is_over"] else [firing]


async def outcome(database: Database, deliveries: Sequence[Sequence[dict[str, Any]]], *, at_once: bool) -> str:
    async with database.writing(NOON) as tx:
        await tx.execute(text(RESET))
    for delivery in deliveries:
        body = orjson.dumps({"alerts": delivery})
        received = Received(
            id=new_id(), source="alertmanager", kind=WebhookKind.ALERTMANAGER, body=body, headers={}, at=NOON
        )
        async with database.writing(NOON) as tx:
            await accept(tx, received, received.read())
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


@settings(max_examples=25)
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
            await database.transact(partial(accept, received=received, delivery=received.read()), now=NOON)
            # Whoever gets to it: in a fleet, several processes try.
            await database.transact(partial(process, most=5), now=NOON)

        await asyncio.gather(*(post(number) for number in range(PARALLEL)))
    await work_off(database)
    async with database.reading() as connection:
        found = await connection.execute(text(GROUPED))
        assert [tuple(row) for row in found] == [(1, PARALLEL)] * TRIALS
