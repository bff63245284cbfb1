"""What load balancers, container platforms and Prometheus ask."""

import math
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from db.embedded import EmbeddedPostgres
from tests.http.scrape import sample
from tests.postgres import FORGETFUL
from tests.servers import ServerProcess
from tests.waiting import until


async def test_a_server_that_can_serve_is_healthy(http: httpx.AsyncClient) -> None:
    response = await http.get("/api/health")

    assert response.status_code == 200
    health = response.json()
    assert health["status"] == "healthy"
    database = health["components"]["database"]
    assert (database["status"], database["message"]) == ("healthy", None)
    assert database["version"].startswith("18")
    assert 0 < database["latency_seconds"] < 2
    assert (await http.get("/health")).json() == {"status": "healthy"}


async def test_a_dead_telemetry_backend_degrades_and_nothing_more(database_url: str) -> None:
    nobody = "http://127.0.0.1:9"
    async with (
        ServerProcess(
            DATABASE_URL=database_url, PROMETHEUS_URL=nobody, LOKI_URL=nobody, SERVICE_GRAPH_INTERVAL_SECONDS="0"
        ) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):
        response = await http.get("/api/health")

    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    components = response.json()["components"]
    assert {name: component["status"] for name, component in components.items()} == {
        "database": "healthy",
        "prometheus": "degraded",
        "loki": "degraded",
    }
    assert nobody in components["prometheus"]["message"]


async def test_without_its_database_a_server_lives_but_cannot_serve_until_it_is_back(folder: Path) -> None:
    async with (
        EmbeddedPostgres(folder, settings=FORGETFUL) as postgres,
        ServerProcess(DATABASE_URL=postgres.url) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):

        async def status_is(expected: int) -> bool:
            return (await http.get("/api/health")).status_code == expected

        assert await status_is(200)
        await postgres.stop()
        await until(lambda: status_is(503))
        assert math.isnan(await sample(http, "reliability_studio_relay_lag_seconds"))
        assert (await http.get("/health")).status_code == 200
        refused = await http.get("/api/incidents")
        assert refused.status_code == 503
        assert refused.json() == {"error": "The database is not available at the moment, try again"}
        await postgres.start()
        await until(lambda: status_is(200))
        assert (await http.get("/api/incidents")).status_code == 200


async def test_metrics_count_requests_by_method_route_and_status(http: httpx.AsyncClient) -> None:
    async def counts() -> dict[tuple[str, str, str], float]:
        text = (await http.get("/metrics")).text
        families = {family.name: family for family in text_string_to_metric_families(text)}
        return {
            (
                sample.labels["http_request_method"],
                sample.labels["http_route"],
                sample.labels["http_response_status_code"],
            ): sample.value
            for sample in families["http_server_request_duration_seconds"].samples
            if sample.name.endswith("_count")
        }

    before = await counts()
    await http.post("/graphql", json={"query": "{ __typename }"})
    await http.get("/api/incidents/0193a2b3-aaaa-7bbb-8ccc-0123456789ab")
    await http.request("PROPFIND", "/coffee")
    after = await counts()

    for series in (
        ("POST", "/graphql", "200"),
        ("GET", "/api/incidents/{id}", "404"),
        ("_OTHER", "", "404"),
    ):
        assert after[series] == before.get(series, 0) + 1


async def test_metrics_tell_of_the_process_and_its_version(http: httpx.AsyncClient) -> None:
    response = await http.get("/metrics")

    names = {family.name for family in text_string_to_metric_families(response.text)}
    assert {"process_resident_memory_bytes", "process_cpu_seconds", "reliability_studio_build_info"} <= names
    assert response.headers["content-type"].startswith("text/plain; version=")
