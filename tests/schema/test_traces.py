"""Traces in GraphQL: of services and incidents, searched for and by id, and what their spans say."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.schema.conftest import Api
from tests.schema.tempo_backend import (
    HOUR,
    OF_SERVICES,
    TempoBackend,
    by_service,
    create,
    numbers,
    stored,
    tempo_backend,
)
from tests.telemetry_clients.local_server import Request, http_answer
from tests.telemetry_clients.recorded import recording
from tests.telemetry_clients.tempo_server import StoredTrace, trace_id

BY_ID = """
query($id: ID!) {
  tempo(traceId: $id) {
    traceId rootService rootOperation startedAt durationSeconds spanCount errorCount
    spans {
      spanId parentSpanId service operation kind status statusMessage isError isErrorOrigin depth startedAt
      durationSeconds selfTimeSeconds criticalPathSeconds clockSkewSeconds attributes resource
      events { name attributes }
    }
    criticalPath { service } errorOrigin { service statusMessage }
  }
}
"""


@pytest.fixture
async def backend(api: Api) -> AsyncIterator[TempoBackend]:
    async with tempo_backend(api) as backend:
        yield backend


async def test_a_trace_tells_what_made_it_slow_and_where_its_error_began(api: Api, backend: TempoBackend) -> None:
    recorded = recording("tempo", "trace_v2_protobuf")

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        assert recorded.fits(request)
        writer.write(recorded.answer())

    backend.server.behaviour = answer
    trace = (await api(BY_ID, id="bdd640fb06671ad11c80317fa3b1799d"))["data"]["tempo"]

    assert (trace["rootService"], trace["rootOperation"]) == ("frontend", "POST /api/checkout")
    assert (trace["spanCount"], trace["errorCount"], trace["durationSeconds"]) == (5, 2, 0.986695829)
    assert [(span["service"], span["depth"]) for span in trace["spans"]] == [
        ("frontend", 0),
        ("checkout", 1),
        ("payment", 2),
        ("inventory", 2),
        ("inventory", 3),
    ]
    payment = trace["spans"][2]
    assert payment["selfTimeSeconds"] == payment["criticalPathSeconds"] == payment["durationSeconds"] == 0.944695829
    assert payment["attributes"] == {"http.request.method": "POST", "http.response.status_code": 200}
    assert payment["resource"]["service.version"] == "v2.4.1"
    assert sum(span["criticalPathSeconds"] for span in trace["spans"]) == pytest.approx(trace["durationSeconds"])
    assert "payment" in [span["service"] for span in trace["criticalPath"]]
    assert trace["errorOrigin"] == {"service": "checkout", "statusMessage": "upstream payment failed"}
    checkout = trace["spans"][1]
    assert (checkout["kind"], checkout["status"], checkout["isError"], checkout["isErrorOrigin"]) == (
        "SERVER",
        "ERROR",
        True,
        True,
    )
    assert checkout["events"][0]["attributes"]["exception.message"] == "upstream payment failed"
    assert len(backend.server.requests) == 1, "all of a trace comes from one call"


async def test_a_trace_that_tempo_does_not_have_is_null_and_no_error(api: Api, backend: TempoBackend) -> None:
    assert await api(BY_ID, id="1") == {"data": {"tempo": None}}


async def test_a_wrong_trace_id_is_a_bad_query_without_any_call(api: Api, backend: TempoBackend) -> None:
    answer = await api(BY_ID, id="../status")

    assert answer["errors"][0]["extensions"]["code"] == "TELEMETRY_BAD_QUERY"
    assert backend.server.requests == []


async def test_the_failing_traces_of_a_search_come_with_spans_only_when_they_are_asked_for(
    api: Api, backend: TempoBackend
) -> None:
    backend.tempo.traces = [stored(1, "shop"), stored(2, "shop", "db", failed="db")]
    document = 'query($range: TimeRange!) { traceSearch(query: "{ }", range: $range) { traceId spanCount %s } }'

    answer = await api(document % "errorCount", **HOUR)
    assert [(trace["spanCount"], trace["errorCount"]) for trace in answer["data"]["traceSearch"]] == [(1, 0), (2, 1)]
    assert backend.tempo.fetched == []
    answer = await api(document % "spans { service } criticalPath { service } errorOrigin { service }", **HOUR)
    assert [trace["errorOrigin"] for trace in answer["data"]["traceSearch"]] == [None, {"service": "db"}]
    assert sorted(backend.tempo.fetched) == [trace_id(1), trace_id(2)], "each of them once"


async def test_spans_can_be_asked_for_by_self_time(api: Api, backend: TempoBackend) -> None:
    backend.tempo.traces = [stored(1, "a", "b", "c", duration_ms=1000)]

    document = "{ tempo(traceId: 1) { spans(orderBy: SELF_TIME, first: 2) { service selfTimeSeconds } } }"
    [first, second] = (await api(document))["data"]["tempo"]["spans"]
    assert first == {"service": "c", "selfTimeSeconds": 0.6}
    assert second["selfTimeSeconds"] == 0.2


async def test_one_trace_that_cannot_be_read_costs_its_own_spans_only(api: Api, backend: TempoBackend) -> None:
    backend.tempo.traces = [stored(1, "shop"), stored(2, "shop")]
    backend.tempo.broken = frozenset([trace_id(2)])

    answer = await api(
        'query($range: TimeRange!) { traceSearch(query: "{}", range: $range) { spans { service } } }', **HOUR
    )

    assert answer["data"]["traceSearch"] == [{"spans": [{"service": "shop"}]}, {"spans": None}]
    [error] = answer["errors"]
    assert (error["path"], error["extensions"]["code"]) == (["traceSearch", 1, "spans"], "TELEMETRY_UNAVAILABLE")
    assert "block is unreadable" in error["message"]


async def test_the_traces_of_many_services_come_from_one_search(api: Api, backend: TempoBackend) -> None:
    await create(api, "checkout", "payment", "quiet")
    backend.tempo.traces = [
        stored(1, "checkout", "payment"),
        stored(2, "checkout", "payment", failed="payment", duration_ms=2000),
        stored(3, "checkout", failed="checkout"),
    ]

    assert await by_service(api) == {"checkout": [1, 2, 3], "payment": [1, 2], "quiet": []}
    assert len(backend.tempo.searches) == 1
    assert await by_service(api, errorsOnly=True) == {"checkout": [3], "payment": [2], "quiet": []}
    assert await by_service(api, min=1.5) == {"checkout": [2], "payment": [2], "quiet": []}
    assert await by_service(api, first=1) == {"checkout": [1], "payment": [1], "quiet": []}


async def test_a_busy_service_does_not_hide_the_traces_of_a_quiet_one(api: Api, backend: TempoBackend) -> None:
    await create(api, "busy", "quiet", "silent")
    backend.tempo.traces = [*(stored(at, "busy") for at in range(100)), stored(500, "quiet", ago_seconds=600)]

    assert await by_service(api, first=2) == {"busy": [0, 1], "quiet": [500], "silent": []}
    assert len(backend.tempo.searches) == 2


async def test_the_slowest_of_many_services_come_from_one_search_while_tempo_can_return_all(
    api: Api, backend: TempoBackend
) -> None:
    names = [f"service-{number:02}" for number in range(20)]
    await create(api, *names)
    backend.tempo.traces = [
        stored(number, names[number % 20], duration_ms=number * 397 % 400 + 1) for number in range(400)
    ]

    found = await by_service(api, first=2, orderBy="DURATION")

    slowest = sorted(range(0, 400, 20), key=lambda number: -(number * 397 % 400))
    assert found["service-00"] == slowest[:2]
    assert len(backend.tempo.searches) == 1
    busy = [stored(number, names[0], duration_ms=5) for number in range(1000, 2000)]
    backend.tempo.traces = [*backend.tempo.traces, *busy]
    assert await by_service(api, first=2, orderBy="DURATION") == found


async def test_a_tempo_that_does_not_count_spans_tells_services_apart_too(api: Api, backend: TempoBackend) -> None:
    await create(api, "checkout", "payment")
    backend.tempo.traces = [stored(1, "checkout", "payment"), stored(2, "checkout")]
    backend.tempo.counts_spans = False

    assert await by_service(api) == {"checkout": [1, 2], "payment": [1]}


async def test_a_service_is_found_by_its_selector_and_its_name_cannot_change_a_query(
    api: Api, backend: TempoBackend
) -> None:
    hostile = 'a"} || {x="'
    known = {"name": "checkout", "selectors": {"tempo": hostile}}
    await api.changed("createService", "service { id }", input=known)
    backend.tempo.traces = [stored(1, hostile), stored(2, "checkout")]

    assert await by_service(api) == {"checkout": [1]}
    assert backend.tempo.searches[0]["q"] == '{ resource.service.name = "a\\"} || {x=\\"" }'


async def test_the_five_slowest_failing_traces_of_an_incident_are_one_question(
    api: Api, backend: TempoBackend, incident: str
) -> None:
    await api.changed(
        "setServiceImpact", "incident { id }", incidentId=incident, serviceId=await _new_service(api), level="SECONDARY"
    )
    backend.tempo.traces = [
        stored(number, "checkout", "payment", duration_ms=number % 37 * 10 + 10, failed="payment" if number % 2 else "")
        for number in range(60)
    ]
    slow = """query($id: ID!) { incident(id: $id) {
      traces(errorsOnly: true, first: 5, orderBy: DURATION) { durationSeconds errorOrigin { service } }
    } }"""

    traces = (await api(slow, id=incident))["data"]["incident"]["traces"]

    assert [trace["durationSeconds"] for trace in traces] == [0.36, 0.34, 0.32, 0.3, 0.28]
    assert {trace["errorOrigin"]["service"] for trace in traces} == {"payment"}
    [search] = backend.tempo.searches
    assert (
        search["q"] == '{ (resource.service.name = "checkout" || resource.service.name = "payment") && status = error }'
    )


async def _new_service(api: Api) -> str:
    created = await api.changed("createService", "service { id }", input={"name": "payment"})
    return str(created["id"])


async def test_the_slowest_of_more_traces_than_tempo_returns_are_found(
    api: Api, backend: TempoBackend, incident: str
) -> None:
    backend.tempo.traces = [stored(number, "checkout", duration_ms=number * 397 % 1000 + 1) for number in range(1000)]
    document = "query($id: ID!) { incident(id: $id) { traces(first: 3, orderBy: DURATION) { durationSeconds } } }"

    traces = (await api(document, id=incident))["data"]["incident"]["traces"]

    assert [trace["durationSeconds"] for trace in traces] == [1.0, 0.999, 0.998]
    assert len(backend.tempo.searches) <= 4


async def test_an_incident_that_hurts_nothing_has_no_traces_and_asks_for_none(api: Api, backend: TempoBackend) -> None:
    opened = await api.changed("createIncident", "incident { id }", input={"title": "Odd", "severity": "LOW"})

    answer = await api("query($id: ID!) { incident(id: $id) { traces { traceId } } }", id=opened["id"])
    assert answer == {"data": {"incident": {"traces": []}}}
    assert backend.server.requests == []


async def test_an_incident_open_for_longer_than_tempo_searches_shows_the_last_of_it(
    api: Api, backend: TempoBackend, incident: str
) -> None:
    api.wait(days=30)
    backend.tempo.traces = [StoredTrace(trace_id(1), api.now.timestamp() - 60, 10, ["checkout"])]

    answer = await api("query($id: ID!) { incident(id: $id) { traces { traceId } } }", id=incident)
    assert numbers(answer["data"]["incident"]["traces"]) == [1]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"first": 0}, "BAD_USER_INPUT"),
        ({"first": 101}, "BAD_USER_INPUT"),
        ({"min": -1.0}, "BAD_USER_INPUT"),
        ({"range": {"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T11:00:00Z"}}, "BAD_USER_INPUT"),
        ({"range": {"from": "2026-03-02T12:00:00Z", "to": "2026-03-02T13:00:00Z"}}, "BAD_USER_INPUT"),
        ({"range": {"from": "2026-01-01T12:00:00Z", "to": "2026-03-01T11:00:00Z"}}, "TELEMETRY_LIMITED"),
    ],
)
async def test_what_makes_no_sense_is_refused_before_any_call(
    api: Api, backend: TempoBackend, asked: dict[str, Any], code: str
) -> None:
    await create(api, "checkout")

    answer = await api(OF_SERVICES, **(HOUR | asked))

    assert [error["extensions"]["code"] for error in answer["errors"]] == [code]
    assert answer["data"]["services"]["nodes"] == [{"name": "checkout", "traces": None}]
    assert backend.server.requests == []


async def test_a_bad_query_is_refused_with_tempos_own_words(api: Api, backend: TempoBackend) -> None:
    async def refuse(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(recording("tempo", "search_bad_query").answer())

    backend.server.behaviour = refuse
    answer = await api('query($range: TimeRange!) { traceSearch(query: "{ x = ", range: $range) { traceId } }', **HOUR)

    [error] = answer["errors"]
    assert error["extensions"]["code"] == "TELEMETRY_BAD_QUERY"
    assert "parse error at line 1, col 27: syntax error: unexpected $end" in error["message"]


async def test_a_tempo_that_hangs_costs_its_own_fields_only(api: Api, backend: TempoBackend, incident: str) -> None:
    async def say_nothing(_: Request, __: asyncio.StreamWriter) -> None:
        pass

    backend.server.behaviour = say_nothing
    api.timeout_seconds = 1
    answer = await api(
        "query($id: ID!) { incident(id: $id) { title traces { traceId } services { name } } }", id=incident
    )

    assert answer["data"]["incident"] == {
        "title": "Checkout is failing",
        "traces": None,
        "services": [{"name": "checkout"}],
    }
    [error] = answer["errors"]
    assert (error["path"], error["extensions"]["code"]) == (["incident", "traces"], "TELEMETRY_TIMEOUT")


async def test_html_instead_of_an_answer_is_a_bad_response(api: Api, backend: TempoBackend, incident: str) -> None:
    async def show_a_page(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(http_answer(b"<html>Sign in</html>", content_type="text/html"))

    backend.server.behaviour = show_a_page
    answer = await api("query($id: ID!) { incident(id: $id) { traces { traceId } } }", id=incident)
    assert answer["errors"][0]["extensions"]["code"] == "TELEMETRY_BAD_RESPONSE"


async def test_without_a_tempo_its_fields_say_so(api: Api, incident: str) -> None:
    answer = await api(
        "query($id: ID!) { incident(id: $id) { title traces { traceId } } tempo(traceId: 1) { traceId } }", id=incident
    )

    assert answer["data"] == {"incident": {"title": "Checkout is failing", "traces": None}, "tempo": None}
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"TELEMETRY_NOT_CONFIGURED"}
