"""Who is measured: each a server process of its own, started the same way, on one CPU."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from bench import processes
from bench.baselines import postgraphile
from bench.data import CACHE
from bench.documents import Document, Variables, request_body
from bench.load import UnexpectedAnswer, ask

_START_SECONDS = 60

OURS, ORM, BARE, POSTGRAPHILE = "ours", "strawberry+orm", "bare asgi", "postgraphile"


class CouldNotStart(Exception):
    """A contestant's server ended, or never answered."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server: how to start it on a port over a database, and how it is asked a query of the contract."""

    name: str
    command: Callable[[int, str], Sequence[str]]
    environment: Callable[[str], Mapping[str, str]] = lambda _: {}
    body: Callable[[Document, Variables], bytes] = lambda document, variables: request_body(document.query, variables)
    contract_shape: Callable[[Document, Any], Any] = lambda _, data: data
    token: str | None = None


def contestants(*, with_postgraphile: bool) -> list[Contestant]:
    """Ours first."""
    chosen = [
        Contestant(
            OURS,
            own_command,
            # Rates are counted as ever, and high enough for a machine that asks as fast as it can.
            environment=lambda url: {"DATABASE_URL": url, "RATE_LIMIT_ADDRESS": "1000000000"},
        ),
        Contestant(ORM, _baseline("strawberry_orm")),
        Contestant(BARE, _baseline("bare")),
    ]
    if with_postgraphile:
        chosen.append(
            Contestant(
                POSTGRAPHILE, postgraphile.command, body=postgraphile.body, contract_shape=postgraphile.contract_shape
            )
        )
    return chosen


def own_command(port: int, _database_url: str) -> list[str]:
    """How our server is started."""
    binary = str(Path(sys.executable).with_name("reliability-studio"))
    return [binary, "serve", "--host", "127.0.0.1", "--port", str(port)]


def _baseline(module: str) -> Callable[[int, str], Sequence[str]]:
    return lambda port, url: [
        *(sys.executable, "-m", f"bench.baselines.{module}", "--port", str(port), "--database-url", url)
    ]


@dataclass(slots=True)
class Server:
    """A contestant that runs."""

    contestant: Contestant
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    path: str = field(default="/graphql")

    @property
    def pids(self) -> set[int]:
        """Its processes."""
        return processes.tree(self.process.pid)

    def answer(self, document: Document, variables: Variables) -> bytes:
        """The body of the answer. Raises UnexpectedAnswer with what the server said where it is no success."""
        body = ask(self.port, self.path, self.contestant.body(document, variables), self.contestant.token)
        if "errors" in orjson.loads(body):
            raise UnexpectedAnswer(f"{self.contestant.name} answers {document.name!r} with {body[:1000].decode()}")
        return body

    def stop(self) -> None:
        """End the process, gently first."""
        self.process.terminate()
        try:
            self.process.wait(25)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(contestant: Contestant, database_url: str, cpus: set[int]) -> Server:
    """Start a contestant on these CPUs and wait until it answers. Raises CouldNotStart with the end of its log."""
    port = _free_port()
    log = CACHE / f"{contestant.name.replace(' ', '-')}.log"
    command = contestant.command(port, database_url)
    if shutil.which(command[0]) is None:
        raise CouldNotStart(f"{command[0]} is missing")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, "AUTH_ENABLED": "false", **contestant.environment(database_url)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    processes.pin([process.pid], cpus)
    server = Server(contestant, port, process, log)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise CouldNotStart(f"it ended with code {process.returncode}: {_tail(log)}")
        if _listens(port):
            return server
        time.sleep(0.05)
    server.stop()
    raise CouldNotStart(f"it did not listen within {_START_SECONDS} seconds: {_tail(log)}")


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:].strip()
