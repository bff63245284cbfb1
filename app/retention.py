"""Forgets, once an hour, what is kept no longer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import structlog

from actions.retention import (
    BATCH_ROWS,
    forget_audit_entries,
    forget_ended_jobs,
    forget_events,
    forget_keys,
    forget_proofs,
    forget_slices,
)
from db.database import Database, Transaction
from domain.errors import DomainError

log = structlog.get_logger("reliability_studio.retention")

_HOUR_SECONDS: Final = 3600.0


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
        interval_seconds: float = _HOUR_SECONDS,
    ) -> None:
        self._database = database
        self._events = timedelta(days=events_days)
        self._audit = timedelta(days=audit_days)
        self._now = now
        self._interval_seconds = interval_seconds

    async def run(self) -> None:
        """Until cancelled. A database that is away is left alone until the next time."""
        while True:
            try:
                await self.forget()
            except DomainError as error:
                log.warning("old rows could not be deleted, trying again later", reason=error.code)
            await asyncio.sleep(self._interval_seconds)

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
