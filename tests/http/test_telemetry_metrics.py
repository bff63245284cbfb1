"""What `/metrics`, health and the log tell of the telemetry backends."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.servers import ServerProcess
from tests.telemetry_clients.local_server import answering, http_answer, local_server
from tests.waiting import until

DECLARATION = 'mutation { createService(input: { name: "checkout" }) { cursor } }'
QUESTION = (
    '{ services { nodes { metrics(range: { from: "2026-03-01T00:00:00Z", to: "2026-03-01T01:00:00Z" }) { name } } } }'
)


async def samples(http: httpx.AsyncClient) -> dict[tuple[str, ...], float]:
    """What is told of the backends: by name and the values of the labels, without the buckets."""
    text = (await http.get("/metrics")).text
    return {
        (sample.name, *(value for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("telemetry_") and not sample.name.endswith(("_bucket", "_created"))
    }


async def test_a_circuit_breaker_that_opens_shows_in_metrics_health_and_log(database_url: str) -> None:
    async with (
        local_server(answering(http_answer(b"", status=503))) as backend,
        ServerProcess(DATABASE_URL=database_url, PROMETHEUS_URL=backend.url, TEMPO_URL=backend.url) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):
        before = await samples(http)
        assert before["telemetry_circuit_breaker_state", "Prometheus", "default", "closed"] == 1
        assert before["telemetry_calls_in_flight", "Tempo", "default"] == 0

        declared = await http.post("/graphql", json={"query": DECLARATION})
        assert "errors" not in declared.json()

        async def is_left_alone() -> bool:
            answer = (await http.post("/graphql", json={"query": QUESTION})).json()
            [error, *_] = answer["errors"]
            assert error["extensions"]["code"] == "TELEMETRY_UNAVAILABLE"
            return "is left alone" in error["message"]

        await until(is_left_alone)
        after = await samples(http)
        assert after["telemetry_circuit_breaker_state", "Prometheus", "default", "open"] == 1
        assert after["telemetry_circuit_breaker_state", "Prometheus", "default", "closed"] == 0
        assert after["telemetry_circuit_breaker_state", "Tempo", "default", "closed"] == 1
        assert after["telemetry_call_retries_total", "Prometheus", "default"] >= 1
        assert after["telemetry_call_duration_seconds_count", "Prometheus", "default", "TELEMETRY_UNAVAILABLE"] >= 2

        health = (await http.get("/api/health")).json()["components"]
        assert health["prometheus"]["status"] == "degraded"
        assert health["prometheus"]["circuit_breaker"] in ("open", "half_open")
        assert "circuit_breaker" not in health["database"]
        shown = await http.post("/graphql", json={"query": "{ systemHealth { components { name circuitBreaker } } }"})
        breakers = {one["name"]: one["circuitBreaker"] for one in shown.json()["data"]["systemHealth"]["components"]}
        assert breakers["database"] is None
        assert breakers["prometheus"] in ("OPEN", "HALF_OPEN")
    logged = [line for line in server.log if line["event"] == "circuit breaker changed"]
    assert (logged[0]["backend"], logged[0]["state"], logged[0]["level"]) == ("Prometheus", "open", "warning")
    assert "HTTP 503" in logged[0]["reason"]
