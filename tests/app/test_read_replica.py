"""A server whose compiled reads go to a standby: what readers see of what was written."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.clock import now
from app.health import Health, replica_dependency
from db.database import Database
from db.replica import Replica
from domain.health import HealthStatus
from tests.http.graphql_socket import connect
from tests.servers import ServerProcess
from tests.standby import Pair, replicated
from tests.waiting import until

CREATE = """mutation($title: String!) { createIncident(input: {title: $title, severity: HIGH}) {
  incident { title } } }"""
TITLES = "{ incidents(first: 50) { nodes { title } } }"
TITLES_AND_CURSOR = "{ asOfCursor incidents(first: 50) { nodes { title } } }"


@pytest.fixture(scope="module")
async def pair(session_folder: Path) -> AsyncIterator[Pair]:
    """A primary and a standby."""
    async with replicated(session_folder / "replicated") as made:
        yield made


@pytest.fixture(scope="module")
async def replica_server(pair: Pair) -> AsyncIterator[ServerProcess]:
    """A server that reads from the standby however far it is behind."""
    async with ServerProcess(
        DATABASE_URL=pair.primary.url, DATABASE_READ_URL=pair.standby.url, DATABASE_READ_MOST_LAG_SECONDS="3600"
    ) as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=30) as client:
            await until(lambda: _is_healthy(client))
        yield running


@pytest.fixture
async def api(replica_server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A client that keeps no cookies by itself."""
    async with httpx.AsyncClient(base_url=replica_server.url, timeout=30) as client:
        yield client


@asynccontextmanager
async def behind(pair: Pair) -> AsyncIterator[None]:
    """The standby replays nothing for the time of the block."""
    await pair.pause()
    try:
        yield
    finally:
        await pair.resume()


async def create(api: httpx.AsyncClient, title: str) -> httpx.Response:
    """Open an incident."""
    answer = await api.post("/graphql", json={"query": CREATE, "variables": {"title": title}})
    api.cookies.clear()
    return answer


async def titles(api: httpx.AsyncClient, headers: Mapping[str, str] | None = None, query: str = TITLES) -> list[str]:
    """The incidents as somebody sees them who sends these headers."""
    answer = await api.post("/graphql", json={"query": query}, headers=headers or {})
    return _titles(answer.json())


async def test_who_brings_the_mark_of_their_write_reads_it_and_others_read_the_standby(
    api: httpx.AsyncClient, pair: Pair
) -> None:
    async with behind(pair):
        written = await create(api, "Marked")
        mark, cookie = written.headers["x-read-after"], written.headers["set-cookie"].partition(";")[0]

        assert written.json()["data"]["createIncident"]["incident"] == {"title": "Marked"}
        assert "Marked" not in await titles(api)
        assert "Marked" in await titles(api, {"x-read-after": mark})
        assert "Marked" in await titles(api, {"cookie": cookie})
        assert "Marked" in await titles(api, {"x-read-after": "primary"})
        assert "Marked" not in await titles(api, {"x-read-after": "0/1"})

    async def has_arrived() -> bool:
        return "Marked" in await titles(api)

    await until(has_arrived)
    before = await _reads(api)
    assert "Marked" in await titles(api, {"x-read-after": mark})
    assert (await _reads(api))["replica"] == before["replica"] + 1


async def test_a_write_over_rest_is_marked_as_well_and_reads_are_not(api: httpx.AsyncClient, pair: Pair) -> None:
    async with behind(pair):
        written = await api.post("/api/incidents", json={"title": "By REST"})
        api.cookies.clear()
        read = await api.get("/api/incidents")

        assert "By REST" in await titles(api, {"x-read-after": written.headers["x-read-after"]})
        assert "x-read-after" not in read.headers


async def test_a_snapshot_that_is_joined_to_a_stream_comes_from_the_primary(api: httpx.AsyncClient, pair: Pair) -> None:
    async with behind(pair):
        await create(api, "In the snapshot")

        assert "In the snapshot" not in await titles(api)
        assert "In the snapshot" in await titles(api, query=TITLES_AND_CURSOR)


async def test_on_a_socket_nobody_has_to_bring_anything(api: httpx.AsyncClient, pair: Pair) -> None:
    async with behind(pair), connect(str(api.base_url)) as socket:
        await create(api, "By somebody else")
        assert "By somebody else" not in _titles(await socket.ask("1", TITLES))

        await socket.ask("2", CREATE, variables={"title": "On this socket"})
        assert "On this socket" in _titles(await socket.ask("3", TITLES))


async def test_who_is_told_of_an_event_finds_what_it_tells_of(api: httpx.AsyncClient, pair: Pair) -> None:
    async with behind(pair), connect(str(api.base_url)) as socket:
        await socket.subscribe("live", "subscription { incidentEvents { type incident { title } } }")
        await create(api, "Told")
        while (told := (await socket.hear())["payload"]["data"]["incidentEvents"])["type"] != "INCIDENT_CREATED":
            pass

        assert told["incident"] == {"title": "Told"}
        await socket.subscribe("read", TITLES)
        while (answer := await socket.hear())["id"] != "read":
            pass
        assert "Told" in _titles(answer["payload"])


async def test_a_standby_that_is_too_far_behind_or_away_is_not_asked_until_it_is_well_again(pair: Pair) -> None:
    async with _watched(pair, most_lag_seconds=0.3) as (database, replica):
        await until(lambda: replica.state.is_usable)
        async with behind(pair):
            async with database.writing(now()) as tx:
                await tx.connection.exec_driver_sql("create table written_meanwhile ()")
            await until(lambda: not replica.state.is_usable)

            assert "s behind, and may be 0.3 s" in replica.state.reason
            assert await _health(replica) == (HealthStatus.DEGRADED, f"{replica.state.reason}: reads go to the primary")
            assert await _in_recovery(database) == b"false"
        await until(lambda: replica.state.is_usable)
        assert await _in_recovery(database) == b"true"

        await pair.standby.stop()
        assert await _in_recovery(database) == b"false"  # at once, however late that is noticed
        await until(lambda: replica.state.reason == "It does not answer")
        assert await _in_recovery(database) == b"false"
        await pair.standby.start()
        await until(lambda: replica.state.is_usable)
        assert await _in_recovery(database) == b"true"
        assert await _health(replica) == (HealthStatus.HEALTHY, None)


async def test_what_the_standby_refuses_is_read_from_the_primary(pair: Pair) -> None:
    async with _watched(pair, most_lag_seconds=3600) as (database, replica):
        await until(lambda: replica.state.is_usable)
        async with behind(pair):
            async with database.writing(now()) as tx:
                await tx.connection.exec_driver_sql("create table migrated_meanwhile ()")
            counting = "select count(*)::text from migrated_meanwhile"

            assert await database.fetch_text(counting, (), timeout_seconds=5) == b"0"
        assert replica.answers["failed"] == 1


async def test_a_primary_that_is_named_as_its_own_replica_is_left_alone(pair: Pair) -> None:
    async with _watched(Pair(pair.primary, pair.primary), most_lag_seconds=10) as (_, replica):
        await until(lambda: replica.state.reason == "It is not a standby")


async def test_reads_go_on_without_the_primary(pair: Pair, api: httpx.AsyncClient) -> None:
    await pair.primary.stop()
    try:
        assert "Marked" in await titles(api)
    finally:
        await pair.primary.start()


@asynccontextmanager
async def _watched(pair: Pair, *, most_lag_seconds: float) -> AsyncIterator[tuple[Database, Replica]]:
    database = await Database.connect(
        pair.primary.url, read_url=pair.standby.url, replica_most_lag_seconds=most_lag_seconds
    )
    assert database.replica is not None
    watching = asyncio.create_task(database.replica.run())
    try:
        yield database, database.replica
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await database.close()


async def _in_recovery(database: Database) -> bytes | None:
    return await database.fetch_text("select pg_is_in_recovery()::text", (), timeout_seconds=5)


async def _health(replica: Replica) -> tuple[HealthStatus, str | None]:
    (component,) = (await Health([replica_dependency(replica)], now=now).report()).components
    return component.status, component.message


async def _is_healthy(client: httpx.AsyncClient) -> bool:
    report = (await client.get("/api/health")).json()
    return bool(report["components"]["read-replica"]["status"] == "healthy")


async def _reads(client: httpx.AsyncClient) -> dict[str, float]:
    prefix = 'reliability_studio_read_replica_reads_total{outcome="'
    lines = (await client.get("/metrics")).text.splitlines()
    found = (line.removeprefix(prefix).split('"} ') for line in lines if line.startswith(prefix))
    return {outcome: float(value) for outcome, value in found}


def _titles(answer: Any) -> list[str]:
    return [node["title"] for node in answer["data"]["incidents"]["nodes"]]
