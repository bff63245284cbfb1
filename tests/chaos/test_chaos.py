"""Nothing lost, nothing twice, nothing out of order, whatever is killed, cut or restarted meanwhile.

`CHAOS_SECONDS` says for how long things go wrong (8 by default; `make chaos` takes minutes), `CHAOS_SEED` which
ones. Each goes wrong once at least.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import pytest

from db.database import Database
from tests.chaos.fleet import RECOVERY_SECONDS, Fleet
from tests.chaos.subscribers import (
    EventStreamSubscriber,
    Subscriber,
    WebSocketSubscriber,
    wishes,
)
from tests.chaos.verdicts import Event, caught_up, final, has_failed, judge
from tests.chaos.writers import SERVICES, Ledger, Writer, dice
from tests.waiting import until

SECONDS = float(os.environ.get("CHAOS_SECONDS", "8"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
WRITERS = 16
SUBSCRIBERS = 50
TAKEOVER_SECONDS = 1.0
SLOW_TAKEOVER_SECONDS = 5.0
"""What a takeover may take at times, on a machine that is busy with other tests as well."""

Fault = Callable[[], Awaitable[object]]


@pytest.fixture
async def fleet(folder: Path) -> AsyncIterator[Fleet]:
    made = Fleet(folder)
    async with made.running():
        yield made


async def test_every_subscriber_sees_every_event_once_and_in_order_whatever_is_killed(
    fleet: Fleet, say: Callable[[str], None]
) -> None:
    chance = dice(SEED)
    say(f"\nCHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g}")
    incidents, services = await _seed(fleet)
    ledger = Ledger()
    database = await Database.connect(fleet.database_url)
    ids = [incident["id"] for incident in incidents]
    writers = [
        Writer(f"writer {number}", fleet, database, ids, ledger, dice(chance.random())) for number in range(WRITERS)
    ]
    asked = wishes(incidents, services, SUBSCRIBERS)
    kinds = cycle((WebSocketSubscriber, WebSocketSubscriber, EventStreamSubscriber))
    subscribers: list[Subscriber] = [
        kind(wish, fleet, dice(chance.random()), takes_snapshot=number % 10 != 9)
        for number, (wish, kind) in enumerate(zip(asked, kinds, strict=False))
    ]
    takeovers: list[float] = []
    try:
        async with _all_running([*writers, *subscribers]) as tasks:
            faults = await _go_wrong(fleet, subscribers, chance, takeovers, tasks)
            for writer in writers:
                writer.stop()
            await asyncio.gather(*tasks[:WRITERS])
            await until(lambda: fleet.answers(), timeout_seconds=RECOVERY_SECONDS)
            events, stored = await final(fleet.database_url)
            await caught_up(subscribers, events, tasks)
    finally:
        await database.close()
    say(
        f"{len(events)} events of {sum(ledger.attempts.values())} changes, {dict(ledger.attempts)}; "
        f"{sum(len(each.received) for each in subscribers)} deliveries to {SUBSCRIBERS} subscribers "
        f"over {sum(each.connections for each in subscribers)} connections; faults {dict(faults)}"
    )
    say(
        "nobody led, after the leader was killed or frozen, for "
        + ", ".join(f"{seconds:.2f} s" for seconds in takeovers)
    )
    _judge_log(events, stored, ledger)
    verdicts = [judge(subscriber, events) for subscriber in subscribers]
    totals = {name: sum(verdict[name] for verdict in verdicts) for name in verdicts[0]}
    say(", ".join(f"{name} {count}" for name, count in totals.items()))
    wronged = [
        f"{number} ({subscriber.transport}, {subscriber.wish.field}, after {subscriber.began_after}): {verdict}"
        for number, (subscriber, verdict) in enumerate(zip(subscribers, verdicts, strict=True))
        if any(verdict.values())
    ]
    assert not wronged, f"CHAOS_SEED={SEED}, subscribers {'; '.join(wronged)}"
    assert min(takeovers) < TAKEOVER_SECONDS
    assert max(takeovers) < SLOW_TAKEOVER_SECONDS


async def _seed(fleet: Fleet) -> tuple[Sequence[Event], Sequence[Event]]:
    async with httpx.AsyncClient(base_url=fleet.slots[0].url, timeout=30) as client:
        incidents = [
            (await client.post("/api/incidents", json={"title": f"Incident {number}", "severity": severity,
                "services": [SERVICES[number % len(SERVICES)]]})).raise_for_status().json()
            for number, severity in enumerate(("low", "medium", "high", "critical", "high", "low"))
        ]  # fmt: skip
        services = (await client.get("/api/services")).raise_for_status().json()
    return incidents, services


@asynccontextmanager
async def _all_running(everyone: Sequence[Any]) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(each.run()) for each in everyone]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _go_wrong(
    fleet: Fleet,
    subscribers: Sequence[Subscriber],
    chance: random.Random,
    takeovers: list[float],
    tasks: Sequence[asyncio.Task[None]],
) -> Counter[str]:
    """Let one thing after the other go wrong, each at least once, and wait each time until all is well again."""

    async def kill_leader() -> None:
        takeovers.append(await fleet.kill_leader())

    async def freeze_leader() -> None:
        takeovers.append(await fleet.freeze_leader())

    async def cut_sockets() -> None:
        for subscriber in chance.sample(subscribers, len(subscribers) // 2):
            subscriber.cut()

    faults: dict[str, Fault] = {
        "leader killed": kill_leader,
        "leader frozen": freeze_leader,
        "sockets cut": cut_sockets,
        "Postgres crashed": lambda: fleet.restart_postgres(signal.SIGQUIT),
        "server killed": fleet.kill_follower,
        "Postgres restarted": lambda: fleet.restart_postgres(signal.SIGINT),
        "server replaced": lambda: fleet.replace_server(chance),
    }
    done: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    ends = loop.time() + SECONDS
    for name in _in_random_rounds(list(faults), chance):
        if loop.time() >= ends and len(done) == len(faults):
            return done
        await asyncio.sleep(chance.uniform(0.2, 1.0))  # The pace of misfortune, which waits for nothing.
        await faults[name]()
        done[name] += 1
        heard = [len(subscriber.received) for subscriber in subscribers]
        await until(lambda: has_failed(tasks) or _flows(subscribers, heard), timeout_seconds=RECOVERY_SECONDS)  # noqa: B023 # awaited before it changes
        if failed := has_failed(tasks):
            failed.result()
    raise AssertionError("there is always another round")


def _in_random_rounds(names: list[str], chance: random.Random) -> Iterator[str]:
    while True:
        yield from chance.sample(names, len(names))


def _flows(subscribers: Sequence[Subscriber], heard: Sequence[int]) -> bool:
    """Whether everybody who hears of everything has heard of something since."""
    return all(
        len(subscriber.received) > before
        for subscriber, before in zip(subscribers, heard, strict=True)
        if subscriber.wish.field == "events" and not subscriber.wish.variables
    )


def _judge_log(events: Sequence[Event], stored: Mapping[str, set[str]], ledger: Ledger) -> None:
    """Every change is in the log once, none is there that never was, and places are dense."""
    assert [event["position"] for event in events] == list(range(1, len(events) + 1))
    subjects = {
        kind: Counter(event["subject_id"] for event in events if event["type"] == kind)
        for kind in ("INCIDENT_CREATED", "TIMELINE_EVENT_ADDED")
    }
    assert subjects["INCIDENT_CREATED"] == Counter(stored["incidents"])
    assert subjects["TIMELINE_EVENT_ADDED"] == Counter(stored["timeline_events"])
    titles = Counter(title for _, _, title in _retitlings(events))
    told = {
        "created": subjects["INCIDENT_CREATED"],
        "note": subjects["TIMELINE_EVENT_ADDED"],
        "title": titles,
    }
    assert {(kind, mark): told[kind][mark] for kind, mark in ledger.acknowledged} == dict.fromkeys(
        ledger.acknowledged, 1
    )
    assert not ledger.rolled_back & subjects["TIMELINE_EVENT_ADDED"].keys()
    assert max(titles.values()) == 1
    # Who applies the changes in the order of the log sees each one begin where the one before it ended.
    seen: dict[str, str] = {}
    for incident, before, after in _retitlings(events):
        assert seen.setdefault(incident, before) == before
        seen[incident] = after


def _retitlings(events: Sequence[Event]) -> list[tuple[str, str, str]]:
    return [
        (event["incident_id"], change["from"], change["to"])
        for event in events
        if event["type"] == "INCIDENT_UPDATED"
        for change in event["payload"]["changes"]
        if change["field"] == "title"
    ]
