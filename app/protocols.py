"""uvicorn's protocols, with what clients need that stop reading: nothing of ours waits for them, or grows."""

from http import HTTPStatus
from typing import Any, Final

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

ABORT: Final = "reliability_studio.abort"
"""An extension of HTTP scopes: a function that closes the connection without waiting for what was not taken."""


WRITE: Final = "reliability_studio.write"
"""An extension of WebSocket scopes: a function that sends a text frame at once, and says whether there was room."""

_TEXT = 0x81  # A frame that is a whole message (RFC 6455, section 5.2).


class HTTPProtocol(HttpToolsProtocol):
    """Lets the application abort a connection: returning would wait until everything that was sent is taken."""

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"abort": self.transport.abort}}


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Closes when told to, whether the client reads or not."""

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
        if self.close_timer is not None:
            # uvicorn would close in an orderly way, which waits for the client for ever.
            self.close_timer.cancel()
            self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        """Something comes in: nothing to be read any more, after a message that was too much."""
        if self.conn.parser_exc is None:
            super().data_received(data)

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
