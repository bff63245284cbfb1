"""The server's own traces and logs, as a collector gets them from a running server."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from domain.tracing import SpanKind
from tests.app.otlp_collector import Collector, SeenSpan, collecting
from tests.http.graphql_socket import connect
from tests.postgres import TEMPLATE, run_sql
from tests.servers import ServerProcess
from tests.telemetry_clients.local_server import LocalServer, answering, http_answer, local_server
from tests.waiting import until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
SECRET = "Checkout answers slowly since 10:42"
NO_SERIES = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
CREATE = """mutation Declare($title: String!) {
  createIncident(input: { title: $title, severity: HIGH, services: ["checkout"] }) {
    incident { id title } errors { message }
  }
}"""
INCIDENTS = "query Incidents { incidents(first: 2) { nodes { title severity } } }"
PROMQL = 'query Up { prometheus(query: "up") { kind } }'
EVENTS = "subscription Watch { events(filter: { types: [INCIDENT_CREATED] }) { type incident { title } } }"


@dataclass(frozen=True, slots=True)
class Watched:
    """A server whose telemetry goes to a collector."""

    process: ServerProcess
    http: httpx.AsyncClient
    collector: Collector
    prometheus: LocalServer

    async def ask(self, query: str, **request: object) -> tuple[dict[str, object], str]:
        """What the server answers, and the trace of that: a new one, which the caller has begun."""
        trace_id = f"{len(self.collector.spans) + 1:032x}"
        headers = {"traceparent": f"00-{trace_id}-{CALLER}-01"}
        answer = await self.http.post("/graphql", json={"query": query, **request}, headers=headers)
        body = answer.json()
        assert "errors" not in body, body
        return body["data"], trace_id

    async def root(self, trace_id: str) -> SeenSpan:
        """The span that the server began in a trace, once it has come in."""
        found: list[SeenSpan] = []

        def is_there() -> bool:
            found[:] = [span for span in self.collector.of(trace_id) if span.parent_id == CALLER]
            return bool(found)

        await until(is_there)
        return found[0]


@pytest.fixture(scope="module")
async def watched(postgres) -> AsyncIterator[Watched]:
    """One that records what its callers record."""
    await run_sql(postgres.url, f"create database watched template {TEMPLATE} strategy file_copy")
    with collecting() as collector:
        async with local_server(answering(http_answer(NO_SERIES))) as prometheus:
            settings = {
                "DATABASE_URL": postgres.url_of("watched"),
                "PROMETHEUS_URL": prometheus.url,
                "DETECTION_INTERVAL_SECONDS": "0",
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
                "OTEL_EXPORTER_OTLP_HEADERS": "X-Scope-OrgID=shop%20one",
                "OTEL_TRACES_SAMPLER": "parentbased_always_off",
                "OTEL_SERVICE_NAME": "studio",
                "METRICS_OPERATION_NAMES": "Incidents,Watch",
                "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
            }
            async with (
                ServerProcess(**settings) as process,
                httpx.AsyncClient(base_url=process.url, timeout=30) as http,
            ):
                yield Watched(process, http, collector, prometheus)


async def test_a_query_is_a_tree_of_spans(watched: Watched):
    _, trace_id = await watched.ask(INCIDENTS, operationName="Incidents")
    request = await watched.root(trace_id)

    assert watched.collector.tree(trace_id) == {
        "POST /graphql": {
            "graphql.parse": {},
            "graphql.validate": {},
            "graphql.execute": {"graphql.compile": {}, "SELECT incidents": {}},
        }
    }
    assert request.kind == SpanKind.SERVER
    assert {
        "http.request.method": "POST",
        "http.route": "/graphql",
        "http.response.status_code": 200,
        "graphql.operation.name": "Incidents",
        "graphql.operation.type": "query",
    }.items() <= request.attributes.items()
    (statement,) = [span for span in watched.collector.of(trace_id) if span.name == "SELECT incidents"]
    assert statement.kind == SpanKind.CLIENT
    assert statement.attributes["db.system.name"] == "postgresql"
    assert 0 < statement.seconds <= request.seconds

    _, again = await watched.ask(INCIDENTS, operationName="Incidents")
    await watched.root(again)
    assert watched.collector.tree(again) == {"POST /graphql": {"graphql.execute": {"SELECT incidents": {}}}}


async def test_a_mutation_leads_to_the_event_and_the_analysis_that_it_causes(watched: Watched):
    async with listening(watched) as heard:
        _, trace_id = await watched.ask(CREATE, variables={"title": SECRET})
        assert (await heard)["payload"]["data"]["events"]["incident"] == {"title": SECRET}
    await watched.root(trace_id)

    ((request, parts),) = watched.collector.tree(trace_id).items()
    assert request == "POST /graphql"
    assert set(parts) == {"graphql.parse", "graphql.validate", "graphql.execute"}
    written = {
        "INSERT incidents",
        "INSERT outbox",
        "INSERT jobs",
        "INSERT audit_log",
        "INSERT timeline_events",
        "COMMIT",
    }
    assert written | {"SELECT incidents", "graphql.compile"} <= set(parts["graphql.execute"])

    def caused() -> dict[str, SeenSpan]:
        own = watched.collector.of(trace_id)
        return {other.name: other for span in own for other in watched.collector.linked_to(span)}

    await until(lambda: {"events deliver", "job analyze"} <= set(caused()), timeout_seconds=60)
    event, analysis = caused()["events deliver"], caused()["job analyze"]
    ((_, rendering),) = watched.collector.tree(event.trace_id).items()
    assert "SELECT event_log" in rendering
    assert event.attributes["subscription.subscribers"] == 1
    assert analysis.kind == SpanKind.CONSUMER
    assert {"INSERT analyses", "SELECT incidents", "correlation engine", "COMMIT"} <= set(
        watched.collector.tree(analysis.trace_id)["job analyze"]
    )


async def test_an_alert_leads_from_its_webhook_to_the_event_and_the_analysis_of_its_incident(watched: Watched):
    trace_id = "a1" * 16
    alert = {
        "status": "firing",
        "labels": {"alertname": "HighErrorRatio", "service": "payments", "severity": "critical"},
    }
    async with listening(watched) as heard:
        answer = await watched.http.post(
            "/api/webhooks/alertmanager",
            json={"version": "4", "alerts": [alert]},
            headers={"traceparent": f"00-{trace_id}-{CALLER}-01"},
        )
        assert answer.status_code in (200, 202), answer.text
        assert (await heard)["payload"]["data"]["events"]["type"] == "INCIDENT_CREATED"
    webhook = await watched.root(trace_id)

    def caused(names: set[str], by: list[SeenSpan]) -> list[SeenSpan]:
        return [other for span in by for other in watched.collector.linked_to(span) if other.name in names]

    def processing() -> list[SeenSpan]:
        return caused({"alerts process"}, [webhook])

    def consequences() -> set[str]:
        parts = [span for root in processing() for span in watched.collector.of(root.trace_id)]
        return {span.name for span in caused({"job analyze", "events deliver"}, parts)}

    await until(lambda: consequences() == {"job analyze", "events deliver"}, timeout_seconds=60)
    trees = [watched.collector.tree(root.trace_id)["alerts process"] for root in processing()]
    # Where alerts are being kept up at that moment, it is looked at again.
    assert any("INSERT incidents" in tree for tree in trees)


async def test_no_value_of_a_user_is_in_any_span(watched: Watched):
    _, trace_id = await watched.ask(CREATE, variables={"title": SECRET})
    await watched.root(trace_id)

    texts = [span.attributes.get("db.query.text", "") for span in watched.collector.spans]
    assert any("insert into incidents" in text.lower() for text in texts)
    assert not re.search(r"'[^']", " ".join(texts))
    assert SECRET not in str(watched.collector.spans)


async def test_a_question_to_a_backend_goes_on_with_the_trace(watched: Watched):
    before = len(watched.prometheus.requests)
    _, trace_id = await watched.ask(PROMQL)
    await watched.root(trace_id)

    calls = {span.span_id: span for span in watched.collector.of(trace_id) if span.name.endswith("Prometheus")}
    told = [request.headers.get("traceparent") for request in watched.prometheus.requests[before:]]
    assert calls
    assert {f"00-{trace_id}-{id}-01" for id in calls} <= set(told)
    for call in calls.values():
        assert call.kind == SpanKind.CLIENT
        assert call.attributes["http.response.status_code"] == 200
        assert call.attributes["url.full"].startswith(watched.prometheus.url)


async def test_who_is_not_recorded_is_not_recorded_here_but_passed_on(watched: Watched):
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-00"}
    before = len(watched.prometheus.requests)
    await watched.http.post("/graphql", json={"query": PROMQL}, headers=headers)
    await watched.http.post("/graphql", json={"query": INCIDENTS})
    _, later = await watched.ask(INCIDENTS)
    await watched.root(later)

    assert watched.collector.of(TRACE) == []
    told = [request.headers.get("traceparent") for request in watched.prometheus.requests[before:]]
    assert f"00-{TRACE}-{CALLER}-00" in told


async def test_a_server_that_sends_no_traces_passes_on_whose_trace_it_is_asked_in(database_url: str) -> None:
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "shop=1"}
    async with (
        local_server(answering(http_answer(NO_SERIES))) as prometheus,
        ServerProcess(
            DATABASE_URL=database_url, PROMETHEUS_URL=prometheus.url, DETECTION_INTERVAL_SECONDS="0"
        ) as process,
        httpx.AsyncClient(base_url=process.url, timeout=30) as http,
        connect(process.url, additional_headers=headers) as socket,
    ):
        await http.post("/graphql", json={"query": PROMQL.replace("up", "a")}, headers=headers)
        await http.post("/graphql", json={"query": PROMQL.replace("up", "b")})
        await socket.ask("one", PROMQL.replace("up", "c"))
        told = {
            query: (request.headers.get("traceparent"), request.headers.get("tracestate"))
            for request in prometheus.requests
            for query in request.parameters.get("query", ())
        }
    assert told["a"] == told["c"] == (f"00-{TRACE}-{CALLER}-01", "shop=1")
    assert told["b"] == (None, None)
    assert {line["trace_id"] for line in process.log if "trace_id" in line} == {TRACE}, "and lines of the log say so"


async def test_an_operation_on_a_socket_is_a_span_of_its_own(watched: Watched):
    headers = {"traceparent": f"00-{TRACE[::-1]}-{CALLER}-01"}
    async with connect(watched.process.url, additional_headers=headers) as socket:
        await socket.ask("one", INCIDENTS)
        await socket.subscribe("two", EVENTS)
        trace_id = TRACE[::-1]
        await until(lambda: len([span for span in watched.collector.of(trace_id) if span.parent_id == CALLER]) == 2)

    names = {span.name for span in watched.collector.of(trace_id)}
    assert {"websocket operation", "graphql.execute", "graphql.subscribe"} <= names


async def test_a_log_line_names_its_logger_and_its_span(watched: Watched):
    _, trace_id = await watched.ask(INCIDENTS)
    request = await watched.root(trace_id)
    await until(lambda: any(line.trace_id == trace_id for line in watched.collector.lines))

    (line,) = [line for line in watched.collector.lines if line.trace_id == trace_id]
    assert (line.body, line.logger, line.severity) == ("request", "reliability_studio.backend", "info")
    assert line.span_id == request.span_id
    assert line.attributes["route"] == "/graphql"
    (written,) = [entry for entry in watched.process.log if entry.get("trace_id") == trace_id]
    assert written["span_id"] == request.span_id
    await until(lambda: any(line.logger == "reliability_studio.correlation" for line in watched.collector.lines))


async def test_the_collector_hears_who_sends(watched: Watched):
    await watched.ask(INCIDENTS)
    await until(lambda: bool(watched.collector.resources))

    told = watched.collector.resources[0]
    assert (told["service.name"], told["deployment.environment.name"]) == ("studio", "test")
    assert "service.version" in told
    assert watched.collector.headers[0]["x-scope-orgid"] == "shop one"


async def test_a_trace_is_an_exemplar_of_the_latency(watched: Watched):
    _, trace_id = await watched.ask(INCIDENTS)
    await watched.root(trace_id)

    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    metrics = (await watched.http.get("/metrics", headers=accept)).text
    exemplars = [line for line in metrics.splitlines() if f'trace_id="{trace_id}"' in line]
    assert any(line.startswith("http_server_request_duration_seconds_bucket") for line in exemplars)
    assert " # {" not in (await watched.http.get("/metrics")).text


async def test_operations_are_counted_by_names_that_are_allowed_and_by_their_outcome(watched: Watched):
    async def counted() -> dict[tuple[str, str, str], float]:
        text = (await watched.http.get("/metrics")).text
        return {
            (
                sample.labels["graphql_operation_name"],
                sample.labels["graphql_operation_type"],
                sample.labels["outcome"],
            ): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "graphql_server_operation_duration_seconds_count"
        }

    async def lookups() -> dict[tuple[str, str], float]:
        text = (await watched.http.get("/metrics")).text
        return {
            (sample.labels["cache"], sample.labels["result"]): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "reliability_studio_graphql_cache_lookups_total"
        }

    async def post(query: str, **request: object) -> None:
        await watched.http.post("/graphql", json={"query": query, **request})

    before, looked = await counted(), await lookups()
    await post(INCIDENTS, operationName="Incidents")
    await post(INCIDENTS, operationName="Incidents")
    await post("query Unheard { incidents(first: 7) { nodes { id } } }")
    await post("{ nonsense }")
    await post("{ incidents(")
    await post('{ incidents(after: "garbage") { nodes { id } } }')
    await post("query Q($n: Int!) { incidents(first: $n) { nodes { id } } }")
    after, looked_since = await counted(), await lookups()

    assert {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)} == {
        ("Incidents", "query", "ok"): 2,
        ("other", "query", "ok"): 1,
        ("other", "unknown", "refused"): 2,
        ("other", "query", "errors"): 1,
        ("other", "query", "refused"): 1,
    }
    assert looked_since["document", "hit"] - looked["document", "hit"] in (1, 2)
    assert looked_since["document", "miss"] - looked["document", "miss"] in (5, 6)
    assert looked_since["statement", "hit"] - looked["statement", "hit"] >= 1


@asynccontextmanager
async def listening(watched: Watched) -> AsyncIterator["asyncio.Task[Any]"]:
    """Somebody who listens as the only one, and the first message that comes."""

    async def are_up_to_date(count: int) -> bool:
        metrics = (await watched.http.get("/metrics")).text
        return f'reliability_studio_subscriptions{{state="up_to_date"}} {count}.0' in metrics

    await until(lambda: are_up_to_date(0))
    async with connect(watched.process.url) as socket:
        await socket.subscribe("watch", EVENTS)
        heard = asyncio.create_task(socket.hear())
        await until(lambda: are_up_to_date(1))
        yield heard
