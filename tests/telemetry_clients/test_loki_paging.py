"""More lines than Loki gives at once: none is lost, none comes twice."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.time import Deadline
from telemetry_clients.errors import TelemetryLimited
from telemetry_clients.loki import Loki
from telemetry_clients.loki.answers import LogLine
from telemetry_clients.loki.paging import Direction, Pager, in_order
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.loki_server import LocalLoki, local_loki


@pytest.fixture
async def server() -> AsyncIterator[LocalLoki]:
    async with local_loki() as server:
        yield server


@pytest.fixture
async def loki(server) -> AsyncIterator[Loki]:
    async with Transport(Endpoint(backend="Loki", url=server.url)) as transport:
        yield Loki(transport)


def soon() -> Deadline:
    return Deadline.after(10)


@pytest.mark.parametrize("direction", Direction)
async def test_all_lines_come_once_and_in_order_however_small_the_servers_pages(loki, server, direction):
    server.most_lines = 10
    server.lines = [(1000 + i // 4, {"app": "shop", "pod": str(i % 3)}, f"line {i}") for i in range(50)]
    found = await loki.query_range(
        '{app="shop"}', start=1000, end=2000, limit=5000, direction=direction, deadline=soon()
    )
    assert {line.line for line in found.lines} == {f"line {i}" for i in range(50)}
    assert len(found.lines) == 50
    assert [*found.lines] == in_order(found.lines, direction)
    assert found.is_complete
    sizes = [asked["limit"] for asked in server.asked_for("/query_range")]
    assert sizes[:2] == ["5000", "10"], "the limit of the server was learned from its refusal"
    assert len(sizes) < 12


async def test_no_more_is_read_than_wanted(loki, server):
    server.most_lines = 10
    server.lines = [(1000 + i, {"app": "shop"}, f"line {i}") for i in range(50)]
    found = await loki.query_range('{app="shop"}', start=1000, end=2000, limit=15, deadline=soon())
    assert [line.line for line in found.lines] == [f"line {i}" for i in range(49, 34, -1)]
    assert not found.is_complete


async def test_more_lines_in_a_nanosecond_than_fit_are_an_error_and_not_a_gap(loki, server):
    server.most_lines = 10
    server.lines = [(1000, {"app": "shop"}, f"line {i}") for i in range(30)]
    with pytest.raises(TelemetryLimited, match="have the same nanosecond"):
        await loki.query_range('{app="shop"}', start=1000, end=2000, limit=100, deadline=soon())


@given(
    times=st.lists(st.integers(0, 12), max_size=60),
    most=st.integers(2, 20),
    direction=st.sampled_from(Direction),
    twins=st.booleans(),
)
def test_any_lines_are_read_whole_or_refused(times, most, direction, twins):
    kept = [LogLine(at, "same" if twins else f"line {i}", {"pod": str(i % 2)}) for i, at in enumerate(times)]
    pager = Pager(0, 13, direction)
    read: list[LogLine] = []
    try:
        while not pager.is_done:
            size = pager.size(1000, most)
            there = [line for line in in_order(kept, direction) if pager.start_ns <= line.time_ns < pager.end_ns]
            read += pager.take(there[:size], size)
    except TelemetryLimited:
        assert max(times.count(at) for at in times) >= most
        return
    assert sorted(map(str, read)) == sorted(map(str, kept))
    assert read == in_order(read, direction)
