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
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
import pytest

from db.connecting import driver_url
from db.database import Database
from feed.cursor import decode
from tests.chaos.fleet import RECOVERY_SECONDS, Fleet
from tests.chaos.subscribers import (
    EventStreamSubscriber,
    Subscriber,
    WebSocketSubscriber,
    position_of,
    wishes,
)
from tests.chaos.writers import SERVICES, Ledger, Writer
from tests.waiting import until

SECONDS = float(os.environ.get("CHAOS_SECONDS", "8"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
WRITERS = 16
SUBSCRIBERS = 50
TAKEOVER_SECONDS = 1.0
SLOW_TAKEOVER_SECONDS = 5.0
"""What a takeover may take at times, on a machine that is busy with other tests as well."""

Event = Mapping[str, Any]
Fault = Callable[[], Awaitable[object]]


@pytest.fixture
async def fleet(folder: Path) -> AsyncIterator[Fleet]:
    made = Fleet(folder)
    async with made.running():
        yield made


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Tell whoever runs the tests."""
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")

    def write(line: str) -> None:
        capture = request.config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled():
            reporter.write_line(line)

    return write


async def test_every_subscriber_sees_every_event_once_and_in_order_whatever_is_killed(
    fleet: Fleet, say: Callable[[str], None]
) -> None:
    chance = _dice(SEED)
    say(f"\nCHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g}")
    incidents, services = await _seed(fleet)
    ledger = Ledger()
    database = await Database.connect(fleet.database_url)
    ids = [incident["id"] for incident in incidents]
    writers = [
        Writer(f"writer {number}", fleet, database, ids, ledger, _dice(chance.random())) for number in range(WRITERS)
    ]
    asked = wishes(incidents, services, SUBSCRIBERS)
    kinds = cycle((WebSocketSubscriber, WebSocketSubscriber, EventStreamSubscriber))
    subscribers: list[Subscriber] = [
        kind(wish, fleet, _dice(chance.random()), takes_snapshot=number % 10 != 9)
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
            events, stored = await _final(fleet.database_url)
            await _caught_up(subscribers, events, tasks)
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
    verdicts = [_judge(subscriber, events) for subscriber in subscribers]
    for number, (subscriber, verdict) in enumerate(zip(subscribers, verdicts, strict=True)):
        if any(verdict.values()):
            say(f"subscriber {number} ({subscriber.transport}, {subscriber.wish.field}): {verdict}")
    totals = {name: sum(verdict[name] for verdict in verdicts) for name in verdicts[0]}
    say(", ".join(f"{name} {count}" for name, count in totals.items()))
    assert totals == dict.fromkeys(totals, 0)
    assert min(takeovers) < TAKEOVER_SECONDS
    assert max(takeovers) < SLOW_TAKEOVER_SECONDS


def _dice(seed: float) -> random.Random:
    return random.Random(seed)  # noqa: S311 # to be repeated with the same seed


async def _seed(fleet: Fleet) -> tuple[Sequence[Event], Sequence[Event]]:
    async with httpx.AsyncClient(base_url=fleet.slots[0].url) as client:
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
        await until(lambda: _has_failed(tasks) or _flows(subscribers, heard), timeout_seconds=RECOVERY_SECONDS)  # noqa: B023 # awaited before it changes
        if failed := _has_failed(tasks):
            failed.result()
    raise AssertionError("there is always another round")


def _in_random_rounds(names: list[str], chance: random.Random) -> Iterator[str]:
    while True:
        yield from chance.sample(names, len(names))


def _has_failed(tasks: Sequence[asyncio.Task[None]]) -> asyncio.Task[None] | None:
    return next((task for task in tasks if task.done() and not task.cancelled() and task.exception()), None)


def _flows(subscribers: Sequence[Subscriber], heard: Sequence[int]) -> bool:
    """Whether everybody who hears of everything has heard of something since."""
    return all(
        len(subscriber.received) > before
        for subscriber, before in zip(subscribers, heard, strict=True)
        if subscriber.wish.field == "events" and not subscriber.wish.variables
    )


async def _final(database_url: str) -> tuple[list[Event], Mapping[str, set[str]]]:
    """The log when the outbox has run dry, and what the database holds beside it."""
    connection = await asyncpg.connect(driver_url(database_url))
    try:

        async def is_dry() -> bool:
            return not await connection.fetchval("select exists (select from outbox)")

        await until(is_dry, timeout_seconds=RECOVERY_SECONDS)
        rows = await connection.fetch(
            "select position, seq, xid::text::bigint as xid, type::text, incident_id::text, service_ids::text[],"
            " severity::text, subject_id::text, payload::text from event_log order by position"
        )
        stored = {
            table: {row["id"] for row in await connection.fetch(f"select id::text from {table}")}
            for table in ("incidents", "timeline_events")
        }
    finally:
        await connection.close()
    return [{**row, "payload": orjson.loads(row["payload"])} for row in rows], stored


async def _caught_up(
    subscribers: Sequence[Subscriber], events: Sequence[Event], tasks: Sequence[asyncio.Task[None]]
) -> None:
    """Wait until everybody has the last event that is meant for them."""
    last = [
        max((event["position"] for event in _expected(subscriber, events)), default=0) for subscriber in subscribers
    ]

    def have_all() -> bool:
        return all(
            (bool(each.received) and position_of(each.received[-1]["cursor"]) >= position) or not position
            for each, position in zip(subscribers, last, strict=True)
        )

    await until(lambda: _has_failed(tasks) or have_all(), timeout_seconds=RECOVERY_SECONDS)
    if failed := _has_failed(tasks):
        failed.result()


def _expected(subscriber: Subscriber, events: Sequence[Event]) -> list[Event]:
    """The part of the log that is meant for a subscriber, from where it began."""
    if subscriber.began_after is not None:
        start = decode(subscriber.began_after)
        mine = [event for event in events if start.lacks(event["position"], event["seq"], event["xid"])]
    elif subscriber.received:
        # It began at a moment that only the server knows, before what it was told first: an event, or a place.
        first = subscriber.received[0]
        before = position_of(first["cursor"]) - (first["type"] != "CHECKPOINT")
        mine = [event for event in events if event["position"] > before]
    else:
        mine = []
    return [event for event in mine if subscriber.wish.means(event)]


def _judge(subscriber: Subscriber, events: Sequence[Event]) -> dict[str, int]:
    """What is wrong with what a subscriber was sent."""
    expected = {event["position"]: event for event in _expected(subscriber, events)}
    got = [position_of(event["cursor"]) for event in subscriber.events]
    # A checkpoint after a silence stands where the last event stood.
    chain = [(position_of(event["cursor"]), event["type"] == "CHECKPOINT") for event in subscriber.received]
    before = [subscriber.began_after, *(event["cursor"] for event in subscriber.received)]
    return {
        "lost": len(expected.keys() - set(got)),
        "duplicated": len(got) - len(set(got)),
        "out of order": sum(
            later < earlier or (later == earlier and not is_checkpoint)
            for (earlier, _), (later, is_checkpoint) in pairwise(chain)
        ),
        "not asked for": len(set(got) - expected.keys()),
        "chains broken": sum(
            event["previousCursor"] != cursor for cursor, event in zip(before, subscriber.received, strict=False)
        ),
        "wrong content": sum(
            not _is_told_right(event, expected[position_of(event["cursor"])])
            for event in subscriber.events
            if position_of(event["cursor"]) in expected
        ),
        **_judge_snapshot(subscriber, {event["position"]: event for event in events}, got),
    }


def _judge_snapshot(subscriber: Subscriber, events: Mapping[int, Event], got: Sequence[int]) -> dict[str, int]:
    """Whether a timeline as it was read, and what was told of it since, are all of it, and have nothing in common.

    Needs no word of what a cursor means.
    """
    known = subscriber.known_notes
    if known is None:
        return {"missing between snapshot and stream": 0, "both in snapshot and stream": 0}
    told = {events[position]["subject_id"] for position in got}
    everything = {event["subject_id"] for event in events.values() if subscriber.wish.means(event)}
    return {
        "missing between snapshot and stream": len(everything - known - told),
        "both in snapshot and stream": len(known & told),
    }


def _is_told_right(told: Event, logged: Event) -> bool:
    if told["type"] != logged["type"]:
        return False
    if "incident" in told and (told["incident"] or {}).get("id") != logged["incident_id"]:
        return False
    if "timelineEvent" in told and told["timelineEvent"]["id"] != logged["subject_id"]:
        return False
    by_field = sorted(logged["payload"].get("changes", []), key=lambda change: change["field"])
    return "changes" not in told or told["changes"] == by_field


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
