"""A job: forgets, once an hour, what is kept no longer."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import structlog

from actions.jobs import Job
from actions.retention import (
    BATCH_ROWS,
    forget_audit_entries,
    forget_ended_jobs,
    forget_events,
    forget_keys,
    forget_proofs,
    forget_slices,
)
from app.jobs import Work
from db.database import Database, Transaction

log = structlog.get_logger("reliability_studio.retention")

KIND: Final = "retention"

_HOUR_SECONDS: Final = 3600.0
_TIMEOUT_SECONDS: Final = 1800.0


class Retention:
    """Deletes events of the log that are older than `events_days`, entries of the audit log that are older than
    `audit_days`, idempotency keys after their day, proofs of who somebody is that have expired, slices of SLOs after
    thirteen months, and jobs a month after their end.
    """

    def __init__(
        self,
        database: Database,
        *,
        events_days: float,
        audit_days: float,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._events = timedelta(days=events_days)
        self._audit = timedelta(days=audit_days)
        self._now = now

    @property
    def work(self) -> Work:
        """How often and how long it is done. What is left when the time is up is left to the next time."""

        async def run(_job: Job) -> None:
            await self.forget()

        return Work(run=run, timeout_seconds=_TIMEOUT_SECONDS, every_seconds=_HOUR_SECONDS)

    async def forget(self) -> Mapping[str, int]:
        """Delete what is too old now, in batches; return how many of what that were."""
        forgotten = {
            "events": await self._in_batches(self._forget_events),
            "idempotency_keys": await self._in_batches(forget_keys),
            "proofs": await self._in_batches(forget_proofs),
            "slo_slices": await self._in_batches(forget_slices),
            "jobs": await self._in_batches(forget_ended_jobs),
            "audit_entries": await self._in_batches(self._forget_audit_entries),
        }
        if any(forgotten.values()):
            log.info("old rows deleted", **forgotten)
        return forgotten

    async def _in_batches(self, forget: Callable[[Transaction], Awaitable[int]]) -> int:
        forgotten = 0
        while True:
            batch = await self._database.transact(forget, now=self._now())
            forgotten += batch
            if batch < BATCH_ROWS:
                return forgotten

    async def _forget_events(self, tx: Transaction) -> int:
        return await forget_events(tx, recorded_before=tx.now - self._events)

    async def _forget_audit_entries(self, tx: Transaction) -> int:
        return await forget_audit_entries(tx, occurred_before=tx.now - self._audit)
