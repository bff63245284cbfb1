"""Rights as clients of a running server meet them, whichever way they come."""

from typing import Any

import asyncpg
import httpx
import pytest

from app.accounts import add_token, add_user
from app.settings import Settings
from domain.access import Role, TokenScope
from tests.http.event_stream import EVENT_STREAM
from tests.http.graphql_socket import connect
from tests.security.signing import bearer, token
from tests.servers import ServerProcess
from tests.waiting import until

WRITE = 'mutation { createIncident(input: {title: "X", severity: LOW}) { incident { id } errors { code } } }'
ADDRESSES = "subscription { events { type actor { email } } }"


@pytest.mark.parametrize("role", ["viewer", "responder", "admin"])
async def test_a_token_does_over_http_what_its_role_may(closed: httpx.AsyncClient, role: str):
    who = bearer(token(role=role))
    may_write, may_administrate = role != "viewer", role == "admin"
    posted = await closed.post("/api/incidents", headers=who, json={"title": "X"})
    assert posted.status_code == (201 if may_write else 403)
    if not may_write:
        assert posted.json() == {"error": "This takes the role RESPONDER, and yours is VIEWER: ask an admin for it"}
    assert (await closed.get("/api/incidents", headers=who)).status_code == 200
    written = (await closed.post("/graphql", headers=who, json={"query": WRITE})).json()
    assert (written["data"]["createIncident"]["errors"] == []) == may_write
    read = (await closed.post("/graphql", headers=who, json={"query": "{ auditLog { totalCount } }"})).json()
    assert ("errors" not in read) == may_administrate


async def test_what_a_token_did_is_in_the_audit_log_under_its_name(closed: httpx.AsyncClient):
    bot = bearer(token(role="responder", sub="release-bot", name="release-bot"))
    made = await closed.post("/api/incidents", headers={**bot, "x-request-id": "release-42"}, json={"title": "X"})
    query = """query($id: ID!) { auditLog(filter: {subjectId: [$id]}) {
      nodes { actorName actor { name } action requestId address after } } }"""
    asked = {"query": query, "variables": {"id": made.json()["id"]}}
    answer = await closed.post("/graphql", headers=bearer(token(role="admin")), json=asked)
    [entry] = answer.json()["data"]["auditLog"]["nodes"]
    assert entry.pop("after")["title"] == "X"
    assert entry == {
        "actorName": "release-bot",
        "actor": None,
        "action": "incident.create",
        "requestId": "release-42",
        "address": "127.0.0.1",
    }


async def test_a_subscription_that_is_forbidden_ends_with_the_reason(closed_server: ServerProcess):
    viewer = bearer(token(role="viewer"))
    async with connect(closed_server.url, additional_headers=viewer) as socket:
        await socket.subscribe("1", ADDRESSES)
        said = await socket.hear()
        assert (said["id"], said["type"]) == ("1", "error")
        [error] = said["payload"]
        assert (error["extensions"], error["path"]) == ({"code": "FORBIDDEN"}, ["events"])
    async with httpx.AsyncClient(base_url=closed_server.url, timeout=30) as client:
        headers = {**viewer, "accept": EVENT_STREAM}
        answer = await client.post("/graphql", headers=headers, json={"query": ADDRESSES})
        assert '"code":"FORBIDDEN"' in answer.text
        assert answer.text.rstrip().endswith("event: complete\ndata:")


@pytest.mark.parametrize(
    ("role", "status"), [("viewer", 403), ("responder", 200), ("admin", 200), (None, 401)], ids=str
)
async def test_webhooks_take_the_tokens_of_those_who_may_write_alerts(
    closed: httpx.AsyncClient, role: str | None, status: int
):
    headers = {} if role is None else bearer(token(role=role, sub="alert-bot", name="alert-bot"))
    body = {"alerts": [{"status": "firing", "labels": {"alertname": "Slow"}, "startsAt": "2026-03-01T12:00:00Z"}]}
    answer = await closed.post("/api/webhooks/alertmanager", headers=headers, json=body)
    assert answer.is_success == (status == 200), answer.text
    if status != 200:
        assert answer.status_code == status
    else:
        query = "query($id: ID!) { alertDelivery(receipt: $id) { source } }"
        asked = {"query": query, "variables": {"id": answer.json()["receipt"]}}
        told = await closed.post("/graphql", headers=bearer(token(role="responder")), json=asked)
        assert told.json() == {"data": {"alertDelivery": {"source": "alert-bot"}}}
    forged = {"authorization": "Bearer " + "x" * 40}
    assert (await closed.post("/api/webhooks/alertmanager", headers=forged, json=body)).status_code == 401


async def test_a_user_whose_role_changes_while_they_listen_is_told_only_what_they_may_still(
    closed: httpx.AsyncClient,
    closed_server: ServerProcess,
    closed_database: asyncpg.Connection,
    closed_database_url: str,
):
    settings, email = Settings(database_url=closed_database_url), "grace@example.com"
    await add_user(settings, email, "Grace", Role.ADMIN, "correct horse battery staple")
    _, machine = await add_token(settings, email, "listener", [TokenScope.READ, TokenScope.ADMIN], None)
    admin = bearer(token(role="admin"))

    async def happens() -> None:
        assert (await closed.post("/api/incidents", headers=admin, json={"title": "X"})).status_code == 201

    async def is_viewer() -> bool:
        who = await closed.post("/graphql", headers=bearer(machine), json={"query": "{ viewer { role } }"})
        return bool(who.json()["data"]["viewer"]["role"] == "VIEWER")

    async with connect(closed_server.url, additional_headers=bearer(machine)) as socket:

        async def hear(id: str, *types: str) -> Any:
            while (message := await socket.hear())["id"] != id:
                pass
            assert message["type"] in types, message
            return message

        await socket.subscribe("addresses", ADDRESSES)
        await socket.subscribe("events", "subscription { events { type } }")
        assert "errors" not in await socket.ask("log", "{ auditLog { totalCount } }")
        await happens()
        await hear("addresses", "next")
        await closed_database.execute("update users set role = 'VIEWER' where email = $1", email)
        await until(is_viewer)
        while (message := await hear("addresses", "next", "error"))["type"] == "next":
            await happens()
        assert [error["extensions"]["code"] for error in message["payload"]] == ["FORBIDDEN"]
        await happens()
        await hear("events", "next")
        await socket.subscribe("log", "{ auditLog { totalCount } }")
        answer = (await hear("log", "next"))["payload"]
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
