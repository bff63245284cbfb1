"""The client against exchanges recorded from a real Prometheus, replayed over HTTP, errors included."""

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
    TelemetryLimited,
)
from telemetry_clients.prometheus import BuildInfo, Point, Prometheus, Series
from telemetry_clients.prometheus.inventory import MetricMetadata
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.local_server import LocalServer, answering, http_answer, local_server

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
