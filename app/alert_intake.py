"""Takes alerts in: stored before their sender is told so, and told apart right after."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

import orjson
import structlog

from actions.alerts.deliveries import BATCH_DELIVERIES, Accepted, Received, count_attempt, process, read, require_good
from actions.alerts.reconciliation import keep_muted
from app.group_commit import GroupCommit
from db.alert_statements import WAITING_TRACES_SQL
from db.database import Database, may_pass, took_too_long
from db.identifiers import new_id
from domain.alerts import WebhookKind
from domain.errors import DomainError
from domain.grouping import GroupingRules
from domain.tracing import SpanKind, Tracer
from domain.webhooks.event_recorder import Muted
from domain.webhooks.incoming import Delivery

log = structlog.get_logger("reliability_studio.alerts")

MOST_AT_ONCE: Final = 100
MOST_KEPT: Final = 200
MOST_BYTES_KEPT: Final = 50_000
POLL_SECONDS: Final = 0.5
SMALL_BATCH: Final = 200
REST_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 5.0
_USUAL_RULES: Final = GroupingRules()


class Overloaded(Exception):
    """More deliveries come in than can be stored. Nothing of this one was."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a sender is told: the id that its delivery is found by, and what it brought."""

    id: UUID
    delivery: Delivery


class AlertIntake:
    """Stores deliveries, up to `most_at_once` at the same time, and works them off for as long as `run` does."""

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], datetime],
        rules: GroupingRules = _USUAL_RULES,
        most_at_once: int = MOST_AT_ONCE,
        poll_seconds: float = POLL_SECONDS,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._database = database
        self._now = now
        self._rules = rules
        self._most_at_once = most_at_once
        self._poll_seconds = poll_seconds
        self._storing = 0
        self._arrivals = GroupCommit(database)
        self._arrived = asyncio.Event()
        self._was_read: dict[UUID, Delivery] = {}

    async def take(
        self, source: str, kind: WebhookKind, body: bytes, headers: Mapping[str, str], *, id: UUID | None = None
    ) -> Receipt:
        """Store a delivery; what it brings is committed when this returns.

        Raises ValidationFailed, DatabaseUnavailable and Overloaded, and then nothing is stored.
        """
        if self._storing >= self._most_at_once:
            raise Overloaded
        at = self._now()
        received = Received(id=id or new_id(), source=source, kind=kind, body=body, headers=headers, at=at)
        self._storing += 1
        try:
            delivery = await read(received)
            require_good(delivery)
            await self._arrivals.store(Accepted(received, delivery))
        finally:
            self._storing -= 1
        self._keep(received, delivery)
        self._arrived.set()
        return Receipt(received.id, delivery)

    async def hear(self, source: str, muted: Sequence[Muted]) -> int:
        """Remember why a source told nobody of alerts; return of how many that are known here.

        Raises DatabaseUnavailable and Overloaded.
        """
        if self._storing >= self._most_at_once:
            raise Overloaded
        if not muted:
            return 0
        self._storing += 1
        try:
            return await self._database.transact(partial(keep_muted, source=source, muted=muted), now=self._now())
        finally:
            self._storing -= 1

    def _keep(self, received: Received, delivery: Delivery) -> None:
        """Remember for a moment what a delivery says: most are worked off right after, by this process."""
        if len(received.body) > MOST_BYTES_KEPT:
            return
        self._was_read[received.id] = delivery
        if len(self._was_read) > MOST_KEPT:
            del self._was_read[next(iter(self._was_read))]

    async def run(self) -> None:
        """Work off what was stored, by this process or another, until cancelled."""
        while True:
            self._arrived.clear()
            try:
                with await self._traced():
                    await self._work_off()
            except DomainError as error:
                log.warning("alerts could not be processed, trying again", reason=error.code)
                await asyncio.sleep(self._poll_seconds)
            await self._wait()

    async def _traced(self) -> AbstractContextManager[object]:
        """A trace of its own, where what brought one of the deliveries was recorded."""
        if self._tracer is None:
            return nullcontext()
        found = await self._database.reads.fetch_text(WAITING_TRACES_SQL, (), timeout_seconds=_LOOK_SECONDS)
        origins = orjson.loads(found or b"[]")
        return self._tracer.work("alerts process", SpanKind.CONSUMER, origins=origins) if origins else nullcontext()

    async def _work_off(self) -> None:
        most = BATCH_DELIVERIES
        while True:
            work = partial(process, rules=self._rules, most=most, was_read=self._was_read)
            try:
                processed = await self._database.transact(work, now=self._now())
                if processed is None:
                    return
                most = min(most * 2, BATCH_DELIVERIES)
                for each in processed.broken:
                    receipt = str(each.delivery_id)
                    log.error("an alert breaks us", receipt=receipt, position=each.position, exc_info=each.error)
                if len(processed.changes) < SMALL_BATCH:
                    await asyncio.sleep(REST_SECONDS)  # What arrives meanwhile is worked off together.
            except Exception as error:  # A mistake of ours must not keep all alerts that come later waiting.
                is_overdue = took_too_long(error)
                if may_pass(error) and not is_overdue:
                    raise
                if most == 1:
                    count = partial(count_attempt, is_overdue=is_overdue)
                    failed = await self._database.transact(count, now=self._now())
                    log.error("a delivery of alerts could not be processed", receipt=str(failed), exc_info=error)
                    if is_overdue:
                        await asyncio.sleep(self._poll_seconds)
                most = 1

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._poll_seconds):
                await self._arrived.wait()
        except TimeoutError:
            return
