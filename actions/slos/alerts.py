"""Alerts of SLOs in the store of alerts: one for each thing that a status asks for, from its start to its end."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import RowMapping, select

from actions.alerts import tell_internal
from db.alerts import alerts
from db.database import Transaction
from domain.alerts import AlertStatus
from domain.incidents import Severity
from domain.limits import NAME_CHARACTERS
from domain.text import clipped
from domain.webhooks.incoming import IncomingAlert

SOURCE: Final = "slo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert that should be firing. Its labels name its service."""

    fingerprint: str
    name: str
    severity: Severity
    starts_at: datetime
    labels: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)


async def settle(tx: Transaction, firing: Iterable[Alert], *, about: Iterable[str], at: datetime) -> None:
    """Let exactly these alerts fire, of all whose fingerprints are in `about`: fire what does not, resolve the rest."""
    fired = await _firing(tx, about)
    wanted = {alert.fingerprint: alert for alert in firing}
    told = [_told(alert) for fingerprint, alert in wanted.items() if fingerprint not in fired]
    told += [_over(row, at) for fingerprint, row in fired.items() if fingerprint not in wanted]
    await tell_internal(tx, source=SOURCE, alerts=told)


async def _firing(tx: Transaction, about: Iterable[str]) -> dict[str, RowMapping]:
    statement = select(alerts).where(alerts.c.source == SOURCE, alerts.c.status == AlertStatus.FIRING)
    fingerprints = set(about)
    rows = (await tx.execute(statement)).mappings()
    return {row["fingerprint"]: row for row in rows if row["fingerprint"] in fingerprints}


def _told(alert: Alert) -> IncomingAlert:
    return IncomingAlert(
        name=clipped(alert.name, NAME_CHARACTERS),
        fingerprint=alert.fingerprint,
        status=AlertStatus.FIRING,
        severity=alert.severity,
        labels=alert.labels,
        annotations=alert.annotations,
        starts_at=alert.starts_at,
        ends_at=None,
    )


def _over(row: RowMapping, at: datetime) -> IncomingAlert:
    return IncomingAlert(
        name=row["name"],
        fingerprint=row["fingerprint"],
        status=AlertStatus.RESOLVED,
        severity=row["severity"],
        labels=row["labels"],
        annotations=row["annotations"],
        starts_at=row["starts_at"],
        ends_at=max(at, row["starts_at"]),
    )
