"""Clients that hold a subscription as an application would: they keep their last cursor, and resume by themselves."""

import asyncio
import base64
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import httpx
import orjson
import websockets

RECONNECT_SECONDS = 0.1
PATIENCE_SECONDS = 20

SELECTIONS = {
    "narrow": "__typename cursor previousCursor type",
    "usual": "__typename cursor previousCursor type occurredAt incident { id title severity } service { name }",
    "deep": """
      __typename cursor previousCursor type incident { id services { name } }
      ... on IncidentUpdated { changes { field from to } }
      ... on TimelineEventAdded { timelineEvent { id title } }
    """,
}

SNAPSHOT = """
  query Snapshot($id: ID!) { asOfCursor incident(id: $id) {
    timeline(first: 200) { nodes { id } pageInfo { hasNextPage } } } }
"""


class Disconnected(Exception):
    """The connection is gone, or the server cannot be reached."""


class Refused(Exception):
    """The server answered with errors: no fault explains that."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client asks for, and which events of the log that means, in words of the test."""

    field: str
    variables: Mapping[str, Any]
    means: Callable[[Mapping[str, Any]], bool]
    selection: str = "usual"

    @property
    def query(self) -> str:
        """The document."""
        types = {"filter": "EventFilter", "incidentId": "ID!" if self.field == "timelineEvents" else "ID"}
        names = [*self.variables, "after"]
        declared = ", ".join(f"${name}: {types.get(name, 'String')}" for name in names)
        passed = ", ".join(f"{name}: ${name}" for name in names)
        return f"subscription Live({declared}) {{ {self.field}({passed}) {{ {SELECTIONS[self.selection]} }} }}"


class Address(Protocol):
    """A server, or what stands before several."""

    url: str


class Addresses(Protocol):
    """What a client knows of a fleet."""

    @property
    def slots(self) -> Sequence[Address]:
        """Where to ask."""
        ...


@dataclass(eq=False)
class Subscriber:
    """One client. Everything that it was ever sent is in `received`, across all of its connections."""

    wish: Wish
    fleet: Addresses
    chance: random.Random
    takes_snapshot: bool = True
    start: str | None = None
    known_notes: frozenset[str] | None = None
    """The entries of the incident's timeline in the snapshot that `start` belongs to, for who listens to a timeline."""
    began_after: str | None = None
    """The cursor that the first of `received` was asked for with."""
    received: list[Mapping[str, Any]] = field(default_factory=list)
    connections: int = 0
    transport: ClassVar[str]
    _cut: Callable[[], None] | None = None

    @property
    def cursor(self) -> str | None:
        """Where it would go on."""
        return self.received[-1]["cursor"] if self.received else self.start

    @property
    def events(self) -> list[Mapping[str, Any]]:
        """What it was told, without the checkpoints."""
        return [event for event in self.received if event["type"] != "CHECKPOINT"]

    async def run(self) -> None:
        """Listen until cancelled, on whichever server answers."""
        while True:
            url = self.chance.choice(self.fleet.slots).url
            try:
                if self.takes_snapshot and self.start is None:
                    await self._take_snapshot(url)
                await self.listen(url)
            except (Disconnected, OSError, httpx.TransportError, TimeoutError):
                pass
            finally:
                self._cut = None
            await asyncio.sleep(RECONNECT_SECONDS)

    def cut(self) -> None:
        """Break the connection without a goodbye."""
        if self._cut is not None:
            self._cut()

    async def listen(self, url: str) -> None:
        """Listen on one connection until it breaks. Raises Disconnected."""
        raise NotImplementedError

    def take(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Take an answer, and return the event in it."""
        if payload.get("errors"):
            raise Refused(payload["errors"])
        event: Mapping[str, Any] = payload["data"][self.wish.field]
        self.received.append(event)
        return event

    def request(self, after: str | None) -> dict[str, Any]:
        """What goes to the server to listen after a cursor."""
        if not self.received:
            self.began_after = after
        return {"query": self.wish.query, "variables": {**self.wish.variables, "after": after}}

    async def _take_snapshot(self, url: str) -> None:
        incident = self.wish.variables["incidentId"] if self.wish.field == "timelineEvents" else None
        query = "{ asOfCursor }" if incident is None else SNAPSHOT
        body = {"query": query, "variables": {"id": incident}}
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
            answer = await client.post(f"{url}/graphql", json=body)
        if answer.status_code != 200 or answer.json().get("errors"):
            raise Disconnected(answer.text)
        data = answer.json()["data"]
        if incident is not None:
            timeline = data["incident"]["timeline"]
            assert not timeline["pageInfo"]["hasNextPage"], "too late for a snapshot in one page"
            self.known_notes = frozenset(entry["id"] for entry in timeline["nodes"])
        self.start = data["asOfCursor"]


class WebSocketSubscriber(Subscriber):
    """Speaks graphql-transport-ws."""

    transport = "websocket"

    async def listen(self, url: str) -> None:
        try:
            connection = await websockets.connect(
                url.replace("http", "ws", 1) + "/graphql",
                subprotocols=[websockets.Subprotocol("graphql-transport-ws")],
                compression=None,
                ping_interval=None,
                open_timeout=PATIENCE_SECONDS,
                close_timeout=1,
            )
        except (websockets.InvalidHandshake, EOFError) as error:
            raise Disconnected from error
        async with connection:
            self._cut = connection.transport.abort
            self.connections += 1
            try:
                await connection.send('{"type": "connection_init"}')
                async for text in connection:
                    await self._answer(connection, orjson.loads(text))
            except websockets.ConnectionClosed as error:
                raise Disconnected from error
        raise Disconnected

    async def _answer(self, connection: websockets.ClientConnection, message: Mapping[str, Any]) -> None:
        match message["type"]:
            case "connection_ack":
                subscribe = {"id": "live", "type": "subscribe", "payload": self.request(self.cursor)}
                await connection.send(orjson.dumps(subscribe).decode())
            case "next":
                self.take(message["payload"])
            case "ping":
                await connection.send('{"type": "pong"}')
            case _:
                raise Refused(message)


class EventStreamSubscriber(Subscriber):
    """Reads Server-Sent Events, and resumes by the id of the last one, as a browser's EventSource does."""

    transport = "event stream"
    _last_id: str | None = None

    async def listen(self, url: str) -> None:
        port = int(url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self._cut = writer.transport.abort
        try:
            writer.write(self._request(port))
            status = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_SECONDS)
            if not status.startswith(b"HTTP/1.1 200"):
                raise Disconnected(status.decode())
            self.connections += 1
            async for event in _server_sent_events(reader):
                self._take(event)
        except asyncio.IncompleteReadError as error:
            raise Disconnected from error
        finally:
            writer.transport.abort()
        raise Disconnected

    def _request(self, port: int) -> bytes:
        request = self.request(self._last_id or self.start)
        # A browser sends the same body for ever: the id of the last event goes before its `after`.
        body = orjson.dumps({**request, "variables": {**request["variables"], "after": self.start}})
        resume = f"Last-Event-ID: {self._last_id}\r\n" if self._last_id is not None else ""
        return (
            f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Accept: text/event-stream\r\n{resume}Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def _take(self, event: Mapping[str, str]) -> None:
        if event.get("event") == "complete":
            raise Refused("the server calls the subscription complete")
        if "data" in event:
            taken = self.take(orjson.loads(event["data"]))
            assert taken["cursor"] == event["id"], "a browser would resume elsewhere than a client that reads the data"
        if "id" in event:
            self._last_id = event["id"]


async def _server_sent_events(reader: asyncio.StreamReader) -> AsyncIterator[Mapping[str, str]]:
    text = b""
    while (size := int(await reader.readuntil(b"\r\n"), 16)) > 0:
        text += (await reader.readexactly(size + 2))[:-2]
        *events, text = text.split(b"\n\n")
        for event in events:
            lines = (line.partition(":") for line in event.decode().split("\n"))
            yield {name: value.removeprefix(" ") for name, _, value in lines if name}


def position_of(cursor: str) -> int:
    """Where a cursor stands. Clients never look into them; the judge does."""
    position: int = orjson.loads(base64.b64decode(cursor))[1]
    return position


def wishes(incidents: Sequence[Mapping[str, Any]], services: Sequence[Mapping[str, Any]], count: int) -> list[Wish]:
    """What so many clients ask for: every field, every filter, every selection."""
    made = []
    for number in range(count):
        incident, service = incidents[number % len(incidents)]["id"], services[number % len(services)]
        means = _MEANINGS[number % len(_MEANINGS)]
        field_, variables, lets_through = means(incident, service)
        selection = [*SELECTIONS][number // len(_MEANINGS) % len(SELECTIONS)]
        made.append(Wish(field_, variables, lets_through, selection))
    return made


_OF_INCIDENTS = {"INCIDENT_CREATED", "INCIDENT_UPDATED", "SERVICE_IMPACT_CHANGED", "TASK_CHANGED"}
_FINDINGS = {"CORRELATION_FOUND", "ANALYSIS_COMPLETED"}
_RARE = {"INCIDENT_CREATED", "SERVICE_CHANGED"}
_SEVERE = {"HIGH", "CRITICAL"}

_MEANINGS: Sequence[Callable[[str, Any], tuple[str, Mapping[str, Any], Callable[[Mapping[str, Any]], bool]]]] = (
    lambda _incident, _service: ("events", {}, lambda _: True),
    lambda incident, _: (
        "timelineEvents",
        {"incidentId": incident},
        lambda event: event["type"] == "TIMELINE_EVENT_ADDED" and event["incident_id"] == incident,
    ),
    lambda _incident, _service: ("incidentEvents", {}, lambda event: event["type"] in _OF_INCIDENTS),
    lambda incident, _: (
        "incidentEvents",
        {"incidentId": incident},
        lambda event: event["type"] in _OF_INCIDENTS and event["incident_id"] == incident,
    ),
    lambda _incident, _service: (
        "events",
        {"filter": {"severity": sorted(_SEVERE)}},
        lambda event: event["severity"] in _SEVERE,
    ),
    lambda _, service: (
        "events",
        {"filter": {"services": [service["name"]]}},
        lambda event: service["id"] in event["service_ids"],
    ),
    lambda _incident, _service: (
        "events",
        {"filter": {"types": sorted(_RARE)}},
        lambda event: event["type"] in _RARE,
    ),
    lambda _incident, _service: ("correlationEvents", {}, lambda event: event["type"] in _FINDINGS),
)
