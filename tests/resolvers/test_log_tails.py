"""Tails that are shared, each follower at its own pace."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from resolvers.log_tails import WAITING_LINES, LogTails
from telemetry_clients.errors import TelemetryUnavailable
from telemetry_clients.loki import Loki
from telemetry_clients.loki.tail import TailPace
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.loki_server import LocalLoki, local_loki
from tests.waiting import until

NOW = 1_795_419_000_000_000_000
QUERY = '{app="shop"}'


@pytest.fixture
async def server() -> AsyncIterator[LocalLoki]:
    async with local_loki() as server:
        yield server


@pytest.fixture
async def loki(server) -> AsyncIterator[Loki]:
    async with Transport(Endpoint(backend="Loki", url=server.url)) as transport:
        yield Loki(transport)


async def test_who_does_not_take_its_lines_loses_the_oldest_and_is_told_how_many(loki, server):
    tails = LogTails(lambda: NOW)
    async with aclosing(tails.follow(loki, QUERY)) as slow, aclosing(tails.follow(loki, QUERY)) as other:
        first = asyncio.gather(anext(slow), anext(other))
        await until(lambda: bool(server.tails))
        assert len(server.tails) == 1, "both share one"
        await server.write(NOW, {"app": "shop"}, "begin")
        assert [followed.line.line for followed in await first] == ["begin", "begin"]
        server.lines += [(NOW + i, {"app": "shop"}, str(i)) for i in range(1, WAITING_LINES + 500)]
        await server.hang_up()
        for follower in (slow, other):
            followed = await anext(follower)
            assert (followed.line.line, followed.missed) == ("500", 499)
            assert (await anext(follower)).missed == 0


async def test_the_last_who_leaves_closes_the_tail(loki, server):
    tails = LogTails(lambda: NOW)
    async with aclosing(tails.follow(loki, QUERY)) as one:
        waiting = asyncio.ensure_future(anext(one))
        await until(lambda: bool(server.tails))
        assert len(tails) == 1
        waiting.cancel()
        await asyncio.wait([waiting])
    assert len(tails) == 0
    await until(lambda: not server.tails)


async def test_everybody_is_told_when_loki_stays_away_and_the_next_begins_anew(loki, server):
    server.refusal = (503, "starting")
    tails = LogTails(lambda: NOW, TailPace(give_up_seconds=0.0))
    followers = [tails.follow(loki, QUERY) for _ in range(3)]
    for error in await asyncio.gather(*(anext(follower) for follower in followers), return_exceptions=True):
        assert isinstance(error, TelemetryUnavailable)
    server.refusal = None
    async with aclosing(tails.follow(loki, QUERY)) as again:
        waiting = asyncio.ensure_future(anext(again))
        await until(lambda: bool(server.tails))
        await server.write(NOW, {"app": "shop"}, "begin")
        assert (await waiting).line.line == "begin"
