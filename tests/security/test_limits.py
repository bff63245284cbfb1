"""Bombs: documents that are small to send and large to read, validate or execute."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from graphql import get_introspection_query

from bench.documents import DASHBOARD, NESTED_LIST, ONE_INCIDENT, PAGES, THOUSAND_ROWS
from db.database import Database
from resolvers.limits.guard import Guard
from resolvers.limits.structure import DocumentLimits
from resolvers.limits.weights import weights_of
from resolvers.operations import OperationRequest, Operations
from schema.root import build_schema
from tests.security.limited_client import LimitedClient

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def operations() -> Operations:
    return Operations(build_schema())


@pytest.fixture
def client(operations: Operations, database: Database) -> LimitedClient:
    return LimitedClient(operations, database)


def doubling(levels: int, on: str, twice: str) -> str:
    """Fragments that each use the next one twice, so that the last of them is used 2 ** levels times."""
    chain = (f"fragment F{level} on {on} {{ {twice.replace('NEXT', f'...F{level + 1}')} }}" for level in range(levels))
    return " ".join(chain)


ALIASES = "{" + " ".join(f"a{number}: viewer {{ name }}" for number in range(200)) + "}"
NESTED_ALIASES = "{ viewer {" + " ".join(f"a{number}: name" for number in range(200)) + "} }"
DEEP = "{ incidents { nodes {" + "services { incidents { nodes {" * 10 + "title" + "} } }" * 10 + "} } }"
DEEP_IN_FRAGMENTS = (
    "{ incidents { nodes { ...F0 } } } "
    + " ".join(
        f"fragment F{n} on Incident {{ services {{ incidents {{ nodes {{ ...F{n + 1} }} }} }} }}" for n in range(9)
    )
    + " fragment F9 on Incident { title }"
)
TOO_DEEP_TO_READ = "{" + "incidents { nodes { services { " * 2_000
DIRECTIVES = "{ viewer { name" + " @include(if: true)" * 60 + "} }"
DIRECTIVES_IN_FRAGMENTS = (
    "{ viewer { ...F0 } } "
    + doubling(8, "Viewer", "a: name @skip(if: false) NEXT NEXT")
    + " fragment F8 on Viewer { name }"
)
EXPONENTIAL = (
    "{ ...F0 } "
    + doubling(40, "Query", "incidents { nodes { id } } NEXT NEXT")
    + " fragment F40 on Query { viewer { name } }"
)
EXPONENTIAL_BELOW = (
    "{ incidents { nodes { ...F0 } } } "
    + doubling(30, "Incident", "services { name } NEXT NEXT")
    + " fragment F30 on Incident { title }"
)
SAME_FIELD = "{ viewer {" + " name" * 1_500 + "} }"
LIST = '{ nodes(ids: ["x"' + ', "x"' * 1_001 + "]) { id } }"
LIST_OF_LISTS = "mutation { updateIncident(input: { id: 1, labels: { a: [[[" + "1," * 1_100 + "]]] } }) { cursor } }"
LIST_BY_DEFAULT = "query ($ids: [ID!]! = [" + '"x",' * 1_100 + "]) { nodes(ids: $ids) { id } }"
DEFINITIONS = " ".join(f"query Q{number} {{ viewer {{ name }} }}" for number in range(300))
INTROSPECTION_DEPTH = "{ __schema { types { " + "ofType { " * 30 + "name" + " }" * 30 + " } } }"


@pytest.mark.parametrize(
    ("bomb", "limit", "setting"),
    [
        pytest.param(ALIASES, "aliases", "MAX_ALIASES", id="aliases"),
        pytest.param(NESTED_ALIASES, "aliases", "MAX_ALIASES", id="nested aliases"),
        pytest.param(DEEP, "depth", "MAX_DEPTH", id="depth"),
        pytest.param(DEEP_IN_FRAGMENTS, "depth", "MAX_DEPTH", id="depth in fragments"),
        pytest.param(TOO_DEEP_TO_READ, "depth", "MAX_DEPTH", id="too deep to be read"),
        pytest.param(DIRECTIVES, "directives", "MAX_DIRECTIVES", id="directives"),
        pytest.param(DIRECTIVES_IN_FRAGMENTS, "directives", "MAX_DIRECTIVES", id="directives in fragments"),
        pytest.param(EXPONENTIAL, "fields", "MAX_FIELDS", id="exponential fragments"),
        pytest.param(EXPONENTIAL_BELOW, "fields", "MAX_FIELDS", id="exponential fragments below"),
        pytest.param(SAME_FIELD, "comparisons", "", id="one field again and again"),
        pytest.param("{" + " viewer { name }" * 2_000 + "}", "tokens", "MAX_DOCUMENT_TOKENS", id="tokens"),
        pytest.param("{" + " viewer { name }" * 30 + "}", "rootFields", "MAX_ROOT_FIELDS", id="root fields"),
        pytest.param(LIST, "listItems", "MAX_LIST_ITEMS", id="a list"),
        pytest.param(LIST_OF_LISTS, "listItems", "MAX_LIST_ITEMS", id="a list of lists"),
        pytest.param(LIST_BY_DEFAULT, "listItems", "MAX_LIST_ITEMS", id="a variable's default"),
        pytest.param(DEFINITIONS, "definitions", "", id="operations"),
        pytest.param(INTROSPECTION_DEPTH, "introspectionDepth", "", id="depth of introspection"),
    ],
)
async def test_a_bomb_is_refused_before_anything_is_done_about_it(
    client: LimitedClient, bomb: str, limit: str, setting: str
) -> None:
    answer = await client.ask(bomb)

    assert client.reads.statements == []
    assert "data" not in answer
    errors = {error["extensions"]["limit"]: error for error in answer["errors"]}
    error = errors[limit]
    assert error["extensions"]["code"] == "LIMIT_EXCEEDED"
    assert setting in error["message"]
    assert str(error["extensions"]["allowed"]) in error["message"]
    assert error["extensions"].get("requested", 1_000_000) > error["extensions"]["allowed"]


@pytest.mark.parametrize("bomb", [EXPONENTIAL, SAME_FIELD, DEEP_IN_FRAGMENTS, DEFINITIONS])
def test_a_bomb_never_gets_to_be_validated(bomb: str) -> None:
    """Its names are of another schema, which validation would say."""
    foreign = Operations(build_schema()).documents.prepare(bomb.replace("name", "nonsense"), None)

    assert {type(error.original_error).__name__ for error in getattr(foreign, "errors", ())} == {"LimitExceeded"}


@pytest.mark.parametrize(
    "cycle",
    [
        "{ ...A } fragment A on Query { viewer { name } ...A }",
        "{ ...A } fragment A on Query { ...B } fragment B on Query { ...C } fragment C on Query { ...A }",
        "{ incidents { nodes { ...A } } } fragment A on Incident { services { incidents { nodes { ...A } } } }",
        "{ viewer { name } } fragment A on Query { ...B } fragment B on Query { ...A }",
    ],
)
async def test_fragments_that_use_themselves_are_refused(client: LimitedClient, cycle: str) -> None:
    error = await client.refusal(cycle)

    assert error["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
    assert "within itself" in error["message"]


async def test_a_circle_through_the_schema_of_the_schema_is_refused(client: LimitedClient) -> None:
    circle = "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }"

    error = await client.refusal(circle)

    assert error["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ["x"] * 1_001}),
        (
            "mutation ($input: CreateIncidentInput!) { createIncident(input: $input) { cursor } }",
            {"input": {"title": "x", "severity": "LOW", "services": ["x"] * 1_001}},
        ),
    ],
)
async def test_a_list_in_the_variables_that_is_too_long_is_refused(
    client: LimitedClient, query: str, variables: dict[str, Any]
) -> None:
    error = await client.refusal(query, variables)

    assert error["extensions"] == {
        "code": "LIMIT_EXCEEDED",
        "limit": "listItems",
        "allowed": 1_000,
        "requested": 1_001,
    }


@pytest.mark.parametrize("size", [201, -1, 2**31 - 1])
@pytest.mark.parametrize("argument", ["first", "last"])
async def test_pages_have_bounds(client: LimitedClient, argument: str, size: int) -> None:
    answer = await client.ask(f"{{ incidents({argument}: {size}) {{ nodes {{ id }} }} }}")

    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "between 0 and 200" in error["message"]


def test_every_field_that_takes_a_number_of_rows_counts_them_or_has_a_price_of_its_own(operations: Operations) -> None:
    weights = weights_of(operations.schema, operations.sources)
    uncounted = {
        f"{type_.name}.{name}"
        for type_ in operations.schema.type_map.values()
        for name, definition in getattr(type_, "fields", {}).items()
        for argument in getattr(definition, "args", {})
        if argument in {"first", "last", "ids"}
        and argument not in weights.of(type_.name, name).sizes
        and weights.of(type_.name, name).base < 10
    }
    assert uncounted == set()


@pytest.mark.parametrize("query", [ONE_INCIDENT, NESTED_LIST, DASHBOARD, THOUSAND_ROWS])
async def test_what_dashboards_ask_passes(client: LimitedClient, query: str) -> None:
    variables = {f"before{page}": "2026-01-01T00:00:00Z" for page in range(PAGES)} | {"id": str(client.actor.id)}
    asked = {name: value for name, value in variables.items() if f"${name}:" in query}

    assert "errors" not in await client.ask(query, asked)


@pytest.mark.parametrize("options", [{}, {"specified_by_url": True, "input_value_deprecation": True}])
async def test_the_usual_introspection_passes(client: LimitedClient, options: dict[str, bool]) -> None:
    answer = await client.ask(get_introspection_query(**options))

    assert "errors" not in answer
    assert len(answer["data"]["__schema"]["types"]) > 100


def test_the_queries_of_the_readme_pass(operations: Operations) -> None:
    examples = (ROOT / "README.md").read_text().split("```graphql\n")[1:]
    queries = [example.split("```")[0] for example in examples]

    assert queries
    for query in queries:
        assert not hasattr(operations.documents.prepare(query, None), "errors"), query


async def test_several_limits_are_told_together(database: Database) -> None:
    narrow = Operations(build_schema(), guard=Guard(documents=DocumentLimits(depth=2, aliases=1, directives=0)))

    answer = await LimitedClient(narrow, database).ask("{ a: incidents { nodes { b: title @include(if: true) } } }")

    assert [error["extensions"]["limit"] for error in answer["errors"]] == ["depth", "aliases", "directives"]


async def test_a_document_at_its_limits_passes(database: Database) -> None:
    limits = DocumentLimits(depth=3, aliases=1, directives=1, root_fields=1, fields=3, list_items=2)
    exact = Operations(build_schema(), guard=Guard(documents=limits))

    answer = await LimitedClient(exact, database).ask(
        "{ incidents(filter: { status: [OPEN, RESOLVED] }) { nodes { a: title @include(if: true) } } }"
    )

    assert answer == {"data": {"incidents": {"nodes": []}}}


async def test_an_operation_of_many_is_bounded_by_all_of_its_document(client: LimitedClient) -> None:
    answer = await client.send(OperationRequest("query Small { viewer { name } } query Large " + ALIASES, "Small"))

    assert orjson.loads(answer.body)["errors"][0]["extensions"]["limit"] == "aliases"
