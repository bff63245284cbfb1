"""Whether every alert that came in is accounted for."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text

from db.alert_audits import AUDIT_SQL, FORGET_AUDITS_SQL, FORGET_DELIVERIES_SQL
from db.database import Transaction
from db.identifiers import new_id

AUDITED: Final = timedelta(days=1)
KEPT: Final = timedelta(days=7)
SETTLED: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Alerts of the last day in numbers. `unaccounted` deliveries do not add up; `ungrouped` alerts belong nowhere."""

    deliveries: int
    received: int
    created: int
    updated: int
    duplicate: int
    suppressed: int
    stale: int
    rejected: int
    unaccounted: int
    waiting: int
    oldest_waiting_seconds: float | None
    ungrouped: int


async def audit(tx: Transaction) -> Audit:
    """Count, and write the result down."""
    values = {"id": new_id(), "now": tx.now, "after": tx.now - AUDITED, "settled": tx.now - SETTLED}
    row = (await tx.execute(text(AUDIT_SQL), values)).mappings().one()
    await tx.execute(text(FORGET_AUDITS_SQL), {"before": tx.now - KEPT})
    return Audit(**row)


async def forget_deliveries(tx: Transaction, *, received_before: datetime, most: int) -> int:
    """Delete up to `most` old deliveries and their dispositions, the alerts stay; return how many."""
    return (await tx.execute(text(FORGET_DELIVERIES_SQL), {"before": received_before, "most": most})).rowcount
