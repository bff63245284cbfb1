"""The main job: one query returns an incident, its timeline and services, and the metrics that explain it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.servers import ServerProcess
from tests.telemetry_clients.eventually import eventually
from tests.telemetry_clients.local_server import Request, answering, http_answer, local_server
from tests.telemetry_clients.prometheus_server import SCRAPE_INTERVAL_SECONDS, PrometheusServer

SERVICE = 'studio "blue"\\green'
EXPLAINED = """
query Explained($id: ID!) {
  incident(id: $id) {
    number title severity status
    timeline(first: 5) { nodes { type title occurredAt } }
    services {
      name
      metrics(signals: [REQUEST_RATE], range: { from: "2026-01-01T00:00:00Z", to: "2026-01-01T01:00:00Z" }) { name }
    }
    metrics(signals: [REQUEST_RATE, ERROR_RATIO, LATENCY_P95]) { name signal unit query labels points { time value } }
  }
}
"""


async def open_incident(client: httpx.AsyncClient) -> str:
    answer = await client.post(
        "/api/incidents", json={"title": "Studio answers slowly", "severity": "critical", "service": SERVICE}
    )
    assert answer.status_code == 201, answer.text
    incident_id: str = answer.json()["id"]
    return incident_id


async def explain(client: httpx.AsyncClient, incident_id: str) -> dict[str, Any]:
    answer = await client.post("/graphql", json={"query": EXPLAINED, "variables": {"id": incident_id}})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_one_query_returns_an_incident_and_the_live_series_that_prometheus_scraped(
    database_url: str, prometheus_server: PrometheusServer
) -> None:
    async with (
        ServerProcess(
            DATABASE_URL=database_url,
            PROMETHEUS_URL=prometheus_server.url,
            PROMETHEUS_SCRAPE_INTERVAL_SECONDS=str(SCRAPE_INTERVAL_SECONDS),
        ) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as client,
    ):
        incident_id = await open_incident(client)
        await prometheus_server.scrape(urlsplit(server.url).netloc, job="studio", labels={"service": SERVICE})
        answers: list[dict[str, Any]] = []

        async def has_a_rate() -> bool:
            body = await explain(client, incident_id)
            assert "errors" not in body, body
            answers.append(body["data"]["incident"])
            rates = [series for series in answers[-1]["metrics"] if series["signal"] == "REQUEST_RATE"]
            return any((point["value"] or 0) > 0 for series in rates for point in series["points"])

        await eventually("the incident shows the requests of its service", has_a_rate)
        incident = answers[-1]
        assert incident["title"] == "Studio answers slowly"
        assert incident["timeline"]["nodes"][0]["type"] == "DETECTED"
        assert [service["name"] for service in incident["services"]] == [SERVICE]
        assert incident["services"][0]["metrics"] == [], "nothing was scraped in January"
        by_signal = {series["signal"]: series for series in incident["metrics"]}
        assert by_signal["REQUEST_RATE"]["labels"] == {"service": SERVICE}
        assert by_signal["REQUEST_RATE"]["unit"] == "1/s"
        ratios = [point["value"] for point in by_signal["ERROR_RATIO"]["points"] if point["value"] is not None]
        assert ratios
        assert set(ratios) == {0.0}, "no request failed"


async def silence(_request: Request, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def hang_up(_request: Request, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.fixture(params=["hangs up", "is silent", "talks rubbish"])
async def bad_prometheus(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, str]]:
    """The URL of a Prometheus with a bad day, and the code that its fields fail with."""
    behaviour, code = {
        "hangs up": (hang_up, "TELEMETRY_UNAVAILABLE"),
        "is silent": (silence, "TELEMETRY_TIMEOUT"),
        "talks rubbish": (answering(http_answer(b"<html>")), "TELEMETRY_BAD_RESPONSE"),
    }[request.param]
    async with local_server(behaviour) as server:
        yield server.url, code


async def test_a_prometheus_with_a_bad_day_costs_its_own_fields_only(
    database_url: str, bad_prometheus: tuple[str, str]
) -> None:
    url, code = bad_prometheus
    async with (
        ServerProcess(DATABASE_URL=database_url, PROMETHEUS_URL=url, OPERATION_TIMEOUT_SECONDS="2") as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as client,
    ):
        body = await explain(client, await open_incident(client))
        incident = body["data"]["incident"]
        assert incident["services"][0]["name"] == SERVICE
        assert incident["timeline"]["nodes"][0]["type"] == "DETECTED"
        assert incident["metrics"] is None
        assert incident["services"][0]["metrics"] is None
        assert sorted((error["path"], error["extensions"]["code"]) for error in body["errors"]) == [
            (["incident", "metrics"], code),
            (["incident", "services", 0, "metrics"], code),
        ]
