"""Following lines on a local Loki: over its WebSocket, through its restarts, and without WebSockets."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import pytest

from telemetry_clients.errors import TelemetryBadQuery, TelemetryError, TelemetryUnavailable
from telemetry_clients.loki import Loki
from telemetry_clients.loki.answers import LogLine, log_lines
from telemetry_clients.loki.tail import TailedLines, TailPace, tail
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.loki_server import LocalLoki, local_loki
from tests.telemetry_clients.recorded import CONTRACTS
from tests.waiting import until

NOW = 1_795_419_000_000_000_000
SHOP = {"app": "shop"}
PACE = TailPace(poll_seconds=0.02, call_seconds=2.0, give_up_seconds=10.0)


@pytest.fixture
async def server() -> AsyncIterator[LocalLoki]:
    async with local_loki() as server:
        yield server


@pytest.fixture
async def loki(server) -> AsyncIterator[Loki]:
    async with Transport(Endpoint(backend="Loki", url=server.url)) as transport:
        yield Loki(transport)


@asynccontextmanager
async def following(loki: Loki, pace: TailPace = PACE) -> AsyncGenerator["Following"]:
    lines = tail(loki, '{app="shop"}', start_ns=NOW, now_ns=lambda: NOW + 10**9, pace=pace, jitter=lambda: 0.0)
    follower = Following(lines)
    task = asyncio.create_task(follower.follow())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.wait([task])


class Following:
    """Whoever follows a tail, and all that it was told."""

    def __init__(self, lines: AsyncGenerator[TailedLines]) -> None:
        self.told: list[LogLine] = []
        self.dropped = 0
        self.error: TelemetryError | None = None
        self._lines = lines

    async def follow(self) -> None:
        async with aclosing(self._lines) as batches:
            try:
                async for batch in batches:
                    self.told += batch.lines
                    self.dropped += batch.dropped
            except TelemetryError as error:
                self.error = error

    def has_failed(self) -> bool:
        return self.error is not None

    def has(self, *lines: str) -> Callable[[], bool]:
        return lambda: [told.line for told in self.told] == [*lines]


async def test_lines_are_told_as_they_are_written_and_what_loki_drops_is_counted(loki, server):
    async with following(loki) as follower:
        await until(lambda: bool(server.tails))
        await server.write(NOW + 1, SHOP, "one")
        await server.write(NOW + 1, {"app": "other"}, "not ours")
        await server.write(NOW + 2, {**SHOP, "pod": "b"}, "two", dropped=3)
        await until(follower.has("one", "two"))
        assert follower.dropped == 3
        assert follower.told[1].labels == {**SHOP, "pod": "b"}
    await until(lambda: not server.tails)


async def test_a_restart_loses_and_doubles_nothing(loki, server):
    async with following(loki) as follower:
        await until(lambda: bool(server.tails))
        await server.write(NOW + 1, SHOP, "before")
        await until(follower.has("before"))
        await server.hang_up()
        server.lines += [(NOW + 1, SHOP, "at the same nanosecond"), (NOW + 2, SHOP, "meanwhile")]
        await until(lambda: len(server.asked_for("/tail")) == 2 and bool(server.tails))
        await server.write(NOW + 3, SHOP, "after")
        await until(follower.has("before", "at the same nanosecond", "meanwhile", "after"))


async def test_a_line_whose_metadata_only_a_query_shows_is_told_once(loki, server):
    async with following(loki) as follower:
        await until(lambda: bool(server.tails))
        for pod in ("a", "b"):
            await server.write(NOW + 1, {**SHOP, "pod": pod}, "twins", metadata={"detected_level": "error"})
        await until(follower.has("twins", "twins"))
        await server.hang_up()
        await until(lambda: len(server.asked_for("/tail")) == 2 and bool(server.tails))
        await server.write(NOW + 2, SHOP, "after")
        await until(follower.has("twins", "twins", "after"))


async def test_a_long_absence_is_caught_up_with_however_many_lines_it_had(loki, server):
    async with following(loki) as follower:
        await until(lambda: bool(server.tails))
        server.most_lines = 100
        server.lines += [(NOW + i, SHOP, str(i)) for i in range(1, 1234)]
        await server.hang_up()
        await until(follower.has(*map(str, range(1, 1234))))


async def test_where_no_websocket_gets_through_it_asks_again_and_again(loki, server):
    server.has_sockets = False
    async with following(loki) as follower:
        await until(lambda: len(server.asked_for("/query_range")) > 3)
        server.lines.append((NOW + 1, SHOP, "one"))
        await until(follower.has("one"))
        server.lines += [(NOW + 1, SHOP, "late, but not too late"), (NOW + 2, SHOP, "two")]
        await until(follower.has("one", "late, but not too late", "two"))
        assert len(server.asked_for("/tail")) == 1


async def test_a_query_that_loki_refuses_is_an_error_at_once_with_its_words(loki, server):
    server.refusal = (400, "parse error at line 1, col 18: syntax error: unexpected $end, expecting } or ,")
    async with following(loki) as follower:
        await until(follower.has_failed)
    assert isinstance(follower.error, TelemetryBadQuery)
    assert "line 1, col 18" in follower.error.message


async def test_a_refused_tail_has_the_words_that_were_recorded(loki, server):
    file = CONTRACTS / "loki" / "tail_frames.json"
    if not file.is_file():
        pytest.skip(f"no recorded frames: {file} is missing")
    for refused in json.loads(file.read_text())["refused"]:
        server.tail_refusal = (refused["status"], refused["body"])
        async with following(loki) as follower:
            await until(follower.has_failed)
        assert isinstance(follower.error, TelemetryBadQuery)
        assert refused["body"] in follower.error.message


async def test_more_tails_than_loki_allows_go_on_without_its_websocket(loki, server):
    server.tail_refusal = (400, "max concurrent tail requests limit exceeded, count > limit (10 > 10)")
    async with following(loki) as follower:
        await until(lambda: len(server.asked_for("/query_range")) > 1)
        server.lines.append((NOW + 1, SHOP, "one"))
        await until(follower.has("one"))


async def test_a_loki_that_stays_away_is_an_error_in_the_end_and_one_that_comes_back_is_none(loki, server):
    async with following(loki) as follower:
        await until(lambda: bool(server.tails))
        server.refusal = (503, "starting")
        await server.hang_up()
        await until(lambda: len(server.asked_for("/query_range")) > 2)
        server.refusal = None
        server.lines.append((NOW + 1, SHOP, "again"))
        await until(follower.has("again"))
        assert follower.error is None
    server.refusal = (503, "starting")
    async with following(loki, TailPace(poll_seconds=0.02, call_seconds=1.0, give_up_seconds=0.0)) as follower:
        await until(follower.has_failed)
    assert isinstance(follower.error, TelemetryUnavailable)


async def test_frames_are_read_as_they_were_recorded(loki, server):
    file = CONTRACTS / "loki" / "tail_frames.json"
    if not file.is_file():
        pytest.skip(f"no recorded frames: {file} is missing")
    frames = [json.loads(frame["text"]) for frame in json.loads(file.read_text())["frames"]]
    recorded = [line for frame in frames for stream in frame["streams"] for line in log_lines(stream)]
    lines = tail(loki, '{service_name="checkout"}', start_ns=recorded[0].time_ns - 1, now_ns=lambda: NOW, pace=PACE)
    async with aclosing(lines) as batches:
        waiting = asyncio.ensure_future(anext(batches))
        await until(lambda: bool(server.tails))
        [socket] = server.tails
        told: list[LogLine] = []
        for frame in frames:
            await socket.send(json.dumps(frame))
            told += (await waiting).lines
            waiting = asyncio.ensure_future(anext(batches))
        waiting.cancel()
        await asyncio.wait([waiting])
    assert told == sorted(recorded, key=lambda line: line.time_ns)
