"""What security costs the read of a single row, in CPU of the server: `python -m bench.security`.

Two of our servers answer the same requests, round after round in one run. With the open one, whoever connects may do
everything and nobody is counted; the closed one looks at each request's token, at the rights of who shows it, and at
what they have asked for lately. Limits on documents and the headers of answers are there with both: what they cost is
part of both figures. Exits with 1 where the difference is more than is wanted.
"""

import argparse
import asyncio
import os
import secrets
import sys
import time
from statistics import median
from typing import Final, NoReturn

import jwt
from rich.console import Console

from bench import processes
from bench.contestants import Contestant, CouldNotStart, Server, own_command, start
from bench.data import CACHE, incident_ids, prepare
from bench.documents import documents
from bench.load import UnexpectedAnswer
from bench.read import CONNECTIONS, find_postmaster, saturate
from bench.report import Measurement
from bench.verification import AnswersDiffer, verify
from db.embedded import EmbeddedPostgres, EmbeddedPostgresError

WANTED_MICROSECONDS: Final = 40
_RATES: Final = ("RATE_LIMIT_VIEWER", "RATE_LIMIT_ADDRESS", "RATE_LIMIT_REFUSED", "MAX_CONCURRENT_OPERATIONS")


def main() -> NoReturn:
    """Run the benchmark; exit with 1 where security costs more than it should, or where answers differ."""
    parser = argparse.ArgumentParser(prog="python -m bench.security", description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="how often both have a turn (8)")
    parser.add_argument("--seconds", type=float, default=3, help="how long a turn is (3)")
    given = parser.parse_args()
    console = Console()
    try:
        cost = asyncio.run(run(console, rounds=given.rounds, seconds=given.seconds))
    except (AnswersDiffer, CouldNotStart, EmbeddedPostgresError, UnexpectedAnswer) as error:
        console.print(f"[red]{error}[/red]", highlight=False)
        sys.exit(1)
    sys.exit(cost > WANTED_MICROSECONDS)


async def run(console: Console, *, rounds: int, seconds: float) -> float:
    """Measure and print; return how many microseconds of CPU security costs a request."""
    async with EmbeddedPostgres(CACHE / "postgres") as postgres:
        url = await prepare(postgres.url, console.print)
        [single_row, *_] = documents(await incident_ids(url))
        postmaster = await find_postmaster(url)
        server_cpus, load_cpus = processes.divide_cpus()
        processes.pin([os.getpid()], load_cpus)
        servers: list[Server] = []
        try:
            servers.extend(start(contestant, url, server_cpus) for contestant in (_open(), _closed()))
            requests = verify(single_row, servers)
            measured = {server.contestant.name: Measurement() for server in servers}
            for _ in range(rounds):
                for server in servers:
                    name = server.contestant.name
                    saturate(server, requests[name], measured[name], postmaster, seconds)
        finally:
            for server in servers:
                server.stop()
    return _show(console, measured["open"], measured["closed"])


def _open() -> Contestant:
    return Contestant(
        "open", own_command, lambda url: {"DATABASE_URL": url, "AUTH_ENABLED": "false", **dict.fromkeys(_RATES, "0")}
    )


def _closed() -> Contestant:
    secret = secrets.token_urlsafe(48)
    now = int(time.time())
    claims = {"sub": "a reader", "role": "viewer", "iat": now, "exp": now + 86_400}
    # Counted as ever, and high enough for a machine that asks as fast as it can.
    high = dict.fromkeys(("RATE_LIMIT_VIEWER", "RATE_LIMIT_ADDRESS"), "1000000000")
    return Contestant(
        "closed",
        own_command,
        lambda url: {"DATABASE_URL": url, "AUTH_ENABLED": "true", "JWT_SECRET": secret, **high},
        token=jwt.encode(claims, secret, algorithm="HS256"),
    )


def _show(console: Console, opened: Measurement, closed: Measurement) -> float:
    pairs = list(zip(opened.server_cpu_seconds, closed.server_cpu_seconds, strict=True))
    for number, (without, with_all) in enumerate(pairs, 1):
        console.print(
            f"round {number}: open {without * 1e6:6.1f} µs, closed {with_all * 1e6:6.1f} µs, "
            f"{(with_all - without) * 1e6:+6.1f} µs",
            highlight=False,
        )
    cost = median((with_all - without) * 1e6 for without, with_all in pairs)
    console.print(
        f"Security costs {cost:.1f} µs of CPU a request, and may cost {WANTED_MICROSECONDS} "
        f"(a single row, {CONNECTIONS} connections that are never idle).",
        highlight=False,
    )
    return cost


if __name__ == "__main__":
    main()
