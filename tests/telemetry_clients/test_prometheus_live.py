"""The client against a real Prometheus that scrapes a real exporter every second."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from domain.telemetry import GoldenSignal
from domain.time import Deadline
from telemetry_clients.errors import TelemetryBadQuery, TelemetryTimeout
from telemetry_clients.prometheus import golden_signals
from tests.telemetry_clients.eventually import eventually
from tests.telemetry_clients.local_server import Request, http_answer, local_server
from tests.telemetry_clients.prometheus_server import SCRAPE_INTERVAL_SECONDS, PrometheusServer

SERVICE = 'check"out\\{x="}'
METRIC = "http_server_request_duration_seconds"


@pytest.fixture(scope="module")
async def prometheus(prometheus_server) -> AsyncIterator[PrometheusServer]:
    """It has scraped an exporter before, and after, 100 requests to SERVICE and 100 failed ones to another service.

    Of SERVICE's, 50 took up to 0.1 s, 40 up to 0.5 s, 10 up to 1 s; 10 were answered with a 5xx and 10 with a 404.
    """
    registry = CollectorRegistry()
    labels = ("service", "http_request_method", "http_route", "http_response_status_code")
    requests = Histogram(METRIC, "Requests.", labels, buckets=(0.1, 0.5, 1.0), registry=registry)

    async def metrics(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(http_answer(generate_latest(registry), content_type="text/plain; version=0.0.4"))

    async with local_server(metrics) as exporter:
        statuses = ["200"] * 16 + ["404", "404", "500", "503"]
        for status in set(statuses):
            requests.labels(SERVICE, "GET", "/", status)
        requests.labels("other", "GET", "/", "500")
        await prometheus_server.scrape(exporter.address, job="shop", labels={"team": "sales"})
        for i in range(100):
            seconds = 0.05 if i < 50 else 0.3 if i < 90 else 0.7
            requests.labels(SERVICE, "GET", "/", statuses[i % 20]).observe(seconds)
            requests.labels("other", "GET", "/", "500").observe(0.9)

        async def all_are_stored() -> bool:
            result = await prometheus_server.client.query(f"sum({METRIC}_count)", deadline=soon())
            return [series.points[0].value for series in result.series] == [200]

        await eventually("all requests are stored", all_are_stored)
        yield prometheus_server


def soon() -> Deadline:
    return Deadline.after(10)


@pytest.mark.parametrize(
    ("signal", "value"),
    [
        (GoldenSignal.ERROR_RATIO, 0.1),
        (GoldenSignal.LATENCY_P50, 0.1),
        (GoldenSignal.LATENCY_P95, 0.75),
        (GoldenSignal.LATENCY_P99, 0.95),
    ],
)
async def test_golden_signals_of_what_was_scraped_are_those_of_the_requests_made(prometheus, signal, value):
    window_seconds = golden_signals.rate_window_seconds(60, SCRAPE_INTERVAL_SECONDS)
    expression = golden_signals.expression(signal, {"service": SERVICE}, window_seconds=window_seconds)
    result = await prometheus.client.query(expression, deadline=soon())
    [series] = result.series
    assert series.labels == {"service": SERVICE}
    assert series.points[0].value == pytest.approx(value)


async def test_a_range_ends_with_what_was_scraped_last(prometheus):
    now = datetime.now(UTC)
    expression = golden_signals.expression(GoldenSignal.REQUEST_RATE, {"service": SERVICE}, window_seconds=60)
    result = await prometheus.client.query_range(
        expression, start=now - timedelta(minutes=10), end=now, step_seconds=1, deadline=soon()
    )
    [series] = result.series
    assert (now - series.points[-1].time) < timedelta(seconds=1.5)
    assert series.points[-1].value > 0
    assert [after.time - before.time for before, after in zip(series.points, series.points[1:], strict=False)] == [
        timedelta(seconds=1)
    ] * (len(series.points) - 1)


async def test_series_and_label_values_are_those_of_the_exporter(prometheus):
    now = datetime.now(UTC)
    hour = {"start": now - timedelta(hours=1), "end": now}
    found = await prometheus.client.series([f'{METRIC}_count{{team="sales"}}'], **hour, deadline=soon())
    assert {(labels["service"], labels["http_response_status_code"]) for labels in found} == {
        *((SERVICE, status) for status in ("200", "404", "500", "503")),
        ("other", "500"),
    }
    values = await prometheus.client.label_values(
        "service", selectors=[f'{METRIC}_count{{team="sales"}}'], **hour, deadline=soon()
    )
    assert values == (SERVICE, "other")
    assert await prometheus.client.label_values("nobody_has_this", **hour, deadline=soon()) == ()
    assert await prometheus.client.label_values(
        "http_response_status_code", selectors=[f'{METRIC}_count{{service="other"}}'], **hour, deadline=soon()
    ) == ("500",)


async def test_build_info_names_a_version(prometheus):
    assert (await prometheus.client.build_info(deadline=soon())).version[0].isdigit()


async def test_wrong_promql_is_a_bad_query_in_the_server_s_own_words(prometheus):
    with pytest.raises(TelemetryBadQuery, match="1:16: parse error: unclosed left parenthesis"):
        await prometheus.client.query("sum(rate(x[5m])", deadline=soon())


async def test_a_query_that_takes_longer_than_its_deadline_times_out(prometheus):
    with pytest.raises(TelemetryTimeout):
        await prometheus.client.query("count_over_time(vector(1)[300d:1s])", deadline=Deadline.after(0.1))
