"""The dependencies that traces show: found by a job, shown by the API, and forgotten when they are gone."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import text

from actions import jobs
from actions.jobs import Job
from app.health import Health
from app.jobs import EVERYTHING, Workers
from app.service_graph import KIND, ServiceGraph, service_graph_dependency
from db.identifiers import new_id
from domain.errors import Conflict
from domain.health import HealthStatus
from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.tempo import Tempo
from telemetry_clients.transport import Endpoint, Transport
from tests.schema.conftest import NOON, Api, api, operations
from tests.telemetry_clients.local_server import LocalServer, Request, http_answer, local_server
from tests.telemetry_clients.tempo_server import StoredTrace, TempoServer, trace_id
from tests.waiting import until

__all__ = ["api", "operations"]  # fixtures

GRAPH = """{ services { nodes {
  name discoveredAt
  dependencies { dependsOn { name } source lastSeenAt requestRate errorRatio latencyP95Seconds }
} } }"""


class Backends:
    """A Prometheus that knows the given calls, and a Tempo that has the given traces."""

    def __init__(self) -> None:
        self.calls: dict[tuple[str, str], tuple[float, float]] = {}
        self.prometheus_status = 200
        self.tempo = TempoServer()
        self.telemetry = Telemetry()
        self.prometheus_server: LocalServer

    async def answer_prometheus(self, request: Request, writer: asyncio.StreamWriter) -> None:
        [query] = request.parameters["query"]
        values = {
            pair: rate * ratio if "_failed_total" in query else rate
            for pair, (rate, ratio) in self.calls.items()
            if "histogram_quantile" not in query
        }
        result = [
            {"metric": {"client": client, "server": server}, "value": [NOON.timestamp(), str(value)]}
            for (client, server), value in values.items()
        ]
        body = {"status": "success", "data": {"resultType": "vector", "result": result}}
        writer.write(http_answer(json.dumps(body).encode(), status=self.prometheus_status))


@pytest.fixture
async def backends() -> AsyncIterator[Backends]:
    backends = Backends()
    async with AsyncExitStack() as stack:
        prometheus = await stack.enter_async_context(local_server(backends.answer_prometheus))
        tempo = await stack.enter_async_context(local_server(backends.tempo))
        transports = [
            await stack.enter_async_context(Transport(Endpoint(backend=name, url=server.url)))
            for name, server in (("Prometheus", prometheus), ("Tempo", tempo))
        ]
        backends.prometheus_server = prometheus
        backends.telemetry = Telemetry(
            prometheus=Instances("Prometheus", {DEFAULT: Prometheus(transports[0])}),
            tempo=Instances("Tempo", {DEFAULT: Tempo(transports[1])}),
        )
        yield backends


def service_graph(api: Api, backends: Backends) -> ServiceGraph:
    return ServiceGraph(api.database, backends.telemetry, now=lambda: api.now, interval_seconds=300, retention_hours=24)


async def renew(api: Api, backends: Backends) -> None:
    """Do the work once, as a job that is claimed and ended."""
    async with api.database.writing(api.now) as tx:
        await jobs.enqueue(tx, KIND, EVERYTHING)
        [job] = await jobs.claim(tx, [KIND], worker="tests", lease_seconds=30, most=1)
    await service_graph(api, backends).renew(job)
    async with api.database.writing(api.now) as tx:
        assert await jobs.finish(tx, job)


async def graph(api: Api) -> dict[str, dict[str, Any]]:
    """The dependencies of each service, by name."""
    answer = await api(GRAPH)
    assert answer.keys() == {"data"}, answer
    return {
        service["name"]: {edge["dependsOn"]["name"]: edge for edge in service["dependencies"]}
        for service in answer["data"]["services"]["nodes"]
    }


async def events(api: Api) -> list[tuple[str, Any]]:
    """What was written down of services whose traced dependencies changed."""
    async with api.database.reading() as connection:
        rows = await connection.execute(
            text(
                "select s.name, a.before->'traced_dependencies', a.after->'traced_dependencies' from audit_log a"
                " join services s on s.id = a.subject_id where a.action = 'service.trace' order by a.id"
            )
        )
        return [(row[0], (row[1], row[2])) for row in rows]


async def health(api: Api) -> tuple[HealthStatus, str | None]:
    report = await Health([service_graph_dependency(api.database)], now=lambda: api.now).report()
    return report.components[0].status, report.components[0].message


async def test_what_prometheus_counted_becomes_dependencies_and_discovered_services(
    api: Api, backends: Backends
) -> None:
    await api.changed("createService", "service { id }", input={"name": "Checkout"})
    backends.calls = {("frontend", "checkout"): (12.5, 0.04), ("checkout", "payment"): (3.0, 0.0)}

    await renew(api, backends)

    found = await graph(api)
    assert found.keys() == {"Checkout", "frontend", "payment"}
    assert found["frontend"]["Checkout"] == {
        "dependsOn": {"name": "Checkout"},
        "source": "TRACES",
        "lastSeenAt": "2026-03-01T12:00:00+00:00",
        "requestRate": 12.5,
        "errorRatio": 0.04,
        "latencyP95Seconds": None,
    }
    assert sorted(await events(api)) == [("Checkout", ([], ["payment"])), ("frontend", ([], ["Checkout"]))]
    assert await health(api) == (HealthStatus.HEALTHY, None)


async def test_a_service_is_recognised_by_its_selector_and_a_declaration_stays_one(
    api: Api, backends: Backends
) -> None:
    await api.changed("createService", "service { id }", input={"name": "Payments", "selectors": {"tempo": "payment"}})
    known = {"name": "checkout", "dependsOn": ["Payments"]}
    await api.changed("createService", "service { id }", input=known)
    backends.calls = {("checkout", "payment"): (3.0, 0.5), ("payment", "payment"): (1.0, 0.0)}

    await renew(api, backends)

    found = await graph(api)
    assert found.keys() == {"Payments", "checkout"}
    assert found["checkout"]["Payments"]["source"] == "DECLARED"
    assert found["checkout"]["Payments"]["errorRatio"] == 0.5
    assert found["Payments"] == {}, "a service that calls itself does not depend on itself"


async def test_names_that_the_catalog_does_not_take_cost_their_own_calls_only(api: Api, backends: Backends) -> None:
    backends.calls = {
        ("frontend", "checkout"): (1.0, 0.0),
        ("frontend", "x" * 201): (1.0, 0.0),
        ("frontend", "0198c0de-0000-7000-8000-000000000000"): (1.0, 0.0),
    }

    await renew(api, backends)

    assert (await graph(api)).keys() == {"frontend", "checkout"}


async def test_where_prometheus_knows_nothing_traces_are_sampled(api: Api, backends: Backends) -> None:
    backends.tempo.traces = [
        StoredTrace(
            trace_id(number), NOON.timestamp() - number, 1000, ["a", "b"], frozenset("b" if number == 1 else "")
        )
        for number in range(1, 5)
    ] + [StoredTrace(trace_id(9), NOON.timestamp() - 9, 1000, ["alone"])]

    await renew(api, backends)

    edge = (await graph(api))["a"]["b"]
    assert (edge["requestRate"], edge["errorRatio"], edge["latencyP95Seconds"]) == (4 / 300, 0.25, 0.8)
    assert sorted(backends.tempo.fetched) == [trace_id(number) for number in range(1, 5)]


async def test_the_rate_of_a_sample_is_not_known(api: Api, backends: Backends) -> None:
    backends.tempo.traces = [
        StoredTrace(trace_id(number), NOON.timestamp() - number, 1000, ["a", "b"]) for number in range(1, 120)
    ]

    await renew(api, backends)

    assert (await graph(api))["a"]["b"]["requestRate"] is None
    assert len(backends.tempo.fetched) == 100


async def test_a_dependency_that_is_no_longer_seen_is_forgotten_after_its_time(api: Api, backends: Backends) -> None:
    backends.calls = {("a", "b"): (1.0, 0.0), ("a", "c"): (1.0, 0.0)}
    await renew(api, backends)
    backends.calls = {("a", "c"): (2.0, 0.0)}

    api.wait(hours=23)
    await renew(api, backends)
    assert (await graph(api))["a"].keys() == {"b", "c"}
    api.wait(hours=2)
    await renew(api, backends)

    assert (await graph(api))["a"].keys() == {"c"}
    assert await events(api) == [("a", ([], ["b", "c"])), ("a", (["b", "c"], ["c"]))]


async def test_a_declared_dependency_is_never_forgotten(api: Api, backends: Backends) -> None:
    known = {"name": "a", "dependsOn": ["b"]}
    await api.changed("createService", "service { id }", input=known)
    backends.calls = {("a", "b"): (1.0, 0.0)}
    await renew(api, backends)
    backends.calls = {("x", "y"): (1.0, 0.0)}

    api.wait(days=30)
    await renew(api, backends)

    assert (await graph(api))["a"]["b"]["requestRate"] == 1.0


async def test_a_failure_shows_in_health_and_forgets_nothing_until_it_goes_well_again(
    api: Api, backends: Backends
) -> None:
    backends.calls = {("a", "b"): (1.0, 0.0)}
    await renew(api, backends)
    backends.prometheus_status = 500
    works = {KIND: service_graph(api, backends).work}
    workers = Workers(api.database, works, name="tests", now=lambda: api.now, poll_seconds=0.01)
    working = asyncio.create_task(workers.run())
    try:
        await until(lambda: _is_waiting(api))
        api.wait(days=2)
        await until(lambda: _has(api, HealthStatus.DEGRADED))
        _, message = await health(api)
        assert message is not None
        assert message.startswith("It was not renewed the last time. Prometheus at http://127.0.0.1:")
        assert (await graph(api))["a"].keys() == {"b"}
        backends.prometheus_status = 200
        api.wait(minutes=5)
        await until(lambda: _has(api, HealthStatus.HEALTHY))
    finally:
        working.cancel()
        await asyncio.wait([working])


async def _has(api: Api, status: HealthStatus) -> bool:
    return (await health(api))[0] is status


async def _is_waiting(api: Api) -> bool:
    async with api.database.reading() as connection:
        return bool(await connection.scalar(text("select count(*) from jobs where status = 'QUEUED'")))


async def test_who_has_lost_the_job_to_another_server_writes_nothing(api: Api, backends: Backends) -> None:
    backends.calls = {("a", "b"): (1.0, 0.0)}
    lost = Job(new_id(), KIND, EVERYTHING, {}, 1, "nobody")

    with pytest.raises(Conflict):
        await service_graph(api, backends).renew(lost)
    assert await graph(api) == {}
