"""The client against exchanges recorded from a real Loki, replayed over HTTP, errors included."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.time import Deadline
from telemetry_clients.errors import (
    TelemetryBadQuery,
    TelemetryBadResponse,
    TelemetryLimited,
    TelemetryNotConfigured,
    TelemetryTimeout,
    TelemetryUnavailable,
)
from telemetry_clients.loki import BuildInfo, Loki, NewLine
from telemetry_clients.loki.answers import IndexStats, LogPoint, moment, nanoseconds
from telemetry_clients.loki.paging import Direction
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.local_server import LocalServer, answering, http_answer, local_server, reset
from tests.telemetry_clients.recorded import Exchange, Recorded, recording

START = 1795418889053647616
END = 1795419211113590528
RANGE: dict[str, Any] = {"start": START, "end": END}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with local_server(answering(b"")) as server:
        yield server


@pytest.fixture
async def loki(server) -> AsyncIterator[Loki]:
    async with Transport(Endpoint(backend="Loki", url=server.url)) as transport:
        yield Loki(transport)


@pytest.fixture
async def replay(server) -> AsyncIterator["Replay"]:
    replay = Replay(server)
    yield replay
    assert replay.recorded.unknown == []


class Replay:
    """The server plays one recording, and takes nothing but what was recorded."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self.recorded = Recorded()
        server.behaviour = self.recorded

    def play(self, name: str) -> Exchange:
        exchange = recording("loki", name)
        self.recorded.add(exchange)
        return exchange

    def answer_anything_with(self, name: str) -> Exchange:
        exchange = recording("loki", name)
        self.server.behaviour = answering(exchange.answer())
        return exchange


def soon() -> Deadline:
    return Deadline.after(10)


async def test_lines_come_latest_first_with_their_labels_and_exact_times(loki, replay):
    exchange = replay.play("query_range_streams")
    found = await loki.query_range(
        exchange.parameters["query"], **RANGE, limit=20, direction=Direction.BACKWARD, deadline=soon()
    )
    recorded = exchange.json["data"]["result"]
    times = [int(value[0]) for stream in recorded for value in stream["values"]]
    assert [line.time_ns for line in found.lines] == sorted(times, reverse=True)
    assert found.lines[0].time_ns == 1795419184018500185
    assert found.lines[0].time == datetime(2026, 11, 23, 7, 33, 4, 18500, tzinfo=UTC)
    assert found.lines[0].labels["detected_level"] == "error"
    assert found.lines[0].labels["service_name"] == "checkout"
    assert '"upstream payment failed"' in found.lines[0].line
    assert not found.is_complete, "there are 20 lines, and maybe more"


async def test_lines_come_oldest_first_when_wanted_forward(loki, replay):
    exchange = replay.play("query_range_structured_metadata")
    found = await loki.query_range(
        exchange.parameters["query"], **RANGE, limit=5, direction=Direction.FORWARD, deadline=soon()
    )
    times = [line.time_ns for line in found.lines]
    assert len(times) == 5
    assert times == sorted(times)
    assert all(len(line.labels["trace_id"]) == 32 for line in found.lines)


async def test_lines_keep_their_line_breaks_and_letters(loki, replay):
    exchange = replay.play("query_range_multiline_unicode")
    found = await loki.query_range(exchange.parameters["query"], **RANGE, limit=5, deadline=soon())
    latest, panic = found.lines
    assert latest.line == 'ünïcødé ✓ line with "quotes" and {braces}'
    assert panic.line.splitlines()[1] == "goroutine 1 [running]:"


async def test_parsed_fields_are_labels(loki, replay):
    exchange = replay.play("query_range_parsed")
    found = await loki.query_range(exchange.parameters["query"], **RANGE, limit=5, deadline=soon())
    assert {line.labels["timeout_ms"] for line in found.lines} == {"2000"}


async def test_no_lines_are_no_error(loki, replay):
    exchange = replay.play("query_range_empty")
    found = await loki.query_range(exchange.parameters["query"], **RANGE, deadline=soon())
    assert (found.lines, found.series, found.is_complete) == ((), None, True)


async def test_a_metric_query_gives_series(loki, replay):
    exchange = replay.play("query_range_metric")
    found = await loki.query_range(exchange.parameters["query"], **RANGE, step_seconds=30, deadline=soon())
    first = found.series[0]
    assert first.labels == {"level": "error", "service_name": "checkout"}
    assert first.points[:2] == (
        LogPoint(datetime.fromtimestamp(1795419000, UTC), 7),
        LogPoint(datetime.fromtimestamp(1795419030, UTC), 27),
    )
    assert found.lines == ()


async def test_an_instant_query_gives_one_point_a_series(loki, replay):
    exchange = replay.play("query_instant_vector")
    found = await loki.query(exchange.parameters["query"], deadline=soon())
    assert {series.labels["service_name"]: series.points[0].value for series in found.series} == {
        "checkout": 0.38333333333333336,
        "payment": 0.38333333333333336,
    }


async def test_labels_their_values_and_streams_are_listed(loki, replay):
    for name in ("labels", "label_values", "series"):
        replay.play(name)
    assert await loki.labels(**RANGE, deadline=soon()) == ("env", "level", "service_name")
    services = await loki.label_values("service_name", **RANGE, deadline=soon())
    assert services == ("catalog", "checkout", "frontend", "inventory", "payment", "unknown_service")
    streams = await loki.series(['{env="prod"}'], **RANGE, deadline=soon())
    assert {"env": "prod", "level": "fatal", "service_name": "inventory"} in streams


async def test_an_empty_index_has_no_labels(loki, server):
    server.behaviour = answering(http_answer(b'{"status":"success"}'))
    assert await loki.labels(**RANGE, deadline=soon()) == ()


async def test_the_index_says_how_much_there_is(loki, replay):
    replay.play("index_stats")
    replay.play("index_volume")
    assert await loki.index_stats('{env="prod"}', **RANGE, deadline=soon()) == IndexStats(0, 0, 0, 0)
    [volume] = await loki.volume('{env="prod"}', **RANGE, deadline=soon())
    assert (volume.labels, volume.size_bytes) == ({"env": "prod"}, 137254)


async def test_patterns_have_a_level_and_counts_over_time(loki, replay):
    replay.play("patterns")
    handled, timed_out = await loki.patterns('{service_name="payment"}', **RANGE, deadline=soon())
    assert timed_out.template == 'level=error msg="card processor timed out" processor=<_> timeout_ms=2000 order=<_>'
    assert timed_out.level == "error"
    assert timed_out.samples[0] == (datetime.fromtimestamp(1795418980, UTC), 1)
    assert handled.level == "info"


async def test_fields_and_labels_are_detected(loki, replay):
    replay.play("detected_fields")
    replay.play("detected_labels")
    fields = await loki.detected_fields('{service_name="payment"}', **RANGE, deadline=soon())
    found = {field.name: (field.type, field.cardinality, field.parsers) for field in fields}
    assert found["duration_ms"] == ("int", 36, ("logfmt",))
    assert found["trace_id"] == ("string", 22, ())
    labels = await loki.detected_labels(**RANGE, deadline=soon())
    assert [(label.name, label.cardinality) for label in labels] == [("level", 4), ("env", 1), ("service_name", 6)]


async def test_what_an_older_loki_lacks_is_none_and_asked_for_once(server, replay):
    now = 0.0
    replay.answer_anything_with("not_found")
    async with Transport(Endpoint(backend="Loki", url=server.url)) as transport:
        loki = Loki(transport, clock=lambda: now)
        for _ in range(3):
            assert await loki.patterns('{a="b"}', **RANGE, deadline=soon()) is None
            assert await loki.detected_fields('{a="b"}', **RANGE, deadline=soon()) is None
        assert len(server.requests) == 2
        now = 601.0
        assert await loki.patterns('{a="b"}', **RANGE, deadline=soon()) is None
        assert len(server.requests) == 3, "it may have been updated meanwhile"


async def test_lines_are_pushed_with_their_exact_times(loki, replay):
    exchange = replay.play("push")
    [stream] = exchange.request["json"]["streams"]
    lines = [NewLine(int(time), line) for time, line in stream["values"]]
    await loki.push([(stream["stream"], lines)], deadline=soon())


async def test_pushed_lines_can_have_metadata_and_a_moment(loki, server):
    server.behaviour = answering(http_answer(b"", status=204))
    await loki.push([({"app": "x"}, [NewLine(NOON, "hello", {"trace_id": "1"})])], deadline=soon())
    expected = (
        f'{{"streams":[{{"stream":{{"app":"x"}},"values":[["{nanoseconds(NOON)}","hello",{{"trace_id":"1"}}]]}}]}}'
    )
    assert server.requests[0].body.decode() == expected


async def test_a_push_that_loki_refuses_is_an_error_with_its_words(loki, replay):
    replay.answer_anything_with("push_malformed")
    with pytest.raises(TelemetryBadQuery, match="expect \\[ or n"):
        await loki.push([], deadline=soon())
    replay.answer_anything_with("push_too_old_or_bad")
    with pytest.raises(TelemetryUnavailable, match="no schema config found for time 0"):
        await loki.push([], deadline=soon())


async def test_build_info_may_be_silent(loki, replay):
    replay.play("buildinfo")
    assert await loki.build_info(deadline=soon()) == BuildInfo("", "")


async def test_readiness_is_what_loki_says(loki, replay, server):
    replay.play("ready")
    await loki.require_ready(deadline=soon())
    unready = b"Ingester not ready: waiting for 15s after being ready\n"
    server.behaviour = answering(http_answer(unready, status=503, content_type="text/plain"))
    with pytest.raises(TelemetryUnavailable, match="Ingester not ready: waiting for 15s"):
        await loki.require_ready(deadline=soon())


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("bad_logql", TelemetryBadQuery, "parse error at line 0, col 30: syntax error: unexpected |="),
        ("bad_empty_matcher", TelemetryBadQuery, "at least one regexp or equality matcher"),
        ("bad_regex", TelemetryBadQuery, "missing closing )"),
        ("end_before_start", TelemetryBadQuery, "end timestamp must not be before"),
        ("range_too_long", TelemetryLimited, "query length: 1666h40m0s, limit: 30d1h"),
        ("limit_over_max", TelemetryLimited, "999999 > 5000"),
        ("step_too_small", TelemetryLimited, "maximum resolution of 11,000 points"),
        ("not_found", TelemetryBadResponse, "404 page not found"),
    ],
)
async def test_a_refusal_is_a_code_of_ours_with_lokis_own_words(loki, replay, name, error, words):
    exchange = replay.answer_anything_with(name)
    with pytest.raises(error) as raised:
        await loki.query_range(exchange.parameters.get("query", "{}"), **RANGE, deadline=soon())
    assert words in raised.value.message
    assert raised.value.backend == "Loki"


@pytest.mark.parametrize(
    ("status", "content_type", "body", "error", "words"),
    [
        (429, "text/plain", b"Ingestion rate limit exceeded", TelemetryLimited, "Ingestion rate limit exceeded"),
        (401, "text/plain", b"no org id", TelemetryNotConfigured, "no org id"),
        (504, "text/plain", b"request timed out, decrease the duration", TelemetryTimeout, "request timed out"),
        (500, "text/plain", b"context deadline exceeded", TelemetryTimeout, "deadline exceeded"),
        (500, "text/plain", b"too many outstanding requests", TelemetryLimited, "too many outstanding"),
        (502, "text/html", b"<html>secret proxy page</html>", TelemetryUnavailable, "502"),
        (400, "application/json", b'{"message":"maximum of series (500) reached"}', TelemetryLimited, "series (500)"),
        (200, "text/html", b"<html>login</html>", TelemetryBadResponse, "not JSON"),
        (200, "application/json", b'{"status":"success","data":{"resultType":"x"', TelemetryBadResponse, "not JSON"),
        (200, "application/json", b'{"status":"success","data":[1]}', TelemetryBadResponse, "without lines"),
        (200, "application/json", b'{"status":"error","error":"odd"}', TelemetryBadQuery, "odd"),
        (200, "application/json", b'{"code":400,"status":"error","message":"odd"}', TelemetryBadQuery, "odd"),
        (200, "application/json", b'{"status":"error","error":"too many bytes"}', TelemetryLimited, "too many bytes"),
        (200, "application/json", b'{"status":"error","errorType":"timeout","error":"slow"}', TelemetryTimeout, "slow"),
        (
            200,
            "application/json",
            b'{"status":"error","errorType":"internal","error":"broken"}',
            TelemetryBadResponse,
            "broken",
        ),
        (
            200,
            "application/json",
            b'{"status":"success","data":{"resultType":"streams","result":[{"stream":{},"values":[["1",2]]}]}}',
            TelemetryBadResponse,
            "without lines",
        ),
    ],
)
async def test_bad_days_have_codes_and_leave_no_page_in_the_message(
    loki, server, status, content_type, body, error, words
):
    server.behaviour = answering(http_answer(body, status=status, content_type=content_type))
    with pytest.raises(error) as raised:
        await loki.query_range('{a="b"}', **RANGE, deadline=soon())
    assert words in raised.value.message
    assert "<html>" not in raised.value.message


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"end": START}, TelemetryBadQuery),
        ({"end": START - 1}, TelemetryBadQuery),
        ({"limit": 0}, TelemetryBadQuery),
        ({"limit": -1}, TelemetryBadQuery),
        ({"step_seconds": 0}, TelemetryBadQuery),
        ({"step_seconds": -5}, TelemetryBadQuery),
        ({"step_seconds": float("nan")}, TelemetryBadQuery),
        ({"step_seconds": 0.001}, TelemetryLimited),
    ],
)
async def test_what_cannot_be_answered_is_refused_before_any_call(loki, server, change, error):
    with pytest.raises(error):
        await loki.query_range('{a="b"}', **{**RANGE, **change}, deadline=soon())
    assert server.requests == []


async def test_a_range_that_was_too_long_is_refused_the_next_time_before_any_call(loki, replay, server):
    exchange = replay.play("range_too_long")
    sixty_nine_days = {"start": int(exchange.parameters["start"]), "end": int(exchange.parameters["end"])}
    for _ in range(2):
        with pytest.raises(TelemetryLimited):
            await loki.query_range('{env="prod"}', **sixty_nine_days, deadline=soon())
    assert len(server.requests) == 1
    start = NOON - timedelta(days=30)
    replay.answer_anything_with("query_range_empty")
    await loki.query_range('{env="prod"}', start=start, end=NOON, deadline=soon())


async def test_a_long_query_is_posted_because_addresses_are_cut_off(loki, replay, server):
    replay.answer_anything_with("query_range_empty")
    await loki.query_range('{a=~"' + "|".join(["checkout"] * 500) + '"}', **RANGE, deadline=soon())
    assert server.requests[0].method == "POST"
    assert server.requests[0].parameters["start"] == [str(START)]


def test_moments_and_nanoseconds_agree_to_the_microsecond():
    at = datetime(2026, 11, 23, 11, 21, 51, 123457, tzinfo=UTC)
    assert moment(nanoseconds(at)) == at
    assert moment(nanoseconds(at) + 999) == at
    with pytest.raises(ValueError, match="aware"):
        nanoseconds(datetime(2026, 1, 1))  # noqa: DTZ001 # what must not be taken


CALLS = {
    "query": lambda loki: loki.query("x", deadline=soon()),
    "query_range": lambda loki: loki.query_range("x", **RANGE, limit=10, deadline=soon()),
    "labels": lambda loki: loki.labels(**RANGE, deadline=soon()),
    "label_values": lambda loki: loki.label_values("a", **RANGE, deadline=soon()),
    "series": lambda loki: loki.series(["x"], **RANGE, deadline=soon()),
    "index_stats": lambda loki: loki.index_stats("x", **RANGE, deadline=soon()),
    "volume": lambda loki: loki.volume("x", **RANGE, deadline=soon()),
    "patterns": lambda loki: loki.patterns("x", **RANGE, deadline=soon()),
    "detected_fields": lambda loki: loki.detected_fields("x", **RANGE, deadline=soon()),
    "detected_labels": lambda loki: loki.detected_labels(**RANGE, deadline=soon()),
    "build_info": lambda loki: loki.build_info(deadline=soon()),
}


@pytest.mark.parametrize("body", [b"<html>login</html>", b"[]", b"null", b'{"status":"success","data":7}', b'{"data":'])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_every_call_takes_nonsense_for_what_it_is_and_leaves_no_connection_busy(loki, server, call, body):
    server.behaviour = answering(http_answer(body))
    with pytest.raises(TelemetryBadResponse):
        await call(loki)
    assert loki.transport.busy_connections() == 0


async def test_a_loki_that_says_nothing_is_late_and_one_that_hangs_up_is_gone(loki, server):
    async def hang_up(_: object, writer: asyncio.StreamWriter) -> None:
        reset(writer)

    async def say_nothing(_: object, writer: asyncio.StreamWriter) -> None:
        await writer.drain()

    server.behaviour = say_nothing
    with pytest.raises(TelemetryTimeout):
        await loki.query_range("x", **RANGE, limit=10, deadline=Deadline.after(0.1))
    server.behaviour = hang_up
    with pytest.raises(TelemetryUnavailable):
        await loki.push([], deadline=soon())
    assert loki.transport.busy_connections() == 0
