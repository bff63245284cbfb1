"""How fast alerts are taken and folded, and into how few incidents. See `--help`.

Two measurements on one server process with its own Postgres:

storm   50 000 alerts over 200 services, posted as fast as the server takes them. The story behind them has 20 causes: a
        service breaks, and whatever depends on it follows, hop after hop. Printed: alerts per second until the last
        one is in its incident, and how many incidents there are; at most as many as there were causes is good.
pace    1 000 alerts per second in notifications of 10, as Alertmanager sends them, while the server works them off.
        Printed: how long the acknowledgement takes, which is given when a notification is stored (p50, p99).

The load runs in this process and shares the machine: where CPUs are few or busy, the server is faster than it looks,
and the CPU time that an alert takes says more.
"""

import argparse
import asyncio
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any, Final

import asyncpg
import httpx
import orjson
from rich.console import Console

from bench import processes
from db.connecting import driver_url
from db.embedded import EmbeddedPostgres
from migrations.upgrade import upgrade

SERVICES: Final = 200
CAUSES: Final = 20
CONNECTIONS: Final = 8
PACE_ALERTS_PER_SECOND: Final = 1_000
PACE_BATCH: Final = 10
STORM_BATCH: Final = 50
JSON: Final = {"content-type": "application/json"}
WEBHOOK: Final = "/api/webhooks/alertmanager"
WAITING: Final = "select count(*) from alert_deliveries where processed_at is null"
NAMES: Final = ("HighErrorRatio", "HighLatency", "PodCrashLooping", "QueueGrows", "SaturatedPool")


@dataclass(frozen=True, slots=True)
class Story:
    """What happens: who depends on whom, and the notifications in their order."""

    depends_on: dict[str, list[str]]
    notifications: list[bytes]
    alerts: int


def main() -> None:
    """Run the benchmark. Exits with 1 where there are more incidents than causes."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.alerts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="5 000 alerts and 3 s of pace, for a first impression")
    parser.add_argument("--alerts", type=int, help="alerts of the storm (50 000)")
    parser.add_argument("--seconds", type=float, help="how long the pace is kept (15)")
    parser.add_argument("--seed", type=int, default=1, help="of the story (1)")
    arguments = parser.parse_args()
    alerts = arguments.alerts or (5_000 if arguments.quick else 50_000)
    seconds = arguments.seconds or (3.0 if arguments.quick else 15.0)
    sys.exit(0 if asyncio.run(run(Console(), alerts=alerts, seconds=seconds, seed=arguments.seed)) else 1)


async def run(console: Console, *, alerts: int, seconds: float, seed: int) -> bool:
    """Measure and print. True where the storm folded into at most as many incidents as it had causes."""
    story = tell_story(alerts, seed)
    with TemporaryDirectory(prefix="reliability-studio-bench-") as folder:
        os.chmod(folder, 0o755)  # noqa: S103  # the account of the embedded Postgres has to enter it
        async with EmbeddedPostgres(Path(folder) / "postgres") as postgres:
            await upgrade(postgres.url)
            async with Server(postgres.url) as server:
                await server.declare(story.depends_on)
                console.print(f"storm: {story.alerts:,} alerts, {SERVICES} services, {CAUSES} causes")
                before = await server.cpu_seconds()
                took = await server.storm(story)
                after = await server.cpu_seconds()
                incidents = await server.count("select count(distinct incident_id) from alerts")
                merged = await server.count("select count(*) from incidents") - incidents
                loose = await server.count("select count(*) from alerts where incident_id is null")
                console.print(
                    f"  {story.alerts / took:,.0f} alerts/s accepted and grouped ({took:.1f} s), "
                    f"{incidents} incidents ({merged} more were merged into them), {loose} alerts without one"
                )
                micros = [(late - early) / story.alerts * 1e6 for early, late in zip(before, after, strict=True)]
                console.print(f"  CPU time of an alert: server {micros[0]:,.0f} µs, Postgres {micros[1]:,.0f} µs")
                latencies = await server.pace(seconds)
                cuts = quantiles(latencies, n=100)
                console.print(
                    f"pace: {PACE_ALERTS_PER_SECOND:,} alerts/s for {seconds:g} s: acknowledged after "
                    f"p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms, worst {max(latencies) * 1e3:.0f} ms"
                )
    return incidents <= CAUSES and loose == 0


def tell_story(alerts: int, seed: int) -> Story:
    """A storm: `CAUSES` services break within ten minutes, and each takes those that depend on it along."""
    chance = random.Random(seed)  # of dice, not of secrets
    names = [f"service-{number}" for number in range(SERVICES)]
    start = datetime.now(UTC) - timedelta(minutes=20)
    depends_on: dict[str, list[str]] = {}
    hit: dict[str, datetime] = {}
    for number, name in enumerate(names):
        if number < CAUSES:
            hit[name] = start + timedelta(seconds=chance.uniform(0, 600))
            continue
        # It needs one that was hit before; its own trouble begins some seconds later.
        cause = names[chance.choice(range(number % CAUSES, number, CAUSES))]
        depends_on[name] = [cause]
        hit[name] = hit[cause] + timedelta(seconds=chance.uniform(5, 90))
    told = []
    for number in range(alerts):
        service = names[number % SERVICES]
        labels = {
            "alertname": chance.choice(NAMES),
            "service": service,
            "pod": f"{service}-{number}",
            "severity": chance.choice(("warning", "critical")),
        }
        starts_at = hit[service] + timedelta(seconds=chance.uniform(0, 120) if number >= SERVICES else 0)
        # Notifications come some seconds late, in an order of their own.
        told.append((starts_at + timedelta(seconds=chance.uniform(0, 4)), alert(labels, starts_at)))
    told.sort(key=lambda pair: pair[0])
    ordered = [it for _, it in told]
    batches = [ordered[begin : begin + STORM_BATCH] for begin in range(0, len(ordered), STORM_BATCH)]
    return Story(depends_on, [notification(batch) for batch in batches], alerts)


def alert(labels: dict[str, str], starts_at: datetime) -> dict[str, Any]:
    """An alert as Alertmanager posts it."""
    return {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": f"{labels['service']} hurts", "runbook_url": "https://example.org/runbook"},
        "startsAt": starts_at.isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "https://prometheus.example.org/graph",
        "fingerprint": f"{hash(tuple(sorted(labels.items()))) & 0xFFFF_FFFF_FFFF_FFFF:016x}",
    }


def notification(alerts: Sequence[dict[str, Any]]) -> bytes:
    """A body of Alertmanager's."""
    return orjson.dumps({"version": "4", "groupKey": "{}:{}", "receiver": "studio", "alerts": alerts})


class Server:
    """One server process, and what is asked of it."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url

    async def __aenter__(self) -> "Server":
        command = Path(sys.executable).parent / "reliability-studio"
        environment = {"PATH": "/usr/bin:/bin", "DATABASE_URL": self._database_url, "PORT": "0"}
        environment |= {"LOG_LEVEL": "info", "LOG_FORMAT": "json", "AUTH_ENABLED": "false"}
        self._process = await asyncio.create_subprocess_exec(
            command, "serve", env=environment, stdout=asyncio.subprocess.PIPE
        )
        if self._process.stdout is None:
            raise RuntimeError("the server's output is piped")
        url = None
        while url is None:
            line = orjson.loads(await self._process.stdout.readline())
            url = line["url"] if line["event"] == "serving" else None
        self._draining = asyncio.create_task(self._drain(self._process.stdout))
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        self._http = httpx.AsyncClient(base_url=url, limits=limits, timeout=60)
        self._connection = await asyncpg.connect(driver_url(self._database_url))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()
        await self._http.aclose()
        self._process.terminate()
        await self._process.wait()
        await self._draining

    @staticmethod
    async def _drain(output: asyncio.StreamReader) -> None:
        while await output.read(65_536):
            pass

    async def cpu_seconds(self) -> tuple[float, float]:
        """What the server and its Postgres have used so far."""
        backend = await self.count("select pg_backend_pid()")
        postgres = processes.tree(processes.parent(backend))
        return processes.cpu_seconds({self._process.pid}), processes.cpu_seconds(postgres)

    async def count(self, sql: str) -> int:
        """A number from the database."""
        return int(await self._connection.fetchval(sql))

    async def declare(self, depends_on: dict[str, list[str]]) -> None:
        """Tell the catalog who depends on whom."""
        document = "mutation($input: CreateServiceInput!) { createService(input: $input) { errors { message } } }"
        for name, on in depends_on.items():
            # A cause is discovered with whoever is the first to depend on it.
            body = {"query": document, "variables": {"input": {"name": name, "dependsOn": on}}}
            answer = (await self._http.post("/graphql", json=body)).json()
            if answer["data"]["createService"]["errors"] and "exists" not in str(answer):
                raise RuntimeError(f"{name} could not be declared: {answer}")

    async def storm(self, story: Story) -> float:
        """Post all of a story; return after how many seconds the last alert had its incident."""
        started = time.perf_counter()
        waiting = iter(story.notifications)

        async def post() -> None:
            for body in waiting:
                answer = await self._http.post(WEBHOOK, content=body, headers=JSON)
                if answer.status_code != 200:
                    raise RuntimeError(f"a notification was refused: {answer.status_code}")

        await asyncio.gather(*(post() for _ in range(CONNECTIONS)))
        while await self.count(WAITING):  # noqa: ASYNC110  # another process works on it
            await asyncio.sleep(0.02)
        return time.perf_counter() - started

    async def pace(self, seconds: float) -> list[float]:
        """Post at a pace; return how long each acknowledgement took, from when the notification was due."""
        latencies: list[float] = []
        interval = PACE_BATCH / PACE_ALERTS_PER_SECOND
        loop = asyncio.get_running_loop()
        begin = loop.time()
        now = datetime.now(UTC)

        async def post(number: int, due: float) -> None:
            service = f"service-{number % SERVICES}"
            batch = [
                alert({"alertname": "Pace", "service": service, "pod": f"{number}-{place}"}, now)
                for place in range(PACE_BATCH)
            ]
            answer = await self._http.post(WEBHOOK, content=notification(batch), headers=JSON)
            if answer.status_code != 200:
                raise RuntimeError(f"a notification was refused: {answer.status_code}")
            latencies.append(loop.time() - due)

        async with asyncio.TaskGroup() as group:
            for number in range(round(seconds / interval)):
                due = begin + number * interval
                await asyncio.sleep(max(0.0, due - loop.time()))
                group.create_task(post(number, due))
        return latencies


if __name__ == "__main__":
    main()
