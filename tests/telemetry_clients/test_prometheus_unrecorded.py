"""The client against what Prometheus and its kin answer on days that nobody recorded."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

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
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.prometheus.samples import HistogramBucket
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.local_server import LocalServer, Request, answering, http_answer, local_server

START = datetime.fromtimestamp(1795419151.114, UTC)
END = datetime.fromtimestamp(1795419211.114, UTC)


def soon() -> Deadline:
    return Deadline.after(10)


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
    await client.query("up", deadline=Deadline.after(300))
    [seconds] = server.requests[0].parameters["timeout"]
    assert 200 < float(seconds) <= 300


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
