"""The read pool in a storm of deadlines, cancellations, errors and killed connections."""

import asyncio
import random
from collections import Counter

import asyncpg
import uvloop

from db.connecting import driver_url
from db.read_pool import ReadPool
from domain.errors import DatabaseUnavailable, DeadlineExceeded
from tests.waiting import until

CONNECTIONS = 4
STORM_SECONDS = 3


async def test_whatever_happens_to_reads_no_connection_is_lost_and_no_answer_is_anothers(database_url: str) -> None:
    # On the event loop of the product, on which more happens at once than on Python's own.
    await asyncio.to_thread(uvloop.run, storm(database_url))


async def storm(database_url: str) -> None:
    chance = random.Random(4)  # noqa: S311  # the same storm every time
    pool = ReadPool(
        driver_url(database_url),
        connections=CONNECTIONS,
        waiting_limit=50,
        statement_limit=10,
        connection_lifetime_seconds=0.5,
    )
    observer = await asyncpg.connect(database_url)
    loop = asyncio.get_running_loop()
    end = loop.time() + STORM_SECONDS
    outcomes: Counter[str] = Counter()

    async def read(number: int) -> None:
        kind = chance.random()
        if kind < 0.1:
            async with pool.connection(timeout_seconds=chance.random() * 0.3) as connection:
                assert await connection.fetch_text("select $1::int::text", (number,)) == str(number).encode()
                await connection.fetch_text("select pg_sleep($1)::text", (chance.random() * 0.2,))
        elif kind < 0.15:
            await pool.fetch_text("select (1 / $1::int)::text", (0,), timeout_seconds=1)
        else:
            sql = f"select $1::int::text || '-{number % 20}' from pg_sleep($2)"
            arguments = (number, chance.choice([0, 0, 0, 0.01, 0.1]))
            text = await pool.fetch_text(sql, arguments, timeout_seconds=chance.choice([5, 5, 0.05, 0.2]))
            assert text == f"{number}-{number % 20}".encode()

    async def reader(number: int) -> None:
        while loop.time() < end:
            number += 100
            task = asyncio.create_task(read(number))
            if chance.random() < 0.1:
                await asyncio.sleep(chance.random() * 0.05)
                task.cancel()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            outcomes[type(outcome).__name__] += 1

    async def killer() -> None:
        ours = "datname = current_database() and pid <> pg_backend_pid()"
        while loop.time() < end:
            await asyncio.sleep(0.2)
            await observer.execute(
                f"select pg_terminate_backend(pid) from pg_stat_activity where {ours} and random() < 0.3"
            )

    await asyncio.gather(*(reader(number) for number in range(30)), killer())
    expected = {"NoneType", "CancelledError", "DivisionByZeroError"}
    expected |= {DeadlineExceeded.__name__, DatabaseUnavailable.__name__}
    assert set(outcomes) == expected

    await until(lambda: pool.in_use == 0)
    together = [pool.fetch_text("select 'calm' from pg_sleep(0.05)", (), timeout_seconds=10) for _ in range(20)]
    assert await asyncio.gather(*together) == [b"calm"] * 20
    assert (pool.in_use, pool.waiting) == (0, 0)
    await pool.close()
    await observer.close()
