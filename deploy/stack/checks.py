"""What is looked at after each deployment: health, a first incident, and that all parts see each other."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

import asyncpg
import httpx

from deploy.stack.place import Place
from deploy.stack.ports import HOST
from deploy.stack.programs import SCRAPE_INTERVAL_SECONDS

_LEAST_TABLES: Final = 15
_SCRAPES_WAITED_FOR: Final = 15
_INCIDENT: Final = {
    "title": "Test Incident",
    "severity": "high",
    "service": "test-service",
    "description": "Test incident for validation",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found. `holds` is None where there was nothing to check."""

    check: str
    holds: bool | None
    remark: str


async def check(http: httpx.AsyncClient, place: Place, *, running: set[str]) -> AsyncIterator[Result]:
    """Check the running stack, one thing after the other."""
    ports = place.ports
    backend = f"http://{HOST}:{ports['backend']}"
    answer = await http.get(f"{backend}/api/health")
    yield Result("health endpoint", answer.status_code == 200, f"{answer.status_code} {answer.json().get('status')}")
    yield Result("Grafana", None, "it runs in Docker only")
    yield await _tables(place)
    created = await http.post(f"{backend}/api/incidents", json=_INCIDENT)
    incident = created.json()
    is_open = created.status_code == 201 and incident.get("status") == "open"
    yield Result("create an incident", is_open, f"{created.status_code} {incident.get('status')}")
    active = await http.get(f"{backend}/api/incidents/active")
    is_listed = incident.get("id") in [each["id"] for each in active.json()]
    yield Result("it is among the active ones", active.status_code == 200 and is_listed, f"{len(active.json())} active")
    refused = await http.post(f"{backend}/api/incidents", json={"severity": "high"})
    yield Result(
        "one without a title is refused",
        refused.status_code == 400 and refused.json() == {"error": "Title is required"},
        f"{refused.status_code} {refused.text}",
    )
    solved = await http.patch(f"{backend}/api/incidents/{incident.get('id')}", json={"status": "resolved"})
    yield Result("it can be resolved", solved.status_code == 200, str(solved.status_code))
    async for result in _backends(http, backend, running):
        yield result
    async for result in _prometheus(http, ports, running):
        yield result


async def _tables(place: Place) -> Result:
    connection = await asyncpg.connect(place.postgres_url)
    try:
        count: int = await connection.fetchval(
            "select count(*) from information_schema.tables where table_schema = 'public'"
        )
    finally:
        await connection.close()
    return Result("tables", count >= _LEAST_TABLES, f"{count}, at least {_LEAST_TABLES} are expected")


async def _backends(http: httpx.AsyncClient, backend: str, running: set[str]) -> AsyncIterator[Result]:
    components = (await http.get(f"{backend}/api/health")).json()["components"]
    for name in ("prometheus", "pushgateway", "alertmanager", "loki", "tempo"):
        if name not in running:
            yield Result(f"the server reaches {name}", None, "not on PATH")
            continue
        found = components.get(name, {})
        yield Result(f"the server reaches {name}", found.get("status") == "healthy", found.get("message") or "healthy")


async def _prometheus(http: httpx.AsyncClient, ports: Mapping[str, int], running: set[str]) -> AsyncIterator[Result]:
    prometheus = f"http://{HOST}:{ports['prometheus']}"
    yield await _targets(http, prometheus, running)
    groups = (await http.get(f"{prometheus}/api/v1/rules")).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    wrong = [f"{rule['name']}: {rule['lastError']}" for rule in rules if rule.get("lastError")]
    yield Result("its rules", bool(rules) and not wrong, f"{len(rules)} rules" if not wrong else "; ".join(wrong))
    known = (await http.get(f"{prometheus}/api/v1/alertmanagers")).json()["data"]["activeAlertmanagers"]
    yield Result("it knows the Alertmanager", bool(known), f"{len(known)} known")


async def _targets(http: httpx.AsyncClient, prometheus: str, running: set[str]) -> Result:
    """Whether all targets are up, once Prometheus had the time to scrape each."""
    absent = {"loki", "tempo", "grafana"} - running
    late: list[str] = []
    for _ in range(_SCRAPES_WAITED_FOR):
        targets = (await http.get(f"{prometheus}/api/v1/targets")).json()["data"]["activeTargets"]
        expected = [each for each in targets if each["labels"]["job"] not in absent]
        late = [each["scrapeUrl"] for each in expected if each["health"] != "up"]
        if expected and not late:
            return Result("Prometheus scrapes everything", True, f"{len(expected)} targets")
        await asyncio.sleep(SCRAPE_INTERVAL_SECONDS)
    return Result("Prometheus scrapes everything", False, ", ".join(late) or "it has no targets")
