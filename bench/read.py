"""How fast reads are: four queries, our server beside others, round after round in one run. See `--help`."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import NoReturn

import asyncpg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench import processes
from bench.baselines import postgraphile
from bench.contestants import OURS, CouldNotStart, Server, contestants, start
from bench.data import CACHE, incident_ids, prepare
from bench.documents import Document, documents
from bench.load import Request, Saturation, UnexpectedAnswer, at_rate
from bench.report import Measurement, Measurements, print_measurements, print_ratios
from bench.verification import AnswersDiffer, verify
from db.embedded import EmbeddedPostgres, EmbeddedPostgresError

# More than the ten connections to Postgres that every server has; yet slow servers are soon done with what is left.
CONNECTIONS = 16
# Of what a server can do at most. Enough to have neighbours, too little to queue.
MODERATE = 0.5


def main() -> NoReturn:
    """Run the benchmark and exit with 0, or with 1 where our server did not start or answers differ."""
    parser = argparse.ArgumentParser(prog="python -m bench.read", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one or two minutes, for a first impression")
    parser.add_argument("--postgraphile", action="store_true", help="PostGraphile 5 too (needs npm; installs it once)")
    parser.add_argument("--rounds", type=int, help="how often everyone has a turn (5, quick: 2)")
    parser.add_argument("--seconds", type=float, help="how long a turn is (3, quick: 1)")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (2 if arguments.quick else 5)
    seconds = arguments.seconds or (1.0 if arguments.quick else 3.0)
    console = Console()
    try:
        complete = asyncio.run(run(console, rounds=rounds, seconds=seconds, with_postgraphile=arguments.postgraphile))
    except (AnswersDiffer, EmbeddedPostgresError, UnexpectedAnswer) as error:
        console.print(f"[red]{error}[/red]", highlight=False)
        sys.exit(1)
    sys.exit(0 if complete else 1)


async def run(console: Console, *, rounds: int, seconds: float, with_postgraphile: bool) -> bool:
    """Prepare, verify, measure and print. True where our server took part.

    Whatever blocks here blocks nobody: the servers and Postgres are processes of their own.
    """
    if with_postgraphile:
        postgraphile.install()
    async with EmbeddedPostgres(CACHE / "postgres") as postgres:
        url = await prepare(postgres.url, console.print)
        asked = documents(await incident_ids(url))
        postmaster = await find_postmaster(url)
        server_cpus, load_cpus = processes.divide_cpus()
        processes.pin([os.getpid()], load_cpus)
        with _servers(console, url, server_cpus, with_postgraphile=with_postgraphile) as servers:
            names = [server.contestant.name for server in servers]
            _print_plan(console, names, rounds, seconds, server_cpus, load_cpus)
            requests = {document.name: verify(document, servers) for document in asked}
            console.print("All of them give the same answers.\n")
            measured = _measure(console, asked, servers, requests, postmaster, rounds=rounds, seconds=seconds)
    print_measurements(console, asked, names, measured)
    print_ratios(console, asked, names, measured)
    return OURS in names


async def find_postmaster(url: str) -> int:
    """The process id of the Postgres behind a URL."""
    connection = await asyncpg.connect(url)
    try:
        return processes.parent(await connection.fetchval("select pg_backend_pid()"))
    finally:
        await connection.close()


@contextmanager
def _servers(console: Console, url: str, cpus: set[int], *, with_postgraphile: bool) -> Iterator[list[Server]]:
    """Everyone who can be started; who cannot is named with the reason and left out."""
    started: list[Server] = []
    try:
        for contestant in contestants(with_postgraphile=with_postgraphile):
            try:
                started.append(start(contestant, url, cpus))
            except CouldNotStart as error:
                console.print(f"[red]{contestant.name} takes no part: {error}[/red]", highlight=False)
        yield started
    finally:
        for server in started:
            server.stop()


def _print_plan(
    console: Console, names: Sequence[str], rounds: int, seconds: float, server_cpus: set[int], load_cpus: set[int]
) -> None:
    console.print(
        f"\n{', '.join(names)}: one process each. In {rounds} rounds everyone has a turn of {seconds:g} s a query, "
        f"first with {CONNECTIONS} connections that are never idle, then at half that pace."
    )
    if server_cpus != load_cpus:
        console.print(f"Pinned: the servers to CPU {min(server_cpus)}, the load to {min(load_cpus)}; Postgres to none.")
    else:
        console.print("Nothing is pinned, as there is one CPU: the figures will be unsteady.")


def _measure(
    console: Console,
    asked: Sequence[Document],
    servers: Sequence[Server],
    requests: dict[str, dict[str, list[Request]]],
    postmaster: int,
    *,
    rounds: int,
    seconds: float,
) -> Measurements:
    measured = {(document.name, server.contestant.name): Measurement() for document in asked for server in servers}
    turns = [(document, server) for _ in range(rounds) for document in asked for server in servers]
    columns = (TextColumn("{task.description:<42}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, refresh_per_second=2) as progress:
        task = progress.add_task("", total=2 * len(turns))
        for measure in (saturate, _pace):
            for document, server in turns:
                name = server.contestant.name
                progress.update(task, description=f"{document.name}: {name}")
                measure(server, requests[document.name][name], measured[document.name, name], postmaster, seconds)
                progress.advance(task)
    return measured


def saturate(
    server: Server, requests: Sequence[Request], measurement: Measurement, postmaster: int, seconds: float
) -> None:
    """Keep a server busy for a while, and add what that took to a measurement."""
    load = Saturation(server.port, requests, CONNECTIONS)
    load.run(seconds / 4)
    before = processes.cpu_seconds(server.pids), processes.cpu_seconds(processes.tree(postmaster))
    busy_before = time.process_time()
    answered, took = load.run(seconds)
    measurement.load_shares.append((time.process_time() - busy_before) / took)
    after = processes.cpu_seconds(server.pids), processes.cpu_seconds(processes.tree(postmaster))
    load.stop()
    measurement.requests_per_second.append(answered / took)
    measurement.server_cpu_seconds.append((after[0] - before[0]) / answered)
    measurement.postgres_cpu_seconds.append((after[1] - before[1]) / answered)
    measurement.resident_bytes = processes.resident_bytes(server.pids)


def _pace(server: Server, requests: Sequence[Request], measurement: Measurement, _: int, seconds: float) -> None:
    measurement.rate = MODERATE * median(measurement.requests_per_second)
    measurement.latency_seconds += at_rate(server.port, requests, measurement.rate, seconds, CONNECTIONS)


if __name__ == "__main__":
    main()
