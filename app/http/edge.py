"""The outermost ASGI application: what every request gets, whichever way it is answered.

The client behind trusted proxies, a request id in and out, CORS, what browsers have to know of every answer, the
question who asks, a line in the log, a place in the metrics, and a masked answer where something fails.
`/graphql` is answered right here, before routing; everything else by Starlette.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Final

import structlog
import uuid_utils
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http import graphql
from app.http.answer import CLOSE, error_answer, send_answer
from app.http.body import ClientGone
from app.http.cors import AllowedOrigins
from app.http.errors import refusal, unexpected
from app.http.forwarding import TrustedProxies
from app.http.graphql import GraphQLEndpoint, Identify
from app.http.hosts import AllowedHosts, misdirected
from app.http.multipart import send_whole_or_in_parts
from app.http.negotiation import takes_events, wants_page
from app.http.read_marks import ReadMarks
from app.http.security_headers import SECURITY_HEADERS, UNCACHED, Headers, completed, transport_security
from app.http.sse import EventStreams
from app.http.time_limit import TimeLimit
from app.http.tracing import begin_request, end_request
from app.http.websocket import WebSocketEndpoint
from app.observability import logs
from app.observability.metrics import METHODS, RequestDurations
from domain.errors import DomainError
from domain.tracing import Tracer

REQUEST_ID_HEADER: Final = b"x-request-id"

_SANE_REQUEST_ID = re.compile(rb"[!-~]{1,128}")
_CLIENT_CLOSED_REQUEST = 499  # Nobody gets it; it is how nginx tells these from answered requests in logs and metrics.

_WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})

_TOO_LATE = error_answer(504, "The request took longer than allowed")
_SHUTTING_DOWN = error_answer(503, "The server is shutting down, try again", CLOSE)

RequestLog = Callable[[Scope, str, int, float, str | None], None]

log = structlog.get_logger()


class Edge:
    """Wraps Starlette's application and answers the GraphQL endpoint itself."""

    def __init__(
        self,
        endpoint: GraphQLEndpoint,
        sockets: WebSocketEndpoint,
        streams: EventStreams,
        application: ASGIApp,
        *,
        identify: Identify,
        open_paths: Callable[[str], bool],
        time_limit: TimeLimit,
        origins: AllowedOrigins,
        marks: ReadMarks,
        proxies: TrustedProxies,
        hosts: AllowedHosts | None,
        hsts_seconds: int,
        durations: RequestDurations,
        log_request: RequestLog | None,
        tracer: Tracer | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._sockets = sockets
        self._streams = streams
        self._application = application
        self._identify = identify
        self._is_open = open_paths
        self._time_limit = time_limit
        self._origins = origins
        self._marks = marks
        self._proxies = proxies
        self._hosts = hosts
        self._over_https = SECURITY_HEADERS + transport_security(hsts_seconds)
        self._durations = durations
        self._tracer = tracer
        self._log_request = log_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or serve one socket."""
        self._marks.begin(scope)
        if scope["type"] != "http":
            if self._proxies:
                self._proxies.correct(scope, _headers(scope))
            await self._sockets.serve(scope, receive, send)
            return
        started = perf_counter()
        headers = _headers(scope)
        if self._proxies:
            self._proxies.correct(scope, headers)
        request_id = _request_id(headers.get(REQUEST_ID_HEADER))
        logs.request_id.set(request_id)
        always = self._over_https if scope["scheme"] == "https" else SECURITY_HEADERS
        begin_request(self._tracer, headers)
        ours: Headers = ((REQUEST_ID_HEADER, request_id.encode()),)
        if (origin := headers.get(b"origin")) is not None:
            ours += self._origins.headers(origin)

        if self._hosts is not None and not self._hosts.allow(scope["path"], headers.get(b"host")):
            answer = misdirected(headers.get(b"host"))
            await send_answer(send, answer, *ours, *always)
            self._record(scope, "", answer.status, perf_counter() - started, None)
        elif scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await send_answer(send, self._origins.preflight(), *ours, *always)
        elif scope["path"] == graphql.PATH and not _navigates(scope, headers):
            ours += always
            if scope["method"] in ("GET", "POST") and takes_events(headers.get(b"accept")):
                await self._stream(scope, headers, receive, send, request_id, ours, started)
                return
            await self._answer(scope, headers, receive, send, request_id, ours, started)
        else:
            await self._route(scope, headers, receive, send, ours, (*always, UNCACHED), started)

    async def watch_streams(self) -> None:
        """Keep the connections of those alive who listen, and drop those who do not, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sockets.run())
            group.create_task(self._streams.run())

    def end_streams(self) -> None:
        """End what lasts for as long as its client listens. WebSockets are closed by the server itself."""
        self._streams.end()

    async def _answer(
        self,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
        request_id: str,
        ours: Headers,
        started: float,
    ) -> None:
        operation = None
        try:
            answer, operation = await self._endpoint.answer(scope, headers, receive, request_id)
        except ClientGone:
            status = _CLIENT_CLOSED_REQUEST
        except asyncio.CancelledError:
            await send_answer(send, _SHUTTING_DOWN, *ours)
            raise
        else:
            if operation == "mutation":
                ours += await self._marks.after_write()
            status = await send_whole_or_in_parts(scope, receive, send, answer, *ours)
        self._record(scope, graphql.PATH, status, perf_counter() - started, operation)

    async def _stream(
        self,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
        request_id: str,
        ours: Headers,
        started: float,
    ) -> None:
        operation = None
        try:
            status, operation = await self._streams.answer(scope, headers, receive, send, request_id, ours)
        except ClientGone:
            status = _CLIENT_CLOSED_REQUEST
        self._record(scope, graphql.PATH, status, perf_counter() - started, operation)

    async def _route(
        self,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
        ours: Headers,
        defaults: Headers,
        started: float,
    ) -> None:
        path = scope["path"]
        if path.endswith("/") and path.startswith("/api/"):
            scope["path"] = path.rstrip("/")
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                marks = await self._marks.after_write() if status < 300 and scope["method"] in _WRITING else ()
                message["headers"] = [*completed(message["headers"], defaults), *ours, *marks]
            await send(message)

        watch = self._time_limit.start()
        try:
            await self._serve(scope, headers, receive, send_with_headers)
        except ClientDisconnect:
            pass  # Told below, as every request that got no answer.
        except asyncio.CancelledError:
            if status == 0:
                await send_answer(send_with_headers, _TOO_LATE if watch.is_over else _SHUTTING_DOWN)
            if not watch.is_over:
                raise
        except Exception:
            log.exception("a request failed unexpectedly", method=scope["method"], path=path)
            if status == 0:  # Starlette sends the masked answer before it lets go of an error, but others do not.
                await send_answer(send_with_headers, error_answer(500, unexpected()))
        finally:
            self._time_limit.end(watch)
        status = status or _CLIENT_CLOSED_REQUEST
        template = getattr(scope.get("route"), "path", "")
        self._record(scope, template, status, perf_counter() - started, None)

    async def _serve(self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, send: Send) -> None:
        """Let a route answer, once it is known who asks, where that has to be known."""
        if not self._is_open(scope["path"]):
            try:
                scope["actor"] = await self._identify(scope, headers)
            except DomainError as error:
                await send_answer(send, refusal(error))
                return
        await self._application(scope, receive, send)

    def _record(self, scope: Scope, route: str, status: int, seconds: float, operation: str | None) -> None:
        if operation != "subscription":  # It lasts for as long as somebody listens.
            self._durations.observe(scope["method"], route, status, seconds)
        if self._log_request is not None:
            self._log_request(scope, route, status, seconds, operation)
        if self._tracer is not None:
            end_request(scope, route, status, scope["method"] if scope["method"] in METHODS else "_OTHER")


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """The headers by name; one that is repeated counts as one list (RFC 9110, section 5.3)."""
    pairs: list[tuple[bytes, bytes]] = scope["headers"]
    headers = dict(pairs)
    if len(headers) < len(pairs):
        headers.clear()
        for name, value in pairs:
            headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def _request_id(given: bytes | None) -> str:
    """The client's own id when it can be printed anywhere, or a new one."""
    if given is not None and _SANE_REQUEST_ID.fullmatch(given):
        return given.decode("ascii")
    return uuid_utils.uuid7().hex


def _navigates(scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a browser opens the endpoint as a page."""
    return (
        scope["method"] in ("GET", "HEAD")
        and wants_page(headers.get(b"accept"))
        and b"query=" not in scope["query_string"]
        and b"documentId=" not in scope["query_string"]
    )
