"""The client against exchanges recorded from a real Prometheus, replayed over HTTP, errors included."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.time import Deadline
from telemetry_clients.errors import (
    TelemetryBadQuery,
    TelemetryBadResponse,
    TelemetryError,
    TelemetryLimited,
    TelemetryTimeout,
    TelemetryUnavailable,
)
from telemetry_clients.prometheus import BuildInfo, Point, Prometheus, Series
from telemetry_clients.prometheus.inventory import MetricMetadata
from telemetry_clients.prometheus.samples import HistogramBucket
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.local_server import LocalServer, Request, answering, http_answer, local_server

RECORDINGS = Path(__file__).parents[3] / "shared" / "contracts" / "prometheus"
START = datetime.fromtimestamp(1795419151.114, UTC)
END = datetime.fromtimestamp(1795419211.114, UTC)
FAILED = 'sum by (service) (rate(http_requests_total{status=~"5.."}[30s]))'
RATIO = f"{FAILED} / sum by (service) (rate(http_requests_total[30s]))"


class Replay:
    """A server that gives recorded answers, and remembers the recording for comparison."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self.recorded: dict[str, Any] = {}

    def answer_with(self, name: str) -> None:
        self.recorded = json.loads((RECORDINGS / f"{name}.json").read_text())
        response = self.recorded["response"]
        body = json.dumps(response["json"]).encode() if "json" in response else response["text"].encode()
        content_type = response["headers"]["Content-Type"]
        self.server.behaviour = answering(http_answer(body, status=response["status"], content_type=content_type))

    def assert_asked_as_recorded(self, *, method: str | None = None) -> None:
        """The client sent what was recorded, and only bounded the evaluation's time besides."""
        [asked] = self.server.requests
        recorded = self.recorded["request"]
        sent = {name: values for name, values in asked.parameters.items() if name != "timeout"}
        assert (asked.method, asked.path) == (method or recorded["method"], recorded["path"])
        assert sent == {name: [value] for name, value in (recorded["params"] | recorded["form"]).items()}


@pytest.fixture
async def replay() -> AsyncIterator[Replay]:
    if not RECORDINGS.is_dir():
        pytest.skip(f"no recorded exchanges: {RECORDINGS} is missing")
    async with local_server(answering(b"")) as server:
        yield Replay(server)


@pytest.fixture
async def prometheus(replay) -> AsyncIterator[Prometheus]:
    async with Transport(Endpoint(backend="Prometheus", url=replay.server.url)) as transport:
        yield Prometheus(transport)


def soon() -> Deadline:
    return Deadline.after(10)


async def test_a_vector_is_one_point_a_series(prometheus, replay):
    replay.answer_with("query_vector")
    result = await prometheus.query(RATIO, at=END, deadline=soon())
    replay.assert_asked_as_recorded()
    assert result.series == (
        Series({"service": "catalog"}, (Point(END, 0.0),)),
        Series({"service": "checkout"}, (Point(END, 0.4),)),
        Series({"service": "frontend"}, (Point(END, 0.15),)),
    )
    assert result.warnings == ()


async def test_a_range_is_every_point_of_every_series_in_utc(prometheus, replay):
    replay.answer_with("query_range_matrix")
    result = await prometheus.query_range(RATIO, start=START, end=END, step_seconds=5, deadline=soon())
    replay.assert_asked_as_recorded()
    catalog = result.series[0]
    assert catalog.labels == {"service": "catalog"}
    assert [point.time for point in catalog.points] == [START + timedelta(seconds=5 * i) for i in range(13)]
    recorded = replay.recorded["response"]["json"]["data"]["result"]
    assert [[point.value for point in series.points] for series in result.series] == [
        [float(value) for _, value in series["values"]] for series in recorded
    ]


async def test_values_keep_their_full_precision(prometheus, replay):
    replay.answer_with("query_range_p95")
    p95 = "histogram_quantile(0.95, sum by (service, le) (rate(http_request_duration_seconds_bucket[30s])))"
    result = await prometheus.query_range(p95, start=START, end=END, step_seconds=5, deadline=soon())
    replay.assert_asked_as_recorded()
    assert result.series[0].points[0] == Point(START, 0.1550000000000002)


async def test_nan_and_infinities_are_null(prometheus, replay):
    replay.answer_with("query_nan_inf")
    result = await prometheus.query(replay.recorded["request"]["form"]["query"], deadline=soon())
    replay.assert_asked_as_recorded()
    assert {series.labels["k"]: series.points[0].value for series in result.series} == {
        "nan": None,
        "inf": None,
        "neg": None,
    }


async def test_a_range_selector_gives_the_samples_as_they_were_scraped(prometheus, replay):
    replay.answer_with("query_matrix")
    result = await prometheus.query('http_requests_total{service="checkout"}[10s]', deadline=soon())
    replay.assert_asked_as_recorded()
    assert result.series[0].labels["status"] == "200"
    assert result.series[0].points[:2] == (
        Point(datetime.fromtimestamp(1795419202.61, UTC), 191.0),
        Point(datetime.fromtimestamp(1795419204.61, UTC), 194.0),
    )


async def test_a_scalar_is_one_series_without_labels(prometheus, replay):
    replay.answer_with("query_scalar")
    result = await prometheus.query("scalar(vector(42))", deadline=soon())
    replay.assert_asked_as_recorded()
    assert result.series == (Series({}, (Point(datetime.fromtimestamp(1795419211.117, UTC), 42.0),)),)


async def test_nothing_found_is_no_series_and_no_error(prometheus, replay):
    replay.answer_with("query_empty")
    assert (await prometheus.query("no_such_metric", deadline=soon())).series == ()
    replay.assert_asked_as_recorded()


async def test_series_are_their_labels(prometheus, replay):
    replay.answer_with("series")
    found = await prometheus.series(['http_requests_total{service="checkout"}'], start=START, end=END, deadline=soon())
    replay.assert_asked_as_recorded(method="POST")  # recorded as a GET; Prometheus takes both
    assert [labels["status"] for labels in found] == ["200", "503"]


async def test_label_values_are_a_list_of_words(prometheus, replay):
    replay.answer_with("label_values")
    found = await prometheus.label_values("service", deadline=soon())
    replay.assert_asked_as_recorded()
    assert found == ("catalog", "checkout", "frontend", "inventory", "payment")


async def test_build_info_says_what_answers(prometheus, replay):
    replay.answer_with("buildinfo")
    assert await prometheus.build_info(deadline=soon()) == BuildInfo("2.42.0+ds", "2.42.0+ds-5+deb12u1")
    replay.assert_asked_as_recorded()


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("query_bad_syntax", TelemetryBadQuery, "1:16: parse error: unclosed left parenthesis"),
        ("query_bad_type", TelemetryBadQuery, "expected type range vector in call to function"),
        ("query_bad_time", TelemetryBadQuery, 'cannot parse "yesterday" to a valid timestamp'),
        ("query_timeout", TelemetryBadQuery, 'cannot parse "1us" to a valid duration'),
        ("query_many_to_many", TelemetryBadQuery, "found duplicate series for the match group"),
        ("query_range_end_before_start", TelemetryBadQuery, "end timestamp must not be before start time"),
        ("query_range_zero_step", TelemetryBadQuery, "zero or negative query resolution step widths"),
        ("query_range_too_many_points", TelemetryLimited, "exceeded maximum resolution of 11,000 points"),
        ("label_values_bad_name", TelemetryBadQuery, 'invalid label name: "bad-name"'),
        ("not_found", TelemetryBadResponse, "HTTP 404"),
        ("healthy", TelemetryBadResponse, "not JSON"),
        ("labels", TelemetryBadResponse, "answered without samples"),
    ],
)
async def test_a_refusal_has_its_code_and_prometheus_own_words(prometheus, replay, name, error, words):
    replay.answer_with(name)
    with pytest.raises(error) as raised:
        await prometheus.query("whatever the recording was asked", deadline=soon())
    assert words in raised.value.message


# What Prometheus and its kin answer on days that nobody recorded.


def error_body(kind: str, reason: str) -> bytes:
    return json.dumps({"status": "error", "errorType": kind, "error": reason}).encode()


def success_body(data: object, **more: object) -> bytes:
    return json.dumps({"status": "success", "data": data, **more}).encode()


def vector(*samples: object) -> dict[str, object]:
    return {"resultType": "vector", "result": list(samples)}


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with local_server(answering(b"")) as server:
        yield server


@pytest.fixture
async def client(server) -> AsyncIterator[Prometheus]:
    async with Transport(Endpoint(backend="Prometheus", url=server.url)) as transport:
        yield Prometheus(transport)


@pytest.mark.parametrize(
    ("status", "kind", "reason", "error"),
    [
        (503, "timeout", "query timed out in expression evaluation", TelemetryTimeout),
        (503, "canceled", "query was canceled in expression evaluation", TelemetryUnavailable),
        (499, "canceled", "context canceled", TelemetryUnavailable),
        (503, "unavailable", "TSDB not ready", TelemetryUnavailable),
        (500, "internal", "opening storage failed", TelemetryUnavailable),
        (422, "execution", "query processing would load too many samples into memory", TelemetryLimited),
        (429, "too_many_requests", "max concurrent queries reached", TelemetryLimited),
        (422, "422", "error when parsing the query", TelemetryBadQuery),
        (200, "bad_data", "an error within a success", TelemetryBadQuery),
    ],
)
async def test_each_kind_of_error_has_its_code_and_keeps_its_words(client, server, status, kind, reason, error):
    server.behaviour = answering(http_answer(error_body(kind, reason), status=status))
    with pytest.raises(error) as raised:
        await client.query("up", deadline=soon())
    assert reason in raised.value.message


async def test_a_long_reason_is_cut(client, server):
    server.behaviour = answering(http_answer(error_body("execution", "x" * 100_000), status=422))
    with pytest.raises(TelemetryBadQuery) as raised:
        await client.query("up", deadline=soon())
    assert len(raised.value.message) < 1000


async def test_warnings_and_infos_are_passed_on(client, server):
    body = success_body(vector(), warnings=["one store is down"], infos=["metric might not be a counter"])
    server.behaviour = answering(http_answer(body))
    result = await client.query("up", deadline=soon())
    assert result.warnings == ("one store is down", "metric might not be a counter")


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b'"success"',
        b'{"status":"success"}',
        success_body(None),
        success_body([]),
        success_body({"resultType": "vector"}),
        success_body({"resultType": "vector", "result": None}),
        success_body({"resultType": "tensor", "result": []}),
        success_body({"resultType": "scalar", "result": [1]}),
        success_body(vector(1)),
        success_body(vector({})),
        success_body(vector({"metric": {}, "value": None})),
        success_body(vector({"metric": {}, "value": [1, "many"]})),
        success_body(vector({"metric": {}, "value": [1, {}]})),
        success_body(vector({"metric": {}, "value": ["now", "1"]})),
        success_body(vector({"metric": {}, "value": [1e300, "1"]})),
        success_body(vector({"metric": {}, "value": [1e15, "1"]})),
        success_body(vector({"metric": {"a": 1}, "value": [1, "1"]})),
        success_body(vector({"metric": [], "value": [1, "1"]})),
    ],
)
async def test_an_answer_of_another_shape_is_a_bad_response(client, server, body):
    server.behaviour = answering(http_answer(body))
    with pytest.raises(TelemetryBadResponse, match="unlike Prometheus"):
        await client.query("up", deadline=soon())


@pytest.mark.parametrize("body", [success_body(None), success_body({}), success_body([1])])
async def test_lists_of_another_shape_are_bad_responses(client, server, body):
    server.behaviour = answering(http_answer(body))
    with pytest.raises(TelemetryBadResponse):
        await client.series(["up"], start=START, end=END, deadline=soon())
    with pytest.raises(TelemetryBadResponse):
        await client.label_values("service", deadline=soon())
    with pytest.raises(TelemetryBadResponse):
        await client.build_info(deadline=soon())
    with pytest.raises(TelemetryBadResponse):
        await client.alerts(deadline=soon())
    with pytest.raises(TelemetryBadResponse):
        await client.rules(deadline=soon())
    with pytest.raises(TelemetryBadResponse):
        await client.targets(deadline=soon())
    with pytest.raises(TelemetryBadResponse):
        await client.labels(deadline=soon())


SPARSE = {
    "count": "5",
    "sum": "NaN",
    "buckets": [[1, "-1.5", "-1", "2"], [3, "-0.5", "0.5", "1"], [0, "1", "+Inf", "2"]],
}


@pytest.mark.parametrize(
    "data",
    [
        vector({"metric": {"a": "b"}, "histogram": [1.5, SPARSE]}),
        {"resultType": "matrix", "result": [{"metric": {"a": "b"}, "histograms": [[1.5, SPARSE]]}]},
    ],
)
async def test_native_histograms_have_their_buckets_with_the_bounds_that_they_include(client, server, data):
    server.behaviour = answering(http_answer(success_body(data)))
    [series] = (await client.query("up", deadline=soon())).series
    assert (series.labels, len(series.points)) == ({"a": "b"}, 0)
    [histogram] = series.histograms
    assert (histogram.time.timestamp(), histogram.count, histogram.sum) == (1.5, 5, None)
    assert histogram.buckets == (
        HistogramBucket(-1.5, -1, 2, includes_lower=True, includes_upper=False),
        HistogramBucket(-0.5, 0.5, 1, includes_lower=True, includes_upper=True),
        HistogramBucket(1, None, 2, includes_lower=False, includes_upper=True),
    )


async def test_a_series_can_turn_from_numbers_into_histograms(client, server):
    series = {"metric": {}, "values": [[1, "2"]], "histograms": [[2, SPARSE]]}
    server.behaviour = answering(http_answer(success_body({"resultType": "matrix", "result": [series]})))
    [found] = (await client.query("up", deadline=soon())).series
    assert [point.value for point in found.points] == [2]
    assert [histogram.count for histogram in found.histograms] == [5]


async def test_a_string_is_a_text_and_no_series(prometheus, replay):
    replay.answer_with("query_string")
    result = await prometheus.query('"text"', deadline=soon())
    assert (result.kind, result.text, result.series) == ("string", "text", ())


async def test_a_parse_error_says_where(prometheus, replay):
    replay.answer_with("query_bad_syntax")
    with pytest.raises(TelemetryBadQuery) as raised:
        await prometheus.query("sum(rate(x[5m])", deadline=soon())
    assert (raised.value.line, raised.value.column) == (1, 16)


async def test_labels_are_a_list_of_words(prometheus, replay):
    replay.answer_with("labels")
    found = await prometheus.labels(deadline=soon())
    assert {"__name__", "job", "service"} <= {*found}


async def test_metadata_is_what_targets_say_of_their_metrics(prometheus, replay):
    replay.answer_with("metadata")
    found = await prometheus.metadata("http_requests_total", deadline=soon())
    replay.assert_asked_as_recorded()
    assert found == {"http_requests_total": (MetricMetadata("counter", "Requests.", ""),)}


async def test_alerts_are_those_pending_or_firing(prometheus, replay):
    replay.answer_with("alerts")
    found = await prometheus.alerts(deadline=soon())
    replay.assert_asked_as_recorded()
    assert [(alert.labels["service"], alert.state) for alert in found] == [
        ("checkout", "firing"),
        ("frontend", "firing"),
    ]
    assert found[0].active_at == datetime(2026, 11, 23, 7, 31, 51, 315913, UTC)


async def test_rules_are_recorded_and_alerting_ones_with_their_alerts(prometheus, replay):
    replay.answer_with("rules")
    [group] = await prometheus.rules(deadline=soon())
    replay.assert_asked_as_recorded()
    recording, alerting = group.rules
    assert (recording.kind, recording.name, recording.state) == ("recording", "service:http_requests:rate1m", None)
    assert (alerting.kind, alerting.state, alerting.for_seconds) == ("alerting", "firing", 4)
    assert [alert.labels["service"] for alert in alerting.alerts] == ["checkout", "frontend"]


async def test_targets_that_are_down_say_why(prometheus, replay):
    replay.answer_with("targets")
    found = await prometheus.targets(deadline=soon())
    replay.assert_asked_as_recorded()
    down = next(target for target in found if target.labels["job"] == "gone")
    assert down.health == "down"
    assert "connection refused" in down.last_error


async def test_no_exemplars_are_an_empty_list(prometheus, replay):
    replay.answer_with("exemplars_empty")
    found = await prometheus.exemplars("http_request_duration_seconds_bucket", start=START, end=END, deadline=soon())
    replay.assert_asked_as_recorded()
    assert found == ()


async def test_an_exemplar_leads_to_its_trace(client, server):
    """As documented in Prometheus's HTTP API."""
    item = {
        "seriesLabels": {"service": "checkout"},
        "exemplars": [{"labels": {"traceID": "4bf92f"}, "value": "0.5", "timestamp": 1600096945.5}],
    }
    server.behaviour = answering(http_answer(success_body([item])))
    [found] = await client.exemplars("x", start=START, end=END, deadline=soon())
    assert (found.series_labels, found.trace_id, found.point.value) == ({"service": "checkout"}, "4bf92f", 0.5)


async def test_prometheus_is_told_how_long_it_may_take(client, server):
    server.behaviour = answering(http_answer(success_body(vector())))
    await client.query("up", deadline=Deadline.after(3))
    [seconds] = server.requests[0].parameters["timeout"]
    assert 2 < float(seconds) <= 3


@pytest.mark.parametrize(
    ("end", "step_seconds", "error", "words"),
    [
        (START - timedelta(seconds=1), 5, TelemetryBadQuery, "ends before it starts"),
        (END, 0, TelemetryBadQuery, "not positive"),
        (END, -1, TelemetryBadQuery, "not positive"),
        (END, float("nan"), TelemetryBadQuery, "not positive"),
        (END, float("inf"), TelemetryBadQuery, "not positive"),
        (START + timedelta(seconds=11_000), 1, TelemetryLimited, "Use a step of 2 s or more"),
    ],
)
async def test_an_impossible_range_is_refused_before_any_call(client, server, end, step_seconds, error, words):
    with pytest.raises(error, match=words):
        await client.query_range("up", start=START, end=end, step_seconds=step_seconds, deadline=soon())
    assert server.requests == []


async def test_a_label_name_cannot_lead_elsewhere(client, server):
    with pytest.raises(TelemetryBadQuery, match="not a label name"):
        await client.label_values("../../../admin/tsdb/delete_series", deadline=soon())
    assert server.requests == []


@pytest.mark.parametrize(
    "body", [b'{"status":"error","errorType":"execution","error":"expanding series: gone"}', b'{"status":"success","da']
)
async def test_an_error_that_comes_with_a_status_of_success_is_never_kept(server, body):
    bodies = [body, b'{"status":"success","data":{"resultType":"matrix","result":[]}}']

    async def one_after_the_other(request: Request, writer: asyncio.StreamWriter) -> None:
        await answering(http_answer(bodies[len(server.requests) - 1]))(request, writer)

    server.behaviour = one_after_the_other
    end = datetime(2026, 3, 1, 12, tzinfo=UTC)
    hour = {"start": end - timedelta(hours=1), "end": end, "step_seconds": 60}
    async with Transport(Endpoint(backend="Prometheus", url=server.url, cache_ttl_seconds=60)) as transport:
        client = Prometheus(transport)
        with pytest.raises(TelemetryError):
            await client.query_range("up", **hour, deadline=soon())
        for _ in range(2):
            assert (await client.query_range("up", **hour, deadline=soon())).series == ()
    assert len(server.requests) == 2, "what was an answer is kept"
