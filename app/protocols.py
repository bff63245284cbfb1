"""uvicorn's protocols, with what clients need that stop reading: nothing of ours waits for them, or grows."""

import asyncio
from asyncio import TimerHandle, Transport
from http import HTTPStatus
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import MAX_LINE_LENGTH, MAX_NUM_HEADERS, Request

from app.http.answer import CLOSE, error_answer
from app.http.security_headers import SECURITY_HEADERS

ABORT: Final = "reliability_studio.abort"
"""An extension of HTTP scopes: a function that closes the connection without waiting for what was not taken."""


WRITE: Final = "reliability_studio.write"
"""An extension of WebSocket scopes: a function that sends a text frame at once, and says whether there was room."""

MOST_HEAD_BYTES: Final = 65_536
"""Of a request's line and headers together."""

MOST_FIELDS: Final = 128
"""Of a request's header, which is as many as WebSockets allow."""

_TOO_LARGE = f"The URL and the headers have more than the {MOST_HEAD_BYTES} bytes that are allowed"
_TOO_MANY = f"The request has more than the {MOST_FIELDS} headers that are allowed"
_TOO_LARGE_FOR_A_SOCKET = (
    f"A WebSocket may be asked for with {MAX_NUM_HEADERS} headers of at most {MAX_LINE_LENGTH} bytes each"
)
_LINGER_SECONDS: Final = 0.5
_FRESH_LINGER_SECONDS: Final = 2.0  # Who has connected and not asked yet is about to.
_UNREADABLE_LENGTH = (
    "The length of the body is said in a way that is not read here: chunked is the one transfer encoding"
)
_NOT_ONE_HOST = "A request has to say once which host it is for"
_TELLING = frozenset({b"expect", b"host", b"transfer-encoding"})
_TEXT = 0x81  # A frame that is a whole message (RFC 6455, section 5.2).


class ProtocolConfig(uvicorn.Config):
    """uvicorn's configuration, with how long a client may take for the headers of a request."""

    def __init__(self, application: ASGIApp, *, header_timeout_seconds: float, **options: Any) -> None:
        super().__init__(application, http=HTTPProtocol, ws=WebSocketProtocol, **options)
        self.header_timeout_seconds = header_timeout_seconds


class HTTPProtocol(HttpToolsProtocol):
    """Bounds the size and the time of a request's head, and lets the application abort a connection.

    uvicorn would collect headers for ever, and wait for them as long. The ordinary way of closing, to return, would
    wait until everything that was sent is taken.
    """

    def __init__(self, config: ProtocolConfig, *arguments: Any, **options: Any) -> None:
        super().__init__(config, *arguments, **options)
        self._head_seconds = config.header_timeout_seconds
        self._head_timer: TimerHandle | None = None
        self._head_bytes = 0
        """Of a head that is not complete, in earlier chunks."""
        self._chunk_bytes = 0
        self._is_in_head = False
        self._refused: tuple[int, str] | None = None
        self._hosts = 0
        self._is_over = False
        """Nothing that comes in is read any more."""
        self._is_leaving = False
        """The next request is the last."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # as in uvicorn
        """A client connects."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something comes in: in most cases a whole head, which needs no timer."""
        if self._is_over:
            return
        self._chunk_bytes = len(data)
        super().data_received(data)
        if not self._is_in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MOST_HEAD_BYTES:
            self._refuse(431, _TOO_LARGE)
        elif self._head_timer is None:
            self._start_timer()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._is_in_head = True
        self._head_bytes = 0
        self._hosts = 0
        self.scope["extensions"] = {ABORT: {"abort": self.transport.abort}}

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers is there. Raises HeadRefused, as `on_headers_complete` does."""
        name = name.lower()
        if name in _TELLING:
            match name:
                case b"host":
                    self._hosts += 1
                case b"expect":
                    self.expect_100_continue = value.lower() == b"100-continue"
                case _ if value.lower() != b"chunked":
                    # A proxy in front may read it otherwise than the parser does, and see another request in the body.
                    raise self._refusal(501, _UNREADABLE_LENGTH)
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Its head is there. Raises HeadRefused, which the parser turns into `send_400_response`."""
        self._is_in_head = False
        self._stop_timer()
        if self._head_bytes + self._chunk_bytes > MOST_HEAD_BYTES:
            # The chunk may hold a body as well.
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > MOST_HEAD_BYTES:
                raise self._refusal(431, _TOO_LARGE)
        if len(self.headers) > MOST_FIELDS:
            raise self._refusal(431, _TOO_MANY)
        if self._hosts != 1 and self.parser.get_http_version() == "1.1":
            raise self._refusal(400, _NOT_ONE_HOST)
        super().on_headers_complete()
        if self._is_leaving and self.cycle is not None:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """The server stops. A request that is on its way to an idle connection is still answered, as the last one:
        whoever sent it could not know.
        """
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            self._is_leaving = True
            self.loop.call_later(_FRESH_LINGER_SECONDS if cycle is None else _LINGER_SECONDS, super().shutdown)
        else:
            super().shutdown()

    def handle_websocket_upgrade(self) -> None:
        """A client wants a WebSocket, for which it is too late when the server stops."""
        if self._is_leaving:
            self._refuse(503, "The server is shutting down, try again")
        else:
            super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(*(self._refused or (400, msg)))

    def _refusal(self, status: int, message: str) -> "HeadRefused":
        self._refused = status, message
        return HeadRefused(message)

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(self._head_seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if self._is_in_head:
            self._refuse(408, f"The headers did not arrive within {self._head_seconds:g} s (HEADER_TIMEOUT_SECONDS)")
        else:
            self.transport.abort()  # It has not even begun to ask.

    def _refuse(self, status: int, message: str) -> None:
        """Answer without the application, and close."""
        self._stop_timer()
        self._is_in_head = False
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body or cycle.response_started or self.pipeline:
                cycle.keep_alive = False  # The request before this one gets its answer, and then it is over.
                self._is_over = True
                return
            cycle.disconnected = (
                True  # It is the body of this one that cannot be read: nobody has to wait for the rest.
            )
            cycle.message_event.set()
        self.transport.write(_response(status, message))
        self.transport.close()


class HeadRefused(Exception):
    """The head of a request is not what it may be."""


def _response(status: int, message: str) -> bytes:
    """An error as it goes over the wire, without the application."""
    answer = error_answer(status, message, CLOSE, *SECURITY_HEADERS)
    head = [
        b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode()),
        *(b"%b: %b\r\n" % header for header in answer.headers),
        b"content-length: %d\r\n\r\n" % len(answer.body),
    ]
    return b"".join([*head, answer.body])


class Inbox:
    """What comes in, for one reader. asyncio's queue is many times as large, and every connection has one."""

    __slots__ = ("_messages", "_waiter")

    def __init__(self) -> None:
        self._messages: list[ASGIReceiveEvent] = []
        self._waiter: asyncio.Future[None] | None = None

    def put_nowait(self, message: ASGIReceiveEvent) -> None:
        """Add a message. The connection reads no further while one waits."""
        self._messages.append(message)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def empty(self) -> bool:
        """Whether none waits."""
        return not self._messages

    async def get(self) -> ASGIReceiveEvent:
        """The next message."""
        while not self._messages:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._messages.pop(0)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Closes when told to, whether the client reads or not, and keeps no more than an idle connection needs."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.queue = Inbox()  # type: ignore[assignment] # of asyncio's queue, uvicorn uses no more than this has

    def handle_connect(self, event: Request) -> None:
        """A handshake comes."""
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[WRITE] = {"write": self.write}

    def write(self, text: bytes) -> bool:
        """Send a text frame at once, if the client takes what was sent before. It costs much less than `send`."""
        if not self.writable.is_set() or self.close_sent or self.transport.is_closing():
            return False
        size = len(text)
        if size < 126:
            head = bytes((_TEXT, size))
        elif size < 65_536:
            head = bytes((_TEXT, 126)) + size.to_bytes(2)
        else:
            head = bytes((_TEXT, 127)) + size.to_bytes(8)
        self.transport.write(head + text)
        return True

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message when there is room, or close at once. Raises ClientDisconnected when it is too late."""
        if message["type"] == "websocket.close":
            self.writable.set()
        elif not self.writable.is_set():
            await self.writable.wait()
        if self.close_sent:
            raise ClientDisconnected
        await super().send(message)
        if message["type"] == "websocket.accept":
            # The handshake is over, and the application has its headers in the scope.
            self.request.headers.clear()
            del self.response
        if self.close_timer is not None:
            # uvicorn would close in an orderly way, which waits for the client for ever.
            self.close_timer.cancel()
            self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        """Something comes in: nothing to be read any more, after a message that was too much."""
        if self.conn.parser_exc is None:
            super().data_received(data)
        if not self.handshake_initiated and not self.transport.is_closing():
            # The first data is a whole handshake. uvicorn would let a client wait that sends one which cannot be read.
            self.transport.write(_response(431, _TOO_LARGE_FOR_A_SOCKET))
            self.transport.close()

    def handle_cont(self, event: Frame) -> None:
        """A message goes on. Frames without anything in them would be kept until its end, which need not come."""
        if event.data or event.fin:
            super().handle_cont(event)

    def handle_parser_exception(self) -> None:
        """Close after a message that is too big, or not what it says: and not before the client knows why.

        To close while more of the message comes in would reset the connection, and what the client is told be lost.
        """
        close = self.conn.close_sent
        if close is None or self.close_sent:
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": close.code, "reason": close.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def handle_ping(self) -> None:
        """Answer a ping, unless the client takes no answers: they would pile up."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()
