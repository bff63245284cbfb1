"""Several processes on one port, and the parent that watches over them."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import httpx
import psutil
import pytest

from tests.app.test_serving import refuses_connections
from tests.postgres import LOCK_INCIDENTS, READERS_OF_INCIDENTS_THAT_WAIT
from tests.servers import ServerProcess, run_command
from tests.waiting import until

WORKERS = 2


@pytest.fixture(scope="module")
async def fleet(served_database_url: str) -> AsyncIterator[ServerProcess]:
    """Two workers."""
    async with ServerProcess("--workers", str(WORKERS), DATABASE_URL=served_database_url) as running:
        yield running


def workers(server: ServerProcess) -> list[psutil.Process]:
    """The processes that serve."""
    return psutil.Process(server.process.pid).children()


async def health(server: ServerProcess) -> tuple[str, str | None]:
    """What the fleet says of its workers."""
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        component = (await http.get("/api/health")).json()["components"]["workers"]
    return component["status"], component["message"]


async def is_healthy(server: ServerProcess) -> bool:
    return await health(server) == ("healthy", None)


async def test_connections_that_stay_open_are_spread_over_all_of_them(fleet: ServerProcess) -> None:
    host, port = fleet.url.removeprefix("http://").split(":")
    opened = [await asyncio.open_connection(host, int(port)) for _ in range(100)]

    def held() -> Counter[int]:
        return Counter(
            worker.pid
            for worker in workers(fleet)
            for connection in worker.net_connections("tcp")
            if connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == int(port)
        )

    await until(lambda: held().total() >= 100)
    assert len(held()) == WORKERS
    assert min(held().values()) >= 20  # Less would happen once in ten thousand million runs.
    for _, writer in opened:
        writer.close()


async def test_whichever_is_scraped_tells_the_metrics_of_all(fleet: ServerProcess) -> None:
    async with httpx.AsyncClient(base_url=fleet.url, timeout=30) as http:
        told = (await http.get("/metrics")).text

    for number in range(1, WORKERS + 1):
        assert f'reliability_studio_worker_up{{worker="{number}"}} 1.0' in told
        assert f'process_start_time_seconds{{worker="{number}"}}' in told


async def test_on_sighup_they_are_replaced_one_by_one_and_nobody_is_refused(fleet: ServerProcess) -> None:
    before = {worker.pid for worker in workers(fleet)}
    statuses: Counter[int] = Counter()

    async def ask_all_the_time() -> None:
        while True:
            # A new connection each time.
            async with httpx.AsyncClient(base_url=fleet.url, verify=False, timeout=30) as http:  # noqa: S501 # no TLS
                statuses[(await http.get("/api/services")).status_code] += 1

    asking = asyncio.create_task(ask_all_the_time())
    fleet.process.send_signal(signal.SIGHUP)
    await until(
        lambda: asking.done() or any(line["event"] == "all workers are replaced" for line in fleet.log),
        timeout_seconds=60,
    )
    assert not asking.done(), asking.exception()
    asking.cancel()

    after = {worker.pid for worker in workers(fleet)}
    assert len(after) == WORKERS
    assert not before & after
    assert set(statuses) == {200}
    assert await is_healthy(fleet)


async def test_one_that_dies_is_started_again_while_the_other_serves(fleet: ServerProcess) -> None:
    victim, survivor = workers(fleet)
    victim.kill()

    async def is_noticed() -> bool:
        try:
            return (await health(fleet))[0] == "degraded"
        except httpx.TransportError:
            return False  # It had got the connection.

    await until(is_noticed)
    assert await health(fleet) == ("degraded", "1 of 2 workers are being started again")
    await until(lambda: is_healthy(fleet), timeout_seconds=60)
    assert survivor.is_running()
    assert len(workers(fleet)) == WORKERS
    died = next(line for line in fleet.log if line["event"] == "a worker died, starting another")
    assert (died["pid"], died["exit_code"]) == (victim.pid, -signal.SIGKILL)


async def test_the_port_is_not_shared_with_another_server(fleet: ServerProcess) -> None:
    port = fleet.url.rpartition(":")[2]
    code, _, complaints = await run_command("serve", "--workers", "2", "--port", port)

    assert code == 1
    assert f"Port {port} of 127.0.0.1 is in use" in complaints


async def test_told_to_stop_all_finish_what_runs(database_url: str) -> None:
    blocker, watcher = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
    async with ServerProcess("--workers", "2", DATABASE_URL=database_url) as server:
        children = workers(server)
        clients = [httpx.AsyncClient(base_url=server.url, timeout=60) for _ in range(6)]
        await blocker.execute(LOCK_INCIDENTS)
        running = [asyncio.create_task(client.get("/api/incidents")) for client in clients]

        async def all_wait() -> bool:
            # Not within the transaction of the lock, which sees the sessions of its beginning.
            return bool(await watcher.fetchval(READERS_OF_INCIDENTS_THAT_WAIT) >= len(clients))

        await until(all_wait)
        stopping = asyncio.create_task(server.stop())
        await until(lambda: refuses_connections(server.url))
        assert not any(request.done() for request in running)
        await blocker.execute("rollback")
        answers = [await request for request in running]
        code = await stopping
        for client in clients:
            await client.aclose()
    await blocker.close()
    await watcher.close()

    assert code == 0
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, "[]")}
    assert not any(child.is_running() for child in children)


async def test_workers_that_cannot_start_end_the_parent(database_url: str) -> None:
    await _execute(database_url, "alter table incidents rename column title to name")
    code, _, complaints = await run_command(
        "serve", "--workers", "2", "--port", "0", settings={"DATABASE_URL": database_url}
    )

    assert code == 1
    assert "title" in complaints
    assert "The workers do not start. What they said is above." in complaints


async def test_they_do_not_outlive_a_parent_that_is_killed(fleet: ServerProcess) -> None:
    """The last of all, because nothing is left of the fleet."""
    children = workers(fleet)
    await fleet.stop(signal.SIGKILL)
    await until(lambda: not any(child.is_running() for child in children))

    assert sum(line["event"] == "the supervisor is gone, stopping" for line in fleet.log) == WORKERS


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(sql)
    await connection.close()
