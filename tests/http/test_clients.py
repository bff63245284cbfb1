"""Clients as people run them, through servers that are killed: every event once and in order."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson

from feed.cursor import decode
from tests.http.event_stream import listen
from tests.node.fixtures import FOLDER, Node
from tests.servers import ROOT, ServerProcess
from tests.waiting import until

EXAMPLE_ADDRESS = "127.0.0.1:9000"
PATIENCE_SECONDS = 60  # Clients wait for longer and longer before they try again.


class Subscriber:
    """A client in a process of its own, which prints a line of JSON for every event."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    @asynccontextmanager
    async def run(self, *command: str | Path) -> AsyncGenerator[None]:
        """Run it for as long as the block lasts."""
        process = await asyncio.create_subprocess_exec(
            *command, cwd=FOLDER, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        reading = asyncio.create_task(self._read(process.stdout))
        complaining = asyncio.create_task(process.stderr.read())
        try:
            yield
            assert process.returncode is None, (await complaining).decode()
        finally:
            if process.returncode is None:
                process.kill()
            await asyncio.gather(process.wait(), reading, complaining)

    def titles(self) -> list[str]:
        """The titles of incidents that were opened, in the order of the events about it."""
        return [event["incident"]["title"] for event in self.events if event["__typename"] == "IncidentCreated"]

    async def _read(self, lines: asyncio.StreamReader) -> None:
        async for line in lines:
            event = orjson.loads(line)
            if event["__typename"] != "Checkpoint":  # Nothing that happened: it tells of silence.
                self.events.append(event)


async def test_the_example_for_graphql_ws_sees_everything_once(node: Node, database_url: str, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(FOLDER / "node_modules")
    preload = ("--import", f"file://{FOLDER}/websocket.mjs")
    port = free_port()
    await see_everything_once(database_url, port, node.executable, *preload, example("subscribe.mjs", port, tmp_path))


async def test_graphql_sse_sees_everything_once(node: Node, database_url: str) -> None:
    port = free_port()
    script, url = FOLDER / "graphql_sse.mjs", f"http://127.0.0.1:{port}/graphql"
    await see_everything_once(database_url, port, node.executable, script, url)


async def test_the_example_for_python_sees_everything_once(database_url: str, tmp_path: Path) -> None:
    port = free_port()
    await see_everything_once(database_url, port, sys.executable, example("subscribe.py", port, tmp_path))


def example(name: str, port: int, folder: Path) -> Path:
    """A copy of an example that asks our own server."""
    text = (ROOT / "docs" / "examples" / name).read_text()
    assert EXAMPLE_ADDRESS in text
    copy = folder / name
    copy.write_text(text.replace(EXAMPLE_ADDRESS, f"127.0.0.1:{port}"))
    return copy


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


async def see_everything_once(database_url: str, port: int, *command: str | Path) -> None:
    """Run a client on a server that is killed, and then stopped, while another one goes on."""
    subscriber = Subscriber()
    settings = {"DATABASE_URL": database_url, "PORT": str(port)}
    async with ServerProcess(DATABASE_URL=database_url) as steady, AsyncExitStack() as stack:
        start = await now(steady.url)
        server = await stack.enter_async_context(ServerProcess(**settings))
        await stack.enter_async_context(subscriber.run(*command))

        async def hears_of_one() -> bool:
            await open_incidents(steady.url, "noise")
            return bool(subscriber.titles())

        await until(hears_of_one, timeout_seconds=PATIENCE_SECONDS)
        for farewell in (signal.SIGKILL, signal.SIGTERM):
            await open_incidents(server.url, f"before {farewell.name}")
            await server.stop(farewell)
            assert not [line for line in server.log if line["level"] == "error"]  # such as that a client had to be cut
            await open_incidents(steady.url, f"after {farewell.name}")
            server = await stack.enter_async_context(ServerProcess(**settings))
            await open_incidents(server.url, f"long after {farewell.name}")

            def hears_of_all(last: str = f"long after {farewell.name}") -> bool:
                return last in subscriber.titles()

            await until(hears_of_all, timeout_seconds=PATIENCE_SECONDS)
        seen = [decode(event["cursor"]).position for event in subscriber.events]
        logged = await positions(steady.url, start, seen[-1])
    assert seen == logged[-len(seen) :]
    assert [title for title in subscriber.titles() if title != "noise"] == [
        f"{when} {farewell}" for farewell in ("SIGKILL", "SIGTERM") for when in ("before", "after", "long after")
    ]


async def open_incidents(url: str, *titles: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        for title in titles:
            body = {"title": title, "severity": "low", "service": "checkout"}
            (await http.post("/api/incidents", json=body)).raise_for_status()


async def now(url: str) -> str:
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        answer = await http.post("/graphql", json={"query": "{ asOfCursor }"})
    cursor: str = answer.json()["data"]["asOfCursor"]
    return cursor


async def positions(url: str, after: str, until: int) -> list[int]:
    """Where everything stands in the log that happened between two places."""
    query = "subscription($after: String) { events(after: $after) { __typename cursor } }"
    found: list[int] = []
    async with (
        httpx.AsyncClient(base_url=url, timeout=30) as http,
        listen(http, query, variables={"after": after}) as stream,
    ):
        while until not in found:
            event = (await stream.hear_event()).data["data"]["events"]
            if event["__typename"] != "Checkpoint":
                found.append(decode(event["cursor"]).position)
    return found
