"""What happens to subscribers on bad days: slow clients, servers that stop, logs that forget. Nothing is lost."""

import asyncio
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
import websockets

from feed.cursor import decode
from tests.http.event_stream import EVENT_STREAM, listen
from tests.http.graphql_socket import CHANGES, SUBPROTOCOL, GraphQLSocket, connect, open_incident, rename, socket_url
from tests.http.scrape import sample
from tests.postgres import run_sql
from tests.servers import ServerProcess
from tests.waiting import until

FRAMES = 40
DESCRIPTION = "x" * 10_000
ALIASES = " ".join(f"copy{number}: description" for number in range(50))
"""Makes every frame half a megabyte, so that a few fill whatever lies between the server and a client."""
LARGE = f"""
subscription($incident: ID!, $after: String) {{
  incidentEvents(incidentId: $incident, filter: {{ types: [INCIDENT_UPDATED] }}, after: $after) {{
    cursor previousCursor incident {{ {ALIASES} }}
  }}
}}
"""


@pytest.fixture
async def own_server(database_url: str) -> AsyncIterator[ServerProcess]:
    """A server of the test's own, which drops clients that take nothing for 1 s."""
    async with ServerProcess(DATABASE_URL=database_url, SEND_TIMEOUT_SECONDS="1") as running:
        yield running


@pytest.fixture
async def own_http(own_server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=own_server.url, timeout=30) as client:
        yield client


async def now(http: httpx.AsyncClient) -> str:
    answer = await http.post("/graphql", json={"query": "{ asOfCursor }"})
    cursor: str = answer.json()["data"]["asOfCursor"]
    return cursor


async def positions_after(http: httpx.AsyncClient, incident: str, after: str, count: int) -> list[int]:
    """Where the next changes of an incident stand in the log."""
    async with listen(http, CHANGES, variables={"incident": incident, "after": after}) as stream:
        return [position((await stream.hear_event()).id or "") for _ in range(count)]


def position(cursor: str) -> int:
    """Where a cursor stands in the log. Its text also says what the stream began with."""
    return decode(cursor).position


@asynccontextmanager
async def lazy_socket(url: str) -> AsyncGenerator[GraphQLSocket]:
    """A socket that reads nothing which it is not asked for."""
    options: dict[str, Any] = {"max_queue": 1, "max_size": None, "ping_interval": None, "close_timeout": 1}
    async with websockets.connect(socket_url(url), subprotocols=[SUBPROTOCOL], **options) as connection:
        socket = GraphQLSocket(connection)
        await socket.init()
        yield socket


async def was_dropped(server: ServerProcess) -> bool:
    return any(line["event"] == "socket closed" and line["code"] == 1013 for line in server.log)


async def test_a_socket_that_takes_nothing_is_dropped_delays_nobody_and_resumes_without_loss(
    own_server: ServerProcess, own_http: httpx.AsyncClient
) -> None:
    incident = await open_incident(own_http, description=DESCRIPTION)
    start = await now(own_http)
    variables = {"incident": incident, "after": start}
    async with lazy_socket(own_server.url) as slow, connect(own_server.url, max_size=None) as quick:
        await slow.subscribe("1", LARGE, variables=variables)
        await quick.subscribe("1", LARGE, variables=variables)
        for number in range(FRAMES):
            await rename(own_http, incident, f"Title {number}")
            assert (await quick.hear())["type"] == "next"
        await until(lambda: was_dropped(own_server))
        assert await sample(own_http, "reliability_studio_slow_clients_dropped_total", transport="websocket") == 1

        taken = []
        while True:
            try:
                message = orjson.loads(await asyncio.wait_for(slow.connection.recv(), 20))
            except websockets.ConnectionClosed:
                break
            taken.append(message["payload"]["data"]["incidentEvents"]["cursor"])
    assert slow.connection.close_code == 1013
    assert "resume" in (slow.connection.close_reason or "")
    assert 0 < len(taken) < FRAMES

    rest = await positions_after(own_http, incident, taken[-1], FRAMES - len(taken))
    assert [*map(position, taken), *rest] == await positions_after(own_http, incident, start, FRAMES)


async def test_an_event_stream_that_takes_nothing_is_dropped_delays_nobody_and_resumes_without_loss(
    own_server: ServerProcess, own_http: httpx.AsyncClient
) -> None:
    incident = await open_incident(own_http, description=DESCRIPTION)
    start = await now(own_http)
    variables = {"incident": incident, "after": start}
    body = orjson.dumps({"query": LARGE, "variables": variables})
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(own_server.url).port)
    head = f"POST /graphql HTTP/1.1\r\nHost: localhost\r\nAccept: {EVENT_STREAM}\r\nContent-Type: application/json\r\n"
    writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    async with listen(own_http, LARGE, variables=variables) as quick:
        for number in range(FRAMES):
            await rename(own_http, incident, f"Title {number}")
            assert (await quick.hear_event()).event == "next"

    def was_ended() -> bool:
        return sum(line.get("operation") == "subscription" for line in own_server.log) == 2

    await until(was_ended)
    assert await sample(own_http, "reliability_studio_slow_clients_dropped_total", transport="sse") == 1
    received = bytearray()
    try:
        while chunk := await reader.read(1_000_000):
            received += chunk
    except ConnectionResetError:
        pass
    writer.close()
    taken = [line.removeprefix(b"id: ").decode() for line in received.split(b"\n") if line.startswith(b"id: ")]
    assert taken[0] == start
    assert 1 < len(taken) < FRAMES
    assert b"event: complete" not in received

    rest = await positions_after(own_http, incident, taken[-2], FRAMES - len(taken) + 2)
    assert [*map(position, taken[1:-1]), *rest] == await positions_after(own_http, incident, start, FRAMES)


async def test_a_server_that_stops_sends_its_subscribers_away_to_come_back(own_server: ServerProcess) -> None:
    async with (
        httpx.AsyncClient(base_url=own_server.url, timeout=30) as http,
        connect(own_server.url) as socket,
        listen(http, "subscription { events { type } }") as stream,
    ):
        await socket.subscribe("1", "subscription { events { type } }")
        await socket.ask("2", "{ __typename }")
        assert set((await stream.hear()).fields) == {"retry"}
        assert set((await stream.hear()).fields) == {"id"}
        stopping = asyncio.create_task(own_server.stop(signal.SIGTERM))

        assert (await socket.closed())[0] == 1012
        assert await stream.rest() == []
        assert await asyncio.wait_for(stopping, 30) == 0


async def test_a_subscriber_that_comes_back_to_another_server_has_missed_nothing(database_url: str) -> None:
    async with (
        ServerProcess(DATABASE_URL=database_url) as first,
        ServerProcess(DATABASE_URL=database_url) as second,
        httpx.AsyncClient(base_url=second.url, timeout=30) as http,
        connect(first.url) as socket,
    ):
        incident = await open_incident(http)
        await socket.watch("1", incident)
        await rename(http, incident, "Before")
        seen = (await socket.hear())["payload"]["data"]["incidentEvents"]
        await first.stop(signal.SIGKILL)
        await rename(http, incident, "Meanwhile")

        async with connect(second.url) as another:
            await another.subscribe("1", CHANGES, variables={"incident": incident, "after": seen["cursor"]})
            missed = (await another.hear())["payload"]["data"]["incidentEvents"]
            assert missed["incident"]["title"] == "Meanwhile"
            assert missed["previousCursor"] == seen["cursor"]


async def test_a_cursor_that_the_log_has_forgotten_is_expired_and_the_oldest_one_is_named(
    own_server: ServerProcess, own_http: httpx.AsyncClient, database_url: str
) -> None:
    incident = await open_incident(own_http)
    start = await now(own_http)
    for title in ("One", "Two", "Three"):
        await rename(own_http, incident, title)
    positions = await positions_after(own_http, incident, start, 3)
    newest = "select max(position) from event_log where type = 'INCIDENT_UPDATED'"
    await run_sql(database_url, f"delete from event_log where position < ({newest})")

    async with connect(own_server.url) as socket:
        variables = {"incident": incident, "after": start}
        await socket.subscribe("1", CHANGES, variables=variables)
        (error,) = (await socket.hear())["payload"]
        assert error["extensions"]["code"] == "CURSOR_EXPIRED"
        oldest = error["extensions"]["oldestCursor"]
        await socket.subscribe("1", CHANGES, variables={**variables, "after": oldest})
        event = (await socket.hear())["payload"]["data"]["incidentEvents"]
        assert position(event["cursor"]) == positions[-1]
    async with listen(own_http, CHANGES, variables={"incident": incident}, last_event_id=start) as stream:
        (error,) = (await stream.hear_event()).data["errors"]
        assert (error["extensions"]["code"], error["extensions"]["oldestCursor"]) == ("CURSOR_EXPIRED", oldest)


async def test_a_cursor_of_another_log_is_refused(own_http: httpx.AsyncClient, http: httpx.AsyncClient) -> None:
    query = "subscription($after: String) { events(after: $after) { type } }"
    async with listen(own_http, query, variables={"after": await now(http)}) as stream:
        (error,) = (await stream.hear_event()).data["errors"]

    assert error["extensions"]["code"] == "INVALID_CURSOR"


async def test_the_cursor_of_a_payload_comes_after_the_change_and_before_everything_later(
    own_server: ServerProcess, own_http: httpx.AsyncClient
) -> None:
    change = """
    mutation($id: ID!, $title: String!) {
      updateIncident(input: { id: $id, title: $title }) { cursor errors { message } }
    }
    """
    incident = await open_incident(own_http)
    async with connect(own_server.url) as socket:

        async def change_title(title: str) -> Any:
            result = await socket.ask("1", change, variables={"id": incident, "title": title})
            return result["data"]["updateIncident"]["cursor"]

        after_first = await change_title("First")
        after_second = await change_title("Second")
        assert after_first is not None
        assert await change_title("Second") is None  # Nothing happened.
        await socket.subscribe("2", CHANGES, variables={"incident": incident, "after": after_first})
        event = (await socket.hear())["payload"]["data"]["incidentEvents"]
    assert event["incident"]["title"] == "Second"
    assert event["previousCursor"] == after_first
    async with listen(own_http, CHANGES, variables={"incident": incident, "after": after_second}) as stream:
        await rename(own_http, incident, "Third")
        assert (await stream.hear_event()).data["data"]["incidentEvents"]["previousCursor"] == after_second
