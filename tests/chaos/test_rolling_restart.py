"""Three servers behind a load balancer, each replaced in turn under load: no request fails, and no event is lost.

`ROLLING_ROUNDS` says how often each is replaced (once by default; `make chaos` does it several times).
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.fleet import RECOVERY_SECONDS, Fleet
from tests.chaos.load import under_load
from tests.chaos.proxy import Proxy
from tests.chaos.subscribers import EventStreamSubscriber, Subscriber, WebSocketSubscriber, Wish
from tests.chaos.verdicts import caught_up, final, judge
from tests.chaos.writers import dice
from tests.waiting import until

ROUNDS = int(os.environ.get("ROLLING_ROUNDS", "1"))
REPLICAS = 3

EVERYTHING = Wish("events", {}, lambda _: True)


@dataclass
class BehindProxy:
    """What clients know of the fleet: one address."""

    slots: list[Proxy]


@pytest.fixture
async def fleet(folder: Path) -> AsyncIterator[Fleet]:
    made = Fleet(folder, replicas=REPLICAS)
    async with made.running():
        yield made


async def test_no_request_fails_and_no_event_is_lost_while_each_is_replaced(
    fleet: Fleet, say: Callable[[str], None]
) -> None:
    async with Proxy([slot.port for slot in fleet.slots]) as proxy:
        known = BehindProxy([proxy])
        subscribers: list[Subscriber] = [
            kind(EVERYTHING, known, dice(number))
            for number, kind in enumerate((WebSocketSubscriber, WebSocketSubscriber, EventStreamSubscriber) * 2)
        ]
        listening = [asyncio.create_task(subscriber.run()) for subscriber in subscribers]
        try:
            await until(
                lambda: all(subscriber.connections for subscriber in subscribers), timeout_seconds=RECOVERY_SECONDS
            )
            async with under_load(lambda: proxy.url, readers=3, writers=1) as load:
                for slot in fleet.slots * ROUNDS:
                    await slot.stop(signal.SIGTERM)
                    before = len(load.told)
                    await slot.start()
                    await until(lambda: len(load.told) >= before + 20, timeout_seconds=RECOVERY_SECONDS)  # noqa: B023 # awaited before it changes
            events, stored = await final(fleet.database_url)
            await caught_up(subscribers, events, listening)
        finally:
            for task in listening:
                task.cancel()
            await asyncio.wait(listening)

    slowest = max(each.told_at - each.asked_at for each in load.told)
    connections = sum(each.connections for each in subscribers)
    say(
        f"\n{len(load.told)} requests, {len(load.failed)} failed, the slowest took {slowest:.2f} s; "
        f"{len(events)} events to {len(subscribers)} subscribers over {connections} connections"
    )
    assert load.failed == []
    assert proxy.bad_gateways == 0
    assert load.acknowledged == stored["incidents"]
    assert stored["incidents"] <= {event["incident_id"] for event in events}
    verdicts = [judge(subscriber, events) for subscriber in subscribers]
    assert all(not any(verdict.values()) for verdict in verdicts), verdicts
    assert connections > len(subscribers)  # They did have to come back.
    assert slowest < RECOVERY_SECONDS
