"""Alerts of SLOs in the store of alerts: one for each thing that a status asks for, from its start to its end."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import insert, select, update

from actions.recording import Scope, record
from db.alerts import alert_occurrences, alerts
from db.database import Transaction
from db.identifiers import new_id
from domain.access import Actor
from domain.alerts import AlertStatus
from domain.changes import Change
from domain.feed import EventType
from domain.incidents import Severity
from domain.text import clipped

SOURCE: Final = "slo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert that should be firing, as the store keeps it."""

    fingerprint: str
    name: str
    severity: Severity
    service_id: UUID
    starts_at: datetime
    labels: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)


async def settle(tx: Transaction, firing: Iterable[Alert], *, about: Iterable[str], at: datetime, actor: Actor) -> None:
    """Let exactly these alerts fire, of all whose fingerprints are in `about`: fire what does not, resolve the rest."""
    fired = await _firing(tx, about)
    wanted = {alert.fingerprint: alert for alert in firing}
    for fingerprint, alert in wanted.items():
        if fingerprint not in fired:
            await _fire(tx, alert, actor)
    for fingerprint, row in fired.items():
        if fingerprint not in wanted:
            await _resolve(tx, row, at, actor)


async def _firing(tx: Transaction, about: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    columns = (alerts.c.id, alerts.c.fingerprint, alerts.c.service_id, alerts.c.severity, alerts.c.starts_at)
    statement = select(*columns).where(alerts.c.source == SOURCE, alerts.c.status == AlertStatus.FIRING)
    fingerprints = set(about)
    rows = (await tx.execute(statement)).mappings()
    return {row["fingerprint"]: dict(row) for row in rows if row["fingerprint"] in fingerprints}


async def _fire(tx: Transaction, alert: Alert, actor: Actor) -> None:
    id = new_id()
    await tx.insert(
        alerts,
        id=id,
        name=clipped(alert.name, 200),
        fingerprint=alert.fingerprint,
        status=AlertStatus.FIRING,
        severity=alert.severity,
        labels=dict(alert.labels),
        annotations=dict(alert.annotations),
        starts_at=alert.starts_at,
        source=SOURCE,
        service_id=alert.service_id,
    )
    await tx.execute(insert(alert_occurrences).values(id=new_id(), alert_id=id, starts_at=alert.starts_at))
    await _tell(tx, id, EventType.ALERT_FIRED, None, AlertStatus.FIRING, alert.service_id, alert.severity, actor)


async def _resolve(tx: Transaction, row: Mapping[str, Any], at: datetime, actor: Actor) -> None:
    ends_at = max(at, row["starts_at"])
    values = {"status": AlertStatus.RESOLVED, "ends_at": ends_at, "updated_at": tx.now}
    await tx.execute(update(alerts).where(alerts.c.id == row["id"]).values(values))
    open_ones = (alert_occurrences.c.alert_id == row["id"], alert_occurrences.c.ends_at.is_(None))
    await tx.execute(update(alert_occurrences).where(*open_ones).values(ends_at=ends_at))
    told = (AlertStatus.FIRING, AlertStatus.RESOLVED, row["service_id"], row["severity"])
    await _tell(tx, row["id"], EventType.ALERT_RESOLVED, *told, actor)


async def _tell(
    tx: Transaction,
    id: UUID,
    event: EventType,
    before: AlertStatus | None,
    after: AlertStatus,
    service_id: UUID | None,
    severity: Severity,
    actor: Actor,
) -> None:
    scope = Scope(service_ids=(service_id,) if service_id else (), severity=severity)
    action = "alert.fire" if after is AlertStatus.FIRING else "alert.resolve"
    change = Change("status", before, after)
    await record(tx, actor=actor, action=action, subject_id=id, changes=[change], scope=scope, event=event)
