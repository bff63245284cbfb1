"""Golden signals of services and incidents, from a Prometheus at the network's edge."""

from collections.abc import AsyncIterator

import pytest

from tests.schema.conftest import Api
from tests.schema.prometheus_backend import HISTOGRAM, PrometheusBackend, telemetry_of

RANGE = '{ from: "2026-03-01T11:00:00Z", to: "2026-03-01T12:00:00Z" }'
FIFTY = [f"service-{number:02}" for number in range(50)]


def measured(*names: str, label: str = "service") -> list[dict[str, str]]:
    return [{"__name__": HISTOGRAM, label: name, "http_response_status_code": "200"} for name in names]


@pytest.fixture
async def prometheus(api: Api) -> AsyncIterator[PrometheusBackend]:
    backend = PrometheusBackend(measured(*FIFTY, "checkout"))
    async with telemetry_of(backend) as telemetry:
        api.telemetry = telemetry
        yield backend


async def declare(api: Api, *names: str, **more: object) -> None:
    for name in names:
        await api.changed("createService", "service { id }", input={"name": name, **more})


async def test_fifty_services_that_each_select_their_metrics_are_one_query_a_signal(api, prometheus):
    await declare(api, *FIFTY)
    document = f"""{{ services(first: 50) {{ nodes {{
      name metrics(range: {RANGE}, stepSeconds: 60) {{ name signal unit labels points {{ time value }} }}
    }} }} }}"""
    answer = await api(document)
    assert "errors" not in answer
    nodes = answer["data"]["services"]["nodes"]
    assert [node["name"] for node in nodes] == FIFTY
    for node in nodes:
        assert [series["signal"] for series in node["metrics"]] == ["REQUEST_RATE", "ERROR_RATIO", "LATENCY_P95"]
        assert node["metrics"][0] == {
            "name": f"{node['name']} request_rate",
            "signal": "REQUEST_RATE",
            "unit": "1/s",
            "labels": {"service": node["name"]},
            "points": [
                {"time": "2026-03-01T12:00:00+00:00", "value": 0.5},
                {"time": "2026-03-01T12:00:15.25+00:00", "value": None},
            ],
        }
    assert len(prometheus.asked) == 4
    assert len(prometheus.ranges) == 3
    await api(document)
    assert len(prometheus.asked) == 7, "how services are named is remembered"


async def test_services_named_in_different_ways_are_still_one_query(api, prometheus):
    prometheus.metrics = [*measured("a"), *measured("shop/b", label="job")]
    await declare(api, "a", "b")
    answer = await api(f"{{ services {{ nodes {{ metrics(range: {RANGE}, signals: [ERROR_RATIO]) {{ labels }} }} }} }}")
    assert [node["metrics"] for node in answer["data"]["services"]["nodes"]] == [
        [{"labels": {"service": "a"}}],
        [{"labels": {"job": "shop/b"}}],
    ]
    [query] = prometheus.ranges
    assert query.count("\nor\n") == 1


async def test_what_is_selected_of_points_comes_in_the_order_and_under_the_names_of_the_selection(api, prometheus):
    await declare(api, "checkout")
    answer = await api(
        f"""query($no: Boolean = false) {{ serviceByName(name: "checkout") {{ metrics(range: {RANGE}) {{
          __typename series: points {{ v: value kind: __typename ...When skipped: time @include(if: $no) }}
          none: points {{ __typename }} query
        }} }} }}
        fragment When on MetricPoint {{ time at: time }}"""
    )
    series = answer["data"]["serviceByName"]["metrics"][0]
    assert [*series] == ["__typename", "series", "none", "query"]
    time = "2026-03-01T12:00:00+00:00"
    assert [*series["series"][0].items()] == [("v", 0.5), ("kind", "MetricPoint"), ("time", time), ("at", time)]
    assert series["none"] == [{"__typename": "MetricPoint"}] * 2
    assert series["query"] == (
        'sum by (service) (rate(http_server_request_duration_seconds_count{service="checkout"}[60s]))'
    )


async def test_a_series_without_points_has_none(api, prometheus):
    prometheus.samples = ()
    await declare(api, "checkout")
    document = f'{{ serviceByName(name: "checkout") {{ metrics(range: {RANGE}) {{ points {{ time value }} }} }} }}'
    assert (await api(document))["data"]["serviceByName"]["metrics"] == [{"points": []}] * 3


async def test_the_metrics_of_an_incident_are_those_of_the_services_that_it_hurts(api, prometheus, incident):
    answer = await api(
        "query($id: ID!) { incident(id: $id) { metrics(signals: [LATENCY_P99]) { name } services { name } } }",
        id=incident,
    )
    assert answer["data"]["incident"] == {
        "metrics": [{"name": "checkout latency_p99"}],
        "services": [{"name": "checkout"}],
    }


async def test_given_promql_is_asked_instead_and_a_mistake_in_it_costs_its_own_service(api, prometheus):
    given = {"REQUEST_RATE": "sum by (service) (rate(jobs_total{$selector}[$window]))"}
    await declare(api, "service-00", selectors={"signals": given})
    await declare(api, "service-01", selectors={"signals": {"REQUEST_RATE": "sum(broken{$selector})"}})
    await declare(api, "service-02")
    prometheus.refused = "broken"
    answer = await api(
        f"{{ services {{ nodes {{ name selectors {{ signals }} metrics(range: {RANGE}, signals: [REQUEST_RATE]) "
        "{ query } } } }"
    )
    first, second, third = answer["data"]["services"]["nodes"]
    assert first["selectors"] == {"signals": given}
    assert first["metrics"] == [{"query": 'sum by (service) (rate(jobs_total{service="service-00"}[60s]))'}]
    assert second["metrics"] is None
    assert len(third["metrics"]) == 1
    [error] = answer["errors"]
    assert error["path"] == ["services", "nodes", 1, "metrics"]
    assert error["extensions"] == {"code": "TELEMETRY_BAD_QUERY", "position": {"line": 1, "column": 5}}
    assert "unexpected" in error["message"]


async def test_what_prometheus_remarks_comes_as_warnings_of_the_answer(api, prometheus):
    prometheus.warnings = ["one store is down"]
    await declare(api, "checkout")
    answer = await api(f'{{ serviceByName(name: "checkout") {{ metrics(range: {RANGE}) {{ name }} }} }}')
    assert answer["extensions"] == {
        "warnings": [{"path": ["serviceByName", "metrics"], "backend": "Prometheus", "message": "one store is down"}]
    }


@pytest.mark.parametrize(
    ("arguments", "words", "path"),
    [
        ('range: { from: "2026-03-01T12:00:00Z", to: "2026-03-01T11:00:00Z" }', "must lie before", ["range"]),
        ('range: { from: "2026-03-01T12:00:01Z", to: "2026-03-01T13:00:00Z" }', "the future", ["range", "from"]),
        (f"range: {RANGE}, stepSeconds: 0", "at least 1", ["stepSeconds"]),
        (f"range: {RANGE}, stepSeconds: -60", "at least 1", ["stepSeconds"]),
    ],
)
async def test_an_impossible_range_is_refused_before_anything_is_asked(api, prometheus, arguments, words, path):
    await declare(api, "checkout")
    answer = await api(f'{{ serviceByName(name: "checkout") {{ metrics({arguments}) {{ name }} }} }}')
    [error] = answer["errors"]
    assert words in error["message"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "argumentPath": path}
    assert prometheus.asked == []


async def test_a_range_of_a_year_in_steps_of_a_second_gets_the_shortest_step_that_prometheus_allows(api, prometheus):
    await declare(api, "checkout")
    year = '{ from: "2025-03-01T12:00:00Z", to: "2026-03-01T12:00:00Z" }'
    answer = await api(f'{{ serviceByName(name: "checkout") {{ metrics(range: {year}, stepSeconds: 1) {{ name }} }} }}')
    assert "errors" not in answer


@pytest.mark.parametrize(
    ("signals", "words"),
    [
        ({"SPEED": "x{$selector}"}, "is none of REQUEST_RATE"),
        ({"REQUEST_RATE": "sum(x)"}, r"must hold $selector"),
        ({"REQUEST_RATE": "sum(x{$selector}[$range])"}, r"must hold $selector"),
        ({"REQUEST_RATE": "sum(x{$selector}"}, "cannot be read: unclosed left parenthesis"),
        ({"REQUEST_RATE": 7}, "must be a text"),
        ("sum(x)", "must be an object"),
    ],
)
async def test_promql_that_cannot_work_is_refused_when_it_is_given(api, signals, words):
    error = await api.refused("createService", "service { id }", input={"name": "x", "selectors": {"signals": signals}})
    assert words in error["message"]
    assert error["path"][:3] == ["input", "selectors", "signals"]
