"""What is done about alerts again and again, by one server of the fleet at a time."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog

from actions.alerts.audits import audit, forget_deliveries
from actions.alerts.upkeep import settle
from actions.jobs import Job
from app.jobs import Work
from db.database import Database
from domain.grouping import GroupingRules

log = structlog.get_logger("reliability_studio.alerts")

AUDIT_SECONDS: Final = 60.0
_HOUR_SECONDS: Final = 3600.0
_BATCH_ROWS: Final = 1_000


class AlertWorks:
    """The recurring jobs."""

    def __init__(
        self,
        database: Database,
        rules: GroupingRules,
        *,
        now: Callable[[], datetime],
        retention_days: float,
    ) -> None:
        self._database = database
        self._rules = rules
        self._now = now
        self._retention = timedelta(days=retention_days)

    def works(self, *, upkeep_seconds: float) -> Mapping[str, Work]:
        """The jobs by kind."""
        return {
            "alert_upkeep": Work(run=self.keep_up, timeout_seconds=60, every_seconds=upkeep_seconds),
            "alert_audit": Work(run=self.audit, timeout_seconds=30, every_seconds=AUDIT_SECONDS),
            "alert_retention": Work(run=self.forget, timeout_seconds=600, every_seconds=_HOUR_SECONDS),
        }

    async def keep_up(self, _job: Job) -> None:
        """Let incidents rest whose alerts are over."""
        await self._database.transact(partial(settle, rules=self._rules), now=self._now())

    async def audit(self, _job: Job) -> None:
        """Count what came in, and what became of it."""
        counted = await self._database.transact(audit, now=self._now())
        if counted.unaccounted or counted.ungrouped:
            log.error("alerts are not accounted for", unaccounted=counted.unaccounted, ungrouped=counted.ungrouped)

    async def forget(self, _job: Job) -> None:
        """Delete deliveries that are kept no longer."""
        before = self._now() - self._retention
        while True:
            batch = partial(forget_deliveries, received_before=before, most=_BATCH_ROWS)
            if await self._database.transact(batch, now=self._now()) < _BATCH_ROWS:
                return
