"""The client against exchanges recorded from a real Tempo, replayed over HTTP, errors included."""

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from domain.time import Deadline
from domain.traces import SpanKind, SpanStatus
from telemetry_clients.errors import (
    TelemetryBadQuery,
    TelemetryBadResponse,
    TelemetryLimited,
    TelemetryNotConfigured,
    TelemetryTimeout,
    TelemetryUnavailable,
)
from telemetry_clients.tempo import BuildInfo, ServiceSpans, TagValue, Tempo, traceql
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.local_server import LocalServer, Request, answering, http_answer, local_server, reset
from tests.telemetry_clients.recorded import Exchange, recording

START = datetime.fromtimestamp(1795418789, UTC)
END = datetime.fromtimestamp(1795419211, UTC)
TRACE_ID = "bdd640fb06671ad11c80317fa3b1799d"
UNKNOWN_ID = "00000000000000000000000000000001"
RANGE = {"start": START, "end": END}


@dataclass
class Replay:
    """A server that gives recorded answers to one client."""

    server: LocalServer
    transport: Transport

    def answer_with(self, name: str) -> Exchange:
        """Answer everything with one recording from now on."""
        recorded = recording("tempo", name)
        self.server.behaviour = answering(recorded.answer())
        return recorded

    def assert_asked_as(self, recorded: Exchange, *, ignoring: Collection[str] = ()) -> None:
        """The client sent, once, what was recorded."""
        [asked] = self.server.requests
        assert recorded.fits(asked, ignoring), asked


@pytest.fixture
async def replay() -> AsyncIterator[Replay]:
    async with (
        local_server(answering(b"")) as server,
        Transport(Endpoint(backend="Tempo", url=server.url)) as transport,
    ):
        yield Replay(server, transport)


@pytest.fixture
def tempo(replay: Replay) -> Tempo:
    return Tempo(replay.transport)


def soon() -> Deadline:
    return Deadline.after(20)


async def test_a_search_finds_failing_traces_with_the_services_that_failed(replay: Replay, tempo: Tempo) -> None:
    recorded = replay.answer_with("search_errors")

    found = await tempo.search(
        traceql.spans_of(["checkout"], errors_only=True), **RANGE, limit=10, spans_per_trace=3, deadline=soon()
    )

    replay.assert_asked_as(recorded)
    assert len(found) == 10
    assert [trace.started_at for trace in found] == sorted((trace.started_at for trace in found), reverse=True)
    first = found[0]
    assert (first.trace_id, first.root_service, first.root_operation, first.duration_seconds) == (
        "391184973a43b2badf0f06cbcb9bc326",
        "frontend",
        "POST /api/checkout",
        1.541,
    )
    assert first.started_at == datetime(2026, 11, 23, 7, 32, 42, 900894, tzinfo=UTC)
    assert first.services is not None
    assert first.services["checkout"] == ServiceSpans(1, 1)
    assert first.services["payment"].errors == 0


@pytest.mark.parametrize("name", ["search_slow", "search_structural"])
async def test_whatever_traceql_can_say_is_passed_on_as_it_is(replay: Replay, tempo: Tempo, name: str) -> None:
    recorded = replay.answer_with(name)

    found = await tempo.search(recorded.parameters["q"], **RANGE, limit=5, deadline=soon())

    replay.assert_asked_as(recorded, ignoring=("spss",))
    assert found
    assert all(trace.services is not None and "payment" in trace.services for trace in found)


async def test_a_search_that_finds_nothing_is_no_error(replay: Replay, tempo: Tempo) -> None:
    recorded = replay.answer_with("search_empty")

    assert await tempo.search(traceql.spans_of(["nobody"]), **RANGE, deadline=soon()) == ()
    replay.assert_asked_as(recorded, ignoring=("limit", "spss"))


async def test_answers_that_do_not_count_spans_are_understood_too(replay: Replay, tempo: Tempo) -> None:
    replay.answer_with("search_tags_legacy")

    found = await tempo.search("{}", **RANGE, deadline=soon())

    assert [trace.duration_seconds for trace in found] == [1.541, 1.038, 1.133]
    assert {trace.services for trace in found} == {None}


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("search_bad_query", TelemetryBadQuery, "parse error at line 1, col 27: syntax error: unexpected $end"),
        ("search_bad_type", TelemetryBadQuery, "binary operations must operate on the same type: duration = `x`"),
        ("search_end_before_start", TelemetryBadQuery, "start must be before end"),
        ("search_range_too_long", TelemetryLimited, "exceeds 168h0m0s"),
        ("not_found", TelemetryBadResponse, "path prefix"),
    ],
)
async def test_refusals_keep_the_words_and_positions_of_tempo(
    replay: Replay, tempo: Tempo, name: str, error: type[Exception], words: str
) -> None:
    replay.answer_with(name)

    with pytest.raises(error) as refused:
        await tempo.search("{ resource.service.name = ", **RANGE, deadline=soon())
    assert words in str(refused.value)


async def test_a_query_that_cannot_be_parsed_says_where(replay: Replay, tempo: Tempo) -> None:
    replay.answer_with("search_bad_query")

    with pytest.raises(TelemetryBadQuery) as refused:
        await tempo.search("{ resource.service.name = ", **RANGE, deadline=soon())
    assert (refused.value.line, refused.value.column) == (1, 27)


@pytest.mark.parametrize(
    ("start", "end", "limit", "error"),
    [
        (END, START, 20, TelemetryBadQuery),
        (START, START, 20, TelemetryBadQuery),
        (END - timedelta(hours=169), END, 20, TelemetryLimited),
        (START, END, 0, TelemetryLimited),
        (START, END, 1001, TelemetryLimited),
    ],
)
async def test_what_tempo_would_refuse_is_refused_before_any_call(
    replay: Replay, tempo: Tempo, start: datetime, end: datetime, limit: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await tempo.search("{}", start=start, end=end, limit=limit, deadline=soon())
    assert replay.server.requests == []


async def test_a_range_of_just_the_longest_length_is_asked_for_within_it(replay: Replay, tempo: Tempo) -> None:
    replay.answer_with("search_empty")
    end = END + timedelta(milliseconds=500)

    await tempo.search("{}", start=end - timedelta(hours=168), end=end, deadline=soon())

    [asked] = replay.server.requests
    assert int(asked.parameters["end"][0]) - int(asked.parameters["start"][0]) == 168 * 3600


async def test_a_trace_comes_with_its_spans_their_failures_and_attributes(replay: Replay, tempo: Tempo) -> None:
    recorded = replay.answer_with("trace_v2_protobuf")

    spans = await tempo.trace(TRACE_ID.upper(), deadline=soon())

    replay.assert_asked_as(recorded)
    assert replay.server.requests[0].headers["accept"] == "application/protobuf"
    assert spans is not None
    by_service = {span.service: span for span in spans if span.kind is SpanKind.SERVER}
    assert [*by_service] == ["payment", "inventory", "checkout", "frontend"]
    checkout = by_service["checkout"]
    assert checkout.parent_span_id == by_service["frontend"].span_id == "1a3d1fa7bc8960a9"
    assert by_service["frontend"].parent_span_id is None
    assert (checkout.name, checkout.status, checkout.status_message) == (
        "POST /checkout",
        SpanStatus.ERROR,
        "upstream payment failed",
    )
    assert checkout.attributes["http.response.status_code"] == 503
    assert checkout.resource["service.version"] == "v2.4.1"
    [exception] = checkout.events
    assert (exception.name, exception.attributes["exception.type"]) == ("exception", "ConnectionError")
    assert by_service["payment"].duration_ns == 944_695_829


async def test_both_apis_and_both_encodings_give_the_same_trace(replay: Replay, tempo: Tempo) -> None:
    replay.answer_with("trace_v2_protobuf")
    as_protobuf = await tempo.trace(TRACE_ID, deadline=soon())
    replay.answer_with("trace_v2_json")
    as_json = await tempo.trace(TRACE_ID, deadline=soon())
    older = [recording("tempo", name).answer() for name in ("not_found", "trace_v1_json")]

    async def knows_only_the_first_api(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(older.pop(0))

    replay.server.behaviour = knows_only_the_first_api
    as_v1 = await tempo.trace(TRACE_ID, deadline=soon())

    assert [request.path for request in replay.server.requests[-2:]] == [
        f"/api/v2/traces/{TRACE_ID}",
        f"/api/traces/{TRACE_ID}",
    ]
    assert as_protobuf == as_json == as_v1


@pytest.mark.parametrize("name", ["trace_unknown", "trace_unknown_v2"])
async def test_a_trace_that_is_not_there_is_none_and_no_error(replay: Replay, tempo: Tempo, name: str) -> None:
    replay.answer_with(name)

    assert await tempo.trace(UNKNOWN_ID, deadline=soon()) is None


async def test_a_tempo_under_a_wrong_path_is_no_missing_trace(replay: Replay, tempo: Tempo) -> None:
    replay.answer_with("not_found")

    with pytest.raises(TelemetryBadResponse, match="path prefix"):
        await tempo.trace(TRACE_ID, deadline=soon())


@pytest.mark.parametrize("trace_id", ["", "xyz", "../../status", "0" * 33, "1 or 1"])
async def test_a_wrong_trace_id_is_refused_before_any_call(replay: Replay, tempo: Tempo, trace_id: str) -> None:
    with pytest.raises(TelemetryBadQuery, match="no trace id"):
        await tempo.trace(trace_id, deadline=soon())
    assert replay.server.requests == []


async def test_what_tempo_says_of_a_wrong_id_is_a_bad_query(replay: Replay, tempo: Tempo) -> None:
    replay.answer_with("trace_bad_id")

    with pytest.raises(TelemetryBadQuery, match="can only contain hex characters"):
        await tempo.trace(TRACE_ID, deadline=soon())


async def test_tags_are_listed_by_scope(replay: Replay, tempo: Tempo) -> None:
    recorded = replay.answer_with("tags_v2")

    tags = await tempo.tags(**RANGE, deadline=soon())

    replay.assert_asked_as(recorded)
    assert tags.scopes["resource"] == ("service.name", "service.version")
    assert "http.response.status_code" in tags.scopes["span"]


async def test_the_values_of_a_tag_are_listed(replay: Replay, tempo: Tempo) -> None:
    recorded = replay.answer_with("tag_values_v2")

    values = await tempo.tag_values("resource.service.name", **RANGE, deadline=soon())

    replay.assert_asked_as(recorded)
    assert values == tuple(TagValue("string", name) for name in ("checkout", "frontend", "inventory", "payment"))


async def test_a_tag_cannot_leave_its_place_in_the_path(replay: Replay, tempo: Tempo) -> None:
    replay.answer_with("tag_values_v2")

    await tempo.tag_values("../../traces/1?x=", **RANGE, deadline=soon())

    assert replay.server.requests[0].path == "/api/v2/search/tag/..%2F..%2Ftraces%2F1%3Fx%3D/values"


async def test_metrics_are_series_with_labels_and_numbers(replay: Replay, tempo: Tempo) -> None:
    recorded = replay.answer_with("metrics_query_range_off")

    series = await tempo.query_range(recorded.parameters["q"], **RANGE, step_seconds=15, deadline=soon())

    replay.assert_asked_as(recorded)
    assert [one.labels for one in series] == [
        {"resource.service.name": name} for name in ("checkout", "frontend", "payment")
    ]
    values = [point.value for point in series[0].points]
    assert values[0] == 0, "what proto3 leaves out is zero"
    assert max(value for value in values if value is not None) == 0.2


@pytest.mark.parametrize(
    ("status", "text"), [(500, "error querying: localblocks processor not found"), (404, "404 page not found\n")]
)
async def test_metrics_that_are_switched_off_are_said_to_be(
    replay: Replay, tempo: Tempo, status: int, text: str
) -> None:
    replay.server.behaviour = answering(http_answer(text.encode(), status=status, content_type="text/plain"))

    with pytest.raises(TelemetryNotConfigured, match="does not compute TraceQL metrics"):
        await tempo.query_range("{} | rate()", **RANGE, step_seconds=15, deadline=soon())


@pytest.mark.parametrize(
    ("step_seconds", "error"), [(0, TelemetryBadQuery), (-1, TelemetryBadQuery), (0.01, TelemetryLimited)]
)
async def test_steps_that_make_no_sense_are_refused_before_any_call(
    replay: Replay, tempo: Tempo, step_seconds: float, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await tempo.query_range("{} | rate()", **RANGE, step_seconds=step_seconds, deadline=soon())
    assert replay.server.requests == []


async def test_a_tempo_says_that_it_is_there(replay: Replay, tempo: Tempo) -> None:
    replay.answer_with("buildinfo")
    assert await tempo.build_info(deadline=soon()) == BuildInfo("", "")
    replay.answer_with("ready")
    await tempo.require_ready(deadline=soon())
    replay.answer_with("echo")
    await tempo.echo(deadline=soon())


async def test_a_tempo_that_is_not_ready_says_why(replay: Replay, tempo: Tempo) -> None:
    words = b"Ingester not ready: waiting for 15s after being ready"
    replay.server.behaviour = answering(http_answer(words, status=503, content_type="text/plain"))

    with pytest.raises(TelemetryUnavailable, match="waiting for 15s"):
        await tempo.require_ready(deadline=soon())


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (http_answer(b"<html>Sign in</html>", content_type="text/html"), TelemetryBadResponse),
        (http_answer(b'{"trace": {"resourceSpans": [', content_type="application/json"), TelemetryBadResponse),
        (http_answer(b'{"trace": {"resourceSpans": [17]}}'), TelemetryBadResponse),
        (http_answer(b'{"trace": {"resourceSpans": [{"scopeSpans": [{"spans": [{}]}]}]}}'), TelemetryBadResponse),
        (http_answer(b"[]"), TelemetryBadResponse),
        (http_answer(b"\x0a\xff\xff\xff", content_type="application/protobuf"), TelemetryBadResponse),
        (http_answer(b"<html>", status=502, content_type="text/html"), TelemetryUnavailable),
        (http_answer(b"trace exceeds max size", status=422, content_type="text/plain"), TelemetryLimited),
        (http_answer(b"tenant is over its rate", status=429, content_type="text/plain"), TelemetryLimited),
        (http_answer(b"no org id", status=401, content_type="text/plain"), TelemetryNotConfigured),
    ],
)
async def test_bad_answers_have_codes_and_leave_no_connection_busy(
    replay: Replay, tempo: Tempo, answer: bytes, error: type[Exception]
) -> None:
    replay.server.behaviour = answering(answer)

    with pytest.raises(error):
        await tempo.trace(TRACE_ID, deadline=soon())
    assert replay.transport.busy_connections() == 0


@pytest.mark.parametrize("body", [b"[]", b'{"traces": [17]}', b'{"traces": [{"traceID": "x"}]}', b'{"traces": 17}'])
async def test_a_misshapen_search_is_a_bad_response(replay: Replay, tempo: Tempo, body: bytes) -> None:
    replay.server.behaviour = answering(http_answer(body))

    with pytest.raises(TelemetryBadResponse):
        await tempo.search("{}", **RANGE, deadline=soon())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"status":"error","error":"block is gone"}', "HTTP 200: block is gone"),
        (b'{"status":"error","message":"block is gone"}', "HTTP 200: block is gone"),
        (b'{"error":{"code":13}}', "HTTP 200"),
        (b'{"status":"error"}', "HTTP 200"),
    ],
)
async def test_a_success_that_holds_an_error_is_no_empty_answer(
    replay: Replay, tempo: Tempo, body: bytes, words: str
) -> None:
    replay.server.behaviour = answering(http_answer(body))

    with pytest.raises(TelemetryBadResponse, match=words):
        await tempo.search("{}", **RANGE, deadline=soon())


async def test_a_connection_that_is_reset_is_unavailable(replay: Replay, tempo: Tempo) -> None:
    async def hang_up(_: Request, writer: asyncio.StreamWriter) -> None:
        reset(writer)

    replay.server.behaviour = hang_up
    with pytest.raises(TelemetryUnavailable):
        await tempo.search("{}", **RANGE, deadline=soon())


async def test_a_tempo_that_hangs_is_given_up_at_the_deadline(replay: Replay, tempo: Tempo) -> None:
    async def say_nothing(_: Request, __: asyncio.StreamWriter) -> None:
        pass

    replay.server.behaviour = say_nothing
    with pytest.raises(TelemetryTimeout):
        await tempo.trace(TRACE_ID, deadline=Deadline.after(0.1))
    assert replay.transport.busy_connections() == 0


async def test_a_tempo_that_says_a_byte_now_and_then_is_given_up_at_the_deadline(replay: Replay, tempo: Tempo) -> None:
    async def trickle(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"[")
            await writer.drain()
            await asyncio.sleep(0.02)

    replay.server.behaviour = trickle
    with pytest.raises(TelemetryTimeout):
        await tempo.search("{}", **RANGE, deadline=Deadline.after(0.2))
    assert replay.transport.busy_connections() == 0


async def test_a_trace_without_end_is_refused_at_the_limit(replay: Replay) -> None:
    async def go_on(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/protobuf\r\nContent-Length: 10000000000\r\n\r\n")
        while True:
            writer.write(bytes(65_536))
            await writer.drain()

    replay.server.behaviour = go_on
    endpoint = Endpoint(backend="Tempo", url=replay.server.url, max_response_bytes=1_000_000)
    async with Transport(endpoint) as transport:
        with pytest.raises(TelemetryLimited):
            await Tempo(transport).trace(TRACE_ID, deadline=soon())
        assert transport.busy_connections() == 0
