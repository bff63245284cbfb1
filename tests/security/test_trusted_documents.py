"""Documents that the operator trusts, and all others."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from app.http.cors import PREFLIGHT_HEADER
from app.limits import guard
from app.setting import SettingsError
from app.settings import Settings
from db.database import Database
from domain.access import Role
from resolvers.limits.guard import Guard
from resolvers.limits.trusted import (
    ManifestError,
    TrustedDocuments,
    TrustedDocumentsMode,
    document_id,
    parse_manifest,
)
from resolvers.operations import OperationRequest, Operations
from schema.root import build_schema
from tests.http.event_stream import listen
from tests.http.graphql_socket import connect
from tests.postgres import TEMPLATE, run_sql
from tests.security.limited_client import LimitedClient
from tests.servers import ServerProcess, run_command

VIEWER = "query Viewer { viewer { name } }"
PAGE = "query Page($first: Int!) { incidents(first: $first) { nodes { title } } }"
EVENTS = "subscription Events { events { type } }"
ANSWER = {"data": {"viewer": {"name": "anonymous"}}}


def manifest(*documents: str) -> dict[str, str]:
    return {document_id(text): text for text in documents}


@pytest.fixture(scope="module")
async def server(postgres: Any, session_folder: Path) -> AsyncIterator[ServerProcess]:
    """A server that executes three documents, and nothing else."""
    path = session_folder / "documents.json"
    path.write_bytes(orjson.dumps({**manifest(VIEWER, PAGE, EVENTS), "viewer-1": VIEWER}))
    await run_sql(postgres.url, f"create database trusting template {TEMPLATE} strategy file_copy")
    async with ServerProcess(
        DATABASE_URL=postgres.url_of("trusting"),
        TRUSTED_DOCUMENTS="required",
        TRUSTED_DOCUMENTS_FILE=str(path),
    ) as running:
        yield running


@pytest.fixture
async def http(server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, headers={PREFLIGHT_HEADER: "1"}, timeout=30) as client:
        yield client


@pytest.mark.parametrize("id", [document_id(VIEWER), "viewer-1"])
async def test_a_trusted_document_is_asked_for_by_its_id(http: httpx.AsyncClient, id: str) -> None:
    posted = await http.post("/graphql", json={"documentId": id})
    got = await http.get("/graphql", params={"documentId": id}, headers={"Accept": "application/json, text/html;q=0.9"})

    assert posted.json() == ANSWER
    assert got.json() == ANSWER


async def test_metrics_tell_trusted_operations_apart(http: httpx.AsyncClient) -> None:
    await http.post("/graphql", json={"documentId": "viewer-1"})
    metrics = (await http.get("/metrics")).text
    assert 'graphql_operation_name="Viewer",graphql_operation_type="query",outcome="ok"' in metrics


async def test_it_takes_variables_and_its_limits_hold(http: httpx.AsyncClient) -> None:
    body = {"documentId": document_id(PAGE), "operationName": "Page"}

    assert (await http.post("/graphql", json={**body, "variables": {"first": 2}})).json() == {
        "data": {"incidents": {"nodes": []}}
    }
    wrong = (await http.post("/graphql", json={**body, "variables": {"first": 201}})).json()
    assert wrong["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize(
    "body",
    [
        {"query": "{ viewer { name } }"},
        {"query": VIEWER},
        {"query": "{ __schema { types { name } } }"},
        {"query": "{ nonsense }"},
        {"query": "", "documentId": None},
        {"query": 'mutation { resolveIncident(id: "x") { cursor } }'},
        {"documentId": document_id("{ viewer { name } }")},
        {"documentId": "VIEWER-1"},
        {"documentId": ""},
        {
            "query": VIEWER,
            "extensions": {"persistedQuery": {"version": 1, "sha256Hash": document_id(VIEWER).removeprefix("sha256:")}},
        },
    ],
)
async def test_nothing_else_is_executed(http: httpx.AsyncClient, body: dict[str, Any]) -> None:
    """Neither a document that is spelt out, be it one of the manifest, nor one that a client would have added to it."""
    answer = await http.post("/graphql", json=body, headers={"Accept": "application/graphql-response+json"})

    assert answer.status_code == 400
    assert list(answer.json()) == ["errors"]
    assert [error["extensions"]["code"] for error in answer.json()["errors"]] == ["DOCUMENT_NOT_TRUSTED"]


async def test_a_query_beside_an_id_is_not_executed(http: httpx.AsyncClient) -> None:
    answer = await http.post("/graphql", json={"query": "{ __typename }", "documentId": "viewer-1"})

    assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert "data" not in answer.json()


@pytest.mark.parametrize("id", [1, True, ["viewer-1"], {"id": "viewer-1"}])
async def test_an_id_that_is_no_text_is_malformed(http: httpx.AsyncClient, id: object) -> None:
    assert (await http.post("/graphql", json={"documentId": id})).status_code == 400


async def test_sockets_and_event_streams_execute_nothing_else_either(
    server: ServerProcess, http: httpx.AsyncClient
) -> None:
    async with connect(server.url) as socket:
        await socket.subscribe("1", VIEWER)
        error = await socket.hear()
        assert (error["type"], error["payload"][0]["extensions"]["code"]) == ("error", "DOCUMENT_NOT_TRUSTED")
        await socket.say({"id": "2", "type": "subscribe", "payload": {"documentId": "viewer-1"}})
        assert (await socket.hear())["payload"] == ANSWER
    async with listen(http, EVENTS) as stream:
        told = await stream.hear_event()
        assert told.data["errors"][0]["extensions"]["code"] == "DOCUMENT_NOT_TRUSTED"


async def test_subscriptions_by_id_tell_what_their_documents_ask(server: ServerProcess) -> None:
    async with connect(server.url) as socket, httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        await socket.say({"id": "1", "type": "subscribe", "payload": {"documentId": document_id(EVENTS)}})
        created = (await http.post("/api/incidents", json={"title": "Checkout is down", "severity": "high"})).json()
        assert created["title"] == "Checkout is down"
        told = await socket.hear()
        while not (is_created := told["payload"]["data"]["events"]["type"] == "INCIDENT_CREATED"):
            told = await socket.hear()
        assert is_created


@pytest.mark.parametrize(
    ("mode", "role", "except_admins", "executes"),
    [
        (TrustedDocumentsMode.OFF, Role.VIEWER, False, True),
        (TrustedDocumentsMode.PREFER, Role.VIEWER, False, True),
        (TrustedDocumentsMode.REQUIRED, Role.ADMIN, False, False),
        (TrustedDocumentsMode.REQUIRED, Role.RESPONDER, True, False),
        (TrustedDocumentsMode.REQUIRED, Role.ADMIN, True, True),
    ],
)
async def test_who_may_send_other_documents(
    database: Database, mode: TrustedDocumentsMode, role: Role, except_admins: bool, executes: bool
) -> None:
    guard = Guard(trusted=TrustedDocuments(mode, manifest(VIEWER), except_admins))
    client = LimitedClient(Operations(build_schema(), guard=guard), database)
    client.actor = replace(client.actor, role=role)

    other = await client.ask("{ __typename }")
    by_id = orjson.loads((await client.send(OperationRequest(None, document_id=document_id(VIEWER)))).body)

    assert ("data" in other) is executes
    assert ("data" in by_id) is (mode is not TrustedDocumentsMode.OFF)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"nothing", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"a": 1}', "'a' is not text"),
        (b'{"a": " "}', "'a' is not text"),
        (b'{"sha256:00": "{ __typename }"}', "has another hash: sha256:"),
    ],
)
def test_a_manifest_that_is_wrong_says_what_is(content: bytes, problem: str) -> None:
    with pytest.raises(ManifestError, match=problem):
        parse_manifest(content)


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (None, "wants a TRUSTED_DOCUMENTS_FILE"),
        ("missing.json", "cannot be read: No such file"),
        ("wrong.json", "is not a manifest: it is not a JSON object"),
    ],
)
async def test_a_server_does_not_start_without_the_manifest_that_it_is_told_of(
    tmp_path: Path, database: Database, file: str | None, problem: str
) -> None:
    (tmp_path / "wrong.json").write_text("[]")
    path = None if file is None else tmp_path / file
    settings = Settings.model_validate({"trusted_documents": "required", "trusted_documents_file": path})

    with pytest.raises(SettingsError, match=problem):
        guard(settings, database)


def test_a_bare_hash_is_known_with_and_without_what_it_is() -> None:
    bare = document_id(VIEWER).removeprefix("sha256:")

    assert set(parse_manifest(orjson.dumps({bare: VIEWER}))) == {bare, document_id(VIEWER)}


async def test_a_folder_of_documents_becomes_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "viewer.graphql").write_text(VIEWER)
    (tmp_path / "pages" / "incidents.gql").write_text(
        "query A { incidents { nodes { ...Row } } } query B { __typename }"
    )
    (tmp_path / "fragments.graphql").write_text(
        "fragment Row on Incident { title ...More } fragment More on Incident { number }"
        " fragment No on Service { name }"
    )
    (tmp_path / "notes.txt").write_text("{ nonsense }")

    code, out, _ = await run_command("trusted-documents", str(tmp_path))

    documents = parse_manifest(out.encode())
    assert code == 0
    assert documents[document_id(VIEWER)] == VIEWER
    (other,) = set(documents.values()) - {VIEWER}
    assert "fragment Row on Incident" in other
    assert "fragment No" not in other
    prepared = Operations(build_schema()).documents.prepare(other, "A")
    assert not hasattr(prepared, "errors")


async def test_documents_that_could_not_be_executed_make_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "a.graphql").write_text("{ nonsense }")
    (tmp_path / "b.graphql").write_text("{ viewer {")
    (tmp_path / "c.graphql").write_text("{" + " ".join(f"a{n}: __typename" for n in range(200)) + "}")
    (tmp_path / "d.graphql").write_text("{ incidents(first: 200) { nodes { timeline(first: 200) { nodes { id } } } } }")
    output = tmp_path / "documents.json"

    code, _, complaints = await run_command("trusted-documents", str(tmp_path), "--output", str(output))

    assert code == 1
    assert not output.exists()
    for name, problem in (("a", "nonsense"), ("b", "Syntax"), ("c", "MAX_ALIASES"), ("d", "MAX_COST")):
        assert f"{name}.graphql" in complaints
        assert problem in complaints
