"""Alerts: accepted first, then told apart and remembered.

`accept` commits a delivery before its sender is told so. `process` takes deliveries in the order of their arrival, one
transaction of the fleet at a time, and gives every alert in them exactly one disposition.
"""

import asyncio
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import Row, RowMapping, text

from actions.alerts.dispositions import BrokenAlert, ToldAlert, dispose, dispose_apart, reject
from db.alert_statements import (
    ACCEPT_DELIVERIES_SQL,
    ALERTS_LOCK,
    COUNT_ATTEMPT_SQL,
    MARK_PROCESSED_SQL,
    WAITING_DELIVERIES_SQL,
)
from db.alerts import alert_deliveries
from db.database import Database, Transaction
from db.identifiers import new_id
from domain.alert_history import AlertChange
from domain.alerts import AlertStatus, WebhookKind
from domain.errors import ValidationFailed
from domain.grouping import GroupingRules
from domain.incidents import Severity
from domain.tracing import origin
from domain.webhooks import alertmanager, cloud_events, generic, pagerduty
from domain.webhooks.bodies import json_body
from domain.webhooks.incoming import Delivery, IncomingAlert, Rejected

BATCH_DELIVERIES: Final = 200
BATCH_BYTES: Final = 4_000_000
BATCH_ALERTS: Final = 1_000
_LARGE_BYTES: Final = 100_000
MOST_ATTEMPTS: Final = 3
MOST_OVERDUE_ATTEMPTS: Final = 10
PATIENCE: Final = timedelta(minutes=10)
"""How long after its arrival a delivery is tried at least, over which Postgres takes too long: that may pass."""
_USUAL_RULES: Final = GroupingRules()
_ACCEPT: Final = text(ACCEPT_DELIVERIES_SQL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request as it came in: from which source, in which shape."""

    id: UUID
    source: str
    kind: WebhookKind
    body: bytes
    headers: Mapping[str, str]
    at: datetime

    def read(self) -> Delivery:
        """Its alerts: the same whenever and wherever it is read. Raises ValidationFailed."""
        match self.kind:
            case WebhookKind.ALERTMANAGER | WebhookKind.GRAFANA:
                return alertmanager.read(json_body(self.body), received_at=self.at)
            case WebhookKind.PAGERDUTY:
                event = pagerduty.read(json_body(self.body), received_at=self.at, new_key=str(self.id))
                return Delivery([event.alert])
            case WebhookKind.CLOUD_EVENTS:
                return cloud_events.read(self.body, self.headers, received_at=self.at)
            case WebhookKind.GENERIC | WebhookKind.DETECTION | WebhookKind.RECONCILIATION:
                return generic.read(json_body(self.body), received_at=self.at)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A delivery that can be taken, as it came in and as it was read, and the span that has brought it."""

    received: Received
    delivery: Delivery
    traceparent: str | None = field(default_factory=origin)


@dataclass(frozen=True, slots=True)
class Processed:
    """What changed about alerts, and those that were rejected because our code breaks on them."""

    changes: Sequence[AlertChange]
    broken: Sequence[BrokenAlert] = ()


async def read(received: Received) -> Delivery:
    """What a delivery brings; a large one is read beside everything else. Raises ValidationFailed."""
    if len(received.body) < _LARGE_BYTES:
        await asyncio.sleep(0)
        return received.read()
    return await asyncio.to_thread(received.read)


async def accept(database: Database, deliveries: Sequence[Accepted]) -> None:
    """Store deliveries, all or none: nothing of them can be lost once this returns. Raises as `writing` does."""
    received = [each.received for each in deliveries]
    values = {
        "ids": [each.id for each in received],
        "sources": [each.source for each in received],
        "kinds": [each.kind for each in received],
        "times": [each.at for each in received],
        "bodies": [each.body for each in received],
        "headers": [orjson.dumps({**each.headers}).decode() for each in received],
        "alert_counts": [len(each.delivery.alerts) for each in deliveries],
        "left_out": [each.delivery.left_out for each in deliveries],
        "traceparents": [each.traceparent for each in deliveries],
    }
    await database.write_at_once(_ACCEPT, values)


def require_good(delivery: Delivery) -> None:
    """Raise ValidationFailed when none of the alerts of a delivery can be taken."""
    rejected = [alert.reason for alert in delivery.alerts if isinstance(alert, Rejected)]
    if len(rejected) == len(delivery.alerts) == 1:
        raise ValidationFailed(f"The alert cannot be taken: {rejected[0]}", ("alerts",))
    if rejected and len(rejected) == len(delivery.alerts):
        raise ValidationFailed(
            f"None of the {len(rejected)} alerts can be taken. The first: {rejected[0]}", ("alerts",)
        )


def kept_alert(row: Row[Any], status: AlertStatus) -> IncomingAlert:
    """An alert as its row has it, to be told of again."""
    return IncomingAlert(
        name=row.name,
        fingerprint=row.fingerprint,
        status=status,
        severity=Severity(row.severity),
        labels=row.labels,
        annotations=row.annotations,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        generator_url=row.generator_url,
        group_key=row.group_key,
    )


async def tell_internal(
    tx: Transaction, *, source: str, alerts: Sequence[IncomingAlert], kind: WebhookKind = WebhookKind.DETECTION
) -> UUID | None:
    """Tell of alerts that a part of this program made, in the transaction of whatever made it so.

    They take the way of all others right after it has committed: a start and a fingerprint tell firings apart, so that
    what is told twice changes nothing. Returns the receipt, or None where there is nothing to tell.
    """
    if not alerts:
        return None
    id = new_id()
    await tx.execute(
        alert_deliveries.insert().values(
            id=id,
            source=source,
            kind=kind,
            received_at=tx.now,
            body=orjson.dumps({"alerts": [generic.written(alert) for alert in alerts]}),
            alert_count=len(alerts),
            traceparent=origin(),
        )
    )
    return id


async def process(
    tx: Transaction,
    *,
    rules: GroupingRules = _USUAL_RULES,
    most: int = BATCH_DELIVERIES,
    was_read: MutableMapping[UUID, Delivery] | None = None,
) -> Processed | None:
    """Give the alerts of the deliveries that wait their dispositions, the oldest delivery first, up to `most` of them,
    and fold them into incidents. What `was_read` already need not be read again, and is taken out.

    A delivery that has failed again and again is taken alone, and its alerts apart, so that only those are rejected
    that it fails on, or that Postgres has taken too long over for MOST_OVERDUE_ATTEMPTS and all of our PATIENCE.
    Returns None when nothing waits, or another transaction is at it.
    """
    if not (await tx.execute(text("select pg_try_advisory_xact_lock(:lock)"), {"lock": ALERTS_LOCK})).scalar_one():
        return None
    limits = {"most": most, "most_bytes": BATCH_BYTES, "most_alerts": BATCH_ALERTS}
    rows = (await tx.execute(text(WAITING_DELIVERIES_SQL), limits)).mappings().all()
    if not rows:
        return None
    rows = _until_frail(rows)
    batch: list[ToldAlert] = []
    for row in rows:
        received = _received(row)
        delivery = None if was_read is None else was_read.pop(received.id, None)
        alerts = await _alerts(received, row["alert_count"]) if delivery is None else delivery.alerts
        batch += [_told(received, position, alert) for position, alert in enumerate(alerts)]
    if _is_frail(rows[0]):
        is_last = rows[0]["attempts"] >= MOST_OVERDUE_ATTEMPTS - 1 and tx.now - rows[0]["received_at"] >= PATIENCE
        processed = Processed(*await dispose_apart(tx, batch, rules, is_last=is_last))
    else:
        processed = Processed(await dispose(tx, batch, rules))
    await tx.execute(text(MARK_PROCESSED_SQL), {"ids": [row["id"] for row in rows], "now": tx.now})
    return processed


async def count_attempt(tx: Transaction, *, is_overdue: bool = False) -> UUID | None:
    """Remember that the oldest delivery that waits could not be processed, for a reason that is ours; return its id.

    The last of MOST_ATTEMPTS takes its alerts apart. When even that fails, all of them are rejected, so that they block
    nothing; unless Postgres took too long over it, which is tried for longer.
    """
    row = (await tx.execute(text(COUNT_ATTEMPT_SQL))).first()
    if row is None:
        return None
    id: UUID = row.id
    if row.attempts >= MOST_ATTEMPTS and not is_overdue:
        await reject(tx, id, range(row.alert_count))
        await tx.execute(text(MARK_PROCESSED_SQL), {"ids": [id], "now": tx.now})
    return id


def _until_frail(rows: Sequence[RowMapping]) -> Sequence[RowMapping]:
    """The deliveries before the first that fails again and again; where that is the first of all, it alone."""
    frail = next((at for at, row in enumerate(rows) if _is_frail(row)), len(rows))
    return rows[: max(frail, 1)]


def _is_frail(row: RowMapping) -> bool:
    return bool(row["attempts"] >= MOST_ATTEMPTS - 1)


def _told(received: Received, position: int, alert: IncomingAlert | Rejected) -> ToldAlert:
    return ToldAlert(
        delivery_id=received.id,
        position=position,
        source=received.source,
        kind=received.kind,
        received_at=received.at,
        alert=alert,
    )


def _received(row: RowMapping) -> Received:
    return Received(
        id=row["id"],
        source=row["source"],
        kind=WebhookKind(row["kind"]),
        body=bytes(row["body"]),
        headers=row["headers"],
        at=row["received_at"],
    )


async def _alerts(received: Received, count: int) -> Sequence[IncomingAlert | Rejected]:
    try:
        return (await read(received)).alerts
    except ValidationFailed as error:
        # What was accepted by another version must not block what comes after it.
        return [Rejected(error.message)] * count
