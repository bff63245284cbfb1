"""The life of a server process, from its start to its orderly end."""

import asyncio
import signal
import time
from pathlib import Path

import asyncpg
import httpx
import pytest

from tests.postgres import LOCK_INCIDENTS, READERS_OF_INCIDENTS_THAT_WAIT
from tests.servers import ServerProcess
from tests.waiting import until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_stop_it_finishes_what_runs_accepts_no_more_and_exits_with_0(
    database_url: str, number: signal.Signals
) -> None:
    blocker = await asyncpg.connect(database_url)
    async with (
        ServerProcess(DATABASE_URL=database_url) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):
        idle = await http.get("/health")  # leaves a connection open that says nothing any more
        await blocker.execute(LOCK_INCIDENTS)
        running = asyncio.create_task(http.get("/api/incidents"))

        async def request_waits() -> bool:
            return bool(await blocker.fetchval(READERS_OF_INCIDENTS_THAT_WAIT) > 0)

        await until(request_waits)
        stopping = asyncio.create_task(server.stop(number))
        await until(lambda: refuses_connections(server.url))
        assert not running.done()
        await blocker.execute("rollback")
        response = await running
        code = await stopping
    await blocker.close()

    assert idle.status_code == 200
    assert (response.status_code, response.json()) == (200, [])
    assert response.headers["connection"] == "close"
    assert code == 0
    assert server.log[-1]["event"] == "stopped"


async def test_what_does_not_finish_in_time_is_told_so_and_ended(database_url: str) -> None:
    blocker = await asyncpg.connect(database_url)
    async with (
        ServerProcess(DATABASE_URL=database_url, SHUTDOWN_TIMEOUT_SECONDS="3") as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):
        await blocker.execute(LOCK_INCIDENTS)
        running = asyncio.create_task(http.get("/api/incidents"))

        async def request_waits() -> bool:
            return bool(await blocker.fetchval(READERS_OF_INCIDENTS_THAT_WAIT) > 0)

        await until(request_waits)
        started = time.monotonic()
        code = await server.stop()
        took_seconds = time.monotonic() - started
        response = await running
    await blocker.close()

    assert code == 0
    assert took_seconds < 15, "it is given 3 s, and not the usual 20"
    assert (response.status_code, response.json()) == (503, {"error": "The server is shutting down, try again"})


async def test_a_client_that_never_finishes_its_request_does_not_keep_it_from_stopping(database_url: str) -> None:
    async with ServerProcess(DATABASE_URL=database_url, SHUTDOWN_TIMEOUT_SECONDS="3") as server:
        host, port = server.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /graphql HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n")
        await writer.drain()
        code = await server.stop()
        writer.close()

    assert code == 0


async def test_without_a_database_of_the_users_it_brings_its_own_and_keeps_the_data(folder: Path) -> None:
    async with (
        ServerProcess("--data-dir", str(folder)) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):
        (await http.post("/api/incidents", json={"title": "Survives"})).raise_for_status()
        assert await server.stop() == 0

    assert f"{server.url}/graphql" in server.complaints
    assert str(folder) in server.complaints
    async with (
        ServerProcess("--data-dir", str(folder)) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):
        titles = [incident["title"] for incident in (await http.get("/api/incidents")).json()]
    assert titles == ["Survives"]


async def test_with_the_demo_there_is_an_incident_to_look_at(database_url: str) -> None:
    async with (
        ServerProcess("--demo", DATABASE_URL=database_url) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):
        active = await http.get("/api/incidents/active")

    assert active.headers["x-total-count"] == "1"


async def test_log_lines_are_json_with_time_level_and_event(database_url: str) -> None:
    async with (
        ServerProcess(DATABASE_URL=database_url) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):
        await http.get("/health?password=secret")
        await server.stop()

    about_serving = {"serving", "request", "stopping", "stopped"}
    told = [line["event"] for line in server.log if line["event"] in about_serving]
    assert told == ["serving", "request", "stopping", "stopped"]
    assert all(line["time"].endswith("Z") for line in server.log)
    assert {line["level"] for line in server.log if line["event"] in about_serving} == {"info"}
    assert "secret" not in str(server.log)


async def refuses_connections(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return True
    writer.close()
    return False
