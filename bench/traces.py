"""What the server's own traces cost: CPU per request of one compiled query, with traces and without. See `--help`.

The application runs in this process, without a server around it, so that nothing else is measured; the collector runs
in another. Rounds alternate, and what is printed is the median of the rounds' ratios to the round without traces. CPU
is that of the whole process: the thread that makes spans the SDK's, and its exporter, are part of it.
"""

import argparse
import asyncio
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx
import orjson
from rich.console import Console
from rich.table import Table
from starlette.types import ASGIApp, Message

from app.asgi import application
from app.observability.exporters import Exporters
from app.settings import Settings
from bench.documents import ONE_INCIDENT
from db.embedded import EmbeddedPostgres
from migrations.upgrade import upgrade

MOST_RATIO: Final = 1.10
_AT_A_TIME: Final = 8
_CREATE: Final = {"title": "Checkout answers slowly", "severity": "high", "service": "checkout"}


def main() -> None:
    """Run the benchmark. Exits with 1 where the usual sampling costs more than a tenth."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.traces", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=3_000, help="requests of a round (3000)")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each kind (9)")
    arguments = parser.parse_args()
    sys.exit(0 if asyncio.run(run(Console(), requests=arguments.requests, rounds=arguments.rounds)) else 1)


async def run(console: Console, *, requests: int, rounds: int) -> bool:
    """Measure and print. True where the usual sampling costs at most a tenth."""
    ours, theirs = multiprocessing.Pipe()
    collector = multiprocessing.get_context("spawn").Process(target=_collect, args=(theirs,), daemon=True)
    collector.start()
    endpoint = f"http://127.0.0.1:{await asyncio.to_thread(ours.recv)}"
    kinds: dict[str, dict[str, Any]] = {
        "off": {},
        "off, once more": {},
        "on, as by default": {"otel_exporter_otlp_endpoint": endpoint},
        "on, every request": {"otel_exporter_otlp_endpoint": endpoint, "otel_traces_sampler": "always_on"},
    }
    try:
        with TemporaryDirectory(prefix="reliability-studio-bench-") as folder:
            os.chmod(folder, 0o755)  # noqa: S103  # the account of the embedded Postgres has to enter it
            async with EmbeddedPostgres(Path(folder) / "postgres") as postgres, AsyncExitStack() as stack:
                await upgrade(postgres.url)
                applications: list[ASGIApp] = []
                for options in kinds.values():
                    settings = Settings(auth_enabled=False, rate_limit_address=1_000_000_000, **options)
                    exporters = Exporters.open(settings)
                    stack.callback(exporters.close)
                    opening = application(settings, postgres.url, with_workers=False, exporters=exporters)
                    applications.append(await stack.enter_async_context(opening))
                body = await _question(applications[0])
                seconds = await _measure(applications, body, requests=requests, rounds=rounds)
    finally:
        collector.terminate()
    return _show(console, list(kinds), seconds, requests)


async def _measure(applications: Sequence[ASGIApp], body: bytes, *, requests: int, rounds: int) -> list[list[float]]:
    """The CPU seconds of each round of each application, the first of which is left out."""
    seconds: list[list[float]] = [[] for _ in applications]
    for number in range(rounds + 1):
        for measured, asked in zip(seconds, applications, strict=True):
            gc.collect()
            began = time.process_time()
            await _load(asked, body, requests)
            if number > 0:
                measured.append(time.process_time() - began)
    return seconds


async def _load(asked: ASGIApp, body: bytes, requests: int) -> None:
    async def some() -> None:
        for _ in range(requests // _AT_A_TIME):
            # A task of its own for each, as servers do.
            await asyncio.create_task(_ask(asked, body))

    await asyncio.gather(*(some() for _ in range(_AT_A_TIME)))


async def _ask(asked: ASGIApp, body: bytes) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] != 200:
            raise AssertionError(message)

    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": "/graphql",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"accept", b"application/json")],
        "client": ("127.0.0.1", 1),
        "extensions": {},
    }
    await asked(scope, receive, send)


async def _question(asked: ASGIApp) -> bytes:
    """The request for one incident, which is made first."""
    transport = httpx.ASGITransport(asked)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        made = (await client.post("/api/incidents", json=_CREATE)).raise_for_status()
    return orjson.dumps({"query": ONE_INCIDENT, "variables": {"id": made.json()["id"]}})


def _collect(connection: Connection) -> None:
    """Take whatever comes."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    connection.send(server.server_port)
    server.serve_forever()


def _show(console: Console, kinds: Sequence[str], seconds: Sequence[Sequence[float]], requests: int) -> bool:
    table = Table("traces", "CPU µs a request", "ratio to off (median of rounds)", box=None, pad_edge=False)
    ratios = [median(one / off for one, off in zip(of_kind, seconds[0], strict=True)) for of_kind in seconds]
    for kind, of_kind, ratio in zip(kinds, seconds, ratios, strict=True):
        table.add_row(kind, f"{median(of_kind) / requests * 1e6:.1f}", f"{ratio:.3f}")
    console.print(table)
    return ratios[2] <= MOST_RATIO


if __name__ == "__main__":
    main()
