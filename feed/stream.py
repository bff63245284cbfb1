"""A stream: the events that one filter lets through, each rendered once for all members, whoever they are.

Members are the subscribers that are up to date. They get what the stream renders through a queue each, which is
bounded: a member whose queue overflows is left to the log.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog

from domain.errors import DatabaseUnavailable, DeadlineExceeded, InvalidCursor
from domain.tracing import SpanKind, Tracer
from feed.cursor import Cursor, Reach, encode
from feed.filter import EventFilter, LoggedEvent
from feed.log import EventLog
from feed.standing import Standing

log = structlog.get_logger("reliability_studio.stream")

QUEUE_FRAMES = 256
MEMBERS_AT_A_TIME = 100
QUESTIONS_AT_A_TIME = 10
BATCH_EVENTS = 100
WAITING_EVENTS = 10_000
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
    standing: Standing | None = None
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

    def fall_behind(self) -> None:
        """Take no more frames than wait already."""
        self.is_behind = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """End the subscription, after what waits already."""
        self.failure = error
        self._wake()

    def dismiss(self, error: Exception) -> None:
        """End the subscription at once: what waits is not told any more."""
        self.frames = None
        self.fail(error)

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

    def __init__(
        self,
        event_log: EventLog,
        key: Hashable,
        filter_: EventFilter,
        renderer: Renderer,
        *,
        waiting_events: int = WAITING_EVENTS,
        tracer: Tracer | None = None,
    ) -> None:
        self.key = key
        self.filter = filter_
        self.renderer = renderer
        self.members: set[Member] = set()
        self.subscribers = 0
        self.last_frame_at = asyncio.get_running_loop().time()
        self._log = event_log
        self._tracer = tracer
        self._waiting: deque[LoggedEvent] = deque()
        self._waiting_events = waiting_events
        self._has_overflowed = False
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
        if not self._has_overflowed:
            self._waiting.extend(event for event in events if self.filter.lets_through(event))
            self._has_overflowed = len(self._waiting) > self._waiting_events
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
        await self._dismiss()
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
                if self._has_overflowed:
                    self._leave_behind()
        except Exception as error:
            self._fail(error)
        finally:
            if self._draining is asyncio.current_task():
                self._stop_draining()

    def succeed(self, is_whole: bool) -> None:
        """Go on with a log that took the place of the one before, as far as it has all that the members know."""
        error = InvalidCursor("The event log was replaced by an older one, read a fresh snapshot", ["after"])
        if not is_whole:
            self.cancel()
            self._stop_draining()
        for member in [member for member in self.members if not is_whole or member.reached.seen is not None]:
            member.fail(error)
            self.members.discard(member)

    def _stop_draining(self) -> None:
        self._draining = None
        self._waiting.clear()
        self._has_overflowed = False

    def _leave_behind(self) -> None:
        """Let all members read the log by themselves: more happens than can be rendered as it happens."""
        for member in self.members:
            member.fall_behind()
        self.members.clear()

    def _fail(self, error: Exception) -> None:
        """End every subscription: trying again would fail again."""
        log.error("a stream cannot be rendered", position=self._log.position, exc_info=error)
        for member in self.members:
            member.fail(error)
        self.members.clear()

    async def _push(self, batch: Sequence[LoggedEvent]) -> None:
        """Give a batch to every member, those included who join meanwhile: they have read the log up to here."""
        await self._dismiss()
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
        with self._traced(events, members):
            frames = await render(self.renderer, places, members[0].previous)
            async for member in _in_turns(members):
                if member in self.members:
                    for frame in frames:
                        member.push(frame)

    def _traced(self, events: Sequence[LoggedEvent], members: Sequence[Member]) -> AbstractContextManager[object]:
        """A trace of its own, where what caused one of the events was recorded."""
        origins = [event.traceparent for event in events if event.traceparent is not None]
        if self._tracer is None or not origins:
            return nullcontext()
        counts = {"messaging.batch.message_count": len(events), "subscription.subscribers": len(members)}
        return self._tracer.work("events deliver", SpanKind.CONSUMER, origins=origins, attributes=counts)

    async def _dismiss(self) -> None:
        """End the subscriptions of members who may not be told any more."""
        standings = {member.standing for member in self.members if member.standing is not None}
        now = asyncio.get_running_loop().time()
        if unknown := [standing for standing in standings if not standing.is_known_at(now)]:
            parts = (unknown[first::QUESTIONS_AT_A_TIME] for first in range(QUESTIONS_AT_A_TIME))
            await asyncio.gather(*(_find_out(part) for part in parts if part))
        refusals = {standing: error for standing in standings if (error := standing.latest) is not None}
        for member in [member for member in self.members if member.standing in refusals] if refusals else ():
            member.dismiss(refusals[member.standing])  # type: ignore[index] # it was found by that
            self.members.discard(member)

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


async def _find_out(standings: Iterable[Standing]) -> None:
    for standing in standings:
        await patiently(standing.refusal)


async def _in_turns(members: Iterable[Member]) -> AsyncGenerator[Member]:
    """One after the other, but letting others do something as well from time to time."""
    for number, member in enumerate(members, 1):
        yield member
        if number % MEMBERS_AT_A_TIME == 0:
            await asyncio.sleep(0)


async def render(renderer: Renderer, reached: Sequence[Cursor], previous: str | None) -> list[Frame]:
    """The frames of the events at these places, the first of which comes after `previous`."""
    cursors = [encode(cursor) for cursor in reached]
    places = [
        Place(at.position, cursor, before)
        for at, cursor, before in zip(reached, cursors, [previous, *cursors], strict=False)
    ]
    bodies = await patiently(lambda: renderer.events(places))
    return [Frame(at, cursor, body) for at, cursor, body in zip(reached, cursors, bodies, strict=True)]


async def patiently(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask the database, waiting for one that is away."""
    while True:
        try:
            return await ask()
        except (DatabaseUnavailable, DeadlineExceeded):
            await asyncio.sleep(RETRY_SECONDS)
