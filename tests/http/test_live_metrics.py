"""What `/metrics` tells about subscriptions."""

from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest

from db.event_log import RELAY_LOCK
from tests.http.event_stream import listen
from tests.http.graphql_socket import CHANGES, connect, open_incident, rename
from tests.http.scrape import sample
from tests.servers import ServerProcess
from tests.waiting import until

EVENTS = "subscription { events { type } }"
PREFIX = "reliability_studio_"


@pytest.fixture
async def own_server(database_url: str) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(DATABASE_URL=database_url, MAX_STREAMS_PER_ADDRESS="2") as running:
        yield running


@pytest.fixture
async def own_http(own_server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=own_server.url, timeout=30) as client:
        yield client


async def test_who_listens_and_what_was_delivered(own_server: ServerProcess, own_http: httpx.AsyncClient) -> None:
    async def value(name: str, **labels: str) -> float:
        return await sample(own_http, PREFIX + name, **labels)

    async def listeners() -> tuple[float, ...]:
        return (
            await value("connections", transport="websocket"),
            await value("connections", transport="sse"),
            await value("subscriptions", state="up_to_date"),
            await value("streams"),
        )

    incident = await open_incident(own_http)
    assert await listeners() == (0, 0, 0, 0)
    async with connect(own_server.url) as socket, listen(own_http, EVENTS) as stream:
        await socket.subscribe("1", EVENTS)
        await socket.subscribe("2", CHANGES, variables={"incident": incident})

        async def all_listen() -> bool:
            return await listeners() == (1, 1, 3, 2)

        await until(all_listen)
        await rename(own_http, incident, "Renamed")
        assert (await stream.hear_event()).event == "next"
        heard: set[str] = set()
        while heard != {"1", "2"}:
            heard.add((await socket.hear())["id"])
        assert await value("deliveries_total", transport="websocket") >= 2
        assert await value("deliveries_total", transport="sse") >= 1
        assert await value("relay_leader") == 1
        assert await value("relay_moved_total") > 0
        assert await value("event_log_position") > 0

        async def has_read_all() -> bool:  # Jobs of the server, such as the incident's analysis, write events as well.
            return await value("event_log_reader_lag_events") == 0

        await until(has_read_all)

        async with connect(own_server.url, init=False) as refused:
            assert (await refused.closed())[0] == 4429
        assert await value("connections_refused_total", transport="websocket") == 1

    async def nobody_listens() -> bool:
        return await listeners() == (0, 0, 0, 0)

    await until(nobody_listens)


async def test_a_relay_that_does_not_run_shows_as_lag(database_url: str) -> None:
    elsewhere = await asyncpg.connect(database_url)
    await elsewhere.execute(f"select pg_advisory_lock({RELAY_LOCK})")
    async with (
        ServerProcess(DATABASE_URL=database_url) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):

        async def value(name: str) -> float:
            return await sample(http, PREFIX + name)

        async def lags() -> bool:
            return await value("relay_lag_seconds") > 0.1

        assert await value("relay_lag_seconds") == 0
        await open_incident(http)
        await until(lags)
        assert await value("relay_leader") == 0
        assert await value("relay_moved_total") == 0
        await elsewhere.close()

        async def has_caught_up() -> bool:
            return await value("relay_lag_seconds") == 0 and await value("relay_leader") == 1

        await until(has_caught_up)
