"""What those who write TraceQL find in GraphQL beside the search: attributes, their values, and numbers over time."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.schema.conftest import NOON, Api
from tests.schema.tempo_backend import HOUR, TempoBackend, tempo_backend
from tests.telemetry_clients.local_server import answering, http_answer
from tests.telemetry_clients.recorded import recording

TAGS = "query($range: TimeRange!) { traceTags(range: $range) { scope names } }"
VALUES = """query($range: TimeRange!, $tag: String = "resource.service.name", $query: String, $first: Int) {
  traceTagValues(tag: $tag, range: $range, query: $query, first: $first) { value type }
}"""
METRICS = """query($range: TimeRange!, $query: String = "{} | rate()", $stepSeconds: Int) {
  traceMetrics(query: $query, range: $range, stepSeconds: $stepSeconds) {
    stepSeconds series { name signal labels unit query points { time value } }
  }
}"""
BY_SERVICE = "{ status = error } | rate() by (resource.service.name)"


@pytest.fixture
async def backend(api: Api) -> AsyncIterator[TempoBackend]:
    async with tempo_backend(api) as backend:
        yield backend


def replay(backend: TempoBackend, name: str) -> None:
    """Let Tempo answer everything as it once answered this."""
    backend.server.behaviour = answering(recording("tempo", name).answer())


async def test_the_attributes_that_spans_have_are_told_by_scope(api: Api, backend: TempoBackend) -> None:
    replay(backend, "tags_v2")

    names = {tags["scope"]: tags["names"] for tags in (await api(TAGS, **HOUR))["data"]["traceTags"]}

    assert names["resource"] == ["service.name", "service.version"]
    assert "http.response.status_code" in names["span"]
    [asked] = backend.server.requests
    assert asked.path == "/api/v2/search/tags"
    assert asked.parameters["end"] == [str(int(NOON.timestamp()))]


async def test_the_values_of_an_attribute_come_in_order_and_only_as_many_as_are_wanted(
    api: Api, backend: TempoBackend
) -> None:
    replay(backend, "tag_values_v2")

    every = (await api(VALUES, **HOUR))["data"]["traceTagValues"]
    two = (await api(VALUES, **HOUR, query="{ status = error }", first=2))["data"]["traceTagValues"]

    assert [each["value"] for each in every] == ["checkout", "frontend", "inventory", "payment"]
    assert two == [{"value": "checkout", "type": "string"}, {"value": "frontend", "type": "string"}]
    whole, failing = backend.server.requests
    assert whole.path == "/api/v2/search/tag/resource.service.name/values"
    assert "q" not in whole.parameters
    assert failing.parameters["q"] == ["{ status = error }"]


async def test_the_name_of_an_attribute_cannot_lead_elsewhere(api: Api, backend: TempoBackend) -> None:
    replay(backend, "tag_values_v2")

    await api(VALUES, **HOUR, tag="../../traces/1?x=")

    assert backend.server.requests[0].path == "/api/v2/search/tag/..%2F..%2Ftraces%2F1%3Fx%3D/values"


async def test_a_metric_of_spans_is_series_with_labels_and_the_step_that_was_taken(
    api: Api, backend: TempoBackend
) -> None:
    replay(backend, "metrics_query_range_off")

    found = (await api(METRICS, **HOUR, query=BY_SERVICE, stepSeconds=15))["data"]["traceMetrics"]

    assert found["stepSeconds"] == 15
    assert [series["name"] for series in found["series"]] == [
        f"resource.service.name={service}" for service in ("checkout", "frontend", "payment")
    ]
    first = found["series"][0]
    assert first["labels"] == {"resource.service.name": "checkout"}
    assert (first["signal"], first["unit"], first["query"]) == (None, "1", BY_SERVICE)
    assert max(point["value"] for point in first["points"]) == 0.2
    [asked] = backend.server.requests
    assert (asked.parameters["q"], asked.parameters["step"]) == ([BY_SERVICE], ["15s"])


async def test_a_step_of_too_many_points_becomes_a_longer_one(api: Api, backend: TempoBackend) -> None:
    replay(backend, "metrics_query_range_off")
    week = {"range": {"from": (NOON - timedelta(days=7)).isoformat(), "to": NOON.isoformat()}}

    usual = (await api(METRICS, **HOUR))["data"]["traceMetrics"]["stepSeconds"]
    longer = (await api(METRICS, **week, stepSeconds=1))["data"]["traceMetrics"]["stepSeconds"]

    assert usual == 15
    assert 7 * 86_400 / 11_000 <= longer < 60
    assert [request.parameters["step"] for request in backend.server.requests] == [["15s"], [f"{longer}s"]]


BACKWARDS = {"range": {"from": NOON.isoformat(), "to": (NOON - timedelta(hours=1)).isoformat()}}
LATER = {"range": {"from": (NOON + timedelta(days=400)).isoformat(), "to": (NOON + timedelta(days=401)).isoformat()}}


@pytest.mark.parametrize(
    ("document", "asked", "path"),
    [
        *((document, BACKWARDS, ["range"]) for document in (TAGS, VALUES, METRICS)),
        *((document, LATER, ["range", "from"]) for document in (TAGS, VALUES, METRICS)),
        (VALUES, {**HOUR, "first": 0}, ["first"]),
        (VALUES, {**HOUR, "first": 5001}, ["first"]),
        (VALUES, {**HOUR, "query": " "}, ["query"]),
        (METRICS, {**HOUR, "query": ""}, ["query"]),
        (METRICS, {**HOUR, "stepSeconds": 0}, ["stepSeconds"]),
        (METRICS, {**HOUR, "stepSeconds": -1}, ["stepSeconds"]),
    ],
)
async def test_what_makes_no_sense_is_refused_before_any_call(
    api: Api, backend: TempoBackend, document: str, asked: dict[str, Any], path: list[str]
) -> None:
    [error] = (await api(document, **asked))["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "argumentPath": path}
    assert backend.server.requests == []


@pytest.mark.parametrize("document", [VALUES, METRICS])
async def test_a_bad_query_is_refused_with_tempos_own_words_and_position(
    api: Api, backend: TempoBackend, document: str
) -> None:
    replay(backend, "search_bad_query")

    [error] = (await api(document, **HOUR, query="{ resource.service.name = "))["errors"]

    assert "syntax error: unexpected $end" in error["message"]
    assert error["extensions"] == {"code": "TELEMETRY_BAD_QUERY", "position": {"line": 1, "column": 27}}


async def test_a_tempo_that_computes_no_metrics_is_said_to_be_misconfigured(api: Api, backend: TempoBackend) -> None:
    words = b"error querying generators: localblocks processor not found"
    backend.server.behaviour = answering(http_answer(words, status=500, content_type="text/plain"))

    [error] = (await api(METRICS, **HOUR))["errors"]

    assert error["extensions"]["code"] == "TELEMETRY_NOT_CONFIGURED"
    assert "local-blocks processor" in error["message"]


async def test_each_can_name_its_tempo(api: Api, backend: TempoBackend) -> None:
    fields = (
        'traceTags(range: $range, instance: "mars") { scope }',
        'traceTagValues(tag: "name", range: $range, instance: "mars") { value }',
        'traceMetrics(query: "{} | rate()", range: $range, instance: "mars") { stepSeconds }',
    )
    answer = await api(f"query($range: TimeRange!) {{ {' '.join(fields)} }}", **HOUR)
    assert answer["data"] == {"traceTags": None, "traceTagValues": None, "traceMetrics": None}
    messages = {error["message"] for error in answer["errors"]}
    assert messages == {"No Tempo called 'mars' is configured. Configured are: default."}
