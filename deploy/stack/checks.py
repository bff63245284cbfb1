"""What is looked at after each deployment: health, a first incident, and that all parts see each other."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import asyncpg
import httpx

from deploy.demo_shop.services import SERVICES
from deploy.stack.place import Place
from deploy.stack.ports import HOST
from deploy.stack.programs import SCRAPE_INTERVAL_SECONDS

_LEAST_TABLES: Final = 15
_SCRAPES_WAITED_FOR: Final = 15
_ALERT_SECONDS: Final = 20.0
_WAIT_SECONDS: Final = 30.0  # Alertmanager waits 5 s for others of the same group.
_POLL_SECONDS: Final = 0.5
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


async def check(
    http: httpx.AsyncClient, place: Place, *, running: set[str], token: str | None
) -> AsyncIterator[Result]:
    """Check the running stack, one thing after the other. `token` is for the server, where one has to sign in."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    url = f"http://{HOST}:{place.ports['backend']}"
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=http.timeout, trust_env=False) as backend:
        answer = await backend.get("/api/health")
        yield Result(
            "health endpoint", answer.status_code == 200, f"{answer.status_code} {answer.json().get('status')}"
        )
        yield Result("Grafana", None, "it runs in Docker only")
        yield await _tables(place)
        yield await _strangers(http, url, has_sign_in=token is not None)
        async for result in _incidents(backend):
            yield result
        async for result in _backends(backend, running):
            yield result
        async for result in _prometheus(http, place.ports, running):
            yield result
        yield await _alerts(http, f"http://{HOST}:{place.ports['alertmanager']}", backend)
        yield await _shop(backend)


async def _strangers(http: httpx.AsyncClient, url: str, *, has_sign_in: bool) -> Result:
    status = (await http.get(f"{url}/api/incidents/active")).status_code
    if has_sign_in:
        return Result("who has not signed in is refused", status == 401, str(status))
    return Result("nobody has to sign in", status == 200, str(status))


async def _incidents(backend: httpx.AsyncClient) -> AsyncIterator[Result]:
    created = await backend.post("/api/incidents", json=_INCIDENT)
    incident = created.json()
    is_open = created.status_code == 201 and incident.get("status") == "open"
    yield Result("create an incident", is_open, f"{created.status_code} {incident.get('status')}")
    active = await backend.get("/api/incidents/active")
    is_listed = active.status_code == 200 and incident.get("id") in [each["id"] for each in active.json()]
    yield Result("it is among the active ones", is_listed, f"{active.status_code}, {len(active.json())} active")
    refused = await backend.post("/api/incidents", json={"severity": "high"})
    yield Result(
        "one without a title is refused",
        refused.status_code == 400 and refused.json() == {"error": "Title is required"},
        f"{refused.status_code} {refused.text}",
    )
    solved = await backend.patch(f"/api/incidents/{incident.get('id')}", json={"status": "resolved"})
    yield Result("it can be resolved", solved.status_code == 200, str(solved.status_code))


async def _tables(place: Place) -> Result:
    connection = await asyncpg.connect(place.postgres_url)
    try:
        count: int = await connection.fetchval(
            "select count(*) from information_schema.tables where table_schema = 'public'"
        )
    finally:
        await connection.close()
    return Result("tables", count >= _LEAST_TABLES, f"{count}, at least {_LEAST_TABLES} are expected")


async def _backends(backend: httpx.AsyncClient, running: set[str]) -> AsyncIterator[Result]:
    components = (await backend.get("/api/health")).json()["components"]
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


async def _alerts(http: httpx.AsyncClient, alertmanager: str, backend: httpx.AsyncClient) -> Result:
    """Whether an alert comes through Alertmanager, whose token opens the webhook. It is over in half a minute."""
    now, mark = datetime.now(UTC), uuid4().hex
    alert = {
        "labels": {"alertname": "StackCheck", "severity": "low", "service": _INCIDENT["service"], "check": mark},
        "annotations": {"summary": "A check of the stack, which is over in half a minute."},
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(seconds=_ALERT_SECONDS)).isoformat(),
    }
    posted = await http.post(f"{alertmanager}/api/v2/alerts", json=[alert])
    name = "alerts of Alertmanager arrive"
    if posted.status_code != 200:
        return Result(name, False, f"Alertmanager answered {posted.status_code}")
    query = "query ($labels: JSON) { alerts(first: 1, filter: { labels: $labels }) { nodes { incident { number } } } }"
    if await _comes(backend, query, lambda data: bool(data["alerts"]["nodes"]), labels={"check": mark}):
        return Result(name, True, "one did")
    return Result(name, False, f"none within {_WAIT_SECONDS:.0f} s")


async def _shop(backend: httpx.AsyncClient) -> Result:
    """Whether the shop could register, which takes a token where one has to sign in."""
    query = "query ($names: [String!]) { services(first: 50, filter: { name: $names }) { nodes { name } } }"
    names = [service.name for service in SERVICES]
    is_known = await _comes(backend, query, lambda data: len(data["services"]["nodes"]) == len(names), names=names)
    return Result("the shop is in the catalog", is_known, f"{len(names)} services" if is_known else "not all of it")


async def _comes(
    backend: httpx.AsyncClient, query: str, holds: Callable[[dict[str, Any]], bool], **variables: object
) -> bool:
    """Whether a query's data is as it should be, soon."""
    try:
        async with asyncio.timeout(_WAIT_SECONDS):
            while True:
                answer = (await backend.post("/graphql", json={"query": query, "variables": variables})).json()
                if not answer.get("errors") and holds(answer["data"]):
                    return True
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        return False
