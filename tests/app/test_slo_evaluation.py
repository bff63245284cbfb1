"""SLOs, live: a real Prometheus scrapes a small app whose errors the test controls, and the server watches."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from tests.servers import ServerProcess
from tests.telemetry_clients.eventually import eventually
from tests.telemetry_clients.local_server import Request, http_answer, local_server
from tests.telemetry_clients.prometheus_server import SCRAPE_INTERVAL_SECONDS, PrometheusServer

SLICE_SECONDS = 4 * SCRAPE_INTERVAL_SECONDS
PAIR = {
    "name": "fast",
    "response": "PAGE",
    "longWindowSeconds": 2 * SLICE_SECONDS,
    "shortWindowSeconds": SLICE_SECONDS,
    "factor": 1.1,
}
PROMISE = {
    "service": "live-shop",
    "name": "availability",
    "objective": 0.6,
    "windowSeconds": 60 * SLICE_SECONDS,
    "sliceSeconds": SLICE_SECONDS,
    "indicator": {"ratio": {"bad": 'live_requests_total{code="500"}', "total": "live_requests_total"}},
    "alerting": {"burnRates": [PAIR]},
}
WATCHED = """query($id: ID!, $incident: ID!) {
  slo(id: $id) {
    status coverage lastError evaluatedAt
    current { sli totalEvents errorBudgetRemaining }
    burnRates { name longRate shortRate breached }
  }
  incident(id: $incident) {
    timeline(last: 5) { nodes { title } }
    budgetBurns { slo { name } errorBudgetConsumed badEvents }
  }
  alerts { nodes { name status labels } }
  events(filter: { types: [SLO_STATUS_CHANGED, ALERT_FIRED, ALERT_RESOLVED] }) {
    nodes { __typename ... on SLOStatusChanged { slo { name } changes { from to } } }
  }
}"""

LOOKED_BACK = """query($id: ID!, $range: TimeRange!) {
  slo(id: $id) {
    history(range: $range, stepSeconds: 4) { measuredAt }
    explanation(range: $range) { goodEvents noDataSeconds }
  }
}"""


@dataclass
class Shop:
    """An app with ten requests a second, of which every other fails while `is_failing`."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    is_failing: bool = False
    served: int = 0

    def __post_init__(self) -> None:
        self.requests = Counter("live_requests", "Requests.", ("code",), registry=self.registry)

    async def serve(self) -> None:
        while True:
            self.requests.labels("500" if self.is_failing and self.served % 2 else "200").inc()
            self.served += 1
            await asyncio.sleep(0.1)

    async def has_served(self, count: int) -> bool:
        return self.served >= count

    async def metrics(self, _: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(http_answer(generate_latest(self.registry), content_type="text/plain; version=0.0.4"))


@pytest.fixture
async def shop(prometheus_server: PrometheusServer) -> AsyncIterator[Shop]:
    running = Shop()
    serving = asyncio.create_task(running.serve())
    async with local_server(running.metrics) as exporter:
        await prometheus_server.scrape(exporter.address, job="live-shop")
        yield running
    serving.cancel()


def serve(database_url: str, prometheus: PrometheusServer) -> ServerProcess:
    return ServerProcess(
        DATABASE_URL=database_url,
        PROMETHEUS_URL=prometheus.url,
        PROMETHEUS_SCRAPE_INTERVAL_SECONDS=str(SCRAPE_INTERVAL_SECONDS),
        SLO_EVALUATION_INTERVAL_SECONDS="1",
    )


async def ask(client: httpx.AsyncClient, query: str, **variables: Any) -> dict[str, Any]:
    answer = await client.post("/graphql", json={"query": query, "variables": variables})
    body: dict[str, Any] = answer.json()
    assert "errors" not in body, body
    data: dict[str, Any] = body["data"]
    return data


def changes_of(events: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [change for event in events if event["__typename"] == "SLOStatusChanged" for change in event["changes"]]


async def test_a_budget_is_watched_from_the_first_error_to_the_recovery_and_through_downtime(
    database_url: str, prometheus_server: PrometheusServer, shop: Shop
) -> None:
    seen: list[dict[str, Any]] = []
    async with (
        serve(database_url, prometheus_server) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as client,
    ):
        opened = await client.post("/api/incidents", json={"title": "Slow", "severity": "low", "service": "live-shop"})
        incident = opened.json()["id"]
        made = await ask(
            client,
            "mutation($input: CreateSLOInput!) { createSlo(input: $input) { slo { id } warnings errors { message } } }",
            input=PROMISE,
        )
        assert made["createSlo"]["errors"] == []
        id = made["createSlo"]["slo"]["id"]

        async def has_status(status: str) -> bool:
            seen.append(await ask(client, WATCHED, id=id, incident=incident))
            return bool(seen[-1]["slo"]["status"] == status)

        async def has_alerts(*statuses: str) -> bool:
            seen.append(await ask(client, WATCHED, id=id, incident=incident))
            return [alert["status"] for alert in seen[-1]["alerts"]["nodes"]] == [*statuses]

        await eventually("the budget lasts", lambda: has_status("HEALTHY"))
        assert seen[-1]["slo"]["current"]["sli"] == 1, "no error was ever seen, and none is as good as zero"
        shop.is_failing = True
        await eventually("somebody is paged", lambda: has_status("CRITICAL"))
        critical = seen[-1]
        [rate] = critical["slo"]["burnRates"]
        assert rate["breached"]
        assert rate["longRate"] > 1.1
        assert 0 < critical["slo"]["current"]["errorBudgetRemaining"] < 1
        await eventually("the alert is processed", lambda: has_alerts("FIRING"))
        [alert] = seen[-1]["alerts"]["nodes"]
        assert (alert["status"], alert["labels"]["slo"], alert["labels"]["severity"]) == (
            "FIRING",
            "availability",
            "page",
        )
        titles = [entry["title"] for entry in critical["incident"]["timeline"]["nodes"]]
        assert "SLO availability of live-shop is burning its error budget very fast" in titles
        [burnt] = critical["incident"]["budgetBurns"]
        assert burnt["slo"] == {"name": "availability"}
        assert burnt["badEvents"] > 0
        shop.is_failing = False

        async def is_told() -> bool:
            is_well = await has_status("HEALTHY")
            told = changes_of(seen[-1]["events"]["nodes"])
            return is_well and bool(told) and told[-1] == {"from": "CRITICAL", "to": "HEALTHY"}

        await eventually("it recovers, and subscribers hear of it", is_told)
        told = changes_of(seen[-1]["events"]["nodes"])
        assert {"from": "HEALTHY", "to": "CRITICAL"} in told
        assert all(before["to"] == after["from"] for before, after in pairwise(told)), "nothing is left out"
        await eventually("the alert is over", lambda: has_alerts("RESOLVED"))
    evaluated = seen[-1]["slo"]["evaluatedAt"]
    served = shop.served
    await eventually("the server is away for some slices", lambda: shop.has_served(served + 10 * SLICE_SECONDS))
    async with (
        serve(database_url, prometheus_server) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as client,
    ):

        async def has_caught_up() -> bool:
            seen.append(await ask(client, WATCHED, id=id, incident=incident))
            return bool(seen[-1]["slo"]["evaluatedAt"] > evaluated)

        await eventually("it catches up", has_caught_up)
        times = {"from": evaluated, "to": seen[-1]["slo"]["evaluatedAt"]}
        looked_back = (await ask(client, LOOKED_BACK, id=id, range=times))["slo"]
        assert len(looked_back["history"]) >= 2, "every slice of the downtime is there"
        assert looked_back["explanation"]["noDataSeconds"] == 0
        assert looked_back["explanation"]["goodEvents"] > 0
