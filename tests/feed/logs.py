"""An event log in the hands of a test."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from db.database import Database
from db.outbox import outbox
from domain.feed import EventType
from feed.relay import Relay
from tests.waiting import until


@asynccontextmanager
async def running(*works: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Run something for as long as the block lasts."""
    tasks = [asyncio.ensure_future(work()) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def tell(database: Database) -> int:
    """Write an event, and return where it stands in the outbox."""
    async with database.writing(datetime.now(UTC)) as tx:
        seq: int = (await tx.insert(outbox, type=EventType.SERVICE_CHANGED, occurred_at=tx.now))["seq"]
    return seq


async def fill(database: Database, url: str, count: int) -> None:
    """Write events, each in a transaction of its own, and move them to the log."""
    relay = Relay(url)
    async with running(relay.run):
        for _ in range(count):
            await tell(database)
        await until(lambda: relay.state.moved == count)
