"""A client of graphql-transport-ws that says exactly what it is told to."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import httpx
import orjson
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.typing import Subprotocol

SUBPROTOCOL: Final = Subprotocol("graphql-transport-ws")
CHANGES: Final = """
subscription($incident: ID!, $after: String) {
  incidentEvents(incidentId: $incident, filter: { types: [INCIDENT_UPDATED] }, after: $after) {
    type cursor previousCursor incident { title }
  }
}
"""

_PATIENCE_SECONDS = 20


class GraphQLSocket:
    """One open socket."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, message: Any) -> None:
        """Send a frame: text or bytes as they are, anything else as JSON."""
        is_frame = isinstance(message, str | bytes)
        await self.connection.send(message if is_frame else orjson.dumps(message).decode())

    async def hear(self) -> Any:
        """The next message. It has to come in a text frame."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            text = await self.connection.recv()
        assert isinstance(text, str)
        return orjson.loads(text)

    async def init(self) -> None:
        """Begin."""
        await self.say({"type": "connection_init"})
        assert await self.hear() == {"type": "connection_ack"}

    async def subscribe(self, id: str, query: str, **payload: Any) -> None:
        """Ask for an operation."""
        await self.say({"id": id, "type": "subscribe", "payload": {"query": query, **payload}})

    async def ask(self, id: str, query: str, **payload: Any) -> Any:
        """Ask for a query or a mutation; return its result."""
        await self.subscribe(id, query, **payload)
        answer = await self.hear()
        assert (answer.get("id"), answer["type"]) == (id, "next"), answer
        assert await self.hear() == {"id": id, "type": "complete"}
        return answer["payload"]

    async def watch(self, id: str, incident: str) -> None:
        """Subscribe to the changes of an incident from now on, whenever the server gets to it."""
        after = (await self.ask("now", "{ asOfCursor }"))["data"]["asOfCursor"]
        await self.subscribe(id, CHANGES, variables={"incident": incident, "after": after})

    async def hear_title(self, id: str) -> str:
        """The title that an incident has got, from the next message of a subscription to its changes."""
        message = await self.hear()
        assert (message.get("id"), message["type"]) == (id, "next"), message
        event = message["payload"]["data"]["incidentEvents"]
        assert event["type"] == "INCIDENT_UPDATED"
        title: str = event["incident"]["title"]
        return title

    async def closed(self, *, after_messages: bool = False) -> tuple[int | None, str | None]:
        """The code and the reason that the server closes the socket with, before or after it says anything."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            with suppress(websockets.ConnectionClosed):
                message = await self.connection.recv()
                while after_messages:
                    message = await self.connection.recv()
                raise AssertionError(f"the server said {message!r} instead of closing the socket")
        return self.connection.close_code, self.connection.close_reason


def socket_url(url: str) -> str:
    """Where the sockets of a server are."""
    return url.replace("http", "ws", 1) + "/graphql"


@asynccontextmanager
async def connect(url: str, *, init: bool = True, **options: Any) -> AsyncGenerator[GraphQLSocket]:
    """A socket to the server at `url`, begun unless told otherwise."""
    offered = options.pop("subprotocols", [SUBPROTOCOL])
    async with websockets.connect(socket_url(url), subprotocols=offered, **options) as connection:
        socket = GraphQLSocket(connection)
        if init:
            await socket.init()
        yield socket


async def open_incident(http: httpx.AsyncClient, title: str = "Checkout is failing", **known: str) -> str:
    """Open an incident and return its id."""
    answer = await http.post(
        "/api/incidents", json={"title": title, "severity": "high", "service": "checkout", **known}
    )
    id: str = answer.raise_for_status().json()["id"]
    return id


async def rename(http: httpx.AsyncClient, incident: str, title: str) -> None:
    """Change an incident."""
    (await http.patch(f"/api/incidents/{incident}", json={"title": title})).raise_for_status()
