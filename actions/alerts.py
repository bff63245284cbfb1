"""Alerts: accepted first, then told apart and remembered.

`accept` commits a delivery before its sender is told so. `process` takes deliveries in the order of their arrival, one
transaction of the fleet at a time, and gives every alert in them exactly one disposition.
"""

import asyncio
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import RowMapping, text

from actions.alert_placement import Placement
from actions.alert_scenes import NOWHERE, Place
from actions.grouping import group
from actions.grouping import tell as tell_incidents
from db.alert_statements import (
    ALERTS_LOCK,
    COUNT_ATTEMPT_SQL,
    KNOWN_ALERTS_SQL,
    KNOWN_OCCURRENCES_SQL,
    MARK_PROCESSED_SQL,
    WAITING_DELIVERIES_SQL,
    WRITE_ALERTS_SQL,
    WRITE_DISPOSITIONS_SQL,
    WRITE_OCCURRENCES_SQL,
)
from db.alerts import alert_deliveries
from db.database import Transaction
from db.identifiers import new_id
from db.recordsets import as_rows
from domain.alert_history import AlertChange, AlertState, Occurrence, Outcome, start_of, tell
from domain.alerts import AlertDisposition, AlertStatus, WebhookKind
from domain.errors import ValidationFailed
from domain.grouping import GroupingRules
from domain.incidents import Severity
from domain.limits import TEXT_CHARACTERS
from domain.text import clipped
from domain.tracing import origin
from domain.webhooks import alertmanager, cloud_events, generic, pagerduty
from domain.webhooks.bodies import json_body
from domain.webhooks.incoming import Delivery, IncomingAlert, Rejected

BATCH_DELIVERIES: Final = 200
BATCH_BYTES: Final = 4_000_000
BATCH_ALERTS: Final = 1_000
_ALERTS_AT_A_TIME: Final = 100
_LARGE_BYTES: Final = 100_000
MOST_ATTEMPTS: Final = 3
_USUAL_RULES: Final = GroupingRules()


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


@dataclass(slots=True)
class _Known:
    """An alert while a batch is folded into it."""

    id: UUID
    state: AlertState | None = None
    place: Place = NOWHERE
    occurrences: dict[datetime, Occurrence] = field(default_factory=dict)
    touched: set[datetime] = field(default_factory=set)


async def read(received: Received) -> Delivery:
    """What a delivery brings; a large one is read beside everything else. Raises ValidationFailed."""
    if len(received.body) < _LARGE_BYTES:
        await asyncio.sleep(0)
        return received.read()
    return await asyncio.to_thread(received.read)


async def accept(tx: Transaction, received: Received, delivery: Delivery) -> None:
    """Store a delivery, which was read, so that nothing of it can be lost once this transaction has committed."""
    await tx.execute(
        alert_deliveries.insert().values(
            id=received.id,
            source=received.source,
            kind=received.kind,
            received_at=received.at,
            body=received.body,
            headers=dict(received.headers),
            alert_count=len(delivery.alerts),
            left_out=delivery.left_out,
            traceparent=origin(),
        )
    )


def require_good(delivery: Delivery) -> None:
    """Raise ValidationFailed when none of the alerts of a delivery can be taken."""
    rejected = [alert.reason for alert in delivery.alerts if isinstance(alert, Rejected)]
    if rejected and len(rejected) == len(delivery.alerts):
        raise ValidationFailed(
            f"None of the {len(rejected)} alerts can be taken. The first: {rejected[0]}", ("alerts",)
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
) -> list[AlertChange] | None:
    """Give the alerts of the deliveries that wait their dispositions, the oldest delivery first, up to `most` of them,
    and fold them into incidents. What `was_read` already need not be read again, and is taken out.

    Returns what changed about alerts, or None when nothing waits, or another transaction is at it.
    """
    if not (await tx.execute(text("select pg_try_advisory_xact_lock(:lock)"), {"lock": ALERTS_LOCK})).scalar_one():
        return None
    limits = {"most": most, "most_bytes": BATCH_BYTES, "most_alerts": BATCH_ALERTS}
    rows = (await tx.execute(text(WAITING_DELIVERIES_SQL), limits)).mappings().all()
    if not rows:
        return None
    batch: list[tuple[Received, int, IncomingAlert | Rejected]] = []
    for row in rows:
        received = _received(row)
        delivery = None if was_read is None else was_read.pop(received.id, None)
        alerts = await _alerts(received, row["alert_count"]) if delivery is None else delivery.alerts
        batch += [(received, position, alert) for position, alert in enumerate(alerts)]
    known = await _known(tx, batch)
    changes: list[AlertChange] = []
    dispositions: list[dict[str, Any]] = []
    for count, (received, position, alert) in enumerate(batch):
        if count % _ALERTS_AT_A_TIME == 0:
            await asyncio.sleep(0)  # Whoever else waits for this thread has a turn.
        if isinstance(alert, Rejected):
            outcome, alert_id = Outcome(AlertDisposition.REJECTED, alert.reason), None
        else:
            entry = known[received.source, alert.fingerprint]
            outcome, change = _fold(entry, received, position, alert)
            alert_id = entry.id if entry.state is not None else None
            if change is not None:
                changes.append(change)
        reason = " ".join((outcome.reason, *_remarks(alert))).strip()
        dispositions.append(
            {
                "delivery_id": received.id,
                "position": position,
                "disposition": outcome.disposition,
                "reason": clipped(reason, TEXT_CHARACTERS),
                "alert_id": alert_id,
            }
        )
    suppressed = await _conclude(tx, known, changes, rules) if changes else {}
    await _dispose(tx, dispositions, suppressed)
    await tx.execute(text(MARK_PROCESSED_SQL), {"ids": [row["id"] for row in rows], "now": tx.now})
    return changes


async def count_attempt(tx: Transaction, *, reference: str) -> None:
    """Remember that the oldest delivery that waits could not be processed, for a reason that is ours.

    What fails MOST_ATTEMPTS times is put aside, so that it blocks nothing: its alerts are rejected with the reference.
    """
    row = (await tx.execute(text(COUNT_ATTEMPT_SQL))).first()
    if row is None or row.attempts < MOST_ATTEMPTS:
        return
    reason = f"It could not be processed. Tell the operator of this server: the log has more under {reference}"
    dispositions = [
        {"delivery_id": row.id, "position": position, "disposition": AlertDisposition.REJECTED, "reason": reason}
        for position in range(row.alert_count)
    ]
    await _dispose(tx, dispositions, {})
    await tx.execute(text(MARK_PROCESSED_SQL), {"ids": [row.id], "now": tx.now})


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


async def _known(
    tx: Transaction, batch: Sequence[tuple[Received, int, IncomingAlert | Rejected]]
) -> dict[tuple[str, str], _Known]:
    """The alerts that a batch is about, as they are, and the occurrences that it tells of."""
    told = [(received.source, alert) for received, _, alert in batch if isinstance(alert, IncomingAlert)]
    keys = {*((source, alert.fingerprint) for source, alert in told)}
    sources, fingerprints = [source for source, _ in keys], [fingerprint for _, fingerprint in keys]
    found = await tx.execute(text(KNOWN_ALERTS_SQL), {"sources": sources, "fingerprints": fingerprints})
    known = {(row["source"], row["fingerprint"]): _entry(row) for row in found.mappings()}
    pairs = {
        (known[source, alert.fingerprint].id, alert.starts_at)
        for source, alert in told
        if alert.starts_at is not None and (source, alert.fingerprint) in known
    }
    by_id = {entry.id: entry for entry in known.values()}
    occurrences = await tx.execute(
        text(KNOWN_OCCURRENCES_SQL), {"alert_ids": [id for id, _ in pairs], "starts": [start for _, start in pairs]}
    )
    for row in occurrences:
        by_id[row.alert_id].occurrences[row.starts_at] = Occurrence(
            row.starts_at, row.ends_at, row.is_over, row.has_fired
        )
    for source, alert in told:
        # In the order in which they were told, which is then that of their ids and of their incidents' numbers.
        if (source, alert.fingerprint) not in known:
            known[source, alert.fingerprint] = _Known(new_id())
    return known


def _entry(row: RowMapping) -> _Known:
    newest = Occurrence(row["newest_starts_at"], row["newest_ends_at"], row["newest_is_over"], row["newest_has_fired"])
    state = AlertState(
        newest=newest,
        occurrences=row["occurrences"],
        name=row["name"],
        severity=Severity(row["severity"]),
        labels=row["labels"],
        annotations=row["annotations"],
        generator_url=row["generator_url"],
        group_key=row["group_key"],
    )
    place = Place(row["service_id"], row["incident_id"], row["is_pinned"], row["apart_from"])
    return _Known(row["id"], state, place, {newest.starts_at: newest})


def _fold(entry: _Known, received: Received, position: int, alert: IncomingAlert) -> tuple[Outcome, AlertChange | None]:
    before = entry.occurrences.get(start_of(alert, entry.state, received.at))
    is_new = entry.state is None
    outcome = tell(entry.state, before, alert, received_at=received.at)
    state, occurrence = outcome.state, outcome.occurrence
    if (state is None or occurrence is None) and alert.is_acknowledged:
        state, occurrence = entry.state, before
        outcome = Outcome(AlertDisposition.UPDATED, "Somebody works on it")
    if state is None or occurrence is None:
        return outcome, None
    entry.state = state
    entry.occurrences[occurrence.starts_at] = occurrence
    entry.touched.add(occurrence.starts_at)
    return outcome, AlertChange(
        alert_id=entry.id,
        source=received.source,
        alert=alert,
        state=state,
        occurrence=occurrence,
        is_new=is_new,
        has_fired=occurrence.has_fired and not (before is not None and before.has_fired),
        is_over=occurrence.is_over and not (before is not None and before.is_over),
        told_at=(received.id, position),
        is_synthesised=received.kind is WebhookKind.RECONCILIATION,
    )


def _remarks(alert: IncomingAlert | Rejected) -> tuple[str, ...]:
    return tuple(f"{remark}." for remark in alert.remarks) if isinstance(alert, IncomingAlert) else ()


async def _conclude(
    tx: Transaction, known: Mapping[tuple[str, str], _Known], changes: Sequence[AlertChange], rules: GroupingRules
) -> Mapping[tuple[UUID, int], str]:
    """Find alerts that changed their incidents, and write all of it down; returns why alerts were suppressed."""
    changed = {key: entry for key, entry in known.items() if entry.touched}
    placement = await group(tx, changes, {entry.id: entry.place for entry in changed.values()}, rules)
    alerts = [_alert_row(source, fingerprint, entry, placement) for (source, fingerprint), entry in changed.items()]
    occurrences = [_occurrence_row(entry, start, placement) for entry in changed.values() for start in entry.touched]
    await tx.execute(text(WRITE_ALERTS_SQL), {"rows": as_rows(alerts), "now": tx.now})
    await tx.execute(text(WRITE_OCCURRENCES_SQL), {"rows": as_rows(occurrences)})
    return await tell_incidents(tx, placement, changes, rules)


async def _dispose(
    tx: Transaction, dispositions: Sequence[dict[str, Any]], suppressed: Mapping[tuple[UUID, int], str]
) -> None:
    for row in dispositions:
        if reason := suppressed.get((row["delivery_id"], row["position"])):
            row["disposition"] = AlertDisposition.SUPPRESSED
            row["reason"] = clipped(f"{reason} {row['reason']}".strip(), TEXT_CHARACTERS)
    if dispositions:
        await tx.execute(text(WRITE_DISPOSITIONS_SQL), {"rows": as_rows(dispositions), "now": tx.now})


def _alert_row(source: str, fingerprint: str, entry: _Known, placement: Placement) -> dict[str, Any]:
    state, place = entry.state, placement.of(entry.id)
    if state is None:
        raise RuntimeError("an alert that was told of has a state")
    return {
        "id": entry.id,
        "source": source,
        "fingerprint": fingerprint,
        "status": AlertStatus.RESOLVED if state.newest.is_over else AlertStatus.FIRING,
        "starts_at": state.newest.starts_at,
        "ends_at": state.newest.ends_at,
        "occurrences": state.occurrences,
        "name": state.name,
        "severity": state.severity,
        "labels": state.labels,
        "annotations": state.annotations,
        "generator_url": state.generator_url,
        "group_key": state.group_key,
        "service_id": place.service_id,
        "incident_id": place.incident_id,
    }


def _occurrence_row(entry: _Known, start: datetime, placement: Placement) -> dict[str, Any]:
    occurrence = entry.occurrences[start]
    return {
        "id": new_id(),
        "alert_id": entry.id,
        "incident_id": placement.occurrences.get((entry.id, start)),
        "starts_at": occurrence.starts_at,
        "ends_at": occurrence.ends_at,
        "is_over": occurrence.is_over,
        "has_fired": occurrence.has_fired,
    }
