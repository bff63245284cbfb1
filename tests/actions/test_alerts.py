"""Deliveries of alerts: every alert in them ends in exactly one disposition, and each alert is one row."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from actions.alerts.deliveries import process, tell_internal
from db.alerts import alert_deliveries, alert_dispositions, alert_occurrences, alerts
from domain.alerts import AlertStatus
from domain.errors import ValidationFailed
from domain.incidents import Severity
from domain.webhooks.incoming import IncomingAlert
from tests.actions.alerting import EARLIER, deliver, firing, processed, resolved
from tests.actions.conftest import NOON, Studio


async def dispositions(studio: Studio, delivery_id: UUID) -> list[tuple[int, str]]:
    rows = await studio.rows(alert_dispositions, delivery_id=delivery_id)
    return [(row["position"], row["disposition"]) for row in rows]


async def test_every_alert_of_a_delivery_gets_one_disposition(studio: Studio):
    first = await deliver(studio, firing(), firing("payment"), firing(), {"status": "firing"})
    second = await deliver(studio, firing(), resolved(end=5), firing(minute=10))
    await processed(studio)
    assert await dispositions(studio, first) == [(0, "CREATED"), (1, "CREATED"), (2, "DUPLICATE"), (3, "REJECTED")]
    assert await dispositions(studio, second) == [(0, "DUPLICATE"), (1, "UPDATED"), (2, "UPDATED")]
    assert [row["processed_at"] for row in await studio.rows(alert_deliveries)] == [NOON, NOON]


async def test_an_alert_is_one_row_with_its_occurrences(studio: Studio):
    await deliver(studio, firing())
    await deliver(studio, resolved(end=5), firing(minute=10))
    changes = await processed(studio)
    [alert] = await studio.rows(alerts)
    assert (alert["status"], alert["starts_at"], alert["ends_at"]) == ("FIRING", EARLIER + timedelta(minutes=10), None)
    assert (alert["occurrences"], alert["fingerprint"], alert["source"]) == (2, "ece26c7972e04ff0", "alertmanager")
    occurrences = await studio.rows(alert_occurrences, alert_id=alert["id"])
    assert {(row["starts_at"], row["is_over"]) for row in occurrences} == {
        (EARLIER, True),
        (EARLIER + timedelta(minutes=10), False),
    }
    assert [(change.has_fired, change.is_over) for change in changes] == [(True, False), (False, True), (True, False)]


async def test_a_pair_of_alertmanagers_is_one_source_and_other_sources_are_others(studio: Studio):
    for source in ("alertmanager", "alertmanager", "grafana"):
        await deliver(studio, firing(), source=source)
    await processed(studio)
    assert sorted(row["source"] for row in await studio.rows(alerts)) == ["alertmanager", "grafana"]


async def test_two_processes_never_tell_alerts_apart_at_the_same_time(studio: Studio):
    await deliver(studio, firing())
    async with studio.database.writing(NOON) as tx:
        assert await process(tx) is not None
        assert await studio.database.transact(process, now=NOON) is None
    assert await studio.database.transact(process, now=NOON) is None
    assert len(await studio.rows(alerts)) == 1


@pytest.mark.parametrize("body", [b"{", b'{"alerts": [{"status": "firing"}]}', b'{"alerts": {}}'])
async def test_what_holds_no_good_alert_is_refused_and_not_stored(studio: Studio, body: bytes):
    with pytest.raises(ValidationFailed):
        await deliver(studio, body=body)
    assert await studio.rows(alert_deliveries) == []


async def test_a_large_backlog_is_worked_off_in_batches_and_in_order(studio: Studio):
    ids = [await deliver(studio, firing(f"service-{n % 7}", minute=n)) for n in range(30)]
    await processed(studio)
    rows: Mapping[Any, Any] = {row["delivery_id"]: row["disposition"] for row in await studio.rows(alert_dispositions)}
    assert [rows[id] for id in ids] == ["CREATED"] * 7 + ["UPDATED"] * 23
    async with studio.database.reading() as connection:
        received, disposed = (
            await connection.execute(
                text(
                    "select (select sum(alert_count) from alert_deliveries), (select count(*) from alert_dispositions)"
                )
            )
        ).one()
    assert received == disposed == 30


async def test_what_a_part_of_the_program_tells_goes_the_way_of_all_alerts(studio: Studio):
    burning = IncomingAlert(
        name="Checkout burns its budget",
        fingerprint="slo:checkout",
        status=AlertStatus.FIRING,
        severity=Severity.CRITICAL,
        labels={"service": "checkout"},
        annotations={"summary": "Budget gone in two hours"},
        starts_at=EARLIER,
        ends_at=None,
    )
    for _ in range(2):
        async with studio.database.writing(studio.now) as tx:
            assert await tell_internal(tx, source="slo", alerts=[burning]) is not None
            assert await tell_internal(tx, source="slo", alerts=[]) is None
    await processed(studio)
    [alert] = await studio.rows(alerts)
    told = {column: alert[column] for column in ("name", "fingerprint", "status", "severity", "labels", "starts_at")}
    assert told == {
        "name": burning.name,
        "fingerprint": "slo:checkout",
        "status": "FIRING",
        "severity": "CRITICAL",
        "labels": {"service": "checkout"},
        "starts_at": EARLIER,
    }
    assert [row["disposition"] for row in await studio.rows(alert_dispositions)] == ["CREATED", "DUPLICATE"]
