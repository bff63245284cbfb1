"""Takes alerts in: stored before their sender is told so, and told apart right after."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

import structlog

from actions.alerts import Received, accept, process
from db.database import Database
from db.identifiers import new_id
from domain.alerts import WebhookKind
from domain.errors import DomainError
from domain.webhooks.incoming import Delivery

log = structlog.get_logger("reliability_studio.alerts")

MOST_AT_ONCE: Final = 100
POLL_SECONDS: Final = 0.5


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
        most_at_once: int = MOST_AT_ONCE,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._database = database
        self._now = now
        self._most_at_once = most_at_once
        self._poll_seconds = poll_seconds
        self._storing = 0
        self._arrived = asyncio.Event()

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
            delivery = await self._database.transact(partial(accept, received=received), now=at)
        finally:
            self._storing -= 1
        self._arrived.set()
        return Receipt(received.id, delivery)

    async def run(self) -> None:
        """Work off what was stored, by this process or another, until cancelled."""
        while True:
            self._arrived.clear()
            try:
                await self._work_off()
            except DomainError as error:
                log.warning("alerts could not be processed, trying again", reason=error.code)
                await asyncio.sleep(self._poll_seconds)
            await self._wait()

    async def _work_off(self) -> None:
        while True:
            if await self._database.transact(process, now=self._now()) is None:
                return

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._poll_seconds):
                await self._arrived.wait()
        except TimeoutError:
            return
