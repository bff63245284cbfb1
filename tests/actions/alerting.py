"""Alerts for tests: what Alertmanager posts, and what becomes of it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson

from actions.alerts.deliveries import Accepted, Received, accept, process, read, require_good
from db.identifiers import new_id
from domain.alert_history import AlertChange
from domain.alerts import WebhookKind
from tests.actions.conftest import NOON, Studio

EARLIER = NOON - timedelta(hours=1)


def firing(service: str = "checkout", *, minute: int = 0, **more: Any) -> dict[str, Any]:
    starts_at = (EARLIER + timedelta(minutes=minute)).isoformat()
    labels = {"alertname": "HighErrorRatio", "service": service}
    return {"status": "firing", "labels": labels, "startsAt": starts_at, **more}


def resolved(service: str = "checkout", *, minute: int = 0, end: int) -> dict[str, Any]:
    ends_at = (EARLIER + timedelta(minutes=end)).isoformat()
    return firing(service, minute=minute, status="resolved", endsAt=ends_at)


async def deliver(
    studio: Studio, *told: Any, source: str = "alertmanager", body: bytes | None = None, group_key: str | None = None
) -> UUID:
    received = Received(
        id=new_id(),
        source=source,
        kind=WebhookKind.ALERTMANAGER,
        body=orjson.dumps({"alerts": told, "groupKey": group_key}) if body is None else body,
        headers={},
        at=studio.now,
    )
    delivery = await read(received)
    require_good(delivery)
    await accept(studio.database, [Accepted(received, delivery)])
    return received.id


async def processed(studio: Studio) -> list[AlertChange]:
    changes: list[AlertChange] = []
    while (batch := await studio.database.transact(process, now=studio.now)) is not None:
        changes += batch.changes
    return changes
