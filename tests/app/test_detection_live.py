"""Detection with a real Prometheus: one that scrapes a small shop every second, and one that has days of history."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from actions import jobs
from app.alert_intake import AlertIntake
from app.background import in_background
from app.detection import KIND, Detection
from app.jobs import EVERYTHING, Workers
from db.identifiers import new_id
from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from tests.schema.conftest import Api, api, operations
from tests.telemetry_clients.local_server import Request, http_answer, local_server
from tests.telemetry_clients.prometheus_server import PrometheusServer, running_prometheus
from tests.waiting import until

__all__ = ["api", "operations"]  # fixtures

_ALERTS = """{ alerts { nodes {
  name status startsAt annotations service { name } incident { status services { name } }
} } }"""
_STATES = "{ detectionRules { nodes { name lastError states { service { name } status badSince } } } }"
_TRIAL = """query($input: CreateDetectionRuleInput!, $range: TimeRange!) {
  testDetectionRule(input: $input, range: $range) {
    firings { service badSince firedAt endedAt value expected }
    series { service points { time value } }
    stepSeconds queries servicesLeftOut
  }
}"""
_STEP_SECONDS = 60
_ERRORS: dict[str, Any] = {
    "name": "Errors",
    "kind": "THRESHOLD",
    "signal": "ERROR_RATIO",
    "threshold": 0.2,
    "forSeconds": 2,
    "parameters": {"windowSeconds": 5, "resolveSeconds": 2, "confidence": 0.9},
}


class Storefront:
    """A service that counts its requests, of which a part fails."""

    def __init__(self) -> None:
        self.failing = 0.0
        self._registry = CollectorRegistry()
        self._requests = Counter("http_requests", "Requests.", ("service", "status"), registry=self._registry)
        self._count(0)

    def _count(self, requests: int) -> None:
        failed = round(requests * self.failing)
        self._requests.labels("storefront", "200").inc(requests - failed)
        self._requests.labels("storefront", "500").inc(failed)

    async def __call__(self, _: Request, writer: asyncio.StreamWriter) -> None:
        self._count(50)  # between one scrape and the next
        writer.write(http_answer(generate_latest(self._registry), content_type="text/plain; version=0.0.4"))


def use(api: Api, prometheus: PrometheusServer) -> None:
    api.telemetry = Telemetry(prometheus=Instances("Prometheus", {DEFAULT: prometheus.client}))


@asynccontextmanager
async def running_workers(api: Api) -> AsyncIterator[None]:
    """A server's work on detection, every second, and on alerts."""

    def now() -> datetime:
        return datetime.now(UTC)

    detection = Detection(api.database, api.telemetry, now=now, interval_seconds=1)
    workers = Workers(api.database, {KIND: detection.work}, name=str(new_id()), now=now, poll_seconds=0.05)
    async with in_background({"jobs": workers.run, "alerts": AlertIntake(api.database, now=now).run}):
        yield


async def state(api: Api) -> dict[str, Any]:
    """What the rule says of the storefront."""
    rules = (await api(_STATES))["data"]["detectionRules"]["nodes"]
    [rule] = [rule for rule in rules if rule["name"] == "Errors"]
    assert rule["lastError"] is None
    states: list[dict[str, Any]] = rule["states"]
    return states[0] if states else {"status": None}


async def is_(api: Api, status: str) -> bool:
    return bool((await state(api))["status"] == status)


async def test_errors_of_a_scraped_service_fire_open_an_incident_and_recover(
    api: Api, prometheus_server: PrometheusServer
) -> None:
    use(api, prometheus_server)
    await api.changed("createService", "service { id }", input={"name": "storefront"})
    storefront = Storefront()
    async with local_server(storefront) as exporter:
        await prometheus_server.scrape(exporter.address, job="storefront-pods")
        await api.changed("createDetectionRule", "detectionRule { id }", input=_ERRORS)
        async with running_workers(api):
            await until(partial(is_, api, "OK"), timeout_seconds=30)
            storefront.failing = 0.8
            await until(partial(is_, api, "PENDING"), timeout_seconds=30)
            bad_since = (await state(api))["badSince"]
        async with running_workers(api):  # after a restart
            await until(partial(is_, api, "FIRING"), timeout_seconds=30)
            assert (await state(api))["badSince"] == bad_since

            async def has_incident() -> bool:
                nodes = (await api(_ALERTS))["data"]["alerts"]["nodes"]
                return bool(nodes) and nodes[0]["incident"] is not None

            await until(has_incident)
            [alert] = (await api(_ALERTS))["data"]["alerts"]["nodes"]
            assert (alert["status"], alert["startsAt"]) == ("FIRING", bad_since)
            assert alert["incident"] == {"status": "OPEN", "services": [{"name": "storefront"}]}
            assert alert["annotations"]["summary"].startswith("The error ratio of storefront is ")

            storefront.failing = 0.0
            await until(partial(is_, api, "OK"), timeout_seconds=30)

            async def is_resolved() -> bool:
                return [a["status"] for a in (await api(_ALERTS))["data"]["alerts"]["nodes"]] == ["RESOLVED"]

            await until(is_resolved)


@pytest.fixture
async def remembering(tmp_path: Path) -> AsyncIterator[tuple[PrometheusServer, datetime]]:
    """A Prometheus that has seen the requests of a service for four days, which nearly stopped 20 minutes ago."""
    end = datetime.now(UTC).replace(second=0, microsecond=0)
    async with running_prometheus(tmp_path, history=history(end)) as server:
        yield server, end


def history(end: datetime) -> str:
    """Ten requests a second, more by day and fewer by night; one in fifty of that in the last 20 minutes."""
    lines = ["# TYPE http_requests counter"]
    total = 0.0
    first = end.timestamp() - 4 * 86_400
    for step in range(4 * 86_400 // _STEP_SECONDS + 1):
        at = first + step * _STEP_SECONDS
        rate = 10 + 5 * math.sin(2 * math.pi * at / 86_400) + 0.3 * math.sin(step * 1.7)
        total += _STEP_SECONDS * (rate if at < end.timestamp() - 1_200 else rate / 50)
        lines.append(f'http_requests_total{{service="storefront",status="200"}} {total:.3f} {at:.0f}')
    return "\n".join([*lines, "# EOF", ""])


async def test_traffic_that_drops_below_what_is_usual_fires_and_is_found_in_the_past(
    api: Api, remembering: tuple[PrometheusServer, datetime]
) -> None:
    prometheus, end = remembering
    use(api, prometheus)
    await api.changed("createService", "service { id }", input={"name": "storefront"})
    detection = Detection(api.database, api.telemetry, now=lambda: api.now, interval_seconds=30)
    for minutes in (21, 14, 11, 8):
        api.now = end - timedelta(minutes=minutes)
        async with api.database.writing(api.now) as tx:
            await jobs.enqueue(tx, KIND, EVERYTHING)
            [job] = await jobs.claim(tx, [KIND], worker="tests", lease_seconds=30, most=1)
        await detection.evaluate(job)
        async with api.database.writing(api.now) as tx:
            await jobs.finish(tx, job)

    rules = (await api(_STATES))["data"]["detectionRules"]["nodes"]
    said = {rule["name"]: (rule["lastError"], [state["status"] for state in rule["states"]]) for rule in rules}
    assert said["Traffic drop"] == (None, ["FIRING"])
    assert said["High error ratio"] == (None, ["OK"])
    assert said["Slow responses (p95)"] == (None, []), "it has no latencies"

    api.now = end
    rule = {
        "name": "Traffic",
        "kind": "SEASONAL",
        "signal": "REQUEST_RATE",
        "comparison": "BELOW",
        "threshold": 3.0,
        "forSeconds": 180,
        "parameters": {"minimumRequests": 100},
    }
    range = {"from": (end - timedelta(hours=6)).isoformat(), "to": end.isoformat()}
    answer = await api(_TRIAL, input=rule, range=range)

    assert answer.keys() == {"data"}, answer
    trial = answer["data"]["testDetectionRule"]
    [firing] = trial["firings"]
    assert firing["service"] == "storefront"
    assert end - timedelta(minutes=20) <= datetime.fromisoformat(firing["badSince"]) <= end - timedelta(minutes=10)
    assert firing["endedAt"] is None
    assert firing["value"] < 0.5 * firing["expected"]
    [series] = trial["series"]
    assert len(series["points"]) == 6 * 3600 / trial["stepSeconds"] + 1
    assert len(trial["queries"]) == 1
