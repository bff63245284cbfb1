"""What becomes of alerts: each gets exactly one disposition, and what it changes is folded into incidents.

Alerts that our own code breaks on are told apart from their neighbours, which are none the worse for it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, text

from actions.alerts.grouping import group
from actions.alerts.grouping import tell as tell_incidents
from actions.alerts.placement import Placement
from actions.alerts.scenes import NOWHERE, Place
from db.alert_statements import (
    KNOWN_ALERTS_SQL,
    KNOWN_OCCURRENCES_SQL,
    WRITE_ALERTS_SQL,
    WRITE_DISPOSITIONS_SQL,
    WRITE_OCCURRENCES_SQL,
)
from db.database import Transaction, may_pass, took_too_long
from db.identifiers import new_id
from db.recordsets import as_rows
from domain.alert_history import AlertChange, AlertState, Occurrence, Outcome, start_of, tell
from domain.alerts import AlertDisposition, AlertStatus, WebhookKind
from domain.grouping import GroupingRules
from domain.incidents import Severity
from domain.limits import TEXT_CHARACTERS
from domain.text import clipped
from domain.webhooks.incoming import IncomingAlert, Rejected

_ALERTS_AT_A_TIME: Final = 100
_MOST_OVERDUE: Final = 30
"""How often Postgres may take too long over parts of a delivery; then those are not taken apart any further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldAlert:
    """An alert of a delivery: by which source, how and when, and at which place in it."""

    delivery_id: UUID
    position: int
    source: str
    kind: WebhookKind
    received_at: datetime
    alert: IncomingAlert | Rejected


@dataclass(frozen=True, slots=True)
class BrokenAlert:
    """An alert that was rejected because our code breaks on it, and how it does."""

    delivery_id: UUID
    position: int
    error: Exception


@dataclass(slots=True)
class _Known:
    """An alert while a batch is folded into it."""

    id: UUID
    state: AlertState | None = None
    place: Place = NOWHERE
    occurrences: dict[datetime, Occurrence] = field(default_factory=dict)
    touched: set[datetime] = field(default_factory=set)


async def dispose(tx: Transaction, batch: Sequence[ToldAlert], rules: GroupingRules) -> list[AlertChange]:
    """Give alerts their dispositions, in this order, and fold them into incidents; return what changed about alerts."""
    known = await _known(tx, batch)
    changes: list[AlertChange] = []
    dispositions: list[dict[str, Any]] = []
    for count, told in enumerate(batch):
        if count % _ALERTS_AT_A_TIME == 0:
            await asyncio.sleep(0)  # Whoever else waits for this thread has a turn.
        if isinstance(told.alert, Rejected):
            outcome, alert_id = Outcome(AlertDisposition.REJECTED, told.alert.reason), None
        else:
            entry = known[told.source, told.alert.fingerprint]
            outcome, change = _fold(entry, told, told.alert)
            alert_id = entry.id if entry.state is not None else None
            if change is not None:
                changes.append(change)
        reason = " ".join((outcome.reason, *_remarks(told.alert))).strip()
        dispositions.append(_disposition(told.delivery_id, told.position, outcome.disposition, reason, alert_id))
    suppressed = await _conclude(tx, known, changes, rules) if changes else {}
    for row in dispositions:
        if why := suppressed.get((row["delivery_id"], row["position"])):
            row["disposition"] = AlertDisposition.SUPPRESSED
            row["reason"] = clipped(f"{why} {row['reason']}".strip(), TEXT_CHARACTERS)
    await _write(tx, dispositions)
    return changes


async def dispose_apart(
    tx: Transaction, batch: Sequence[ToldAlert], rules: GroupingRules, *, is_last: bool
) -> tuple[list[AlertChange], list[BrokenAlert]]:
    """As `dispose`, where that has failed: in ever smaller parts, until those alerts are alone on which it fails.

    These are rejected, and nothing of them is kept. One that Postgres takes too long over is rejected at the last
    attempt only: others may have been in its way. Raises what has to do with the database and not with them.
    """
    changes: list[AlertChange] = []
    broken: list[BrokenAlert] = []
    parts = [batch]
    most_overdue = _MOST_OVERDUE
    while parts:
        part = parts.pop()
        try:
            async with tx.savepoint():
                changes += await dispose(tx, part, rules)
        except Exception as error:
            is_overdue = took_too_long(error)
            if may_pass(error) and not (is_overdue and (is_last or len(part) > 1)):
                raise
            most_overdue -= is_overdue
            if len(part) > 1 and most_overdue > 0:
                half = len(part) // 2
                parts += [part[half:], part[:half]]
                continue
            for told in part:
                broken.append(BrokenAlert(told.delivery_id, told.position, error))
                why = "the database took too long over it, again and again" if is_overdue else None
                await reject(tx, told.delivery_id, [told.position], why)
    return changes, broken


async def reject(tx: Transaction, delivery_id: UUID, positions: Sequence[int], why: str | None = None) -> None:
    """Reject alerts of a delivery for a reason that is ours."""
    what = "It could not be processed" if why is None else f"It could not be processed: {why}"
    reason = f"{what}. Tell the operator of this server: the log has more under {delivery_id}"
    await _write(tx, [_disposition(delivery_id, it, AlertDisposition.REJECTED, reason, None) for it in positions])


async def _known(tx: Transaction, batch: Sequence[ToldAlert]) -> dict[tuple[str, str], _Known]:
    """The alerts that a batch is about, as they are, and the occurrences that it tells of."""
    told = [(each.source, each.alert) for each in batch if isinstance(each.alert, IncomingAlert)]
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


def _fold(entry: _Known, told: ToldAlert, alert: IncomingAlert) -> tuple[Outcome, AlertChange | None]:
    before = entry.occurrences.get(start_of(alert, entry.state, told.received_at))
    is_new = entry.state is None
    outcome = tell(entry.state, before, alert, received_at=told.received_at)
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
        source=told.source,
        alert=alert,
        state=state,
        occurrence=occurrence,
        is_new=is_new,
        has_fired=occurrence.has_fired and not (before is not None and before.has_fired),
        is_over=occurrence.is_over and not (before is not None and before.is_over),
        told_at=(told.delivery_id, told.position),
        is_synthesised=told.kind is WebhookKind.RECONCILIATION,
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


async def _write(tx: Transaction, dispositions: Sequence[dict[str, Any]]) -> None:
    if dispositions:
        await tx.execute(text(WRITE_DISPOSITIONS_SQL), {"rows": as_rows(dispositions), "now": tx.now})


def _disposition(
    delivery_id: UUID, position: int, disposition: AlertDisposition, reason: str, alert_id: UUID | None
) -> dict[str, Any]:
    return {
        "delivery_id": delivery_id,
        "position": position,
        "disposition": disposition,
        "reason": clipped(reason, TEXT_CHARACTERS),
        "alert_id": alert_id,
    }


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
