"""Feeds subscribers: each event rendered once for all who ask the same, each subscriber at its own pace.

Subscribers who ask the same share a stream. Those who are up to date get what the stream renders through a bounded
queue; a queue that overflows is left, and its subscriber reads the log from where it stands until it is up to date
again. So nothing is dropped, memory is bounded, and nobody waits for anybody.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog

from domain.errors import DatabaseUnavailable, DeadlineExceeded, InvalidCursor
from feed.cursor import Cursor, Reach, encode
from feed.filter import EventFilter, LoggedEvent
from feed.log import EventLog

log = structlog.get_logger("reliability_studio.hub")

QUEUE_FRAMES = 256
MEMBERS_AT_A_TIME = 100
BATCH_EVENTS = 100
CHECKPOINT_SECONDS = 10.0
RETRY_SECONDS = 0.5

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Place:
    """An event to render: where it stands, the cursor to give it, and that of what came before it on its stream."""

    position: int
    cursor: str
    previous: str | None


class Renderer(Protocol):
    """Makes what is sent of events, the same for every subscriber of a stream."""

    async def events(self, places: Sequence[Place]) -> list[bytes]:
        """The text of each event, in order. Raises DatabaseUnavailable, DeadlineExceeded."""
        ...

    async def checkpoint(self, place: Place) -> bytes:
        """The text of a checkpoint. Raises likewise."""
        ...


@dataclass(frozen=True, slots=True)
class Frame:
    """Something to send, and the place that the subscriber has reached with it."""

    reached: Cursor
    cursor: str
    body: bytes


Sink = Callable[[Frame], bool]
"""Takes a frame at once and says True, or has no room for it and says False."""


@dataclass(eq=False, slots=True)
class Member:
    """A subscriber that is up to date: which place it has reached, and the cursor that it got last.

    What its sink has no room for waits in `frames` until `next_frame` takes it.
    """

    reached: Cursor
    previous: str | None
    sink: Sink | None
    frames: deque[Frame] | None = None  # None while nothing waits: there are many members, and most of them are idle.
    is_behind: bool = False
    failure: Exception | None = None
    waiter: asyncio.Future[None] | None = None

    def push(self, frame: Frame) -> None:
        """Hand a frame over, unless there is no room: then the subscriber has to read the log by itself."""
        if self.is_behind:
            return
        if self.frames is None:
            # Whoever waits has sent all that came before.
            if self.sink is None or self.waiter is None or not self.sink(frame):
                self.frames = deque([frame])
        elif len(self.frames) < QUEUE_FRAMES:
            self.frames.append(frame)
        else:
            self.is_behind = True
            return
        self.reached, self.previous = frame.reached, frame.cursor
        if self.frames is not None:
            self._wake()

    def fail(self, error: Exception) -> None:
        """End the subscription."""
        self.failure = error
        self._wake()

    async def next_frame(self) -> Frame | None:
        """The next frame that waits, or None when the subscriber has fallen behind."""
        while True:
            if self.frames is not None:
                frame = self.frames.popleft()
                self.frames = self.frames or None
                return frame
            if self.failure is not None:
                raise self.failure
            if self.is_behind:
                return None
            self.waiter = asyncio.get_running_loop().create_future()
            try:
                await self.waiter
            finally:
                self.waiter = None

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def lacks(self, event: LoggedEvent) -> bool:
        """Whether an event is new to the subscriber."""
        return self.reached.lacks(event.position, event.seq, event.xid)


class Stream:
    """The events that one filter lets through, rendered in one way."""

    def __init__(self, event_log: EventLog, key: Hashable, filter_: EventFilter, renderer: Renderer) -> None:
        self.key = key
        self.filter = filter_
        self.renderer = renderer
        self.members: set[Member] = set()
        self.subscribers = 0
        self.last_frame_at = asyncio.get_running_loop().time()
        self._log = event_log
        self._waiting: deque[LoggedEvent] = deque()
        self._pushed: Reach | None = None
        self._draining: asyncio.Task[None] | None = None
        self._drains = 0

    @property
    def settled(self) -> Reach:
        """The log up to here has been pushed to the members."""
        reach = self._log.reach if self._draining is None else self._pushed
        if reach is None:
            raise RuntimeError("the log is not followed yet")
        return reach

    def offer(self, events: Iterable[LoggedEvent]) -> None:
        """Take those of the next events that the filter lets through."""
        if not self.members and self._draining is None:
            return
        self._waiting.extend(event for event in events if self.filter.lets_through(event))
        if self._draining is None and self._waiting:
            self._pushed = Reach(self._waiting[0].epoch, self._waiting[0].position - 1)
            self._drains += 1
            self._draining = asyncio.get_running_loop().create_task(self._drain())

    def cancel(self) -> None:
        """Stop rendering."""
        if self._draining is not None:
            self._draining.cancel()

    async def checkpoint(self) -> None:
        """Tell the members how far the log has been looked at."""
        if self._draining is not None:
            return
        settled, drains = self.settled, self._drains
        self.last_frame_at = asyncio.get_running_loop().time()
        # Who resumed from a place that this process has not read up to would be told to go back.
        known = [member for member in self.members if member.reached.position <= settled.position]
        for members in _in_step(known, settled.position):
            previous, reached = members[0].previous, members[0].reached.at(settled)
            cursor = encode(reached)
            try:
                body = await self.renderer.checkpoint(Place(settled.position, cursor, previous))
            except (DatabaseUnavailable, DeadlineExceeded):
                return  # The next one says more.
            except Exception as error:
                self._fail(error)
                return
            frame = Frame(reached, cursor, body)
            async for member in _in_turns(members):
                # What is pushed meanwhile says more than the checkpoint, and starts from where the members were before.
                if self._drains == drains and member in self.members and member.previous == previous:
                    member.push(frame)
        self._drop_behind()

    async def _drain(self) -> None:
        try:
            while self._waiting and self.members:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_EVENTS))]
                await self._push(batch)
                self._pushed = batch[-1].reach
        except Exception as error:
            self._fail(error)
        finally:
            if self._draining is asyncio.current_task():
                self._draining = None
                self._waiting.clear()

    def succeed(self, is_whole: bool) -> None:
        """Go on with a log that took the place of the one before, as far as it has all that the members know."""
        error = InvalidCursor("The event log was replaced by an older one, read a fresh snapshot", ["after"])
        if not is_whole:
            self.cancel()
            self._draining = None
            self._waiting.clear()
        for member in [member for member in self.members if not is_whole or member.reached.seen is not None]:
            member.fail(error)
            self.members.discard(member)

    def _fail(self, error: Exception) -> None:
        """End every subscription: trying again would fail again."""
        log.error("a stream cannot be rendered", position=self._log.position, exc_info=error)
        for member in self.members:
            member.fail(error)
        self.members.clear()

    async def _push(self, batch: Sequence[LoggedEvent]) -> None:
        """Give a batch to every member, those included who join meanwhile: they have read the log up to here."""
        served: set[Member] = set()
        while waiting := self.members - served:
            for members in _in_step(waiting, batch[0].position - 1):
                await self._push_to(members, [event for event in batch if members[0].lacks(event)])
            served |= waiting
        self._drop_behind()
        self.last_frame_at = asyncio.get_running_loop().time()

    async def _push_to(self, members: Sequence[Member], events: Sequence[LoggedEvent]) -> None:
        """Give events to members in step, who all lack them."""
        if not events:
            return
        reached = members[0].reached
        places = [reached := reached.at(event.reach) for event in events]
        frames = await _render(self.renderer, places, members[0].previous)
        async for member in _in_turns(members):
            if member in self.members:
                for frame in frames:
                    member.push(frame)

    def _drop_behind(self) -> None:
        for member in [member for member in self.members if member.is_behind]:
            self.members.discard(member)


def _in_step(members: Iterable[Member], position: int) -> list[list[Member]]:
    """Members who got the same last, and lack the same of what comes after a position; newcomers get in step soon.

    Who resumed from a place that this process has not read up to lacks less than the others.
    """
    groups: dict[Hashable, list[Member]] = {}
    for member in members:
        key = member.previous, member.reached.seen, max(member.reached.position, position)
        groups.setdefault(key, []).append(member)
    return list(groups.values())


async def _in_turns(members: Iterable[Member]) -> AsyncGenerator[Member]:
    """One after the other, but letting others do something as well from time to time."""
    for number, member in enumerate(members, 1):
        yield member
        if number % MEMBERS_AT_A_TIME == 0:
            await asyncio.sleep(0)


async def _render(renderer: Renderer, reached: Sequence[Cursor], previous: str | None) -> list[Frame]:
    """The frames of the events at these places, the first of which comes after `previous`."""
    cursors = [encode(cursor) for cursor in reached]
    places = [
        Place(at.position, cursor, before)
        for at, cursor, before in zip(reached, cursors, [previous, *cursors], strict=False)
    ]
    bodies = await _patiently(lambda: renderer.events(places))
    return [Frame(at, cursor, body) for at, cursor, body in zip(reached, cursors, bodies, strict=True)]


async def _patiently(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask the database, waiting for one that is away."""
    while True:
        try:
            return await ask()
        except (DatabaseUnavailable, DeadlineExceeded):
            await asyncio.sleep(RETRY_SECONDS)


class Hub:
    """All streams of a process."""

    def __init__(self, event_log: EventLog, *, checkpoint_seconds: float = CHECKPOINT_SECONDS) -> None:
        self.log = event_log
        self._checkpoint_seconds = checkpoint_seconds
        self._streams: dict[Hashable, Stream] = {}
        self._of_incident: dict[object, dict[Hashable, Stream]] = {}
        event_log.listeners.append(self._offer)
        event_log.successions.append(self._succeed)

    @property
    def subscribers(self) -> int:
        """How many subscribers there are."""
        return sum(stream.subscribers for stream in self._streams.values())

    @property
    def up_to_date(self) -> int:
        """How many of them are up to date; the others read the log."""
        return sum(len(stream.members) for stream in self._streams.values())

    @property
    def streams(self) -> int:
        """How many different things they ask for."""
        return len(self._streams)

    async def run(self) -> None:
        """Send checkpoints, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(1.0, self._checkpoint_seconds / 4))
            for stream in list(self._streams.values()):
                if stream.members and loop.time() - stream.last_frame_at >= self._checkpoint_seconds:
                    await stream.checkpoint()

    async def subscribe(
        self,
        key: Hashable,
        filter_: EventFilter,
        renderer: Renderer,
        start: Cursor,
        previous: str | None,
        sink: Sink | None = None,
    ) -> AsyncGenerator[Frame]:
        """Every event after `start` that the filter lets through, in order, until closed.

        `key` tells what is asked: equal keys share a stream and the renderer of whoever came first. `start` has to be a
        place that the log's `require` accepts; `previous` is the cursor that the first event names.
        A frame that comes while the next one is waited for is offered to `sink`, and is not yielded when that takes it.
        Raises CursorExpired when the log forgets what a slow subscriber has not had yet.
        """
        stream = self._enter(key, filter_, renderer)
        del key, filter_, renderer  # The stream has its own, and this may last for days.
        try:
            async with aclosing(_follow(self.log, stream, start, previous, sink)) as frames:
                async for frame in frames:
                    yield frame
        finally:
            self._leave(stream)

    def _enter(self, key: Hashable, filter_: EventFilter, renderer: Renderer) -> Stream:
        stream = self._streams.get(key)
        if stream is None:
            stream = Stream(self.log, key, filter_, renderer)
            self._streams[key] = stream
            self._of_incident.setdefault(filter_.incident_id, {})[key] = stream
        stream.subscribers += 1
        return stream

    def _leave(self, stream: Stream) -> None:
        stream.subscribers -= 1
        if stream.subscribers == 0:
            stream.cancel()
            del self._streams[stream.key]
            same = self._of_incident[stream.filter.incident_id]
            del same[stream.key]
            if not same:
                del self._of_incident[stream.filter.incident_id]

    def _succeed(self, is_whole: bool) -> None:
        for stream in self._streams.values():
            stream.succeed(is_whole)

    def _offer(self, events: Sequence[LoggedEvent]) -> None:
        by_incident: dict[object, list[LoggedEvent]] = {}
        for event in events:
            if event.incident_id is not None and event.incident_id in self._of_incident:
                by_incident.setdefault(event.incident_id, []).append(event)
        for stream in self._of_incident.get(None, {}).values():
            stream.offer(events)
        for incident_id, offered in by_incident.items():
            for stream in self._of_incident[incident_id].values():
                stream.offer(offered)


async def _follow(
    event_log: EventLog, stream: Stream, cursor: Cursor, previous: str | None, sink: Sink | None
) -> AsyncGenerator[Frame]:
    await event_log.started()
    while True:
        async with aclosing(_catch_up(event_log, stream, cursor, previous)) as frames:
            async for frame in frames:
                cursor, previous = frame.reached, frame.cursor
                yield frame
        settled = stream.settled
        if cursor.epoch != settled.epoch:
            # Another log took the place of the cursor's, or this process has not noticed yet that one did.
            cursor = await _patiently(lambda: event_log.require(cursor))  # noqa: B023 # awaited before it changes
            if cursor.epoch != stream.settled.epoch:
                await asyncio.sleep(RETRY_SECONDS)
            continue
        # No await between the end of catching up and joining: nothing can be settled in between.
        if cursor.position < settled.position:
            cursor = cursor.at(settled)
        member = Member(cursor, previous, sink)
        stream.members.add(member)
        try:
            while (waited := await member.next_frame()) is not None:
                yield waited
        finally:
            stream.members.discard(member)
        cursor, previous = member.reached, member.previous


async def _catch_up(event_log: EventLog, stream: Stream, cursor: Cursor, previous: str | None) -> AsyncGenerator[Frame]:
    """Read the log from the cursor until the stream has pushed nothing that was not read here."""
    while cursor.position < (until := stream.settled).position:
        found = await _patiently(
            lambda: event_log.page(stream.filter, cursor, until=until.position, limit=BATCH_EVENTS)  # noqa: B023 # awaited before they change
        )
        if found:
            for frame in await _render(stream.renderer, found, previous):
                previous = frame.cursor
                yield frame
            cursor = found[-1]
        if len(found) < BATCH_EVENTS:
            cursor = cursor.at(until)
