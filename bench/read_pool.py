"""What the read pool costs: CPU of this process per read of one row by id, beside the driver without it.

Run with `python -m bench.read_pool`. The ways take turns in short rounds, so that a busy machine disturbs all alike.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import uvloop

from db.connecting import driver_url
from db.embedded import EmbeddedPostgres
from db.identifiers import new_id
from db.read_pool import ReadPool

ROUNDS = 60
READS = 400
ROWS = 10_000
SQL = """select '{"id":'||to_json(id)::text||',"title":'||to_json(title)::text||'}' from incident where id = $1"""


async def compare(url: str) -> None:
    """Print the CPU microseconds per read of each way, and its ratio to connections that are simply held."""
    settings = {"jit": "off", "plan_cache_mode": "force_generic_plan"}
    held = [await asyncpg.connect(url, server_settings=settings) for _ in range(8)]
    await held[0].execute("create table incident (id uuid primary key, title text not null)")
    ids = [new_id() for _ in range(ROWS)]
    await held[0].executemany("insert into incident values ($1, $2)", [(id, f"Checkout fails ({id})") for id in ids])
    await held[0].execute("analyze incident")
    wanted = ids[ROWS // 2]
    prepared = [await connection.prepare(SQL) for connection in held]
    reads = ReadPool(url)
    pool = await asyncpg.create_pool(url, min_size=1, max_size=10)

    async def pooled(_: int) -> object:
        async with pool.acquire() as connection:
            return await connection.fetchval(SQL, wanted)

    ways: dict[str, Callable[[int], Awaitable[object]]] = {
        "held connection, prepared statement": lambda i: prepared[i].fetchval(wanted),
        "held connection, with a deadline": lambda i: prepared[i].fetchval(wanted, timeout=15),
        "ReadPool.fetch_text": lambda _: reads.fetch_text(SQL, (wanted,), timeout_seconds=15),
        "asyncpg.Pool": pooled,
    }
    for concurrency in (1, len(held)):
        costs: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                started = time.process_time()
                await asyncio.gather(*(_repeat(way, i, READS // concurrency) for i in range(concurrency)))
                costs[name].append((time.process_time() - started) / READS * 1e6)
        baseline = min(next(iter(costs.values())))
        print(f"\n{f'{concurrency} at a time, µs of CPU per read':40}   best   median   ratio of the best")
        for name, measured in costs.items():
            best = min(measured)
            print(f"  {name:38}{best:7.1f}{statistics.median(measured):9.1f}{best / baseline:8.2f}")
    await pool.close()
    await reads.close()
    for connection in held:
        await connection.close()


async def _repeat(way: Callable[[int], Awaitable[object]], connection: int, times: int) -> None:
    for _ in range(times):
        await way(connection)


async def measure(folder: Path) -> None:
    """Compare on a Postgres made for it."""
    async with EmbeddedPostgres(folder, settings={"fsync": "off"}) as postgres:
        await compare(driver_url(postgres.url))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # As root, Postgres runs as another account.
        uvloop.run(measure(Path(folder) / "postgres"))
