"""How cheap and how quick events reach subscribers: our server beside stock Strawberry, in one run."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import asyncpg
from rich.console import Console

from bench import processes
from bench.changes import WRITERS, Changes, RelayOfOurOwn, prepare
from bench.contestants import OURS, Contestant, CouldNotStart, Server, start
from bench.data import CACHE
from bench.live_report import Delivered, Idle, Latency, Measured, print_measured, print_verdicts
from bench.subscribers import Lost, Subscribers, subscribers
from db.embedded import EmbeddedPostgres, EmbeddedPostgresError

STOCK: Final = "strawberry"
MANY: Final = 1_000

_SELECTION = """{
  __typename cursor previousCursor occurredAt
  incident { id number title severity status }
  ... on IncidentUpdated { changes { field to } }
}"""
ALL: Final = {"query": f"subscription {{ events {_SELECTION} }}"}
ONE: Final = f"subscription($incident: ID!) {{ incidentEvents(incidentId: $incident) {_SELECTION} }}"

_QUIET_SECONDS = 0.5
_LATEST_SECONDS = 60
_IDLE_SHARE = 0.1

EXPLANATION = """
Every server is one process, alone on a CPU of its own where there are two. Its subscribers are raw sockets in another
process; changes to incidents are written by plain SQL together with their events. Ours numbers the events by itself;
beside Strawberry that is done by this process. What is measured:

  one stream        1 000 subscribers who ask the same: deliveries a second, and CPU time of the server for each, when
                    events come as fast as they can be written
  own streams       1 000 subscribers to 1 000 incidents, likewise
  5/s to 1 000      from the commit of a change to its frame in the client, and CPU time for each delivery, at an even
  500/s to 20       pace
  idle              memory of the server with 5 000 subscriptions that wait (quick: 1 000)

Wall times and latencies suffer from whatever else runs on the machine; CPU times and ratios hardly do.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything."""

    burst: int
    rounds_of_incidents: int
    paced_seconds: float
    idle: int


FULL = Plan(burst=300, rounds_of_incidents=3, paced_seconds=15, idle=5_000)
QUICK = Plan(burst=60, rounds_of_incidents=1, paced_seconds=4, idle=1_000)


def main() -> NoReturn:
    """Run the benchmark and exit with 0, or with 1 where a server did not start or lost its subscribers."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.subscriptions",
        description=f"{__doc__}\n{EXPLANATION}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="two minutes, for a first impression")
    parser.add_argument("--ours", action="store_true", help="without Strawberry")
    arguments = parser.parse_args()
    console = Console()
    try:
        asyncio.run(run(console, QUICK if arguments.quick else FULL, with_stock=not arguments.ours))
    except (CouldNotStart, EmbeddedPostgresError, Lost) as error:
        console.print(f"[red]{error}[/red]", highlight=False)
        sys.exit(1)
    sys.exit(0)


async def run(console: Console, plan: Plan, *, with_stock: bool) -> None:
    """Prepare, measure and print. Raises CouldNotStart, Lost."""
    async with EmbeddedPostgres(CACHE / "postgres") as postgres:
        console.print("Making a database with 1 000 incidents")
        url, incident_ids = await prepare(postgres.url, MANY)
        server_cpus, load_cpus = processes.divide_cpus()
        with subscribers() as crowd:
            processes.pin([os.getpid(), *processes.tree(os.getpid())], load_cpus)
            measured: dict[str, Measured] = {}
            for contestant in _contestants(with_stock=with_stock):
                bench = Bench(contestant, url, incident_ids, crowd, server_cpus, console)
                measured[contestant.name] = await bench.measure(plan)
    print_measured(console, measured)
    print_verdicts(console, measured, OURS, STOCK, idle=plan.idle)


def _contestants(*, with_stock: bool) -> list[Contestant]:
    binary = str(Path(sys.executable).with_name("reliability-studio"))
    ours = Contestant(
        OURS,
        lambda port, _: [binary, "serve", "--host", "127.0.0.1", "--port", str(port)],
        environment=lambda url: {"DATABASE_URL": url, "MAX_STREAMS_PER_ADDRESS": "10000", "LOG_LEVEL": "warning"},
    )
    module = "bench.baselines.strawberry_subscriptions"
    stock = Contestant(
        STOCK, lambda port, url: [sys.executable, "-m", module, "--port", str(port), "--database-url", url]
    )
    return [ours, stock] if with_stock else [ours]


class Bench:
    """Measures one contestant. Every figure begins with a new server."""

    def __init__(
        self,
        contestant: Contestant,
        url: str,
        incident_ids: Sequence[str],
        crowd: Subscribers,
        cpus: set[int],
        console: Console,
    ) -> None:
        self._contestant = contestant
        self._url = url
        self._ids = incident_ids
        self._crowd = crowd
        self._cpus = cpus
        self._console = console

    async def measure(self, plan: Plan) -> Measured:
        """Everything, one after the other."""
        one = [{"query": ONE, "variables": {"incident": id}} for id in self._ids]
        # Stock Strawberry is given less: it takes ten times as long, and time says no more about it.
        share = 1 if self._contestant.name == OURS else 5
        return Measured(
            one_stream=await self._burst("one stream", [ALL] * MANY, plan.burst // share, deliveries_each=MANY),
            own_streams=await self._burst("own streams", one, MANY * plan.rounds_of_incidents, deliveries_each=1),
            few_to_many=await self._paced("5/s to 1 000", [ALL] * MANY, 5, plan.paced_seconds / share),
            many_to_few=await self._paced("500/s to 20", [ALL] * 20, 500, plan.paced_seconds / share),
            idle=await self._idle([ALL] * plan.idle),
        )

    async def _burst(
        self, name: str, requests: Sequence[dict[str, Any]], count: int, *, deliveries_each: int
    ) -> Delivered:
        async with AsyncExitStack() as stack:
            server, changes = await self._subscribed(name, requests, stack)
            load, cpu, began = self._crowd.cpu_seconds(), processes.cpu_seconds(server.pids), time.monotonic()
            await changes.at_once(count)
            deliveries = count * deliveries_each
            await self._hear(deliveries)
            cpu = processes.cpu_seconds(server.pids) - cpu
            load = self._crowd.cpu_seconds() - load
            seconds = max(at for _, at in self._crowd.take()) - began
            return Delivered(deliveries, seconds, cpu, load / seconds)

    async def _paced(self, name: str, requests: Sequence[dict[str, Any]], per_second: float, seconds: float) -> Latency:
        async with AsyncExitStack() as stack:
            server, changes = await self._subscribed(name, requests, stack)
            cpu = processes.cpu_seconds(server.pids)
            count = round(per_second * seconds)
            await changes.at_rate(per_second, count)
            await self._hear(count * len(requests))
            cpu = processes.cpu_seconds(server.pids) - cpu
            arrivals = self._crowd.take()
            return Latency([at - changes.committed[number] for number, at in arrivals], cpu)

    async def _idle(self, requests: Sequence[dict[str, Any]]) -> Idle:
        async with AsyncExitStack() as stack:
            server = stack.enter_context(_running(self._contestant, self._url, self._cpus))
            self._say("idle")
            await asyncio.sleep(2)
            base = processes.resident_bytes(server.pids)
            self._crowd.open(server.port, requests)
            stack.callback(self._crowd.close)
            await _settled(server)
            return Idle(len(requests), base, processes.resident_bytes(server.pids))

    async def _subscribed(
        self, name: str, requests: Sequence[dict[str, Any]], stack: AsyncExitStack
    ) -> tuple[Server, Changes]:
        """A server all of whose subscribers have heard of something, and who writes changes for it."""
        self._say(name)
        if self._contestant.name != OURS:
            await stack.enter_async_context(RelayOfOurOwn(self._url))
        server = stack.enter_context(_running(self._contestant, self._url, self._cpus))
        self._crowd.open(server.port, requests)
        stack.callback(self._crowd.close)
        pool = await stack.enter_async_context(asyncpg.create_pool(self._url, min_size=WRITERS, max_size=WRITERS))
        changes = Changes(pool, self._ids)
        until = time.monotonic() + _LATEST_SECONDS
        while self._crowd.heard().subscribers < len(requests):
            if time.monotonic() > until:
                raise Lost(f"{self._contestant.name}: not all subscribers have heard of a change")
            # The protocol does not tell when a subscription has begun.
            await changes.at_once(1 if requests[0] is ALL else len(self._ids))
            await asyncio.sleep(_QUIET_SECONDS)
        await _settled(server)
        self._crowd.take()
        return server, changes

    async def _hear(self, deliveries: int) -> None:
        before, at = 0, time.monotonic()
        while (frames := self._crowd.heard().frames) < deliveries:
            if frames > before:
                before, at = frames, time.monotonic()
            elif time.monotonic() - at > _LATEST_SECONDS:
                raise Lost(f"{self._contestant.name}: {deliveries - frames} of {deliveries} deliveries never came")
            await asyncio.sleep(0.02)
        if frames > deliveries:
            raise Lost(f"{self._contestant.name}: {frames} deliveries came in place of {deliveries}")

    def _say(self, name: str) -> None:
        self._console.print(f"{self._contestant.name}: {name}", highlight=False)


@contextmanager
def _running(contestant: Contestant, url: str, cpus: set[int]) -> Iterator[Server]:
    server = start(contestant, url, cpus)
    try:
        yield server
    finally:
        server.stop()


async def _settled(server: Server) -> None:
    """Wait until the server has nothing more to do."""
    for _ in range(_LATEST_SECONDS):
        before = processes.cpu_seconds(server.pids)
        await asyncio.sleep(_QUIET_SECONDS)
        if processes.cpu_seconds(server.pids) - before < _QUIET_SECONDS * _IDLE_SHARE:
            return
    raise Lost(f"{server.contestant.name} never comes to rest")


if __name__ == "__main__":
    main()
