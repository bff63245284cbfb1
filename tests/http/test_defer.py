"""Answers in parts: what Postgres knows comes at once, and what `@defer` leaves to other backends when they answer."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import pytest

from tests.http.event_stream import listen
from tests.http.graphql_socket import connect, open_incident
from tests.schema.prometheus_backend import PrometheusBackend
from tests.servers import ServerProcess
from tests.telemetry_clients.local_server import Request, http_answer, local_server
from tests.telemetry_clients.loki_server import local_loki
from tests.telemetry_clients.tempo_server import StoredTrace, TempoServer, trace_id
from tests.waiting import until

IDS = "multipart/mixed, application/json"
PATHS = "multipart/mixed; deferSpec=20220824, application/graphql-response+json, application/json;q=0.9"
SERIES = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'
KNOWN = orjson.dumps(
    {
        "status": "success",
        "data": {
            "resultType": "vector",
            "result": [
                {"metric": {"__name__": "http_requests_total", "service": service, "code": "200"}, "value": [1, "1"]}
                for service in ("checkout", "payments")
            ],
        },
    }
)
QUERY = """
query($defer: Boolean! = true) {
  incidents(first: 1, filter: { search: "Checkout answers slowly" }) {
    nodes { title ... on Incident @defer(label: "telemetry", if: $defer) { metrics { name } } }
  }
}
"""
PLACE = ["incidents", "nodes", 0]


@dataclass
class SlowPrometheus:
    """A Prometheus that says at once whom it knows, and answers about them what it was told to, as soon as it may."""

    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    answer: bytes = http_answer(SERIES)
    url: str = ""
    asked: int = 0

    async def behave(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.path == "/api/v1/query":
            writer.write(http_answer(KNOWN))
            return
        self.asked += 1
        await self.may_answer.wait()
        writer.write(self.answer)


@asynccontextmanager
async def slow_prometheus() -> AsyncGenerator[SlowPrometheus]:
    slow = SlowPrometheus()
    async with local_server(slow.behave) as server:
        slow.url = server.url
        yield slow


@pytest.fixture(scope="module")
async def lasting_prometheus() -> AsyncIterator[SlowPrometheus]:
    async with slow_prometheus() as slow:
        yield slow


@pytest.fixture
def prometheus(lasting_prometheus: SlowPrometheus) -> SlowPrometheus:
    """It answers no test before that says so."""
    lasting_prometheus.may_answer.clear()
    return lasting_prometheus


@pytest.fixture(scope="module")
async def server_of_slow(
    served_database_url: str, server: ServerProcess, lasting_prometheus: SlowPrometheus
) -> AsyncIterator[ServerProcess]:
    """A patient server over the incidents of the session's one, and over the slow Prometheus."""
    async with ServerProcess(
        DATABASE_URL=served_database_url, PROMETHEUS_URL=lasting_prometheus.url, OPERATION_TIMEOUT_SECONDS="60"
    ) as running:
        yield running


@pytest.fixture
async def slow_http(server_of_slow: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server_of_slow.url, timeout=20) as client:
        yield client


@asynccontextmanager
async def failing(database_url: str, answer: bytes | None) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of a server of its own, whose Prometheus says this, or nothing: then a request takes 1 s."""
    async with slow_prometheus() as slow:
        if answer is not None:
            slow.answer = answer
            slow.may_answer.set()
        settings = {"PROMETHEUS_URL": slow.url, "OPERATION_TIMEOUT_SECONDS": "1" if answer is None else "20"}
        async with (
            ServerProcess(DATABASE_URL=database_url, **settings) as running,
            httpx.AsyncClient(base_url=running.url, timeout=20) as client,
        ):
            yield client


@asynccontextmanager
async def parts_of(
    http: httpx.AsyncClient, accept: str, query: str = QUERY, **variables: Any
) -> AsyncGenerator[AsyncIterator[Any]]:
    """The parts of an answer, each as soon as the client can know that it is whole."""
    body = {"query": query, "variables": variables}
    async with http.stream("POST", "/graphql", json=body, headers={"Accept": accept}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith('multipart/mixed; boundary="-"')
        yield _parts(response)


async def _parts(response: httpx.Response) -> AsyncIterator[Any]:
    received = ""
    preamble = True
    async for text in response.aiter_text():
        received += text
        while "\r\n---" in received:
            part, _, received = received.partition("\r\n---")
            if not preamble:
                head, _, body = part.removeprefix("\r\n").partition("\r\n\r\n")
                assert head == "Content-Type: application/json; charset=utf-8"
                yield orjson.loads(body)
            preamble = False
    assert received == "--\r\n"


async def test_what_postgres_knows_comes_before_the_slow_backend_answers(
    slow_http: httpx.AsyncClient, prometheus: SlowPrometheus
) -> None:
    async with parts_of(slow_http, IDS) as parts:
        first = await anext(parts)
        prometheus.may_answer.set()
        rest = [part async for part in parts]

    assert first == {
        "data": {"incidents": {"nodes": [{"title": "Checkout answers slowly"}]}},
        "pending": [{"id": "0", "path": PLACE, "label": "telemetry"}],
        "hasNext": True,
    }
    assert [each for part in rest for each in part.get("incremental", [])] == [{"id": "0", "data": {"metrics": []}}]
    assert [each for part in rest for each in part.get("completed", [])] == [{"id": "0"}]
    assert [part["hasNext"] for part in rest] == [True] * (len(rest) - 1) + [False]


@pytest.mark.parametrize("accept", [IDS, PATHS])
async def test_the_first_part_tells_what_was_asked_for_costs(
    slow_http: httpx.AsyncClient, prometheus: SlowPrometheus, accept: str
) -> None:
    prometheus.may_answer.set()
    body = {"query": QUERY, "extensions": {"cost": True}}
    async with slow_http.stream("POST", "/graphql", json=body, headers={"Accept": accept}) as response:
        first, *rest = [part async for part in _parts(response)]
    whole = (await slow_http.post("/graphql", json=body)).json()

    told = first["extensions"]["cost"]
    assert told["requested"] == whole["extensions"]["cost"]["requested"] > 1
    assert told["actual"] is None  # It is known when all of it is there.
    assert 0 < told["remaining"] <= told["capacity"]
    assert not any("cost" in part.get("extensions", {}) for part in rest)


async def test_clients_of_apollo_get_the_form_that_they_ask_for(
    slow_http: httpx.AsyncClient, prometheus: SlowPrometheus
) -> None:
    prometheus.may_answer.set()
    async with parts_of(slow_http, PATHS) as parts:
        first, *rest = [part async for part in parts]

    assert first == {"data": {"incidents": {"nodes": [{"title": "Checkout answers slowly"}]}}, "hasNext": True}
    assert [each for part in rest for each in part.get("incremental", [])] == [
        {"data": {"metrics": []}, "path": PLACE, "label": "telemetry"}
    ]
    assert not any({"pending", "completed"} & part.keys() for part in rest)


async def test_a_deferred_field_that_fails_keeps_its_code_and_path_and_leaks_nothing(
    served_database_url: str, server: ServerProcess
) -> None:
    page = http_answer(b"<html>secret proxy</html>", content_type="text/html")
    async with failing(served_database_url, page) as http:
        for accept in (IDS, PATHS):
            async with parts_of(http, accept) as parts:
                _, *rest = [part async for part in parts]

            (deferred,) = [each for part in rest for each in part.get("incremental", [])]
            (error,) = deferred["errors"]
            assert deferred["data"] == {"metrics": None}
            assert error["path"] == [*PLACE, "metrics"]
            assert error["extensions"]["code"] == "TELEMETRY_BAD_RESPONSE"
            assert "Error(" not in error["message"]


async def test_a_backend_that_never_answers_costs_its_own_part_and_ends_at_the_deadline(
    served_database_url: str, server: ServerProcess
) -> None:
    async with failing(served_database_url, None) as http:
        for accept in (IDS, PATHS):
            async with parts_of(http, accept) as parts:
                first, *rest = [part async for part in parts]

            assert first["data"]["incidents"]["nodes"] == [{"title": "Checkout answers slowly"}]
            errors = [error for part in rest for each in part.get("incremental", []) for error in each["errors"]]
            assert [error["extensions"]["code"] for error in errors] == ["TELEMETRY_TIMEOUT"]
            assert rest[-1]["hasNext"] is False


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "*/*",
        "multipart/mixed;q=0, application/json",
        "multipart/mixed;q=0.5, application/json",
        "multipart/mixed; deferSpec=20300101, application/json",
    ],
)
async def test_who_reads_no_parts_gets_one_answer_with_everything(
    accept: str, slow_http: httpx.AsyncClient, prometheus: SlowPrometheus
) -> None:
    prometheus.may_answer.set()
    answer = await slow_http.post("/graphql", json={"query": QUERY}, headers={"Accept": accept})

    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json() == {"data": {"incidents": {"nodes": [{"title": "Checkout answers slowly", "metrics": []}]}}}


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        (QUERY, {"defer": False}),
        ("{ incidents(first: 1) { nodes { title ... @defer { number } } } }", {}),
        ("{ viewer { name } }", {}),
    ],
    ids=["deferred is off", "only Postgres", "nothing is deferred"],
)
async def test_where_nothing_has_to_wait_nothing_is_split(
    query: str, variables: dict[str, Any], slow_http: httpx.AsyncClient, prometheus: SlowPrometheus
) -> None:
    prometheus.may_answer.set()
    answer = await slow_http.post(
        "/graphql", json={"query": query, "variables": variables}, headers={"Accept": "multipart/mixed"}
    )

    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json().keys() == {"data"}


async def test_an_event_stream_tells_the_parts_one_by_one(
    slow_http: httpx.AsyncClient, prometheus: SlowPrometheus
) -> None:
    async with listen(slow_http, QUERY) as stream:
        first = await stream.hear_event()
        prometheus.may_answer.set()
        rest = [await stream.hear_event()]
        while rest[-1].event == "next":
            rest.append(await stream.hear_event())

    assert first.data["data"]["incidents"]["nodes"] == [{"title": "Checkout answers slowly"}]
    assert first.data["hasNext"] is True
    *told, complete = rest
    assert [each for part in told for each in part.data.get("incremental", [])] == [
        {"id": "0", "data": {"metrics": []}}
    ]
    assert told[-1].data["hasNext"] is False
    assert complete.event == "complete"


async def test_over_a_socket_everything_comes_in_one_answer(
    server_of_slow: ServerProcess, prometheus: SlowPrometheus
) -> None:
    prometheus.may_answer.set()
    async with connect(server_of_slow.url) as socket:
        answer = await socket.ask("1", QUERY)

    assert answer["data"]["incidents"]["nodes"] == [{"title": "Checkout answers slowly", "metrics": []}]


async def test_a_subscription_that_defers_nothing_may_say_so(http: httpx.AsyncClient) -> None:
    subscription = "subscription($defer: Boolean!) { events { ... @defer(if: $defer) { type } } }"
    async with listen(http, subscription, variables={"defer": False}) as stream:
        while "id" not in (await stream.hear()).fields:
            continue
        await open_incident(http)
        event = await stream.hear_event()

    assert event.data["data"]["events"]["type"]


async def test_the_object_of_a_mutation_can_come_in_parts(
    slow_http: httpx.AsyncClient, prometheus: SlowPrometheus
) -> None:
    mutation = """
    mutation {
      createIncident(input: { title: "Deferred", severity: LOW, services: ["search"] }) {
        incident { title ... @defer { metrics { name } } }
      }
    }
    """
    async with parts_of(slow_http, IDS, mutation) as parts:
        first = await anext(parts)
        prometheus.may_answer.set()
        rest = [part async for part in parts]

    assert first["data"] == {"createIncident": {"incident": {"title": "Deferred"}}}
    assert [each["data"] for part in rest for each in part.get("incremental", [])] == [{"metrics": []}]


async def test_a_client_that_leaves_ends_its_request(
    server_of_slow: ServerProcess, slow_http: httpx.AsyncClient, prometheus: SlowPrometheus
) -> None:
    def ended() -> int:
        return sum(line.get("operation") == "query" for line in server_of_slow.log)

    asked, before = prometheus.asked, ended()
    async with parts_of(slow_http, IDS) as parts:
        await anext(parts)
        await until(lambda: prometheus.asked > asked)

    await until(lambda: ended() > before)


@pytest.mark.parametrize(
    "query",
    [
        "{ ... @defer(label: 3) { viewer { name } } }",
        "{ viewer @defer { name } }",
        "mutation { ... @defer { __typename } }",
        "subscription { events { ... @defer { type } } }",
        "{ incidents { nodes @stream { title } } }",
    ],
)
async def test_defer_where_it_makes_no_sense_is_refused(query: str, http: httpx.AsyncClient) -> None:
    answer = await http.post("/graphql", json={"query": query}, headers={"Accept": IDS})

    codes = {error["extensions"]["code"] for error in answer.json()["errors"]}
    assert codes == {"GRAPHQL_VALIDATION_FAILED"}


DEFERRED_TELEMETRY = """
query($range: TimeRange!) {
  incidents(first: 1, filter: { search: "Checkout answers slowly" }) {
    nodes {
      title
      ... @defer(label: "metrics") { metrics(range: $range) { name ... @defer(label: "points") { points { value } } } }
      ... @defer(label: "logs") { logs(range: $range) { line } }
      ... @defer(label: "traces") { traces(range: $range) { traceId spans { operation } } }
    }
  }
}
"""
HOUR = {"range": {"from": "2026-03-01T11:00:00Z", "to": "2026-03-01T12:00:00Z"}}
NOON_SECONDS = 1772366400


@asynccontextmanager
async def three_backends(database_url: str) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of a server that asks a Prometheus with a remark, a Loki and a Tempo."""
    has = [{"__name__": "http_server_request_duration_seconds_count", "service": "checkout"}]
    prometheus = PrometheusBackend(has, samples=[(NOON_SECONDS, "0.5")], warnings=["a remark"])
    tempo = TempoServer([StoredTrace(trace_id(1), NOON_SECONDS - 60, 100, ["checkout"])])
    async with local_loki() as loki, local_server(prometheus) as prometheus_server, local_server(tempo) as tempo_server:
        loki.label_values = {"service_name": ["checkout"]}
        loki.lines.append(((NOON_SECONDS - 30) * 10**9, {"service_name": "checkout"}, "order refused"))
        settings = {"PROMETHEUS_URL": prometheus_server.url, "LOKI_URL": loki.url, "TEMPO_URL": tempo_server.url}
        async with (
            ServerProcess(DATABASE_URL=database_url, **settings) as running,
            httpx.AsyncClient(base_url=running.url, timeout=20) as client,
        ):
            yield client


async def test_metrics_logs_and_traces_come_in_parts_and_remarks_with_the_last(
    served_database_url: str, server: ServerProcess
) -> None:
    async with three_backends(served_database_url) as http:
        async with parts_of(http, IDS, DEFERRED_TELEMETRY, **HOUR) as parts:
            in_parts = [part async for part in parts]
        async with listen(http, DEFERRED_TELEMETRY, variables=HOUR) as stream:
            events = [await stream.hear_event()]
            while events[-1].event == "next":
                events.append(await stream.hear_event())

    for told in (in_parts, [event.data for event in events[:-1]]):
        first, *rest = told
        assert first["data"]["incidents"]["nodes"] == [{"title": "Checkout answers slowly"}]
        data = [each["data"] for part in rest for each in part.get("incremental", [])]
        metrics = next(each["metrics"] for each in data if "metrics" in each)
        assert {series["name"] for series in metrics} == {"checkout request_rate", "checkout latency_p95"}
        assert [each["points"] for each in data if "points" in each] == [[{"value": 0.5}]] * len(metrics)
        assert {"logs": [{"line": "order refused"}]} in data
        assert {"traces": [{"traceId": trace_id(1), "spans": [{"operation": "GET /checkout"}]}]} in data
        assert not any("extensions" in part for part in told[:-1])
        [remark] = told[-1]["extensions"]["warnings"]
        assert (remark["path"], remark["message"]) == ([*PLACE, "metrics"], "a remark")
