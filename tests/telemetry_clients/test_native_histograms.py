"""Native histograms in a real Prometheus: decoded, found, and turned into golden signals."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from domain.telemetry import GoldenSignal
from domain.time import Deadline
from telemetry_clients.prometheus.discovery import Discovery
from telemetry_clients.prometheus.golden_signals import expression
from telemetry_clients.prometheus.request_metrics import Form
from telemetry_clients.services import Service
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.prometheus_server import PrometheusServer, running_prometheus
from tests.telemetry_clients.remote_write import histogram, write_request

METRIC = "http_server_request_duration_seconds"
NOW = time.time() // 15 * 15


def soon() -> Deadline:
    return Deadline.after(10)


@pytest.fixture(scope="module")
async def prometheus(tmp_path_factory) -> AsyncIterator[PrometheusServer]:
    """Each scrape has seen 30 more requests within (0.5 s, 1 s], 10 more within (1 s, 2 s], and 10 failed at once."""
    folder = tmp_path_factory.mktemp("native")
    flags = ("--web.enable-remote-write-receiver", "--enable-feature=native-histograms")
    async with (
        running_prometheus(folder, flags=flags) as server,
        Transport(Endpoint(backend="Prometheus", url=server.url, headers=HEADERS)) as transport,
    ):
        for status, counts in (("200", (30, 10)), ("503", (10, 0))):
            labels = {"service": "checkout", "http_response_status_code": status}
            scrapes = [
                histogram(
                    NOW - 15 * (20 - scrape),
                    schema=0,
                    first_bucket=0,
                    counts=[scrape * count for count in counts],
                    total=float(scrape * 40),
                )
                for scrape in range(1, 21)
            ]
            answer = await transport.post_body(
                "/api/v1/write",
                body=write_request(METRIC, labels, scrapes),
                content_type="application/x-protobuf",
                deadline=soon(),
            )
            assert answer.succeeded, answer.body
        yield server


HEADERS = {"Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}


async def test_a_native_histogram_is_decoded_with_its_buckets(prometheus):
    result = await prometheus.client.query(
        f'{METRIC}{{http_response_status_code="200"}}', at=datetime.fromtimestamp(NOW, UTC), deadline=soon()
    )
    [series] = result.series
    [found] = series.histograms
    assert (found.count, found.sum, len(series.points)) == (800, 800, 0)
    assert [(bucket.lower, bucket.upper, bucket.count) for bucket in found.buckets] == [(0.5, 1, 600), (1, 2, 200)]


async def test_golden_signals_are_found_in_native_histograms(prometheus):
    service = Service("checkout")
    at = datetime.fromtimestamp(NOW, UTC)
    places = (await Discovery(prometheus.client).places([service], at=at, deadline=soon()))[service]
    [source] = places[GoldenSignal.LATENCY_P50].sources.requests
    assert (source.metric.name, source.form) == (METRIC, Form.NATIVE)
    values = {}
    for signal in (GoldenSignal.REQUEST_RATE, GoldenSignal.ERROR_RATIO, GoldenSignal.LATENCY_P99):
        question = expression(signal, {"service": "checkout"}, window_seconds=60, sources=places[signal].sources)
        result = await prometheus.client.query(question, at=at, deadline=soon())
        [series] = result.series
        assert series.labels == {"service": "checkout"}
        values[signal] = series.points[0].value
    assert values[GoldenSignal.REQUEST_RATE] == pytest.approx(50 / 15, rel=0.01)
    assert values[GoldenSignal.ERROR_RATIO] == pytest.approx(0.2, rel=0.01)
    assert 1.9 < values[GoldenSignal.LATENCY_P99] <= 2
