"""Analyses as jobs: one at a time for an incident, taken over when a server dies, and given up for a newer one."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from actions.analyses import DEBOUNCE_SECONDS, KIND
from actions.investigate import Investigation
from app.jobs import Work, Workers
from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from telemetry_clients.loki import Loki
from telemetry_clients.transport import Endpoint, Transport
from tests.schema.conftest import Api, api, incident, operations
from tests.telemetry_clients.loki_server import LocalLoki, local_loki
from tests.waiting import until

__all__ = ["api", "incident", "operations"]  # fixtures

ROOT = Path(__file__).parents[2]
ANALYSES = """query($id: ID!) { incident(id: $id) {
  analysis { id status summary }
  analyses { nodes { id status isShown isSuperseded trigger summary completedAt } }
  correlations { nodes { kind } }
} }"""


@pytest.fixture
async def loki() -> AsyncGenerator[LocalLoki]:
    async with local_loki() as loki:
        loki.label_values = {"service_name": ["checkout"]}
        yield loki


@asynccontextmanager
async def working(api: Api, loki: LocalLoki, name: str, *, lease_seconds: float = 30) -> AsyncGenerator[Any]:
    """A server that analyses incidents, as long as its task is not cancelled."""
    async with Transport(Endpoint(backend="Loki", url=loki.url)) as transport:
        telemetry = Telemetry(loki=Instances("Loki", {DEFAULT: Loki(transport)}))
        investigation = Investigation(
            database=api.database, telemetry=telemetry, now=lambda: api.now, deadline_seconds=20, watch_seconds=0.02
        )
        works = {KIND: Work(run=investigation.run, timeout_seconds=30)}
        workers = Workers(
            api.database, works, name=name, now=lambda: api.now, poll_seconds=0.02, lease_seconds=lease_seconds
        )
        task = asyncio.create_task(workers.run())
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def analyses(api: Api, incident: str) -> list[dict[str, Any]]:
    """All of them, the latest first."""
    answer = await api(ANALYSES, id=incident)
    assert answer.keys() == {"data"}, answer
    found: list[dict[str, Any]] = answer["data"]["incident"]["analyses"]["nodes"]
    return found


async def statuses(api: Api, incident: str) -> list[str]:
    return [it["status"] for it in await analyses(api, incident)]


async def test_an_incident_is_analysed_as_soon_as_it_exists(api: Api, loki: LocalLoki, incident: str) -> None:
    async with working(api, loki, "server 1"):
        await until(lambda: _has(api, incident, ["PARTIAL"]))

    [only] = await analyses(api, incident)
    assert (only["trigger"], only["isShown"], only["isSuperseded"]) == ("INCIDENT_CREATED", True, False)


async def test_a_run_that_is_under_way_shows_what_it_has_found(api: Api, loki: LocalLoki, incident: str) -> None:
    at = (api.now - timedelta(minutes=2)).isoformat()
    deployed = {"service": "checkout", "version": "v2", "environment": "production", "outcome": "SUCCEEDED"}
    deployed |= {"startedAt": at, "finishedAt": at}
    await api.changed("recordDeployment", "deployment { id }", input=deployed)
    loki.hangs = True
    async with working(api, loki, "server 1"):
        await until(lambda: _tells(api, incident, "CORRELATION_FOUND"))
        assert await statuses(api, incident) == ["RUNNING"]
        found = (await api(ANALYSES, id=incident))["data"]["incident"]["correlations"]["nodes"]
        assert [it["kind"] for it in found] == ["DEPLOYMENT"]
        assert not await _tells(api, incident, "ANALYSIS_COMPLETED")
        loki.closing.set()
        await until(lambda: _tells(api, incident, "ANALYSIS_COMPLETED"))
    assert await statuses(api, incident) == ["PARTIAL"]


async def test_when_a_server_is_killed_another_takes_the_run_over(
    api: Api, loki: LocalLoki, incident: str, database_url: str
) -> None:
    loki.hangs = True
    program = ("-m", "tests.actions.analysing_server", database_url, loki.url, api.now.isoformat())
    server = await asyncio.create_subprocess_exec(sys.executable, *program, cwd=ROOT)
    try:
        await until(lambda: _has(api, incident, ["RUNNING"]), timeout_seconds=25)
    finally:
        server.kill()
        await server.wait()
    loki.hangs = False
    loki.closing.set()
    async with working(api, loki, "server 2"):
        await until(lambda: _has(api, incident, ["PARTIAL", "FAILED"]))
    ended, interrupted = await analyses(api, incident)
    assert (ended["isShown"], interrupted["isShown"]) == (True, False)
    assert interrupted["summary"] == "It was interrupted, and began anew."
    assert interrupted["completedAt"] is not None


async def test_a_newer_request_takes_the_place_of_the_run(api: Api, loki: LocalLoki, incident: str) -> None:
    loki.hangs = True
    async with working(api, loki, "server 1"):
        await until(lambda: _has(api, incident, ["RUNNING"]))
        await api.changed("analyzeIncident", "incident { id }", id=incident)
        await until(lambda: _has(api, incident, ["RUNNING", "FAILED"]))
        newest, oldest = await analyses(api, incident)
        assert (oldest["isSuperseded"], oldest["isShown"]) == (True, False)
        assert (newest["trigger"], newest["isShown"]) == ("REQUESTED", True)
        loki.closing.set()
        await until(lambda: _has(api, incident, ["PARTIAL", "FAILED"]))


async def test_a_change_waits_for_others_before_it_takes_the_place_of_a_run(
    api: Api, loki: LocalLoki, incident: str
) -> None:
    async with working(api, loki, "server 1"):
        await until(lambda: _has(api, incident, ["PARTIAL"]))
        for name in ("payment", "inventory"):
            service = await api.changed("createService", "service { id }", input={"name": name})
            await api.changed(
                "setServiceImpact", "incident { id }", incidentId=incident, serviceId=service["id"], level="SECONDARY"
            )
        assert await statuses(api, incident) == ["PARTIAL"]
        api.wait(seconds=DEBOUNCE_SECONDS + 1)
        await until(lambda: _has(api, incident, ["PARTIAL", "PARTIAL"]))
    newest, _ = await analyses(api, incident)
    assert newest["trigger"] == "INCIDENT_CHANGED"


async def test_a_run_is_not_replaced_by_one_change_after_the_other(api: Api, loki: LocalLoki, incident: str) -> None:
    loki.hangs = True
    async with working(api, loki, "server 1"):
        await until(lambda: _has(api, incident, ["RUNNING"]))
        await _change(api, incident, "payment")
        await until(lambda: _has(api, incident, ["RUNNING", "FAILED"]))
        await _change(api, incident, "inventory")
        loki.closing.set()
        await until(lambda: _has(api, incident, ["PARTIAL", "PARTIAL", "FAILED"]))


async def test_a_resolved_incident_is_analysed_only_when_somebody_asks(
    api: Api, loki: LocalLoki, incident: str
) -> None:
    await api.changed("resolveIncident", "incident { id }", id=incident)
    async with working(api, loki, "server 1"):
        await until(lambda: _is_idle(api))
        assert await statuses(api, incident) == []
        await api.changed("analyzeIncident", "incident { id }", id=incident)
        await until(lambda: _has(api, incident, ["PARTIAL"]))


async def test_an_incident_that_hurts_nobody_says_so(api: Api, loki: LocalLoki) -> None:
    opened = await api.changed("createIncident", "incident { id }", input={"title": "Odd", "severity": "LOW"})
    async with working(api, loki, "server 1"):
        await until(lambda: _has(api, opened["id"], ["COMPLETE"]))
    summary = (await api(ANALYSES, id=opened["id"]))["data"]["incident"]["analysis"]["summary"]
    assert summary.startswith("Nobody has said which services the incident hurts.")


async def test_asking_for_an_incident_that_is_none_is_an_error(api: Api) -> None:
    error = await api.refused("analyzeIncident", "incident { id }", id=str(UUID(int=7)))
    assert (error["__typename"], error["path"]) == ("NotFoundError", ["id"])


async def _change(api: Api, incident: str, name: str) -> None:
    """Something about the services of the incident, and long enough for nothing else to come."""
    service = await api.changed("createService", "service { id }", input={"name": name})
    await api.changed(
        "setServiceImpact", "incident { id }", incidentId=incident, serviceId=service["id"], level="SECONDARY"
    )
    api.wait(seconds=DEBOUNCE_SECONDS + 1)


async def _has(api: Api, incident: str, wanted: list[str]) -> bool:
    return await statuses(api, incident) == wanted


async def _tells(api: Api, incident: str, type: str) -> bool:
    sql = "select count(*) from outbox where incident_id = cast(:id as uuid) and type = cast(:type as event_type)"
    async with api.database.reading() as connection:
        return bool(await connection.scalar(text(sql), {"id": incident, "type": type}))


async def _is_idle(api: Api) -> bool:
    async with api.database.reading() as connection:
        sql = "select count(*) from jobs where status in ('QUEUED', 'RUNNING')"
        return not await connection.scalar(text(sql))
