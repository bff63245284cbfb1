"""A dashboard over fifty services in one query, from a backend that takes 20 ms a call: a part of `bench.telemetry`.

It has to cost at most three calls, 60 ms and 15 ms of our CPU. With a Loki that hangs, it has to end at the deadline,
with everything else answered. Wall times are printed beside one bare call of the backend in the same run.
"""

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from statistics import median
from typing import Any

import asyncpg
import httpx
import orjson
from rich.console import Console
from rich.table import Table

from app.backends import open_backends
from app.settings import Settings
from bench.data import CACHE
from db.database import Database
from db.embedded import EmbeddedPostgres
from domain.access import Actor, Role
from domain.time import Deadline
from migrations.upgrade import upgrade
from resolvers.context import RequestContext
from resolvers.operations import OperationRequest, Operations
from schema.root import build_schema

SERVICES = 50
MOST_CALLS = 3
MOST_WALL_SECONDS = 0.060
MOST_CPU_SECONDS = 0.015
DELAY_SECONDS = 0.020
POINTS = 60
DEADLINE_SECONDS = 1.5

_METRIC = "http_server_request_duration_seconds_count"
_METRICS = "metrics(range: $range, stepSeconds: 60) { name signal unit points { time value } }"
_DASHBOARD = f"query($range: TimeRange!) {{ services(first: {SERVICES}) {{ nodes {{ name tier {_METRICS} }} }} }}"
_WITH_LOGS = _DASHBOARD.replace(_METRICS, f"{_METRICS} logs(range: $range, level: [ERROR], first: 5) {{ line }}")
ROUNDS = 30


async def run(console: Console, rounds: int = ROUNDS) -> bool:
    """Measure and print. True where every limit was kept."""
    async with EmbeddedPostgres(CACHE / "dashboard") as postgres, backend() as url, silent() as hanging:
        await upgrade(postgres.url)
        await _fill(postgres.url)
        settings = Settings.model_validate({"prometheus_url": url, "loki_url": hanging})
        database = await Database.connect(postgres.url, pool_size=2, pool_max=5, read_connections=2)
        try:
            async with open_backends(settings) as backends:
                client = _Client(Operations(build_schema()), database, backends.telemetry)
                return await _measure(console, client, url, rounds)
        finally:
            await database.close()


async def _measure(console: Console, client: "_Client", url: str, rounds: int) -> bool:
    answer = orjson.loads(await client.ask(_DASHBOARD, 10))  # What is learned about names is remembered from here on.
    series = [series for node in answer["data"]["services"]["nodes"] for series in node["metrics"]]
    found = (len(series), len(series[0]["points"]))
    walls, cpus, calls, bare = [], [], [], []
    gc.collect()
    gc.freeze()  # As the server does once it has started.
    async with httpx.AsyncClient(base_url=url) as http:
        for _ in range(rounds):
            started = time.perf_counter()
            await http.post("/api/v1/query", data={"query": "up"})
            bare.append(time.perf_counter() - started)
            before = (await http.get("/calls")).json()
            started, cpu = time.perf_counter(), time.process_time()
            await client.ask(_DASHBOARD, 10)
            walls.append(time.perf_counter() - started)
            cpus.append(time.process_time() - cpu)
            calls.append((await http.get("/calls")).json() - before)
    started = time.perf_counter()
    body = await client.ask(_WITH_LOGS, DEADLINE_SECONDS)
    hung_seconds = time.perf_counter() - started
    partial = orjson.loads(body)
    nodes = partial["data"]["services"]["nodes"]
    whole = len(nodes) == SERVICES and all(len(node["metrics"]) == 3 and node["logs"] is None for node in nodes)
    codes = {error["extensions"]["code"] for error in partial["errors"]}

    table = Table("what", "measured", "limit", "kept", box=None, title=f"{found[0]} series of {found[1]} points")
    kept = [
        _row(table, "calls", f"{max(calls)}", f"{MOST_CALLS}", max(calls) <= MOST_CALLS),
        _row(table, "wall, median", _ms(median(walls)), _ms(MOST_WALL_SECONDS), median(walls) < MOST_WALL_SECONDS),
        _row(table, "CPU, median", _ms(median(cpus)), _ms(MOST_CPU_SECONDS), median(cpus) < MOST_CPU_SECONDS),
        _row(
            table,
            f"Loki hangs ({', '.join(codes)})",
            _ms(hung_seconds),
            _ms(DEADLINE_SECONDS),
            whole and hung_seconds < DEADLINE_SECONDS and codes == {"TELEMETRY_TIMEOUT"},
        ),
    ]
    table.add_row("one bare call, median", _ms(median(bare)))
    table.add_row("dashboard / bare call", f"{median(walls) / median(bare):.2f}")
    console.print(table)
    return all(kept)


class _Client:
    """Asks the schema in this process, so that its CPU can be told from everybody else's."""

    def __init__(self, operations: Operations, database: Database, telemetry: Any) -> None:
        self._operations = operations
        self._database = database
        self._telemetry = telemetry

    async def ask(self, query: str, deadline_seconds: float) -> bytes:
        now = datetime.now(UTC)
        context = RequestContext(
            database=self._database,
            actor=Actor(None, "bench", Role.ADMIN),
            deadline=Deadline.after(deadline_seconds),
            request_id="bench",
            now=now,
            telemetry=self._telemetry,
        )
        end = now.timestamp() // 60 * 60
        range = {"from": _iso(end - 60 * (POINTS - 1)), "to": _iso(end)}
        request = OperationRequest(query, variables={"range": range})
        return (await self._operations.execute(request, context, allowed={"query"})).body


async def _fill(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("delete from services")
        for number in range(SERVICES):
            await connection.execute(
                "insert into services (id, name, display_name, created_at, updated_at)"
                " values (gen_random_uuid(), $1, $1, now(), now())",
                _name(number),
            )
    finally:
        await connection.close()


@asynccontextmanager
async def backend() -> AsyncIterator[str]:
    """A process that answers as Prometheus would, each call after 20 ms. Its URL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.telemetry_dashboard", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """Somebody who listens and never says anything."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        yield _address(server)


async def serve_backend() -> None:
    """Answer until terminated."""
    calls = 0

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        while head := await _head(reader):
            length = next(
                (line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b"0"
            )
            form = await reader.readexactly(int(length))
            if b"/calls" in head:
                body = orjson.dumps(calls)
            else:
                calls += 1
                body = _range(form) if b"query_range" in head else _KNOWN
                await asyncio.sleep(DELAY_SECONDS)
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    print(_address(server), flush=True)  # Standard output is how the parent hears of it.
    await server.serve_forever()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


def _range(form: bytes) -> bytes:
    start = float(next(part[6:] for part in form.split(b"&") if part.startswith(b"start=")))
    if start not in _RANGES:
        _RANGES.clear()
        values = [[start + 60 * point, f"{0.1234567 * (point + 1)}"] for point in range(POINTS)]
        result = [{"metric": {"service": _name(number)}, "values": values} for number in range(SERVICES)]
        _RANGES[start] = _success("matrix", result)
    return _RANGES[start]


def _success(kind: str, result: Sequence[Any]) -> bytes:
    return orjson.dumps({"status": "success", "data": {"resultType": kind, "result": result}})


def _name(number: int) -> str:
    return f"service-{number:02}"


def _address(server: asyncio.Server) -> str:
    host, port = server.sockets[0].getsockname()
    return f"http://{host}:{port}"


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _row(table: Table, what: str, measured: str, limit: str, kept: bool) -> bool:
    table.add_row(what, measured, limit, "[green]yes[/]" if kept else "[bold red]no[/]")
    return kept


_RANGES: dict[float, bytes] = {}
_KNOWN = _success(
    "vector",
    [
        {
            "metric": {"__name__": _METRIC, "service": _name(number), "http_response_status_code": "200"},
            "value": [1, "1"],
        }
        for number in range(SERVICES)
    ],
)


if __name__ == "__main__":
    asyncio.run(serve_backend())
