"""Streams: everybody gets everything once and in order, at their own pace, and hinders nobody."""

import asyncio
from uuid import UUID

import asyncpg

from actions import incidents
from actions.incidents import NewIncident
from actions.timeline import add_note
from db.connecting import driver_url
from domain.access import Actor, Role
from domain.feed import EventType
from feed.cursor import AS_OF_CURSOR_SQL, decode
from feed.filter import EventFilter
from feed.stream import QUEUE_FRAMES
from tests.feed.conftest import EVERYTHING, NOON, Feed, Listener, Text
from tests.waiting import until

RESPONDER = Actor(id=None, name="responder", role=Role.RESPONDER)


async def test_who_is_up_to_date_and_who_resumes_get_the_same(feed: Feed) -> None:
    start = await feed.now()
    early = feed.listen(start)
    await feed.write(5)
    await early.heard(5)
    late = feed.listen(start)
    await late.heard(5)
    await feed.write(5)
    for listener in (early, late):
        await listener.heard(10)
        assert listener.positions == list(range(1, 11))
        assert listener.is_unbroken
        await listener.leave()


async def test_whoever_joins_or_resumes_while_others_write_misses_nothing_and_gets_nothing_twice(feed: Feed) -> None:
    renderer, start = Text(), await feed.now()
    listeners: list[Listener] = []

    async def write_some() -> None:
        for _ in range(15):
            await feed.write(3)

    writing = [asyncio.create_task(write_some()) for _ in range(6)]
    while len(listeners) < 4 or not all(task.done() for task in writing):
        for listener in listeners[::2]:
            await listener.leave()
            resumed = feed.listen(decode(listener.cursors[-1]), renderer=renderer)
            resumed.positions, resumed.texts, resumed.cursors = listener.positions, listener.texts, listener.cursors
            listeners[listeners.index(listener)] = resumed
        listeners.append(feed.listen(start, renderer=renderer))
        await asyncio.sleep(0)
        await listeners[-1].heard(1)
    for listener in listeners:
        await listener.heard(270)
        assert listener.positions == list(range(1, 271))
        assert listener.is_unbroken
        await listener.leave()


async def test_who_takes_nothing_delays_nobody_and_gets_everything_later(feed: Feed) -> None:
    renderer, start = Text(), await feed.now()
    slow, quick = feed.listen(start, renderer=renderer), feed.listen(start, renderer=renderer)
    slow.takes.clear()
    total = QUEUE_FRAMES + 150
    await feed.write(total)
    await quick.heard(total)
    assert len(slow.positions) == 1
    slow.takes.set()
    await slow.heard(total)
    await feed.write(5)  # It is up to date again, and gets what is pushed.
    for listener in (slow, quick):
        await listener.heard(total + 5)
        assert listener.positions == list(range(1, total + 6))
        assert listener.is_unbroken
        await listener.leave()


async def test_what_many_ask_for_is_rendered_once(feed: Feed) -> None:
    renderer, start = Text(), await feed.now()
    listeners = [feed.listen(start, renderer=renderer) for _ in range(20)]
    await until(lambda: feed.hub.subscribers == 20)
    assert feed.hub.streams == 1
    await feed.write()
    for listener in listeners:
        await listener.heard(1)
        await feed.write()
    for listener in listeners:
        await listener.heard(21)
        await listener.leave()
    assert renderer.rendered == 21
    assert (feed.hub.subscribers, feed.hub.streams) == (0, 0)


async def test_the_one_before_is_the_one_before_on_the_same_filtered_stream(feed: Feed) -> None:
    one, other = UUID(int=1), UUID(int=2)
    listener = feed.listen(await feed.now(), EventFilter(incident_id=one))
    for incident in (one, other, one, other, other, one):
        await feed.write(incident_id=incident)
    await listener.heard(3)
    assert listener.positions == [1, 3, 6]
    assert listener.is_unbroken
    await listener.leave()


async def test_a_checkpoint_moves_the_cursor_past_what_the_filter_hides(feed: Feed) -> None:
    listener = feed.listen(await feed.now(), EventFilter(types=frozenset({EventType.ALERT_FIRED})))
    await feed.write(3)
    await feed.has_logged(3)
    await until(lambda: len(listener.texts) == 1)
    assert listener.texts[0].endswith("!")
    assert decode(listener.cursors[-1]).position == 3
    await feed.write(type=EventType.ALERT_FIRED)
    await listener.heard(1)
    assert listener.is_unbroken
    await listener.leave()


async def test_a_checkpoint_that_is_rendered_while_something_happens_breaks_no_chain(feed: Feed) -> None:
    class Slow(Text):
        """Answers a checkpoint when an event is being rendered, and that after the checkpoint."""

        async def checkpoint(self, place):
            asked.set()
            await answer.wait()
            return await super().checkpoint(place)

    asked, answer, renderer = asyncio.Event(), asyncio.Event(), Slow()
    listener = feed.listen(await feed.now(), renderer=renderer)
    await asyncio.wait_for(asked.wait(), 20)
    renderer.open.clear()
    await feed.write()
    await feed.has_logged(1)
    answer.set()
    await asyncio.sleep(0)
    renderer.open.set()
    await listener.heard(1)
    assert listener.is_unbroken
    await listener.leave()


async def test_a_snapshot_and_the_stream_after_it_join_without_a_gap_or_an_overlap_while_others_write(
    feed: Feed,
) -> None:
    """Each listener resumes after every single event, which no cursor on the way may forget the snapshot for."""
    incident = await feed.database.transact(
        lambda tx: incidents.create(tx, NewIncident(title="Live", severity="HIGH"), actor=RESPONDER), now=NOON
    )
    held_open = asyncio.Event()

    async def write_notes(name: str, *, is_held: bool) -> None:
        for number in range(10):
            async with feed.database.writing(NOON) as tx:
                await add_note(tx, incident, f"{name} {number}", actor=RESPONDER)
                if is_held:
                    await asyncio.wait_for(held_open.wait(), 60)

    writing = [asyncio.create_task(write_notes(f"writer {number}", is_held=number == 0)) for number in range(5)]
    await until(lambda: sum(task.done() for task in writing) >= 2)
    snapshots = [await _snapshot(feed) for _ in range(3)]
    held_open.set()
    snapshots += [await _snapshot(feed) for _ in range(3)]
    await asyncio.gather(*writing)
    snapshots.append(await _snapshot(feed))
    everything = await feed.has_logged(52)
    subjects = {event["position"]: event["subject_id"] for event in await _subjects(feed)}
    for cursor, seen in snapshots:
        cursors, told = [cursor], []
        while len(seen) + len(told) < 51:
            listener = feed.listen(decode(cursors[-1]), EventFilter(types=frozenset({EventType.TIMELINE_EVENT_ADDED})))
            await listener.heard(1)
            cursors.append(listener.cursors[1])
            told.append(subjects[listener.positions[0]])
            await listener.leave()
        assert not seen & set(told)
        assert len(seen | set(told)) == 51
    assert len(everything) == 52


async def test_a_lost_database_is_waited_for(feed: Feed) -> None:
    listener = feed.listen(await feed.now(), EVERYTHING)
    await feed.write()
    await listener.heard(1)
    connection = await asyncpg.connect(driver_url(feed.url))
    for _ in range(3):
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        await until(lambda: feed.writes(2))
    await connection.close()
    await listener.heard(7)
    assert listener.positions == list(range(1, 8))
    assert listener.is_unbroken
    await listener.leave()


async def _snapshot(feed: Feed) -> tuple[str, set[UUID]]:
    """A cursor, and the notes that were there at its moment."""
    connection = await asyncpg.connect(driver_url(feed.url))
    try:
        row = await connection.fetchrow(
            f"select {AS_OF_CURSOR_SQL} as cursor, array(select id from timeline_events) as notes"
        )
    finally:
        await connection.close()
    return row["cursor"], set(row["notes"])


async def _subjects(feed: Feed) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(driver_url(feed.url))
    try:
        return await connection.fetch("select position, subject_id from event_log")
    finally:
        await connection.close()
