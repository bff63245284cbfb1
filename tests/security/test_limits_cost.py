"""The cost of an operation: what it is, and that it cannot be evaded."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from actions.incidents import AffectedService, NewIncident, create
from db.database import Database
from domain.access import Actor, Role
from domain.incidents import Severity
from resolvers.limits.guard import Guard
from resolvers.operations import OperationRequest, Operations
from schema.root import build_schema
from tests.security.limited_client import LimitedClient

RANGE = 'range: { from: "2026-01-01T00:00:00Z", to: "2026-01-01T01:00:00Z" }'


@pytest.fixture(scope="module")
def operations() -> Operations:
    return Operations(build_schema())


@pytest.fixture
def client(operations: Operations, database: Database) -> LimitedClient:
    return LimitedClient(operations, database)


@pytest.fixture
def strict(database: Database) -> LimitedClient:
    """Somebody whose operations may cost 100."""
    return LimitedClient(Operations(build_schema(), guard=Guard(most_cost=100)), database)


@pytest.mark.parametrize(
    ("query", "cost"),
    [
        pytest.param("{ __typename }", 1, id="nothing is free"),
        pytest.param('{ incident(id: "x") { title } }', 2, id="an object and a tenth for each of its values"),
        pytest.param("{ incidents(first: 10) { nodes { title } } }", 12, id="each of its rows, and the page"),
        pytest.param("{ incidents { nodes { title } } }", 23, id="a page has 20 rows by default"),
        pytest.param("{ incidents(last: 10) { edges { node { title } } } }", 12, id="from the end"),
        pytest.param("{ incidents(first: 10) { nodes { id } edges { node { id } } } }", 23, id="what is read twice"),
        pytest.param("{ incidents(first: 0) { totalCount } }", 11, id="counting all of a list"),
        pytest.param(
            "{ incidents(first: 10) { nodes { timeline(first: 10) { nodes { id } } } } }", 131, id="rows of rows"
        ),
        pytest.param("{ nodes(ids: [" + '"x" ' * 30 + "]) { id } }", 33, id="as many as there are ids"),
        pytest.param(f"{{ services(first: 10) {{ nodes {{ metrics({RANGE}) {{ name }} }} }} }}", 211, id="backends"),
        pytest.param("mutation { resolveIncident(id: 1) { incident { title } } }", 12, id="a write"),
    ],
)
async def test_what_operations_cost(client: LimitedClient, query: str, cost: int) -> None:
    assert await client.cost(query) == cost


PLAIN = "{ incidents(first: 50) { nodes { title services { name } } } }"


@pytest.mark.parametrize(
    "query",
    [
        "{ ...Q } fragment Q on Query { incidents(first: 50) { ...P } }"
        " fragment P on IncidentConnection { nodes { ...I } }"
        " fragment I on Incident { title services { name } }",
        "{ ... { incidents(first: 50) { nodes { ... on Incident { title } ... on Node { ... on Incident { services"
        " { name } } } } } } }",
        "{ all: incidents(first: 50) { them: nodes { a: title b: services { c: name } } } }",
        "{ incidents(first: 50) { nodes { title } } incidents(first: 50) { nodes { services { name } title } } }",
        "query ($n: Int = 50) { incidents(first: $n) { nodes { title services { name } } } }",
        "query ($n: Int! = 50) { incidents(last: $n) { nodes { title services { name } } } }",
        "query ($if: Boolean = true) { incidents(first: 50) { nodes { title services { name @include(if: $if) } } } }",
        "query ($if: Boolean = false) { ... @skip(if: $if) { incidents(first: 50) { nodes { title services { name } } }"
        " } }",
    ],
)
async def test_the_same_costs_the_same_however_it_is_written(client: LimitedClient, query: str) -> None:
    assert await client.cost(query) == await client.cost(PLAIN)


async def test_aliases_are_fields_of_their_own(client: LimitedClient) -> None:
    once = await client.cost("{ a: incidents(first: 100) { nodes { id } } }")
    thrice = await client.cost(
        "{ " + " ".join(f"{name}: incidents(first: 100) {{ nodes {{ id }} }}" for name in "abc") + " }"
    )

    assert (once, thrice) == (111, 333)


async def test_a_fragment_costs_wherever_it_is_used(client: LimitedClient) -> None:
    query = "{ a: incidents(first: 100) { ...P } b: incidents(first: 100) { ...P } }"
    query += " fragment P on IncidentConnection { nodes { id } }"

    assert await client.cost(query) == 222


@pytest.mark.parametrize(
    ("given", "cost"),
    [
        ({}, 23),
        ({"n": None}, 23),
        ({"n": 0}, 1),
        ({"n": 200}, 221),
        ({"n": 200.0}, 221),
        ({"n": 2**31 - 1}, 221),
    ],
)
async def test_a_page_size_counts_as_it_was_given(operations: Operations, given: dict[str, Any], cost: int) -> None:
    """What no page has is refused later, and a whole number may be written as one that is not."""
    prepared = operations.documents.prepare("query ($n: Int) { incidents(first: $n) { nodes { id } } }", None)
    assert not hasattr(prepared, "errors")

    passed = Guard().admit(prepared, None, given, Actor(None, "somebody", Role.ADMIN))  # type: ignore[arg-type] # see above

    assert passed.cost == cost


async def test_costs_of_other_variables_are_not_mixed_up(client: LimitedClient) -> None:
    query = "query ($n: Int, $all: Boolean!) { incidents(first: $n) { nodes { id title @include(if: $all) } } }"
    asked = [(100, True), (1, True), (100, False), (1, False)] * 2

    costs = [await client.cost(query, {"n": size, "all": all_}) for size, all_ in asked]

    assert costs == [121, 3, 111, 3, 121, 3, 111, 3]


async def test_of_an_interface_only_one_type_can_be_there(client: LimitedClient) -> None:
    query = '{ node(id: "x") { ... on Incident { timeline(first: 50) { nodes { id } } } ... on Service { name } } }'

    assert await client.cost(query) == 57


@pytest.mark.parametrize(
    "query",
    [
        "{ incidents(first: 200) { nodes { id } } }",
        "query ($n: Int = 200) { incidents(first: $n) { nodes { id } } }",
        "query ($n: Int = 1, $m: Int = 200) { incidents(first: $n) { nodes { id } } slos(first: $m) { nodes { id } } }",
        "{ ...A } fragment A on Query { incidents(first: 200) { nodes { id } } }",
        "{ " + " ".join(f"a{number}: incidents(first: 10) {{ nodes {{ id }} }}" for number in range(20)) + " }",
        f"{{ services {{ nodes {{ metrics({RANGE}) {{ name }} }} }} }}",
        "mutation { " + " ".join(f'm{n}: resolveIncident(id: "{n}") {{ cursor }}' for n in range(11)) + " }",
    ],
)
async def test_what_costs_too_much_is_refused_before_anything_is_done(strict: LimitedClient, query: str) -> None:
    error = await strict.refusal(query)

    assert error["extensions"]["code"] == "LIMIT_EXCEEDED"
    assert error["extensions"]["limit"] == "cost"
    assert error["extensions"]["allowed"] == 100
    assert error["extensions"]["requested"] > 100
    assert "MAX_COST" in error["message"]


async def test_the_cost_that_a_variable_makes_is_refused_with_that_variable(strict: LimitedClient) -> None:
    query = "query ($n: Int) { incidents(first: $n) { nodes { id } } }"

    assert "errors" not in await strict.ask(query, {"n": 20})
    assert (await strict.ask(query, {"n": 200}))["errors"][0]["extensions"]["requested"] == 221
    assert "errors" not in await strict.ask(query, {"n": 20})


async def test_who_asks_is_told_what_it_has_cost_by_what_was_there(client: LimitedClient) -> None:
    async with client.database.writing(datetime.now(UTC)) as tx:
        for number in range(3):
            hurt = [AffectedService(service="checkout")]
            new = NewIncident(title=f"Number {number}", severity=Severity.LOW, services=hurt)
            await create(tx, new, actor=client.actor)
    query = "{ incidents(first: 100) { nodes { title services { name } } } }"

    asked = await client.ask(query, extensions={"cost": True})
    unasked = await client.ask(query)

    assert asked["extensions"] == {"cost": {"requested": 761, "actual": 11, "maximum": 20_000}}
    assert unasked == {"data": asked["data"]}
    # An answer that was not compiled, and one that has extensions already.
    mixed = await client.ask("{ incidents { nodes { id } } viewer { name } }", extensions={"cost": True})
    assert mixed["extensions"]["cost"]["actual"] == 5


async def test_answers_always_tell_their_cost_where_the_server_says_so(database: Database) -> None:
    client = LimitedClient(Operations(build_schema(), guard=Guard(always_tells_cost=True)), database)

    answer = await client.send(OperationRequest("{ incidents { nodes { id } } }"))

    assert answer.body == (
        b'{"data":{"incidents":{"nodes":[]}},"extensions":{"cost":{"requested":23,"actual":null,"maximum":20000}}}'
    )


@pytest.mark.parametrize("role", list(Role))
async def test_limits_hold_for_every_role(strict: LimitedClient, role: Role) -> None:
    strict.actor = replace(strict.actor, role=role)

    error = await strict.refusal("{ incidents(first: 200) { nodes { id } } }")

    assert error["extensions"]["limit"] == "cost"
