"""Rights as clients of a running server meet them, whichever way they come."""

import httpx
import pytest

from tests.http.event_stream import EVENT_STREAM
from tests.http.graphql_socket import connect
from tests.security.signing import bearer, token
from tests.servers import ServerProcess

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
    bot = bearer(token(role="responder", name="release-bot"))
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
    async with httpx.AsyncClient(base_url=closed_server.url) as client:
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
    headers = {} if role is None else bearer(token(role=role, name="alert-bot"))
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
