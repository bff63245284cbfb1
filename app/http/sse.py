"""GraphQL over Server-Sent Events: the distinct connections mode (PROTOCOL.md of npm's graphql-sse).

A stream ends, without being complete, when the proof of who asks expires: the client comes back with another one.

Every event of a subscription has its cursor as `id`, so that a browser's EventSource resumes by itself; the stream
begins with one that stands for its start. What is wrong with a document, its variables or its cursor is told by the
events `next` and `complete`, as the protocol wants it; what is wrong with the request itself is an ordinary answer.
So is 429 to who has asked for too much in a short time: a stream begins when its operation has.
"""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from time import time
from typing import Final

import orjson
from starlette.types import Receive, Scope, Send

from app.http.answer import Answer
from app.http.errors import headers_of, status_of
from app.http.graphql import GraphQLEndpoint, Identify, Refused, not_allowed, too_slow, unauthenticated
from app.http.multipart import send_whole_or_in_parts
from app.http.negotiation import JSON, prefers_events, response_type
from app.http.outlet import Admission, Full, Outlet, TooManyStreams
from app.http.running import Runner, failure
from app.observability.live import ConnectionCounts
from app.protocols import ABORT
from domain import tracing
from domain.access import Actor
from domain.errors import DomainError, Unauthenticated
from resolvers.incremental import IncrementalAnswer, IncrementalForm
from resolvers.operations import OperationAnswer, OperationRequest
from resolvers.subscriptions import Subscription

Headers = tuple[tuple[bytes, bytes], ...]

_EVENT_STREAM: Headers = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
)
_BEGINNING: Final = b"retry: 1000\n\n"
_COMMENT: Final = b":\n\n"
_COMPLETE: Final = b"event: complete\ndata:\n\n"
_END_SECONDS = 1.0
_WATCH_SECONDS = 1.0


class EventStreams:
    """Answers the requests of clients that can read event streams."""

    def __init__(
        self,
        endpoint: GraphQLEndpoint,
        runner: Runner,
        admission: Admission,
        identify: Identify,
        *,
        timeout_seconds: float,
        keep_alive_seconds: float,
        send_timeout_seconds: float,
    ) -> None:
        self._endpoint = endpoint
        self._runner = runner
        self.counts = ConnectionCounts()
        self._admission = admission
        self._identify = identify
        self._timeout_seconds = timeout_seconds
        self._keep_alive_seconds = keep_alive_seconds
        self._send_timeout_seconds = send_timeout_seconds
        self._streams: set[EventStream] = set()
        self._is_over = False

    async def run(self) -> None:
        """Keep idle streams alive, and drop clients that take nothing, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(_WATCH_SECONDS, self._keep_alive_seconds / 4, self._send_timeout_seconds / 4))
            now = loop.time()
            for stream in self._streams:
                stream.watch(now, self._keep_alive_seconds, self._send_timeout_seconds)

    def end(self) -> None:
        """End every subscription, and those that begin from now on at once: their clients come back, and resume.

        Whatever else is answered by a stream comes to its own end.
        """
        self._is_over = True
        for stream in self._streams:
            if stream.is_subscription:
                stream.end()

    async def answer(
        self,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
        request_id: str,
        ours: Headers,
    ) -> tuple[int, str | None]:
        """Answer a request, by a stream where that is wanted; return its status and the type of its operation.

        Raises ClientGone.
        """
        kind = None
        answer: Answer | IncrementalAnswer
        accept = headers.get(b"accept")
        try:
            actor, request = await self._read(scope, headers, receive)
            kind = self._runner.kind(request, actor)
            if kind != "subscription" and not prefers_events(accept):
                answer, kind = await self._endpoint.answer(scope, headers, receive, request_id, request, actor)
            else:
                if kind == "mutation" and scope["method"] != "POST":
                    raise not_allowed(kind, scope["method"])
                with self._admission.admit(actor.address, self.counts) as admitted:
                    admitted.belong_to(actor)
                    stream = EventStream(scope, receive, send, self._runner, actor, self.counts, ours, kind)
                    refused = await self._serve(stream, request, request_id, headers)
                if refused is None:
                    return 200, kind
                answer = self._endpoint.completed(refused, response_type(accept) or JSON)
        except Refused as error:
            answer = self._endpoint.refusal(error, None)
        except TooManyStreams as error:
            status, code = (503, "UNAVAILABLE") if isinstance(error, Full) else (429, "TOO_MANY_REQUESTS")
            wrong = Refused(status, code, str(error), (b"retry-after", b"5"))
            answer = self._endpoint.refusal(wrong, None)
        return await send_whole_or_in_parts(scope, receive, send, answer, *ours), kind

    async def _read(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive
    ) -> tuple[Actor, OperationRequest]:
        """Who asks, and for what. Raises Refused."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                actor = await self._identify(scope, headers)
                return actor, await self._endpoint.read(scope, headers, receive)
        except TimeoutError as error:
            raise too_slow(self._timeout_seconds) from error
        except Unauthenticated as error:
            raise unauthenticated(error) from error
        except DomainError as error:
            raise Refused(status_of(error), error.code, error.message, *headers_of(error)) from error

    async def _serve(
        self, stream: "EventStream", request: OperationRequest, request_id: str, headers: Mapping[bytes, bytes]
    ) -> OperationAnswer | None:
        self._streams.add(stream)
        try:
            last_event_id = headers.get(b"last-event-id", b"").decode("latin-1")
            # A client that comes back at once may get to us again, which would last for as long as it listens.
            return await stream.serve(
                request, request_id, last_event_id, ends_at_once=self._is_over and stream.is_subscription
            )
        finally:
            self._streams.discard(stream)


class EventStream:
    """One stream: what it says, for as long as its client is there."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        runner: Runner,
        actor: Actor,
        counts: ConnectionCounts,
        headers: Headers,
        kind: str | None,
    ) -> None:
        self.is_subscription = kind == "subscription"
        self._scope = scope
        self._headers = headers
        self._actor = actor
        self._expires_at = None if actor.expires_at is None else actor.expires_at.timestamp()
        self._counts = counts
        self._receive = receive
        self._runner = runner
        self._loop = asyncio.get_running_loop()
        self._outlet = Outlet(send)
        self._telling: asyncio.Task[None] | None = None
        self._comment: asyncio.Task[None] | None = None
        self._has_begun = False
        self._refused: OperationAnswer | None = None

    async def serve(
        self, request: OperationRequest, request_id: str, last_event_id: str, *, ends_at_once: bool
    ) -> OperationAnswer | None:
        """Tell everything that the client asks for, until it goes, or `end` is called.

        Nothing is sent to who asks for too much in a short time: the answer to that is returned.
        """
        telling = self._telling = self._loop.create_task(self._tell(request, request_id, last_event_id or None))
        leaving = self._loop.create_task(self._leaving())
        if ends_at_once:
            self.end()
        try:
            await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks = [task for task in (telling, leaving, self._comment) if task is not None]
            is_gone = leaving.done()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if not telling.cancelled():
            telling.result()
        if self._refused is None and not is_gone:
            if not self._has_begun:
                await self._begin()
            await self._finish()
        return self._refused

    def end(self) -> None:
        """End the stream without saying that it is complete."""
        if self._telling is not None:
            self._telling.cancel()

    def watch(self, now: float, keep_alive_seconds: float, send_timeout_seconds: float) -> None:
        """Do what is due for a client that takes nothing, has nothing to take, or whose proof holds no longer."""
        if self._expires_at is not None and self._expires_at <= time():
            self.end()
            return
        stuck_seconds = self._outlet.stuck_seconds(now)
        if stuck_seconds >= send_timeout_seconds:
            self._counts.dropped += 1
            self._abort()
        elif self._has_begun and not stuck_seconds and now - self._outlet.sent_at >= keep_alive_seconds:
            self._comment = self._loop.create_task(self._write(_COMMENT))

    async def _tell(self, request: OperationRequest, request_id: str, last_event_id: str | None) -> None:
        started = await self._runner.start(
            request, self._actor, request_id=request_id, resume_after=last_event_id, form=IncrementalForm.IDS
        )
        if isinstance(started, OperationAnswer) and started.retry_after_seconds is not None:
            self._refused = started
            return
        await self._begin()
        if isinstance(started, Subscription):
            await self._tell_events(started, request_id)
        elif isinstance(started, IncrementalAnswer):
            async with started:
                async for part in started.parts():
                    await self._write(b"event: next\ndata: %b\n\n" % part.body)
        else:
            await self._write(b"event: next\ndata: %b\n\n" % started.body)
        await self._write(_COMPLETE)

    async def _begin(self) -> None:
        headers = [*_EVENT_STREAM, *self._headers]
        await self._outlet.send({"type": "http.response.start", "status": 200, "headers": headers})
        self._has_begun = True
        await self._write(_BEGINNING)

    async def _tell_events(self, subscription: Subscription, request_id: str) -> None:
        if subscription.start is not None:
            await self._write(b"id: %b\n\n" % subscription.start.encode())
        try:
            with tracing.alone():  # What is told for hours is no part of what opened it.
                await self._tell_frames(subscription)
        except OSError:
            raise
        except Exception as error:
            body = orjson.dumps({"errors": [failure(error, request_id)]})
            await self._write(b"event: next\ndata: %b\n\n" % body)

    async def _tell_frames(self, subscription: Subscription) -> None:
        async with aclosing(subscription.frames) as frames:
            async for frame in frames:
                id = b"" if frame.cursor is None else b"id: %b\n" % frame.cursor.encode()
                await self._write(id + b"event: next\ndata: %b\n\n" % frame.body)
                self._counts.deliveries += 1

    async def _write(self, text: bytes) -> None:
        await self._outlet.send({"type": "http.response.body", "body": text, "more_body": True})

    async def _leaving(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _finish(self) -> None:
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._outlet.send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            self._abort()
            await self._leaving()

    def _abort(self) -> None:
        abort = self._scope.get("extensions", {}).get(ABORT)
        if abort is not None:
            abort["abort"]()
        else:
            self.end()
