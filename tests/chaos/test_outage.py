"""Postgres dies under load and is away for a while: clear errors, full recovery, and nothing acknowledged is lost.

`OUTAGE_SECONDS` says for how long it is away (3 by default; `make chaos` takes 20).
"""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from tests.chaos.fleet import Fleet
from tests.chaos.load import Load, under_load
from tests.chaos.subscribers import WebSocketSubscriber, Wish
from tests.chaos.verdicts import caught_up, final, judge
from tests.chaos.writers import dice
from tests.waiting import until

SECONDS = float(os.environ.get("OUTAGE_SECONDS", "3"))
RECOVERY_SECONDS = 2.0 if SECONDS >= 20 else 5.0
"""Two seconds are what it takes; a machine that is busy with other tests may take longer at times."""
CLEAR = {"DATABASE_UNAVAILABLE"}

EVERYTHING = Wish("events", {}, lambda _: True)


@pytest.fixture
async def fleet(folder: Path) -> AsyncIterator[Fleet]:
    made = Fleet(folder, replicas=2)
    async with made.running():
        yield made


async def test_an_outage_of_postgres_is_said_clearly_and_over_as_soon_as_it_is_back(
    fleet: Fleet, say: Callable[[str], None]
) -> None:
    loop, chance = asyncio.get_running_loop(), dice(1)
    subscribers = [WebSocketSubscriber(EVERYTHING, fleet, dice(number)) for number in range(4)]
    listening = [asyncio.create_task(subscriber.run()) for subscriber in subscribers]
    try:
        await until(lambda: all(subscriber.connections for subscriber in subscribers))
        connections = sum(subscriber.connections for subscriber in subscribers)
        async with under_load(lambda: chance.choice(fleet.slots).url) as load:
            await until(lambda: len(load.told) > 100)
            assert load.failed == []
            died_at = loop.time()
            outage = asyncio.create_task(fleet.restart_postgres(signal.SIGQUIT, away_seconds=SECONDS))
            await until(lambda: bool(load.failed))
            health = [await _health(slot.url) for slot in fleet.slots]
            await outage
            back_at = loop.time()
            heard = [len(subscriber.received) for subscriber in subscribers]
            await until(lambda: _works_again(load, back_at))
            await until(lambda: all(len(s.received) > n for s, n in zip(subscribers, heard, strict=True)))
            recovered_seconds = loop.time() - back_at
            await until(lambda: len(load.since(back_at + RECOVERY_SECONDS)) > 50)
        events, stored = await final(fleet.database_url)
        await caught_up(subscribers, events, listening)
    finally:
        for task in listening:
            task.cancel()
        await asyncio.wait(listening)

    codes = Counter(each.code for each in load.failed)
    say(
        f"\nPostgres was away for {back_at - died_at:.1f} s: {len(load.told)} requests, failures {dict(codes)}; "
        f"reads, writes and subscriptions worked {recovered_seconds:.2f} s after it was back"
    )
    assert set(codes) == CLEAR
    assert health == [(503, "unhealthy")] * len(fleet.slots)
    assert recovered_seconds < RECOVERY_SECONDS
    assert [each for each in load.since(back_at + RECOVERY_SECONDS) if each.code is not None] == []
    assert load.acknowledged <= stored["incidents"]
    assert load.acknowledged <= {event["incident_id"] for event in events}
    verdicts = [judge(subscriber, events) for subscriber in subscribers]
    assert all(not any(verdict.values()) for verdict in verdicts), verdicts
    # Those who listen keep their sockets: only the database was away.
    assert sum(subscriber.connections for subscriber in subscribers) == connections
    assert not [line for slot in fleet.slots for line in slot.unexpected_log_lines]


def _works_again(load: Load, since: float) -> bool:
    """Whether both kinds of requests that were asked since went well."""
    return {each.kind for each in load.since(since) if each.code is None} == {"read", "write"}


async def _health(url: str) -> tuple[int, str]:
    async with httpx.AsyncClient(timeout=10) as client:
        answer = await client.get(f"{url}/api/health")
    return answer.status_code, answer.json()["components"]["database"]["status"]
