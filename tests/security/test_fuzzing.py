"""Random operations that fit the schema, and random requests that fit nothing: no answer is a fault of ours.

`SECURITY_TEST_EXAMPLES` multiplies how much is tried, 1 by default.
"""

import json
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from graphql import get_introspection_query
from hypothesis import given, settings
from hypothesis import strategies as st

from db.embedded import EmbeddedPostgres
from tests.postgres import TEMPLATE, run_sql
from tests.security.test_injection import SAYS_TOO_MUCH, UNLIMITED
from tests.servers import ServerProcess

TIMES = int(os.environ.get("SECURITY_TEST_EXAMPLES", "1"))


@pytest.fixture(scope="module")
async def fuzzed(postgres: EmbeddedPostgres) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server on a database of its own."""
    await run_sql(postgres.url, f"create database fuzzed template {TEMPLATE} strategy file_copy")
    async with (
        ServerProcess(DATABASE_URL=postgres.url_of("fuzzed"), DETECTION_INTERVAL_SECONDS="0", **UNLIMITED) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30, headers={"GraphQL-Require-Preflight": "1"}) as client,
    ):
        incident = {"title": "Checkout is slow", "severity": "high", "services": ["checkout", "payments"]}
        (await client.post("/api/incidents", json=incident)).raise_for_status()
        yield client


@pytest.fixture(scope="module")
async def operations(fuzzed: httpx.AsyncClient) -> list[Any]:
    """Every query and mutation, as schemathesis reads them from the schema."""
    answer = await fuzzed.post("/graphql", json={"query": get_introspection_query()})
    instants = st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)
    for name, values in {
        "DateTime": instants | st.text(max_size=10),
        "URL": st.sampled_from(["https://example.org", "javascript:alert(1)", "//", "https://a b"]),
        "JSON": st.text(max_size=10),
    }.items():
        schemathesis.graphql.scalar(name, values.map(schemathesis.graphql.nodes.String))
    schema = schemathesis.graphql.from_dict(answer.json()["data"])
    found = [operation.ok() for operation in schema.get_all_operations()]
    assert len(found) > 50
    return found


def is_sound(answer: httpx.Response) -> None:
    """Fails for a fault of ours, and for an answer that says how we are built."""
    assert answer.status_code < 500, answer.text
    assert answer.status_code != 429, answer.text
    assert b"INTERNAL_SERVER_ERROR" not in answer.content, answer.text
    said = " ".join(error["message"] for error in answer.json().get("errors", ()))
    assert not SAYS_TOO_MUCH.search(re.sub(r"'[^']*'|\"[^\"]*\"", "", said)), said


@settings(max_examples=100 * TIMES)
@given(data=st.data())
async def test_no_operation_that_fits_the_schema_meets_a_fault_of_ours(
    fuzzed: httpx.AsyncClient, operations: list[Any], data: st.DataObject
) -> None:
    operation = data.draw(st.sampled_from(operations))
    case = data.draw(operation.as_strategy())

    is_sound(await fuzzed.post("/graphql", json={"query": case.body}))


_DOCUMENT = """
query A($id: ID!, $first: Int = 2) {
  incident(id: $id) { ...F number services { name } }
  incidents(first: $first, filter: { active: true, search: "x" }) {
    nodes { id ... on Incident @include(if: true) { title } }
    pageInfo { endCursor }
  }
}
fragment F on Incident { title labels timeline(first: 1) { nodes { type } } }
"""
_TOKENS = re.findall(r"\w+|[^\w\s]", _DOCUMENT)


@settings(max_examples=100 * TIMES)
@given(
    kept=st.lists(st.booleans(), min_size=len(_TOKENS), max_size=len(_TOKENS)),
    swapped=st.tuples(st.integers(0, len(_TOKENS) - 1), st.integers(0, len(_TOKENS) - 1)),
    added=st.sampled_from(
        ["", "{", "}", "@skip", "...F", "$", '"""', "\u0000", "fragment F on Incident { ...F }", "é"]
    ),
)
async def test_no_document_with_pieces_missing_swapped_or_added_meets_a_fault_of_ours(
    fuzzed: httpx.AsyncClient, kept: list[bool], swapped: tuple[int, int], added: str
) -> None:
    tokens = list(_TOKENS)
    here, there = swapped
    tokens[here], tokens[there] = tokens[there], tokens[here]
    lost = [token for token, keep in zip(tokens, kept, strict=True) if keep or len(token) > 5]
    variables = {"id": "x", "first": 1}

    is_sound(await fuzzed.post("/graphql", json={"query": " ".join([*lost, added]), "variables": variables}))
    is_sound(await fuzzed.post("/graphql", json={"query": " ".join([*tokens, added]), "variables": variables}))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = st.sampled_from(
    ["title", "severity", "service", "services", "service_ids", "started_at", "labels", "status", "text", "name"]
)
_PATHS = st.sampled_from(
    [
        "/api/incidents",
        "/api/incidents/active",
        "/api/incidents/{}",
        "/api/incidents/{}/timeline",
        "/api/services",
        "/api/slos",
        "/api/webhooks/alertmanager",
        "/api/webhooks/grafana",
        "/api/webhooks/generic",
        "/api/webhooks/cloudevents",
        "/v2/enqueue",
        "/health",
        "/{}",
    ]
)


@settings(max_examples=150 * TIMES)
@given(
    method=st.sampled_from(["GET", "POST", "PATCH", "PUT", "DELETE", "HEAD"]),
    path=_PATHS,
    segment=st.text(max_size=12) | st.uuids().map(str),
    parameters=st.dictionaries(
        st.sampled_from(["limit", "offset", "status", "severity", "service", "token"]), st.text(max_size=12), max_size=3
    ),
    body=st.dictionaries(_FIELDS, _JSON, max_size=4) | _JSON,
)
async def test_no_request_to_a_rest_route_or_a_webhook_meets_a_fault_of_ours(
    fuzzed: httpx.AsyncClient, method: str, path: str, segment: str, parameters: dict[str, str], body: Any
) -> None:
    url = path.replace("{}", quote(segment.encode("utf-8", "replace"), safe=""))
    content = "" if method in ("GET", "HEAD") else json.dumps(body)  # NaN and numbers without bounds among it
    answer = await fuzzed.request(
        method, url, params=parameters, content=content, headers={"Content-Type": "application/json"}
    )

    assert answer.status_code < 500, answer.text
    assert "Traceback" not in answer.text
