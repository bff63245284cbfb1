"""The relay: one leader in the fleet gives every event of the outbox its place in the log.

A row is moved when no transaction that began before its own is still running. Then nothing can ever come before it, so
positions are dense, in the order of transactions, and final.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog

from db.connecting import driver_url, milliseconds, open_connection
from db.event_log import CHANNEL, MOVE_SQL, RELAY_LOCK
from domain.errors import DatabaseUnavailable

log = structlog.get_logger("reliability_studio.relay")

CANDIDACY_SECONDS = 0.3
IDLE_SECONDS = 0.02
BATCH_ROWS = 1_000
RETRY_SECONDS = 0.5
STATEMENT_SECONDS = 30
HUNG_SECONDS = 5


@dataclass(slots=True)
class RelayState:
    """What the relay of this process is doing, for metrics and health."""

    is_leader: bool = False
    moved: int = 0
    failures: int = 0


class Relay:
    """Runs for leadership for as long as the process lives, and moves events while it leads."""

    def __init__(self, url: str) -> None:
        self._url = driver_url(url)
        self.state = RelayState()

    async def run(self) -> None:
        """Until cancelled. A lost database is waited for."""
        while True:
            try:
                async with _connection(self._url) as connection:
                    await self._stand(connection)
            except (DatabaseUnavailable, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                self.state.failures += 1
                log.warning("the relay lost the database, trying again", reason=type(error).__name__)
            finally:
                self.state.is_leader = False
            await asyncio.sleep(RETRY_SECONDS)

    async def _stand(self, connection: "asyncpg.Connection[Any]") -> None:
        while not await connection.fetchval("select pg_try_advisory_lock($1)", RELAY_LOCK):  # noqa: ASYNC110 # held elsewhere
            await asyncio.sleep(CANDIDACY_SECONDS)
        self.state.is_leader = True
        log.info("this process relays events now")
        move = await connection.prepare(MOVE_SQL)
        while True:
            moved = await move.fetchval(BATCH_ROWS, CHANNEL)
            self.state.moved += moved
            if moved < BATCH_ROWS:
                await asyncio.sleep(IDLE_SECONDS)


@asynccontextmanager
async def _connection(url: str) -> AsyncGenerator["asyncpg.Connection[Any]"]:
    connection = await open_connection(
        url,
        connection_class=asyncpg.Connection,
        settings={
            "statement_timeout": milliseconds(STATEMENT_SECONDS),
            # A leader that hangs, rather than dies, loses the lock with its session.
            "idle_session_timeout": milliseconds(HUNG_SECONDS),
            # A place that a crash takes back would be given again, to another event.
            "synchronous_commit": "on",
        },
    )
    try:
        yield connection
    finally:
        connection.terminate()
