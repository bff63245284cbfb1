"""What somebody may learn of the schema who may not ask about it."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from db.database import Database
from domain.access import Permission, Role
from resolvers.limits.guard import Guard
from resolvers.operations import OperationRequest, Operations
from schema.root import build_schema
from tests.security.limited_client import LimitedClient


@pytest.fixture(scope="module")
def closed() -> Operations:
    """A schema that admins only may ask about."""
    return Operations(build_schema(), guard=Guard(introspection=Permission(Role.ADMIN, None)))


@pytest.fixture
def admin(closed: Operations, database: Database) -> LimitedClient:
    return LimitedClient(closed, database)


@pytest.fixture
def viewer(admin: LimitedClient) -> LimitedClient:
    return replace(admin, actor=replace(admin.actor, role=Role.VIEWER))


@pytest.mark.parametrize(
    "query",
    [
        "{ __schema { types { name } } }",
        '{ __type(name: "Incident") { fields { name } } }',
        '{ viewer { name } harmless: __type(name: "Query") { name } }',
        "{ ...A } fragment A on Query { ... { a: __schema { queryType { name } } } }",
        "query ($if: Boolean = false) { __schema @include(if: $if) { queryType { name } } viewer { name } }",
    ],
)
async def test_asking_about_the_schema_takes_the_role(viewer: LimitedClient, admin: LimitedClient, query: str) -> None:
    error = await viewer.refusal(query)

    assert error["extensions"]["code"] == "FORBIDDEN"
    assert "INTROSPECTION_ROLE" in error["message"]
    assert "errors" not in await admin.ask(query)
    assert (await viewer.refusal(query))["extensions"]["code"] == "FORBIDDEN"


async def test_the_type_of_an_object_is_known_to_who_gets_the_object(viewer: LimitedClient) -> None:
    assert await viewer.ask("{ __typename incidents { __typename } }") == {
        "data": {"__typename": "Query", "incidents": {"__typename": "IncidentConnection"}}
    }


async def test_nobody_may_be_said_as_well(database: Database) -> None:
    client = LimitedClient(Operations(build_schema(), guard=Guard(introspection=None)), database)

    assert (await client.refusal("{ __schema { types { name } } }"))["extensions"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        pytest.param("{ incidnts { nodes { id } } }", {}, id="a field"),
        pytest.param("{ incidents(frst: 1) { nodes { id } } }", {}, id="an argument"),
        pytest.param("{ incidents(filter: { activ: true }) { nodes { id } } }", {}, id="a field of an input"),
        pytest.param("{ incidents(filter: { status: [OPENED] }) { nodes { id } } }", {}, id="a value of an enum"),
        pytest.param('{ node(id: "x") { ... on Incidnt { id } } }', {}, id="a type"),
        pytest.param('{ node(id: "x") { title } }', {}, id="the type that has a field"),
        pytest.param(
            "query ($f: IncidentFiltr) { incidents(filter: $f) { nodes { id } } }", {}, id="a variable's type"
        ),
        pytest.param(
            "query ($f: IncidentFilter) { incidents(filter: $f) { nodes { id } } }",
            {"f": {"activ": True}},
            id="a field of a variable",
        ),
        pytest.param(
            "query ($s: [IncidentStatus!]) { incidents(filter: { status: $s }) { nodes { id } } }",
            {"s": ["OPENED"]},
            id="a value of a variable",
        ),
        pytest.param("{ viewer { name @skipp(if: true) } }", {}, id="a directive"),
    ],
)
async def test_errors_suggest_no_names_to_who_may_not_ask(
    viewer: LimitedClient, admin: LimitedClient, query: str, variables: dict[str, Any]
) -> None:
    """Whoever comes first: what one of them is told is not kept for the other."""
    told = [(await client.ask(query, variables))["errors"][0] for client in (viewer, admin, viewer)]

    assert "Did you mean" not in told[0]["message"]
    assert told[0] == told[2]
    assert told[0]["extensions"] == told[1]["extensions"]


async def test_errors_suggest_names_to_who_may_ask(admin: LimitedClient) -> None:
    (error,) = (await admin.ask("{ incidnts { nodes { id } } }"))["errors"]

    assert "Did you mean 'incidents'" in error["message"]


async def test_the_answers_of_operations_that_are_not_executed_are_whole(viewer: LimitedClient) -> None:
    answer = await viewer.send(OperationRequest("{ __schema { types { name } } }"))

    assert not answer.executed
    assert list(orjson.loads(answer.body)) == ["errors"]
