"""Feeds subscribers: each event rendered once for all who ask the same, each subscriber at its own pace.

Subscribers who ask the same share a stream. Those who are up to date get what the stream renders through a bounded
queue; a queue that overflows is left, and its subscriber reads the log from where it stands until it is up to date
again. So nothing is dropped, memory is bounded, and nobody waits for anybody.
"""

import asyncio
from collections.abc import AsyncGenerator, Hashable, Sequence
from contextlib import aclosing

from domain.tracing import Tracer
from feed.cursor import Cursor
from feed.filter import EventFilter, LoggedEvent
from feed.log import EventLog
from feed.standing import Standing
from feed.stream import (
    BATCH_EVENTS,
    RETRY_SECONDS,
    WAITING_EVENTS,
    Frame,
    Member,
    Renderer,
    Sink,
    Stream,
    patiently,
    render,
)

CHECKPOINT_SECONDS = 10.0


class Hub:
    """All streams of a process."""

    def __init__(
        self,
        event_log: EventLog,
        *,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
        waiting_events: int = WAITING_EVENTS,
        tracer: Tracer | None = None,
    ) -> None:
        """A stream that has more than `waiting_events` to render is left to the log: its subscribers read that."""
        self.log = event_log
        self._waiting_events = waiting_events
        self._tracer = tracer
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
        standing: Standing | None = None,
    ) -> AsyncGenerator[Frame]:
        """Every event after `start` that the filter lets through, in order, until closed.

        `key` tells what is asked: equal keys share a stream and the renderer of whoever came first. `start` has to be a
        place that the log's `require` accepts; `previous` is the cursor that the first event names.
        A frame that comes while the next one is waited for is offered to `sink`, and is not yielded when that takes it.
        `standing` is asked before each frame, and what it says ends the subscription.
        Raises CursorExpired when the log forgets what a slow subscriber has not had yet.
        """
        stream = self._enter(key, filter_, renderer)
        del key, filter_, renderer  # The stream has its own, and this may last for days.
        try:
            async with aclosing(_follow(self.log, stream, start, previous, sink, standing)) as frames:
                async for frame in frames:
                    if standing is not None and (refusal := await patiently(standing.refusal)) is not None:
                        raise refusal
                    yield frame
        finally:
            self._leave(stream)

    def _enter(self, key: Hashable, filter_: EventFilter, renderer: Renderer) -> Stream:
        stream = self._streams.get(key)
        if stream is None:
            stream = Stream(self.log, key, filter_, renderer, waiting_events=self._waiting_events, tracer=self._tracer)
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
    event_log: EventLog,
    stream: Stream,
    cursor: Cursor,
    previous: str | None,
    sink: Sink | None,
    standing: Standing | None,
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
            cursor = await patiently(lambda: event_log.require(cursor))  # noqa: B023 # awaited before it changes
            if cursor.epoch != stream.settled.epoch:
                await asyncio.sleep(RETRY_SECONDS)
            continue
        # No await between the end of catching up and joining: nothing can be settled in between.
        if cursor.position < settled.position:
            cursor = cursor.at(settled)
        member = Member(cursor, previous, sink, standing)
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
        found = await patiently(
            lambda: event_log.page(stream.filter, cursor, until=until.position, limit=BATCH_EVENTS)  # noqa: B023 # awaited before they change
        )
        if found:
            for frame in await render(stream.renderer, found, previous):
                previous = frame.cursor
                yield frame
            cursor = found[-1]
        if len(found) < BATCH_EVENTS:
            cursor = cursor.at(until)
