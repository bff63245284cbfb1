"""What telemetry costs us, and what its backends do to the rest of us.

dashboard: a query over fifty services, in backend calls, wall time and CPU; and with a Loki that hangs.

hanging: whether queries that only Postgres answers become slower while a backend hangs. Our server, with the demo shop,
is asked such a query at an even pace. In each round that happens three times: while nobody asks for telemetry, while
others ask for metrics that come at once, and while they ask for metrics that never come. What counts is p99 of the
third beside p99 of the second, round by round, because two stretches of one round met the same weather: both have the
work of asking in them, and differ in the backend alone.
"""

import argparse
import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import NoReturn

import orjson
from rich.console import Console
from rich.table import Table

from bench import telemetry_dashboard
from bench.backend import backend
from bench.contestants import Contestant, CouldNotStart, Server, start
from bench.data import CACHE
from bench.load import Request, UnexpectedAnswer, ask, at_rate, http_post

# Answers have to stay the same, and that for the demo shop's open incident changes when its analysis ends.
POSTGRES_ONLY = (
    "{ incidents(first: 20, filter: { active: false }) { nodes { number title status services { name tier } } } }"
)
# The question differs from asker to asker: what is the same would be asked once.
METRICS = "query($query: String!) { prometheus(query: $query) { kind } }"
NO_SERIES = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'
ASKERS = 20
PAUSE_SECONDS = 1.0
REQUESTS_PER_SECOND = 200.0
CONNECTIONS = 8
OPERATION_TIMEOUT_SECONDS = 2
# As much as two equal stretches differ on a busy machine.
MOST_RATIO = 1.25


@dataclass(frozen=True, slots=True)
class Arguments:
    """How long to measure."""

    rounds: int
    seconds: float


def main() -> NoReturn:
    """Run the parts that are asked for, and exit with 1 where one does not reach what is wanted."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.telemetry",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  python -m bench.telemetry\n  python -m bench.telemetry hanging --rounds 9 --seconds 5",
    )
    parser.add_argument(
        "parts", nargs="*", metavar="part", help=f"which parts to run: {', '.join(PARTS)} (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured (5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long a stretch is (3)")
    given = parser.parse_args()
    if unknown := set(given.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}. There are: {', '.join(PARTS)}")
    console = Console()
    try:
        reached = [PARTS[part](console, Arguments(given.rounds, given.seconds)) for part in given.parts or list(PARTS)]
    except (CouldNotStart, UnexpectedAnswer) as error:
        console.print(f"[red]{error}[/red]", highlight=False)
        sys.exit(1)
    sys.exit(0 if all(reached) else 1)


def hanging(console: Console, arguments: Arguments) -> bool:
    """Measure Postgres-only queries with and without a backend that hangs. True where p99 stays where it was."""
    with backend(NO_SERIES) as prometheus, studio({"PROMETHEUS_URL": prometheus.url}) as server:
        request = _verified(server, POSTGRES_ONLY)
        at_rate(server.port, [request], REQUESTS_PER_SECOND, arguments.seconds, CONNECTIONS)
        stretches = {"nobody asks for metrics": Stretch(), "metrics come": Stretch(), "metrics hang": Stretch()}
        for _ in range(arguments.rounds):
            for name, stretch in stretches.items():
                prometheus.is_hanging = name == "metrics hang"
                with askers(server, 0 if name == "nobody asks for metrics" else ASKERS) as asked:
                    latencies = at_rate(server.port, [request], REQUESTS_PER_SECOND, arguments.seconds, CONNECTIONS)
                stretch.add(latencies, asked)
            prometheus.is_hanging = False
            _wait_until_metrics_come(server)
    table = Table("Postgres-only queries while", "p50 ms", "p99 ms", "metrics asked", "refused or too late", box=None)
    for name, stretch in stretches.items():
        table.add_row(
            name,
            f"{median(stretch.p50_seconds) * 1e3:.2f}",
            f"{median(stretch.p99_seconds) * 1e3:.2f}",
            str(stretch.asked),
            str(stretch.failed),
        )
    console.print(table)
    quiet, served, hung = stretches.values()
    ratios = [
        median(h / o for h, o in zip(hung.p99_seconds, other.p99_seconds, strict=True)) for other in (quiet, served)
    ]
    is_reached = ratios[1] <= MOST_RATIO and hung.failed > 0
    verdict = "[green]reached[/green]" if is_reached else "[red]not reached[/red]"
    console.print(
        f"p99 while metrics hang, as a multiple of p99 while they come: {ratios[1]:.2f} "
        f"(wanted: at most {MOST_RATIO:g}, {verdict}). "
        f"Of p99 while nobody asks: {ratios[0]:.2f}, which has the work of asking for metrics in it."
    )
    return is_reached


def dashboard(console: Console, arguments: Arguments) -> bool:
    """Measure a dashboard over fifty services. True where it kept its limits."""
    return asyncio.run(telemetry_dashboard.run(console))


PARTS: dict[str, Callable[[Console, Arguments], bool]] = {"dashboard": dashboard, "hanging": hanging}


@dataclass(slots=True)
class Asked:
    """What became of questions for metrics."""

    answered: int = 0
    failed: int = 0


@dataclass(slots=True)
class Stretch:
    """One value a round, and what was asked beside it in all rounds."""

    p50_seconds: list[float] = field(default_factory=list)
    p99_seconds: list[float] = field(default_factory=list)
    asked: int = 0
    failed: int = 0

    def add(self, latencies: list[float], asked: Asked) -> None:
        """Take in one round."""
        percentiles = quantiles(latencies, n=100, method="inclusive")
        self.p50_seconds.append(percentiles[49])
        self.p99_seconds.append(percentiles[98])
        self.asked += asked.answered + asked.failed
        self.failed += asked.failed


@contextmanager
def studio(settings: dict[str, str]) -> Iterator[Server]:
    """Our server with the demo shop on a Postgres of its own, which is kept in the cache."""
    CACHE.mkdir(exist_ok=True)
    binary = str(Path(sys.executable).with_name("reliability-studio"))
    contestant = Contestant(
        "telemetry",
        lambda port, _: [binary, "serve", "--demo", "--port", str(port), "--data-dir", str(CACHE / "telemetry")],
        environment=lambda _: {
            "OPERATION_TIMEOUT_SECONDS": str(OPERATION_TIMEOUT_SECONDS),
            "LOG_LEVEL": "warning",
            "RATE_LIMIT_ADDRESS": "1000000000",  # All of the load comes from one.
            # What runs in the background would change the answers, which have to stay the same.
            "ALERT_RECONCILIATION_SECONDS": "0",
            "ALERT_UPKEEP_SECONDS": "3600",
            "DETECTION_INTERVAL_SECONDS": "0",
            "SERVICE_GRAPH_INTERVAL_SECONDS": "0",
            **settings,
        },
    )
    server = start(contestant, "", os.sched_getaffinity(0))
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def askers(server: Server, count: int) -> Iterator[Asked]:
    """So many who ask for metrics again and again, with a pause after each answer."""
    asked = Asked()
    over = threading.Event()

    def go_on_asking(number: int) -> None:
        over.wait(PAUSE_SECONDS * number / count)  # not all at once
        while not over.is_set():
            if _metrics_come(server, number):
                asked.answered += 1
            else:
                asked.failed += 1
            over.wait(PAUSE_SECONDS)

    threads = [threading.Thread(target=go_on_asking, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield asked
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _metrics_come(server: Server, number: int) -> bool:
    """Ask for metrics as the asker of this number does."""
    question = orjson.dumps({"query": METRICS, "variables": {"query": f"up + {number}"}})
    return "errors" not in orjson.loads(ask(server.port, server.path, question))


def _wait_until_metrics_come(server: Server) -> None:
    """The circuit breaker has to find out that the backend is back."""
    while not _metrics_come(server, 0):
        time.sleep(PAUSE_SECONDS)


def _verified(server: Server, query: str) -> Request:
    """The request for a query that is answered without errors."""
    body = orjson.dumps({"query": query})
    answer = ask(server.port, server.path, body)
    if "errors" in orjson.loads(answer):
        raise UnexpectedAnswer(f"the server answers {answer[:1000].decode()}")
    return Request(http_post(server.port, server.path, body), len(answer))


if __name__ == "__main__":
    main()
