"""What was never told is found out, and what Alertmanager keeps quiet about is explained."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from actions.alert_upkeep import settle
from actions.alerts import process
from app.alert_intake import AlertIntake
from app.alert_reconciliation import Reconciliation
from db.alerts import alert_deliveries, alert_suppressions, alerts
from db.database import Database
from db.incidents import incidents
from db.timeline import timeline_events
from domain.alerts import WebhookKind
from domain.grouping import GroupingRules
from domain.time import Deadline
from telemetry_clients.alertmanager import Matcher
from telemetry_clients.instances import Instances, Telemetry
from tests.telemetry_clients.alertmanager_server import AlertmanagerServer, running_alertmanager

RULES = GroupingRules(hold=timedelta(0))
SERVICES = [f"service-{number}" for number in range(20)]
DROPPED = 0.3


@pytest.fixture
async def alertmanager(tmp_path: Path) -> AsyncIterator[AlertmanagerServer]:
    """An Alertmanager of its own."""
    async with running_alertmanager(tmp_path) as server:
        yield server


class Studio:
    """Our side: webhooks that may get lost, and the reconciliation."""

    def __init__(self, database: Database, alertmanager: AlertmanagerServer) -> None:
        self.database = database
        self.alertmanager = alertmanager
        self.intake = AlertIntake(database, now=now, rules=RULES)
        telemetry = Telemetry(
            alertmanager=Instances("Alertmanager", {"a": alertmanager.client, "b": alertmanager.client})
        )
        self.reconciliation = Reconciliation(
            database,
            telemetry,
            now=now,
            interval_seconds=60,
            source="alertmanager",
            receiver=None,
            grace_seconds=0,
            starting=timedelta(0),
        )

    async def hear(self, told: list[dict[str, Any]]) -> None:
        """A webhook that arrives."""
        await self.intake.take("alertmanager", WebhookKind.ALERTMANAGER, orjson.dumps({"alerts": told}), {})
        await self.process()

    async def process(self) -> None:
        while await self.database.transact(partial(process, rules=RULES), now=now()) is not None:
            pass

    async def reconcile(self) -> None:
        await self.reconciliation.run()
        await self.process()
        await self.database.transact(partial(settle, rules=RULES), now=now())

    async def rows(self, statement: Any) -> list[dict[str, Any]]:
        async with self.database.reading() as connection:
            return [dict(row) for row in (await connection.execute(statement)).mappings()]

    async def firing(self) -> set[str]:
        rows = await self.rows(select(alerts).where(alerts.c.status == "FIRING"))
        return {row["labels"]["service"] for row in rows}


@pytest.fixture
def studio(database: Database, alertmanager: AlertmanagerServer) -> Studio:
    return Studio(database, alertmanager)


def now() -> datetime:
    return datetime.now(UTC)


async def test_with_a_third_of_the_webhooks_lost_all_is_as_at_alertmanager_after_one_comparison(studio: Studio):
    chance = random.Random(7)  # noqa: S311  # of dice, not of secrets
    firing: dict[str, str] = {}
    for _ in range(6):
        toggled = chance.sample(SERVICES, 8)
        told = []
        for service in toggled:
            labels = {"alertname": "HighErrorRatio", "service": service}
            began = firing.pop(service, None)
            at = now().isoformat()
            alert = {"labels": labels, "annotations": {}, "startsAt": began or at}
            if began is None:
                firing[service] = at
                told.append({**alert, "status": "firing", "endsAt": "0001-01-01T00:00:00Z"})
            else:
                told.append({**alert, "status": "resolved", "endsAt": at})
        posted = [{key: value for key, value in it.items() if not str(value).startswith("0001")} for it in told]
        for it in posted:
            it.pop("status")
        answer = await studio.alertmanager.transport.post_json(
            "/api/v2/alerts", body=posted, deadline=Deadline.after(10)
        )
        assert answer.succeeded, answer.body
        for alert in told:
            if chance.random() >= DROPPED:
                await studio.hear([alert])
    assert await studio.firing() != set(firing)
    await studio.reconcile()
    assert await studio.firing() == set(firing)
    seen = {alert.labels["service"] for alert in await studio.alertmanager.client.alerts(deadline=Deadline.after(20))}
    assert seen == set(firing)
    active = await studio.rows(select(incidents).where(incidents.c.status == "OPEN"))
    assert len(active) == len(firing)
    found = await studio.rows(select(timeline_events.c.metadata).where(timeline_events.c.type == "ALERT"))
    assert any(entry["metadata"].get("synthesised") for entry in found)
    # Once more finds nothing.
    before = await studio.rows(select(alert_deliveries.c.id))
    await studio.reconcile()
    assert await studio.rows(select(alert_deliveries.c.id)) == before


async def test_silenced_alerts_are_known_and_say_why_nobody_was_told(studio: Studio):
    id = await studio.alertmanager.client.create_silence(
        [Matcher("service", "checkout")],
        starts_at=now(),
        ends_at=now() + timedelta(hours=1),
        created_by="ada",
        comment="Known, and fixed on Monday",
        deadline=Deadline.after(10),
    )
    await studio.alertmanager.fire(
        {"alertname": "Slow", "service": "checkout"}, {"alertname": "Slow", "service": "search"}
    )
    await studio.reconcile()
    await studio.reconcile()
    assert [row["title"] for row in await studio.rows(select(incidents))] == ["Slow on search"]
    [why] = await studio.rows(select(alert_suppressions))
    assert (why["kind"], why["by"], why["reason"]) == ("SILENCE", id, "Known, and fixed on Monday")
    await studio.alertmanager.client.expire_silence(id, deadline=Deadline.after(10))
    await studio.reconcile()
    titles = {row["title"] for row in await studio.rows(select(incidents))}
    assert titles == {"Slow on search", "Slow on checkout"}
