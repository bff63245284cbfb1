"""Identical questions at the same time are one call; answers may be kept for the next who asks."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from domain.time import Deadline
from telemetry_clients.errors import TelemetryTimeout
from telemetry_clients.transport import Answer, Endpoint, Transport
from telemetry_clients.transport.cache import AnswerCache
from tests.telemetry_clients.eventually import eventually
from tests.telemetry_clients.local_server import LocalServer, Request, answering, http_answer, local_server
from tests.telemetry_clients.recording_observer import RecordingObserver

GOOD = http_answer(b"[1]")


@pytest.fixture
def release() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def server(release) -> AsyncIterator[LocalServer]:
    """It answers when it is released."""

    async def wait(_: Request, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(GOOD)

    async with local_server(wait) as server:
        yield server


@pytest.fixture
def observer() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
async def transport(server, observer) -> AsyncIterator[Transport]:
    async with Transport(Endpoint(backend="Prometheus", url=server.url), observer=observer) as transport:
        yield transport
        assert transport.busy_connections() == 0


async def ask(transport: Transport, query: str = "up", *, seconds: float = 30) -> bytes:
    answer = await transport.post(
        "/query", form={"query": query}, deadline=Deadline.after(seconds), deadline_parameter="timeout"
    )
    return answer.body


async def asked(server: LocalServer, times: int) -> None:
    async def so_often() -> bool:
        return len(server.requests) == times

    await eventually(f"the server is asked {times} times", so_often)


async def test_those_who_ask_the_same_share_one_call(server, transport, observer, release):
    calls = [asyncio.create_task(ask(transport)) for _ in range(5)]
    other = asyncio.create_task(ask(transport, "down"))
    await asked(server, 2)
    release.set()
    assert await asyncio.gather(*calls) == [b"[1]"] * 5
    assert await other == b"[1]"
    assert len(server.requests) == 2
    assert observer.count("coalesced") == 4
    assert observer.outcomes == ["OK", "OK"]
    assert await ask(transport) == b"[1]"
    assert len(server.requests) == 3, "what is over is asked anew"


async def test_the_backend_is_told_how_long_we_listen(server, transport, release):
    release.set()
    await ask(transport, seconds=30)
    [timeout] = server.requests[0].parameters["timeout"]
    assert 25 < float(timeout) <= 30


async def test_whoever_goes_away_leaves_the_call_to_the_others(server, transport, release):
    first, second = (asyncio.create_task(ask(transport)) for _ in range(2))
    await asked(server, 1)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    release.set()
    assert await second == b"[1]"
    assert len(server.requests) == 1


async def test_when_all_have_gone_the_call_ends(server, transport, observer):
    calls = [asyncio.create_task(ask(transport)) for _ in range(2)]
    await asked(server, 1)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert transport.busy_connections() == 0
    assert observer.outcomes == ["CANCELLED"]


async def test_each_leaves_at_its_own_deadline_and_the_longest_counts_for_the_call(server, transport, release):
    patient_first = asyncio.create_task(ask(transport, seconds=30))
    await asked(server, 1)
    began = time.monotonic()
    with pytest.raises(TelemetryTimeout):
        await ask(transport, seconds=0.1)
    assert time.monotonic() - began < 20
    release.set()
    assert await patient_first == b"[1]"

    release.clear()
    hasty_first = asyncio.create_task(ask(transport, seconds=0.2))
    await asked(server, 2)
    patient_later = asyncio.create_task(ask(transport, seconds=30))
    with pytest.raises(TelemetryTimeout):
        await hasty_first
    release.set()
    assert await patient_later == b"[1]"
    assert len(server.requests) == 2


async def test_writes_are_never_shared(server, transport, release):
    release.set()
    writes = [transport.post_json("/silences", body={"a": 1}, deadline=Deadline.after(10)) for _ in range(3)]
    await asyncio.gather(*writes)
    assert len(server.requests) == 3


async def test_what_is_kept_is_not_asked_for_again_and_only_what_may_be_kept_is(server, observer):
    server.behaviour = answering(GOOD)
    endpoint = Endpoint(backend="Prometheus", url=server.url, cache_ttl_seconds=60)
    async with Transport(endpoint, observer=observer) as transport:

        async def read(query: str, *, cacheable: bool) -> bytes:
            answer = await transport.post(
                "/query_range", form={"query": query}, deadline=Deadline.after(10), cacheable=cacheable
            )
            return answer.body

        assert [await read("a", cacheable=True) for _ in range(3)] == [b"[1]"] * 3
        assert len(server.requests) == 1
        assert observer.count("cached") == 2
        for _ in range(2):
            await read("b", cacheable=False)
        assert len(server.requests) == 3
        server.behaviour = answering(http_answer(b"no", status=400))
        for _ in range(2):
            await read("c", cacheable=True)
        assert len(server.requests) == 5


async def test_nothing_is_kept_by_default(server):
    server.behaviour = answering(GOOD)
    async with Transport(Endpoint(backend="Prometheus", url=server.url)) as transport:
        for _ in range(2):
            await transport.get("/query_range", deadline=Deadline.after(10), cacheable=True)
    assert len(server.requests) == 2


def test_the_cache_forgets_what_is_old_and_what_was_not_asked_for_the_longest():
    seconds = 0.0
    cache = AnswerCache(ttl_seconds=10, max_bytes=10_000, monotonic=lambda: seconds)
    answers = {key: Answer(200, "", bytes(2000)) for key in "abcd"}
    for key in "abc":
        cache.put(key, 0, answers[key])
    assert cache.get("a") is answers["a"]
    cache.put("d", 0, answers["d"])
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]
    cache.put("e", 0, Answer(200, "", bytes(20_000)))
    assert cache.get("e") is None, "it is larger than the cache"
    assert cache.size_bytes <= 10_000
    seconds = 10.0
    assert not any(cache.get(key) for key in "abcd")
    assert cache.size_bytes == 0


async def test_every_call_that_reaches_its_deadline_is_counted_as_a_timeout(server, transport, observer):
    for _ in range(20):
        with pytest.raises(TelemetryTimeout):
            await ask(transport, seconds=0.011)
    assert observer.outcomes == ["TELEMETRY_TIMEOUT"] * 20, "none joined a call that was over"
