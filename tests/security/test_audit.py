"""Who did what: every write leaves an entry that nobody can change, and that only admins read."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import insert
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from actions import people
from actions.retention import forget_audit_entries
from app.retention import Retention
from db.audit import audit_log
from db.connecting import driver_url
from db.database import Database
from db.identifiers import new_id
from domain.access import Actor, Role
from domain.audit import HIDDEN, without_secrets
from engines.slo.formats.reader import read
from engines.slo.rules.files import rule_file
from resolvers.operations import Operations
from schema.root import build_schema
from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from tests.postgres import run_sql
from tests.schema.conftest import NOON, Api, added
from tests.schema.test_alert_mutations import alerts, told
from tests.schema.test_slo_imports import OPENSLO, SLOTH
from tests.schema.test_slo_mutations import PROMISE
from tests.security.rights import rest_paths
from tests.telemetry_clients.alertmanager_server import running_alertmanager
from tests.telemetry_clients.prometheus_server import running_prometheus

PIPELINE = Actor(None, "deploy-pipeline", Role.RESPONDER, request_id="r-7", address="192.0.2.7")
LOG = """query($filter: AuditLogFilter, $first: Int, $after: String) {
  auditLog(filter: $filter, first: $first, after: $after) {
    totalCount pageInfo { endCursor }
    nodes { actorName actor { name } action subjectType subjectId before after requestId address occurredAt } } }"""
ADMIN = Actor(None, "admin", Role.ADMIN)


@pytest.fixture(scope="module")
def operations() -> Operations:
    return Operations(build_schema())


@pytest.fixture
def api(operations: Operations, database: Database) -> Api:
    api = Api(operations, database)
    api.actor = PIPELINE
    api.timeout_seconds = 30
    return api


async def entries(api: Api, **filter: Any) -> list[dict[str, Any]]:
    """What admins read of the audit log, the latest first."""
    reader = Api(api.operations, api.database)
    reader.actor = ADMIN
    answer = await reader(LOG, filter=filter, first=200)
    assert "errors" not in answer, answer
    found: list[dict[str, Any]] = answer["data"]["auditLog"]["nodes"]
    return found


class Diligent:
    """Does one thing after the other, and looks what was written down of each."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.done: dict[str, str] = {}

    async def __call__(self, mutation: str, selection: str = "errors { code }", **arguments: Any) -> Any:
        """Call a mutation that succeeds; its payload."""
        before = len(await entries(self._api))
        payload = await self._api.change(mutation, selection, **arguments)
        assert payload["errors"] == [], payload
        written = (await entries(self._api))[: len(await entries(self._api)) - before]
        assert written, f"{mutation} left no entry"
        for entry in written:
            assert (entry["actorName"], entry["requestId"], entry["address"]) == ("deploy-pipeline", "r-7", "192.0.2.7")
            assert entry["subjectId"] is not None
        self.done[mutation] = written[0]["action"]
        return payload

    async def make(self, mutation: str, object_: str, **arguments: Any) -> str:
        """Call a mutation that creates something; its id."""
        payload = await self(mutation, f"{object_} {{ id }}", **arguments)
        id: str = payload[object_]["id"]
        return id


@pytest.fixture
async def backends(api: Api, tmp_path: Path) -> AsyncIterator[None]:
    """A real Prometheus, in which rules of Sloth run, and a real Alertmanager."""
    (tmp_path / "prometheus").mkdir()
    (tmp_path / "alertmanager").mkdir()
    rules = rule_file([replace(one, name="adopted") for one in read(SLOTH).definitions]).text
    async with (
        running_prometheus(tmp_path / "prometheus", rules=rules) as prometheus,
        running_alertmanager(tmp_path / "alertmanager") as alertmanager,
    ):
        api.now = datetime.now(UTC)
        api.telemetry = Telemetry(
            prometheus=Instances("Prometheus", {DEFAULT: prometheus.client}),
            alertmanager=Instances("Alertmanager", {DEFAULT: alertmanager.client}),
        )
        yield


@pytest.mark.usefixtures("backends")
async def test_every_mutation_leaves_an_entry_that_says_who_did_it_and_from_where(api: Api, operations: Operations):
    do = Diligent(api)
    await _catalog(do)
    incident, other = await _incidents(do)
    await _investigation(do, incident)
    await _alerts(do, api, other)
    silence = await do.make(
        "createSilence", "silence", input={"incidentId": incident, "durationSeconds": 600, "comment": "On it"}
    )
    await do("expireSilence", incidentId=incident, id=silence)
    await _objectives(do)
    await _tokens(do, api)
    assert do.done.keys() == operations.schema.mutation_type.fields.keys()  # type: ignore[union-attr] # it has some
    assert do.done["analyzeIncident"] == "incident.analyze"
    assert do.done["evaluateSlo"] == "slo.evaluate"
    assert do.done["deleteService"] == "service.delete"


async def _tokens(do: Diligent, api: Api) -> None:
    user_id = await api.database.transact(
        lambda tx: people.create_user(tx, "pipeline@example.org", "Pipeline", actor=ADMIN), now=NOON
    )
    api.actor = replace(PIPELINE, id=user_id)
    await do("revokeApiToken", id=await do.make("createApiToken", "apiToken", input={"name": "ci", "scopes": ["READ"]}))


async def _catalog(do: Diligent) -> None:
    service = await do.make("createService", "service", input={"name": "cart"})
    await do("updateService", input={"id": service, "tier": 2})
    deployment = await do.make(
        "recordDeployment", "deployment", input={"service": "cart", "version": "2", "outcome": "IN_PROGRESS"}
    )
    await do("finishDeployment", id=deployment, outcome="SUCCEEDED")
    rule = {"name": "Errors", "kind": "THRESHOLD", "signal": "ERROR_RATIO", "threshold": 0.1}
    made = await do.make("createDetectionRule", "detectionRule", input=rule)
    await do("updateDetectionRule", input={"id": made, "threshold": 0.2})
    await do("deleteDetectionRule", id=made)
    await do("deleteService", id=await do.make("createService", "service", input={"name": "stock"}))


async def _incidents(do: Diligent) -> tuple[str, str]:
    known = {"title": "Down", "severity": "HIGH", "services": ["cart"]}
    incident = await do.make("createIncident", "incident", input=known)
    other = await do.make("createIncident", "incident", input={"title": "Other", "severity": "LOW"})
    await do("updateIncident", input={"id": incident, "title": "Down again"})
    for mutation in ("acknowledgeIncident", "mitigateIncident", "resolveIncident"):
        await do(mutation, id=incident)
    await do("reopenIncident", id=incident, reason="It is back")
    await do("analyzeIncident", id=incident)
    shop = await do.make("createService", "service", input={"name": "shop"})
    await do("setServiceImpact", incidentId=incident, serviceId=shop, level="SUSPECTED")
    await do("addTimelineNote", incidentId=incident, text="We look at it")
    return incident, other


async def _investigation(do: Diligent, incident: str) -> None:
    about = {"incidentId": incident, "title": "The cache"}
    hypothesis = await do.make("createHypothesis", "hypothesis", input=about)
    await do("updateHypothesis", input={"id": hypothesis, "status": "INVESTIGATING"})
    step = await do.make("createInvestigationStep", "step", input=about)
    await do("updateInvestigationStep", input={"id": step, "status": "IN_PROGRESS"})
    task = await do.make("createTask", "task", input=about)
    await do("updateTask", input={"id": task, "status": "DONE"})


async def _alerts(do: Diligent, api: Api, incident: str) -> None:
    await told(api, "Slow", "Broken")
    alert = (await alerts(api))["Slow"]["id"]
    await do("moveAlert", alertId=alert, incidentId=incident)
    await do("detachAlert", alertId=alert)
    times = {"startsAt": api.now.isoformat(), "endsAt": (api.now + timedelta(hours=1)).isoformat()}
    window = await do.make(
        "createMaintenanceWindow", "maintenanceWindow", input={"title": "Upgrade", "service": "cart", **times}
    )
    await do("updateMaintenanceWindow", input={"id": window, "title": "Upgrades"})
    await do("deleteMaintenanceWindow", id=window)


async def _objectives(do: Diligent) -> None:
    slo = await do.make("createSlo", "slo", input=PROMISE)
    await do("updateSlo", input={"id": slo, "objective": 0.99})
    await do("evaluateSlo", id=slo)
    excluded = {"kind": "EXCLUSION", "startsAt": "2026-03-01T00:00:00Z", "endsAt": "2026-03-01T01:00:00Z"}
    adjustment = await do.make("adjustSlo", "adjustment", input={"sloId": slo, **excluded, "reason": "Planned"})
    await do("removeSloAdjustment", id=adjustment)
    await do("deleteSlo", id=slo)
    await do("importOpenSlo", yaml=OPENSLO)
    await do("importSlos", input={"text": SLOTH})
    await do("adoptSlos", dryRun=False)


async def _tokens(do: Diligent, api: Api) -> None:
    api.actor = replace(PIPELINE, id=await added(api, people.create_user, "ada@example.org", "Ada Lovelace"))
    made = await do("createApiToken", "secret apiToken { id }", input={"name": "ci", "scopes": ["READ"]})
    await do("revokeApiToken", id=made["apiToken"]["id"])
    assert made["secret"] not in str(await entries(api))


async def test_every_write_through_rest_leaves_an_entry(api: Api):
    writes = [
        ("POST", "/api/incidents", {"title": "Down"}, "incident.create"),
        ("PATCH", "/api/incidents/{id}", {"severity": "low"}, "incident.update"),
        ("POST", "/api/incidents/{id}/timeline", {"text": "We look at it"}, "timeline_event.create"),
    ]
    declared = {
        (method, route.path)
        for route in rest_paths(api.database)
        for method in route.permissions
        if method not in ("GET", "HEAD")
    }
    assert {(method, path) for method, path, _, _ in writes} == declared
    routes = Starlette(routes=rest_paths(api.database))

    async def known(scope: Scope, receive: Receive, send: Send) -> None:
        await routes({**scope, "actor": PIPELINE}, receive, send)

    id = ""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(known), base_url="http://studio") as http:
        for count, (method, path, body, action) in enumerate(writes, 1):
            response = await http.request(method, path.replace("{id}", id), json=body)
            assert response.is_success, response.text
            id = id or response.json()["id"]
            written = await entries(api)
            assert (len(written), written[0]["actorName"]) == (count, "deploy-pipeline")
            assert written[0]["action"].split(".")[0] == action.split(".")[0], written[0]


async def test_an_entry_says_what_was_different_before_and_after(api: Api):
    made = await api.changed("createService", "service { id }", input={"name": "cart", "tier": 1})
    await api.change("updateService", "errors { code }", input={"id": made["id"], "tier": 2})
    await api.change("deleteService", "errors { code }", id=made["id"])
    deleted, updated, created = await entries(api, subjectId=[made["id"]])
    assert (created["before"], created["after"]["name"], created["after"]["tier"]) == (None, "cart", 1)
    assert (updated["before"], updated["after"]) == ({"tier": 1}, {"tier": 2})
    assert (deleted["before"]["name"], deleted["after"]) == ("cart", None)
    assert {entry["subjectType"] for entry in (deleted, updated, created)} == {"service"}


async def test_what_is_refused_or_changes_nothing_leaves_no_entry(api: Api):
    made = await api.changed("createService", "service { id }", input={"name": "cart", "tier": 1})
    await api.change("updateService", "errors { code }", input={"id": made["id"], "tier": 1})
    await api.refused("createService", "service { id }", input={"name": "CART"})
    api.actor = replace(api.actor, role=Role.VIEWER)
    await api.refused("deleteService", "deletedId", id=made["id"])
    assert len(await entries(api)) == 1


async def test_admins_find_entries_by_actor_subject_action_and_time_page_by_page(api: Api):
    ada = await added(api, people.create_user, "ada@example.org", "Ada Lovelace")
    made = [await api.changed("createService", "service { id }", input={"name": f"s{n}"}) for n in range(3)]
    api.actor = Actor(ada, "Ada Lovelace", Role.RESPONDER)
    api.wait(hours=1)
    await api.change("updateService", "errors { code }", input={"id": made[0]["id"], "tier": 3})

    [by_ada] = await entries(api, actorId=[str(ada)])
    assert (by_ada["actor"], by_ada["action"]) == ({"name": "Ada Lovelace"}, "service.update")
    assert await entries(api, actorName=["Ada Lovelace"]) == [by_ada]
    assert [entry["action"] for entry in await entries(api, subjectId=[made[0]["id"]])] == [
        "service.update",
        "service.create",
    ]
    assert len(await entries(api, action=["service.create"])) == 3
    later = (NOON + timedelta(minutes=30)).isoformat()
    assert await entries(api, occurredAfter=later) == [by_ada]
    assert len(await entries(api, occurredBefore=later, actorName=["deploy-pipeline"])) == 4

    api.actor = ADMIN
    seen, after = [], None
    for _ in range(3):
        page = (await api(LOG, first=2, after=after))["data"]["auditLog"]
        seen += [entry["action"] for entry in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
    assert (len(seen), page["totalCount"]) == (5, 5)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.RESPONDER])
async def test_nobody_but_admins_reads_the_audit_log(api: Api, role: Role):
    await api.changed("createService", "service { id }", input={"name": "cart"})
    api.actor = replace(api.actor, role=role)
    answer = await api(LOG)
    assert answer["data"] is None
    assert answer["errors"][0]["extensions"] == {"code": "FORBIDDEN"}


@pytest.mark.parametrize(
    "change",
    [
        "update audit_log set actor_name = 'somebody else'",
        "delete from audit_log",
        "truncate audit_log",
        "set session_replication_role = replica; delete from audit_log",
        "begin; set local reliability_studio.audit_kept_since = 'infinity'; delete from audit_log; commit",
        "insert into audit_log select * from audit_log on conflict (id) do update set action = 'nothing'",
    ],
)
async def test_the_database_itself_refuses_every_change_to_what_is_written(api: Api, database_url: str, change: str):
    api.now = datetime.now(UTC)
    await api.changed("createService", "service { id }", input={"name": "cart"})
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="the audit log is only added to"):
        await run_sql(database_url, change)
    [entry] = await entries(api)
    assert (entry["action"], entry["actorName"]) == ("service.create", "deploy-pipeline")


async def test_what_is_older_than_the_retention_is_forgotten_and_nothing_younger(api: Api, database_url: str):
    now = datetime.now(UTC)
    async with api.database.writing(now) as tx:
        for days in (1, 31, 99, 101, 500):
            entry = {"id": new_id(), "occurred_at": now - timedelta(days=days), "action": f"test.{days}"}
            await tx.execute(insert(audit_log).values(**entry, actor_name="tests", subject_type="test"))
    retention = Retention(api.database, events_days=30, audit_days=100, now=lambda: now)
    assert (await retention.forget())["audit_entries"] == 2
    assert [entry["action"] for entry in await entries(api)] == ["test.1", "test.31", "test.99"]
    # Whatever anybody asks for, the last 30 days stay.
    forget = partial(forget_audit_entries, occurred_before=now + timedelta(days=1))
    assert await api.database.transact(forget, now=now) == 2
    assert [entry["action"] for entry in await entries(api)] == ["test.1"]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run_sql(database_url, "delete from audit_log")


def test_secrets_are_hidden_wherever_they_are():
    told = {
        "password_hash": "$argon2id$...",
        "name": "ci",
        "token_id": "7",
        "labels": {"apiKey": "k", "team": "shop", "client-secret": "s", "list": [{"Authorization": "Bearer x"}]},
        "token_hash": None,
        "url": "https://ada:lovelace@example.org/x",
    }
    assert without_secrets(told) == {
        "password_hash": HIDDEN,
        "name": "ci",
        "token_id": "7",
        "labels": {"apiKey": HIDDEN, "team": "shop", "client-secret": HIDDEN, "list": [{"Authorization": HIDDEN}]},
        "token_hash": None,
        "url": f"https://{HIDDEN}@example.org/x",
    }


async def test_a_secret_that_somebody_writes_is_not_in_the_audit_log(api: Api, database_url: str):
    input = {"name": "cart", "labels": {"api_token": "s3cret"}, "runbookUrl": "https://ada:s3cret@example.org/"}
    await api.changed("createService", "service { id }", input=input)
    connection = await asyncpg.connect(driver_url(database_url))
    try:
        kept = await connection.fetchval("select string_agg(audit_log::text, '') from audit_log")
    finally:
        await connection.close()
    assert "s3cret" not in kept
    assert kept.count(HIDDEN) == 2
