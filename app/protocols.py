"""uvicorn's protocols, with what clients need that stop reading: nothing of ours waits for them, or grows."""

from typing import Final

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

ABORT: Final = "reliability_studio.abort"
"""An extension of HTTP scopes: a function that closes the connection without waiting for what was not taken."""


class HTTPProtocol(HttpToolsProtocol):
    """Lets the application abort a connection: returning would wait until everything that was sent is taken."""

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"abort": self.transport.abort}}


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Closes when told to, whether the client reads or not."""

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

    def handle_ping(self) -> None:
        """Answer a ping, unless the client takes no answers: they would pile up."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()
