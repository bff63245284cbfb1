"""Whether subscribers were told what is in the log: nothing lost, nothing twice, nothing out of order."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import asyncpg
import orjson

from db.connecting import driver_url
from feed.cursor import Cursor, decode
from tests.chaos.fleet import RECOVERY_SECONDS
from tests.chaos.subscribers import Subscriber, position_of
from tests.waiting import until

Event = Mapping[str, Any]


async def final(database_url: str) -> tuple[list[Event], Mapping[str, set[str]]]:
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


async def caught_up(
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

    await until(lambda: has_failed(tasks) or have_all(), timeout_seconds=RECOVERY_SECONDS)
    if failed := has_failed(tasks):
        failed.result()


def _expected(subscriber: Subscriber, events: Sequence[Event]) -> list[Event]:
    """The part of the log that is meant for a subscriber, from where it began."""
    start = _began_at(subscriber)
    return [
        event
        for event in events
        if start is not None
        and start.lacks(event["position"], event["seq"], event["xid"])
        and subscriber.wish.means(event)
    ]


def _began_at(subscriber: Subscriber) -> Cursor | None:
    if subscriber.began_after is not None:
        return decode(subscriber.began_after)
    if not subscriber.received:
        return None
    # It began at a moment that only the server knows, before what it was told first: an event, or a place. The cursor
    # of that still names what had been written before that moment, and gets a later place.
    first = subscriber.received[0]
    told = decode(first["cursor"])
    return told if first["type"] == "CHECKPOINT" else replace(told, position=told.position - 1)


def judge(subscriber: Subscriber, events: Sequence[Event]) -> dict[str, int]:
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


def has_failed(tasks: Sequence[asyncio.Task[None]]) -> asyncio.Task[None] | None:
    return next((task for task in tasks if task.done() and not task.cancelled() and task.exception()), None)
