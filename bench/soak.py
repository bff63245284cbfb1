"""Does a server that is used for a long time stay as it is? `python -m bench.soak --minutes 20`.

Mixed load on `serve --workers N`: queries of several shapes, mutations, subscribers of whom some come and go, alerts
that fire and resolve, and SLOs and detection rules that are evaluated every few seconds against a stand-in for
Prometheus.

Printed are the memory of each process over time with its slopes after the warm-up and in the second half, errors by
their code, and latencies minute by minute. Exits with 1 when something failed.
"""

import argparse
import asyncio
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import orjson
import psutil
import websockets

from bench.prometheus_stand_in import answer as answer_about_slos
from db.embedded import EmbeddedPostgres

COMMAND = Path(sys.executable).with_name("reliability-studio")
SAMPLE_SECONDS = 5.0
SUBSCRIBERS = 20
CHURN_SECONDS = 2.0
SLOS = 30
SERVICES = [f"service-{number}" for number in range(20)]

QUERIES = (
    "query($n: Int!) { incidents(first: $n) { nodes { id title severity status services { name } } } }",
    "query($n: Int!) { incidents(first: $n, filter: {active: true}) { nodes { timeline(last: 5) { totalCount } } } }",
    "query($n: Int!) { services(first: $n) { nodes { name displayName } } slos(first: $n) { nodes { name } } }",
    "query($n: Int!) { asOfCursor incidents(first: $n) { totalCount } alerts(first: $n) { nodes { id } } }",
    "query($n: Int!) { systemHealth { status } incidents(first: $n) { nodes { id } } }",
)
CREATE = """mutation($title: String!, $service: String!) {
  createIncident(input: {title: $title, severity: HIGH, services: [$service]}) {
    incident { id } errors { message } } }"""
RESOLVE = """mutation($id: ID!) {
  updateIncident(input: {id: $id, status: RESOLVED}) { incident { id } errors { message } } }"""
NOTE = """mutation($id: ID!, $text: String!) {
  addTimelineNote(incidentId: $id, text: $text) { errors { message } } }"""
LIVE = "subscription { events { cursor type incident { id title services { name } } } }"
PROMISE = """mutation($input: CreateSLOInput!) { createSlo(input: $input) { slo { id } errors { message } } }"""


@dataclass
class Record:
    """What happened: latencies by kind with their times, errors by what they say, memory by process."""

    began_at: float = field(default_factory=time.monotonic)
    latencies: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    memory: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    delivered: int = 0

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began_at


@dataclass
class Load:
    """Everybody who uses the server."""

    url: str
    record: Record
    open: list[str] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(1))  # of load, not of secrets

    async def ask(self, http: httpx.AsyncClient, kind: str, query: str, **variables: Any) -> Any:
        """Send an operation, and note how it went."""
        started = time.monotonic()
        try:
            answer = await http.post("/graphql", json={"query": query, "variables": variables})
            body = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            self.record.errors[f"{kind}: {type(error).__name__}"] += 1
            return None
        self.record.latencies[kind].append((self.record.seconds, time.monotonic() - started))
        problems = body.get("errors") or [
            error for payload in (body["data"] or {}).values() if isinstance(payload, dict)
            for error in payload.get("errors", ())
        ]  # fmt: skip
        if problems:
            self.record.errors[f"{kind}: {problems[0]['message'][:100]}"] += 1
            return None
        return body["data"]

    async def read(self, http: httpx.AsyncClient) -> None:
        """One query."""
        await self.ask(http, "query", self.chance.choice(QUERIES), n=self.chance.randint(1, 50))

    async def write(self, http: httpx.AsyncClient) -> None:
        """One mutation: something begins, goes on or ends."""
        if len(self.open) < 20:
            service, number = self.chance.choice(SERVICES), len(self.record.latencies["mutation"])
            made = await self.ask(http, "mutation", CREATE, title=f"Incident {number}", service=service)
            if made is not None:
                self.open.append(made["createIncident"]["incident"]["id"])
        elif self.chance.random() < 0.3:
            await self.ask(http, "mutation", RESOLVE, id=self.open.pop(self.chance.randrange(len(self.open))))
        else:
            await self.ask(http, "mutation", NOTE, id=self.chance.choice(self.open), text="Somebody looks at it.")

    async def alert(self, http: httpx.AsyncClient) -> None:
        """One delivery of alerts, some of which fire and some of which are over."""
        alerts = [
            {
                "labels": {"alertname": f"Alert {self.chance.randrange(200)}", "service": self.chance.choice(SERVICES)},
                "status": self.chance.choice(("firing", "resolved")),
                "startsAt": "2026-03-01T12:00:00Z",
            }
            for _ in range(5)
        ]
        started = time.monotonic()
        try:
            answer = await http.post("/api/webhooks/alertmanager", json={"alerts": alerts})
        except httpx.HTTPError as error:
            self.record.errors[f"webhook: {type(error).__name__}"] += 1
            return
        self.record.latencies["webhook"].append((self.record.seconds, time.monotonic() - started))
        if answer.status_code != 200:
            self.record.errors[f"webhook: HTTP {answer.status_code}"] += 1

    async def listen(self, lasting_seconds: float) -> None:
        """Follow all events, for a while at a time."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(lasting_seconds):
                    await self._follow()

    async def _follow(self) -> None:
        address = self.url.replace("http", "ws", 1) + "/graphql"
        protocol = websockets.Subprotocol("graphql-transport-ws")
        try:
            async with websockets.connect(address, subprotocols=[protocol], compression=None) as socket:
                await socket.send('{"type": "connection_init"}')
                async for text in socket:
                    message = orjson.loads(text)
                    if message["type"] == "connection_ack":
                        subscribe = {"id": "1", "type": "subscribe", "payload": {"query": LIVE}}
                        await socket.send(orjson.dumps(subscribe).decode())
                    elif message["type"] == "ping":
                        await socket.send('{"type": "pong"}')
                    elif message["type"] == "next" and "errors" not in message["payload"]:
                        self.record.delivered += 1
                    else:
                        self.record.errors[f"subscription: {text[:100]!r}"] += 1
        except (OSError, websockets.WebSocketException) as error:
            self.record.errors[f"subscription: {type(error).__name__}"] += 1
            await asyncio.sleep(1)


async def at_rate(
    http: httpx.AsyncClient, per_second: float, send: Callable[[httpx.AsyncClient], Coroutine[Any, Any, None]]
) -> None:
    """Send on a clock, whether or not the answers to what was sent before have come."""
    loop, sending = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    due = loop.time()
    try:
        while True:
            task = loop.create_task(send(http))
            sending.add(task)
            task.add_done_callback(sending.discard)
            due += 1 / per_second
            await asyncio.sleep(max(0.0, due - loop.time()))
    finally:
        await asyncio.gather(*sending)  # Whatever was asked is answered.


async def watch(processes: dict[str, psutil.Process], record: Record) -> None:
    """Note the memory of each process, again and again."""
    while True:
        for name, process in processes.items():
            with suppress(psutil.NoSuchProcess):
                record.memory[name].append((record.seconds, process.memory_info().rss / 1e6))
        await asyncio.sleep(SAMPLE_SECONDS)


@asynccontextmanager
async def prometheus() -> AsyncIterator[str]:
    """A stand-in: SLOs get their counts, and every other question a series for each service, which at times is bad."""

    def answer(path: str, form: dict[str, list[str]]) -> bytes:
        if path.endswith("buildinfo"):
            return b'{"status": "success", "data": {"version": "3.5.0"}}'
        if path.endswith("/alerts"):
            return b'{"status": "success", "data": {"alerts": []}}'
        if "query" not in form:
            return b'{"status": "success", "data": []}'
        if "slo_id" in form["query"][0]:
            return answer_about_slos(path, form)
        wave = 0.01 + 0.002 * np.sin(time.time() / 60)
        found = [({"service": name}, str(wave * (number + 1))) for number, name in enumerate(SERVICES)]
        if path.endswith("query_range"):
            start, end, step = (float(form[name][0]) for name in ("start", "end", "step"))
            moments = [start + step * n for n in range(int((end - start) / step) + 1)]
            result: Any = [{"metric": metric, "values": [[at, value] for at in moments]} for metric, value in found]
            return orjson.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})
        result = [{"metric": metric, "value": [time.time(), value]} for metric, value in found]
        return orjson.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"(?i)content-length: (\d+)", head)
                sent = (await reader.readexactly(int(length[1]))).decode() if length else ""
                url = urlsplit(head.split(" ", 2)[1])
                body = answer(url.path, parse_qs(sent or url.query))
                kind = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                writer.write(kind % len(body) + body)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0, limit=2**24)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@asynccontextmanager
async def studio(workers: int, database_url: str, prometheus_url: str) -> AsyncIterator[tuple[str, int]]:
    """Our server: its URL, and the process."""
    settings = {
        "DATABASE_URL": database_url,
        "PROMETHEUS_URL": prometheus_url,
        "SLO_EVALUATION_INTERVAL_SECONDS": "5",
        "DETECTION_INTERVAL_SECONDS": "5",
        "ALERT_GROUPING_WINDOW_SECONDS": "30",
        "LOG_FORMAT": "json",
        "PORT": "0",
        "WORKERS": str(workers),
        "PATH": "/usr/bin:/bin",
        "AUTH_ENABLED": "false",
        "MALLOC_ARENA_MAX": "2",  # as the image has it
    }
    process = await asyncio.create_subprocess_exec(
        COMMAND, "serve", env=settings, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    reading = None
    try:
        async for line in process.stdout:
            if (entry := orjson.loads(line))["event"] == "serving":
                reading = asyncio.create_task(_complaints(process.stdout))
                yield entry["url"], process.pid
                break
    finally:
        process.terminate()
        await process.wait()
        if reading is not None:
            for event, count in (await reading).most_common(20):
                print(f"  {count:6} x {event}")


async def _complaints(lines: asyncio.StreamReader) -> Counter[str]:
    """What the server had to say, without requests that went well."""
    found: Counter[str] = Counter()
    async for line in lines:
        entry = orjson.loads(line)
        if entry["level"] != "info":
            about = " ".join(str(entry[name]) for name in ("kind", "reason") if name in entry)
            found[f"{entry['level']}: {entry['event']} {about}"] += 1
    return found


async def prepare(load: Load, http: httpx.AsyncClient) -> None:
    """Services and their SLOs."""
    for number in range(SLOS):
        service = SERVICES[number % len(SERVICES)]
        await load.ask(http, "set-up", CREATE, title=f"The first of {service}", service=service)
        promise = {
            "name": f"slo-{number}",
            "service": service,
            "objective": 0.99,
            "windowDays": 28,
            "indicator": {"ratio": {"good": f'good{{n="{number}"}}', "total": f'total{{n="{number}"}}'}},
        }
        await load.ask(http, "set-up", PROMISE, input=promise)


async def soak(seconds: float, workers: int, load_factor: float) -> Record:
    """Use a new server for a while."""
    with tempfile.TemporaryDirectory(prefix="reliability-studio-soak-") as folder:
        os.chmod(folder, 0o755)  # noqa: S103 # as root, Postgres runs as another account.
        async with (
            EmbeddedPostgres(Path(folder) / "postgres", settings={"fsync": "off"}) as postgres,
            prometheus() as prometheus_url,
            studio(workers, postgres.url, prometheus_url) as (url, pid),
            httpx.AsyncClient(base_url=url, timeout=30) as http,
        ):
            record = Record()
            load = Load(url, record)
            await prepare(load, http)
            parent = psutil.Process(pid)
            children = {f"worker {n}": child for n, child in enumerate(parent.children(), 1)}
            processes = {"parent" if children else "server": parent, **children}
            tasks = [
                asyncio.create_task(watch(processes, record)),
                asyncio.create_task(at_rate(http, 10 * load_factor, load.read)),
                asyncio.create_task(at_rate(http, 2 * load_factor, load.write)),
                asyncio.create_task(at_rate(http, 0.5 * load_factor, load.alert)),
                *(asyncio.create_task(load.listen(1e9)) for _ in range(SUBSCRIBERS)),
                *(asyncio.create_task(load.listen(CHURN_SECONDS)) for _ in range(4)),
            ]
            try:
                await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    return record


def slope(samples: Sequence[tuple[float, float]], since_seconds: float) -> float:
    """How much the second grows per hour, by the line of least squares, from a time on."""
    later = np.array([sample for sample in samples if sample[0] >= since_seconds])
    return float(np.polyfit(later[:, 0], later[:, 1], 1)[0] * 3600) if len(later) > 2 else float("nan")


def show(record: Record, seconds: float, warm_up_seconds: float) -> None:
    """Print what was found."""
    print(f"\n{seconds / 60:.0f} minutes; what connections and caches keep is collected in the first of them\n")
    marks, since = np.linspace(0, seconds, 6), (warm_up_seconds, seconds / 2)
    heads = "".join(f"{f'after {start / 60:.1f}m':>14}" for start in since)
    print("memory (MB)    " + "".join(f"{mark / 60:7.1f}m" for mark in marks) + f"   slope (MB/h):{heads}")
    for name, samples in record.memory.items():
        values = [min(samples, key=lambda sample: abs(sample[0] - mark))[1] for mark in marks]
        slopes = "".join(f"{slope(samples, start):+14.2f}" for start in since)
        print(f"{name:15}" + "".join(f"{value:8.1f}" for value in values) + " " * 16 + slopes)
    print("\nlatency (ms)      minute   count     p50     p95     p99     max")
    for kind, taken in record.latencies.items():
        by_part: dict[int, list[float]] = defaultdict(list)
        for at, latency in taken:
            by_part[min(int(at * 5 / seconds), 4)].append(latency * 1000)
        for part, values in sorted(by_part.items()):
            p50, p95, p99 = np.percentile(values, (50, 95, 99))
            minute = (part + 1) * seconds / 300
            print(f"{kind:15}{minute:9.1f}{len(values):8}{p50:8.1f}{p95:8.1f}{p99:8.1f}{max(values):8.1f}")
    print(f"\n{record.delivered} events delivered; errors: {dict(record.errors) or 'none'}")


def main() -> None:
    """Run, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--load", type=float, default=1, help="1 is 10 queries and 2 mutations a second")
    parser.add_argument("--warm-up-minutes", type=float, help="a quarter of the time by default, five minutes at most")
    given = parser.parse_args()
    seconds = given.minutes * 60
    warm_up = 60 * given.warm_up_minutes if given.warm_up_minutes is not None else min(300.0, seconds / 4)
    record = asyncio.run(soak(seconds, given.workers, given.load))
    show(record, seconds, warm_up)
    sys.exit(bool(record.errors))


if __name__ == "__main__":
    main()
