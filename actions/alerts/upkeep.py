"""What time does to alerts and their incidents, without anybody telling."""

from collections import defaultdict
from typing import Final
from uuid import UUID

from sqlalchemy import text

from actions import incidents
from actions.alerts.deliveries import kept_alert, tell_internal
from actions.alerts.grouping import group_loose
from actions.alerts.scenes import Told
from db.alert_grouping import EXPIRED_SQL, FALL_QUIET_SQL, LOOSE_SQL, QUIET_GROUPS_SQL
from db.alert_statements import ALERTS_LOCK
from db.database import Transaction
from domain.access import Actor, Role
from domain.alerts import AlertStatus, WebhookKind
from domain.grouping import GroupingRules
from domain.incidents import Severity
from domain.webhooks.incoming import IncomingAlert

BATCH_ROWS: Final = 500
_ALERTS: Final = Actor(id=None, name="alerts", role=Role.RESPONDER)
_FIRST: Final = UUID(int=0)


async def settle(tx: Transaction, rules: GroupingRules) -> None:
    """Bring alerts and incidents up to the present.

    Incidents whose alerts have all been over for the hold time are mitigated, also while a budget stays spent; alerts
    whose suppression has ended find their incidents; alerts that were said to fire until a time that has come are over.
    """
    await tx.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": ALERTS_LOCK})
    await _expire(tx)
    await _place_loose(tx, rules)
    await _mitigate(tx, rules)


async def _expire(tx: Transaction) -> None:
    ended: dict[str, list[IncomingAlert]] = defaultdict(list)
    for row in await tx.execute(text(EXPIRED_SQL), {"now": tx.now, "most": BATCH_ROWS}):
        ended[row.source].append(kept_alert(row, AlertStatus.RESOLVED))
    for source, alerts in ended.items():
        await tell_internal(tx, source=source, alerts=alerts, kind=WebhookKind.RECONCILIATION)


async def _place_loose(tx: Transaction, rules: GroupingRules) -> None:
    last = _FIRST
    while True:
        found = await tx.execute(text(LOOSE_SQL), {"after": last, "most": BATCH_ROWS})
        loose = [
            Told(
                alert_id=row.id,
                source=row.source,
                name=row.name,
                labels=row.labels,
                annotations=row.annotations,
                severity=Severity(row.severity),
                starts_at=row.starts_at,
                group_key=row.group_key,
            )
            for row in found
        ]
        if not loose:
            return
        await group_loose(tx, loose, rules)
        last = loose[-1].alert_id


async def _mitigate(tx: Transaction, rules: GroupingRules) -> None:
    values = {"held": tx.now - rules.hold, "settled": tx.now - max(rules.hold, rules.flapping_window)}
    for row in (await tx.execute(text(QUIET_GROUPS_SQL), {**values, "most": BATCH_ROWS})).all():
        quiet_seconds = round((tx.now - row.ended_at).total_seconds())
        kept = " Because of the flapping it was kept open for longer." if row.is_flapping else ""
        still = ", but for what says that an error budget is spent" if row.spent_budgets else ""
        note = f"All of its alerts have been resolved for {quiet_seconds} s{still}.{kept}"
        await tx.execute(text(FALL_QUIET_SQL), {"ids": [row.id]})
        await incidents.mitigate(tx, row.id, note=note, actor=_ALERTS)
