"""Changes to incidents, written as actions write them: the row and its event in the outbox, in one transaction.

It is one statement of SQL each, so that writing takes next to nothing of the CPUs that are measured.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

import asyncpg

from bench.data import with_database
from feed.relay import Relay
from migrations.upgrade import upgrade

DATABASE = "reliability_bench_live"
WRITERS = 4

_INCIDENTS_SQL = """
insert into incidents (id, number, title, severity, source, started_at, created_at, updated_at)
select gen_random_uuid(), number, 'Incident ' || number, 'HIGH', 'MANUAL', now(), now(), now()
from generate_series(1, $1) number
returning id::text
"""
_CHANGE_SQL = """
with changed as (
  update incidents set title = $2, version = version + 1, updated_at = clock_timestamp() where id = $1::text::uuid
  returning id, severity
)
insert into outbox (type, incident_id, severity, subject_id, payload, occurred_at)
select 'INCIDENT_UPDATED', id, severity, id,
  jsonb_build_object('changes', jsonb_build_array(jsonb_build_object('field', 'title', 'to', $2::text))),
  clock_timestamp()
from changed
"""


async def prepare(server_url: str, incidents: int) -> tuple[str, list[str]]:
    """A new database on this server with so many incidents; return its URL and their ids."""
    url = with_database(server_url, DATABASE)
    server = await asyncpg.connect(server_url)
    try:
        await server.execute(f"drop database if exists {DATABASE} with (force)")
        await server.execute(f"create database {DATABASE}")
    finally:
        await server.close()
    await upgrade(url)
    connection = await asyncpg.connect(url)
    try:
        return url, [id for (id,) in await connection.fetch(_INCIDENTS_SQL, incidents)]
    finally:
        await connection.close()


class Changes:
    """Writes changes, each with a number that its event tells."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", incident_ids: Sequence[str]) -> None:
        self.committed: dict[int, float] = {}
        """When each change was committed, on the clock of `time.monotonic`."""
        self._pool = pool
        self._ids = incident_ids
        self._next = 0

    async def at_once(self, count: int) -> None:
        """Write so many as fast as it goes, one incident after the other."""
        numbers = iter(self._numbers(count))

        async def write() -> None:
            for number in numbers:
                await self._write(number)

        await asyncio.gather(*(write() for _ in range(WRITERS)))

    async def at_rate(self, per_second: float, count: int) -> None:
        """Write so many at even intervals, whether or not the earlier ones are done."""
        start = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for index, number in enumerate(self._numbers(count)):
                await asyncio.sleep(start + index / per_second - time.monotonic())
                group.create_task(self._write(number))

    def _numbers(self, count: int) -> range:
        first, self._next = self._next, self._next + count
        return range(first, self._next)

    async def _write(self, number: int) -> None:
        await self._pool.execute(_CHANGE_SQL, self._ids[number % len(self._ids)], f"Change {number}")
        self.committed[number] = time.monotonic()


class RelayOfOurOwn:
    """Gives events their places while a server is measured that does not do it by itself."""

    def __init__(self, url: str) -> None:
        self._relay = Relay(url)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._relay.run())

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
