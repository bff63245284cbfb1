"""GraphQL over WebSocket: the subprotocol graphql-transport-ws, to the letter (PROTOCOL.md of npm's graphql-ws).

Who connects proves who they are by a header, or in the payload of `connection_init`, because browsers cannot send
headers: its `authorization` is what the header would be. Who proves nothing is sent away with 4403, and so is everybody
whose proof expires: clients come back with another one, and resume.

What closes a socket, beside the protocol's own codes: 4429 for more connections or operations than allowed, 4408 for a
client that was silent for too long, 1009 for a message that is too big, 1012 when the server stops, 1013 for a client
that takes nothing, and where the server has no room for another one. After the last two codes a client comes back and
resumes from its last cursor; nothing is lost.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from time import time
from typing import Any, Final

import orjson
import structlog
from starlette.types import Message, Receive, Scope, Send

from app.http.answer import error_answer
from app.http.cors import AllowedOrigins
from app.http.graphql import Identify
from app.http.hosts import AllowedHosts, refuse_host
from app.http.outlet import Admission, Admitted, Full, Outlet, TooManyStreams
from app.http.running import Runner, failure
from app.http.security_headers import SECURITY_HEADERS
from app.http.socket_messages import (
    SUBPROTOCOL,
    Complete,
    ConnectionInit,
    Malformed,
    Ping,
    Pong,
    Subscribe,
    parse_message,
)
from app.observability import logs
from app.observability.live import ConnectionCounts
from app.protocols import WRITE
from domain.access import Actor
from domain.errors import DomainError, TooManyRequests, Unauthenticated
from feed.stream import Frame
from resolvers.operations import OperationRequest
from resolvers.subscriptions import Subscription

NORMAL: Final = 1000
ABNORMAL: Final = 1006
UNEXPECTED: Final = 1011
TRY_AGAIN_LATER: Final = 1013
BAD_REQUEST: Final = 4400
UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403
SUBPROTOCOL_NOT_ACCEPTABLE: Final = 4406
TIMEOUT: Final = 4408
SUBSCRIBER_EXISTS: Final = 4409
TOO_MANY: Final = 4429

_MOST_REASON_BYTES = 123  # RFC 6455, section 5.5
_SILENT_PINGS = 3
_PING = b'{"type":"ping"}'
_ACKNOWLEDGEMENT = '{"type":"connection_ack"}'

log = structlog.get_logger("reliability_studio.websocket")


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """What a client may do with a socket, and for how long it may do nothing."""

    operations: int
    init_timeout_seconds: float
    ping_seconds: float
    send_timeout_seconds: float

    @property
    def silence_seconds(self) -> float:
        """How long a client may say nothing: it has to answer pings."""
        return _SILENT_PINGS * self.ping_seconds

    @property
    def watch_seconds(self) -> float:
        """How often the sockets are looked at."""
        return min(1.0, self.init_timeout_seconds / 4, self.ping_seconds / 4, self.send_timeout_seconds / 4)


class Closed(Exception):
    """The socket has to be closed, with a code and a reason for the client."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class WebSocketEndpoint:
    """Serves the sockets of the endpoint."""

    def __init__(
        self,
        runner: Runner,
        admission: Admission,
        identify: Identify,
        origins: AllowedOrigins,
        limits: SocketLimits,
        *,
        path: str,
        hosts: AllowedHosts | None = None,
    ) -> None:
        self.counts = ConnectionCounts()
        self._runner = runner
        self._identify = identify
        self._admission = admission
        self._origins = origins
        self._limits = limits
        self._path = path
        self._hosts = hosts
        self._sockets: set[Socket] = set()

    async def run(self) -> None:
        """Ping the clients, and close the sockets of those that do not answer or take nothing, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._limits.watch_seconds)
            now = loop.time()
            for socket in self._sockets:
                socket.watch(now)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket, from its handshake to its end."""
        if (await receive())["type"] != "websocket.connect":
            return
        if (refusal := self._refusal(scope)) is not None:
            await _refuse(send, *refusal)
            return
        offered = scope["subprotocols"]
        accepted = SUBPROTOCOL if SUBPROTOCOL in offered else next(iter(offered), None)
        await send({"type": "websocket.accept", "subprotocol": accepted})
        try:
            if accepted != SUBPROTOCOL:
                # A browser tells its page why only when the handshake succeeded with what the page asked for.
                reason = f"Use the subprotocol {SUBPROTOCOL}: there is no other here"
                await _close(send, SUBPROTOCOL_NOT_ACCEPTABLE, reason)
                return
            client = scope.get("client")
            with self._admission.admit(client[0] if client else None, self.counts) as admitted:
                socket = Socket(scope, receive, send, self._runner, self._identify, admitted, self._limits, self.counts)
                self._sockets.add(socket)
                try:
                    await socket.serve()
                finally:
                    self._sockets.discard(socket)
        except TooManyStreams as error:
            await _close(send, TRY_AGAIN_LATER if isinstance(error, Full) else TOO_MANY, str(error))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the words to refuse a handshake with, if that has to be."""
        headers = dict(scope["headers"])
        if self._hosts is not None and not self._hosts.allow(scope["path"], headers.get(b"host")):
            return refuse_host(headers.get(b"host"))
        if scope["path"] != self._path:
            return 404, f"There is nothing at {scope['path']}"
        origin = headers.get(b"origin")
        if origin is not None and not self._origins.allow_socket(origin, host=headers.get(b"host", b"")):
            return 403, "Pages of this origin may not connect (CORS_ALLOWED_ORIGINS)"
        return None


class Socket:
    """One client: what it says, and the operations that run for it, each in a task of its own."""

    __slots__ = (
        "_actor",
        "_admitted",
        "_closing",
        "_code",
        "_counts",
        "_expires_at",
        "_heard_at",
        "_identify",
        "_is_begun",
        "_limits",
        "_loop",
        "_operations",
        "_outlet",
        "_pinged_at",
        "_receive",
        "_runner",
        "_scope",
        "_send",
        "_write",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        runner: Runner,
        identify: Identify,
        admitted: Admitted,
        limits: SocketLimits,
        counts: ConnectionCounts,
    ) -> None:
        self._scope = scope
        self._identify = identify
        self._admitted = admitted
        self._actor: Actor | None = None
        self._expires_at: float | None = None
        self._receive = receive
        self._send = send
        self._runner = runner
        self._limits = limits
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        self._outlet = Outlet(send)
        self._write: Callable[[bytes], bool] = scope["extensions"][WRITE]["write"]
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._is_begun = False
        self._heard_at = self._pinged_at = self._loop.time()
        self._closing: asyncio.Task[None] | None = None
        self._code: int | None = None
        """What the socket was closed with."""

    async def serve(self) -> None:
        """Serve the client until it goes, or has to."""
        began = self._loop.time()
        try:
            while (message := await self._receive())["type"] == "websocket.receive":
                self._heard_at = self._loop.time()
                await self._take(message)
            self._code = self._code or message.get("code", NORMAL)
        except OSError:
            self._code = self._code or ABNORMAL  # It ended while an answer waited to be taken.
        except Closed as closed:
            self._code = closed.code
            await _close(self._send, closed.code, closed.reason)
        finally:
            await self._stop()
            client = self._scope.get("client")
            log.info(
                "socket closed",
                code=self._code or UNEXPECTED,
                duration_seconds=round(self._loop.time() - began, 3),
                client=client[0] if client else None,
            )

    def watch(self, now: float) -> None:
        """Do what is due for a client that takes nothing, or says nothing."""
        if self._code is not None:
            return
        limits = self._limits
        silent_seconds = now - self._heard_at
        stuck_seconds = self._outlet.stuck_seconds(now)
        if stuck_seconds >= limits.send_timeout_seconds:
            self._counts.dropped += 1
            reason = f"Nothing was taken for {limits.send_timeout_seconds:g} s: come back, resume from your last cursor"
            self._close(TRY_AGAIN_LATER, reason)
        elif self._expires_at is not None and self._expires_at <= time():
            self._close(FORBIDDEN, "What proved who you are has expired: come back with another token, and resume")
        elif self._actor is None:
            if silent_seconds >= limits.init_timeout_seconds:
                self._close(TIMEOUT, "Connection initialisation timeout")
        elif silent_seconds >= limits.silence_seconds:
            self._close(TIMEOUT, f"Nothing was heard for {limits.silence_seconds:g} s, not even a pong")
        elif not stuck_seconds and now - self._pinged_at >= limits.ping_seconds:
            self._pinged_at = now
            self._write(_PING)

    async def _take(self, message: Message) -> None:
        text = message.get("text")
        if text is None:
            raise Closed(BAD_REQUEST, "Messages must be text frames")
        try:
            said = parse_message(text)
        except Malformed as error:
            raise Closed(BAD_REQUEST, str(error)) from error
        match said:
            case ConnectionInit():
                if self._is_begun:
                    raise Closed(TOO_MANY, "Too many initialisation requests")
                self._is_begun = True
                self._actor = await self._who(said)
                await self._say(_ACKNOWLEDGEMENT)
            case Ping():
                await self._say(_json({"type": "pong", **said.members}))
            case Pong():
                pass
            case Subscribe():
                self._subscribe(said.id, said.request)
            case Complete():
                if (task := self._operations.pop(said.id, None)) is not None:
                    task.cancel()

    async def _who(self, said: ConnectionInit) -> Actor:
        """Whoever begins. Raises Closed."""
        headers = {**dict(self._scope["headers"]), **said.headers}
        try:
            async with asyncio.timeout(self._limits.init_timeout_seconds):
                actor = await self._identify(self._scope, headers)
            self._admitted.belong_to(actor)
        except TooManyStreams as error:
            raise Closed(TOO_MANY, str(error)) from error
        except Unauthenticated as error:
            raise Closed(FORBIDDEN, error.message) from error
        except TooManyRequests as error:
            raise Closed(TRY_AGAIN_LATER, error.message) from error
        except (TimeoutError, DomainError) as error:
            raise Closed(TRY_AGAIN_LATER, "It cannot be said at the moment who you are: try again") from error
        self._expires_at = None if actor.expires_at is None else actor.expires_at.timestamp()
        return actor

    def _subscribe(self, id: str, request: OperationRequest) -> None:
        if (actor := self._actor) is None:
            raise Closed(UNAUTHORIZED, "Unauthorized")
        if id in self._operations:
            raise Closed(SUBSCRIBER_EXISTS, _around("Subscriber for ", id, " already exists"))
        if len(self._operations) >= self._limits.operations:
            most = self._limits.operations
            raise Closed(TOO_MANY, f"At most {most} operations at a time on one socket (MAX_OPERATIONS_PER_SOCKET)")
        self._operations[id] = self._loop.create_task(self._run(id, request, actor))

    async def _run(self, id: str, request: OperationRequest, actor: Actor) -> None:
        """Run one operation. Its id is free again before the client is told of its end."""
        before, after = b'{"id":%b,"type":"next","payload":' % orjson.dumps(id), b"}"
        task, counts = asyncio.current_task(), self._counts

        def sink(frame: Frame) -> bool:
            if self._operations.get(id) is not task:
                return True
            if self._write(before + frame.body + after):
                counts.deliveries += 1
                return True
            return False

        try:
            started = await self._runner.start(request, actor, socket=self._scope, sink=sink)
            del request  # A subscription may last for days.
            if isinstance(started, Subscription):
                await self._stream(id, started, before, after)
            elif started.executed:
                await self._say((before + started.body + after).decode())
                self._forget(id)
                await self._say(_json({"id": id, "type": "complete"}))
            else:
                self._forget(id)
                await self._say(_json({"id": id, "type": "error", "payload": orjson.loads(started.body)["errors"]}))
        except OSError:
            return  # The client has gone, and whoever reads from the socket ends it.
        finally:
            self._forget(id)

    async def _stream(self, id: str, subscription: Subscription, before: bytes, after: bytes) -> None:
        """Send the frames that the sink did not take."""
        try:
            async with aclosing(subscription.frames) as frames:
                async for frame in frames:
                    await self._say((before + frame.body + after).decode())
                    self._counts.deliveries += 1
        except OSError:
            raise
        except Exception as error:
            entry = failure(error, logs.request_id.get() or "")
            self._forget(id)
            await self._say(_json({"id": id, "type": "error", "payload": [entry]}))

    def _forget(self, id: str) -> None:
        if self._operations.get(id) is asyncio.current_task():
            del self._operations[id]

    async def _say(self, text: str) -> None:
        await self._outlet.send({"type": "websocket.send", "text": text})

    def _close(self, code: int, reason: str) -> None:
        """Close from outside: whoever reads from the socket is told by the server."""
        self._code = code
        for task in self._operations.values():
            task.cancel()
        self._closing = self._loop.create_task(_close(self._send, code, reason))

    async def _stop(self) -> None:
        tasks = [*self._operations.values(), *([self._closing] if self._closing else [])]
        for task in self._operations.values():
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _json(message: Mapping[str, Any]) -> str:
    return orjson.dumps(message).decode()


def _around(before: str, quoted: str, after: str) -> str:
    """A close reason that quotes as much as fits."""
    room = _MOST_REASON_BYTES - len(before.encode()) - len(after.encode())
    return before + quoted.encode()[:room].decode(errors="ignore") + after


async def _close(send: Send, code: int, reason: str) -> None:
    with suppress(OSError):  # The client was faster.
        await send({"type": "websocket.close", "code": code, "reason": _around("", reason, "")})


async def _refuse(send: Send, status: int, message: str) -> None:
    """Answer the handshake with an HTTP error."""
    answer = error_answer(status, message)
    await send(
        {
            "type": "websocket.http.response.start",
            "status": answer.status,
            "headers": [*answer.headers, *SECURITY_HEADERS],
        }
    )
    await send({"type": "websocket.http.response.body", "body": answer.body})
