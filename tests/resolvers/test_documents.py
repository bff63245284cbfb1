"""Documents and their statements: made once, kept while in use, and never more than so many."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvers.compile.arguments import Uncompilable
from resolvers.compile.documents import (
    DOCUMENTS,
    MAXIMUM_CACHED_CHARACTERS,
    STATEMENTS_PER_DOCUMENT,
    Documents,
    Refused,
)
from resolvers.compile.recently_used import RecentlyUsed
from resolvers.operations import Operations
from tests.resolvers.client import Client, ordered
from tests.resolvers.values import Values

# Variables in every place that a statement can depend on.
SHAPES = """
query ($first: Int = 3, $last: Int, $after: String, $filter: IncidentFilter, $order: IncidentOrder,
       $field: IncidentOrderField = NUMBER, $status: [IncidentStatus!], $search: String, $labels: JSON,
       $active: Boolean, $with: Boolean! = true, $without: Boolean!, $env: String, $id: ID!) {
  whole: incidents(first: $first, filter: $filter, orderBy: $order) { nodes { id number @include(if: $with) } }
  parts: incidents(last: $last, after: $after, orderBy: {field: $field, direction: DESC}, filter: {
    status: $status, search: $search, labels: {env: $env}, active: $active
  }) @skip(if: $without) { nodes { id } pageInfo { hasNextPage } totalCount }
  services(filter: {labels: $labels}) { totalCount }
  node(id: $id) { id }
}
"""


def given_or_not(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with any of these members."""
    return st.fixed_dictionaries({}, optional=values)


STATUSES = st.lists(st.sampled_from(["OPEN", "RESOLVED", "MITIGATED"]), max_size=2)
FILTERS = given_or_not(
    status=st.none() | STATUSES,
    active=st.none() | st.booleans(),
    search=st.none() | st.sampled_from(["checkout", ""]),
    startedAfter=st.none() | st.just("2026-03-01T00:00:00Z"),
    labels=st.none() | st.just({"env": "prod"}),
)
ORDERS = st.fixed_dictionaries(
    {"field": st.sampled_from(["NUMBER", "SEVERITY"]), "direction": st.sampled_from(["ASC", "DESC"])}
)


@given(data=st.data())
async def test_a_document_gives_each_request_the_answer_to_its_own_variables(
    data: st.DataObject, client: Client, values: Values
):
    cursors = values.cursors["IncidentConnection", "NUMBER"]
    variables = st.builds(
        lambda required, optional: required | optional,
        st.fixed_dictionaries({"without": st.booleans(), "id": st.sampled_from(values.scalars["", "ID"])}),
        given_or_not(
            first=st.none() | st.integers(0, 5),
            last=st.none() | st.integers(0, 5),
            after=st.none() | st.sampled_from(cursors),
            filter=st.none() | FILTERS,
            order=st.none() | ORDERS,
            field=st.just("NUMBER"),
            status=st.none() | STATUSES,
            search=st.none() | st.just("checkout"),
            labels=st.none() | st.just({}),
            active=st.none() | st.booleans(),
            env=st.none() | st.sampled_from(["prod", "none"]),
            **{"with": st.booleans()},
        ),
    )
    for given_variables in data.draw(st.lists(variables, min_size=1, max_size=4)):
        assert ordered(await client.compiled(SHAPES, given_variables)) == ordered(
            await client.ordinary(SHAPES, given_variables)
        )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"id": "a"}, {"id": "b"}),
        ({"first": 1}, {"first": 200}),
        ({"search": "a"}, {"search": "b"}),
        ({"status": ["OPEN"]}, {"status": ["RESOLVED", "OPEN"]}),
        ({"labels": {"a": 1}}, {"labels": []}),
        ({"filter": {"status": "OPEN"}}, {"filter": {"status": ["RESOLVED"]}}),
        ({"filter": None}, {"filter": None}),
    ],
)
def test_values_that_are_only_bound_share_a_statement(client: Client, one: Any, other: Any):
    assert _statement(client, one) is _statement(client, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"with": True}, {"with": False}),
        ({"active": True}, {"active": False}),
        ({"active": None}, {"active": False}),
        ({"order": {"field": "NUMBER", "direction": "ASC"}}, {"order": {"field": "NUMBER", "direction": "DESC"}}),
        ({"field": "NUMBER"}, {"field": "SEVERITY"}),
        ({"last": 1, "first": None}, {"last": None, "first": None}),
        ({"search": "a"}, {"search": None}),
        ({"search": "a"}, {}),
        ({"filter": {"search": "a"}}, {"filter": {"search": None}}),
        ({"filter": {"active": True}}, {"filter": {"active": False}}),
    ],
)
def test_values_that_the_statement_is_made_of_do_not(client: Client, one: Any, other: Any):
    assert _statement(client, one) is not _statement(client, other)


def test_a_reason_why_there_is_no_statement_is_kept_like_one(client: Client):
    prepared = client.prepared("query ($x: ID = 1) { incident(id: $x) { id } }")
    values, shape = prepared.variables.read({"x": None})
    raised = []
    for _ in range(2):
        with pytest.raises(Uncompilable, match=r"\$x is null") as found:
            prepared.statement(shape, values)
        raised.append(found.value)
    assert raised[0] is not raised[1], "one exception would gather the tracebacks of all who met it"
    assert prepared.statements.get(shape) == str(raised[0])


def test_valid_documents_are_kept_up_to_a_number_and_a_length(operations: Operations):
    documents = Documents(operations.schema, operations.sources)
    first = documents.prepare("{ a0: __typename }", None)
    assert documents.prepare("{ a0: __typename }", None) is first
    for number in range(DOCUMENTS):
        assert not isinstance(documents.prepare(f"{{ a{number + 1}: __typename }}", None), Refused)
    assert documents.prepare("{ a0: __typename }", None) is not first
    assert len(documents) == DOCUMENTS

    long = "{ __typename }" + " " * MAXIMUM_CACHED_CHARACTERS
    assert documents.prepare(long, None) is not documents.prepare(long, None)
    assert len(documents) == DOCUMENTS


def test_documents_that_are_refused_are_not_kept(operations: Operations):
    documents = Documents(operations.schema, operations.sources)
    for query, name in (("{", None), ("{ nothing }", None), ("{ __typename }", "Missing"), ("", None)):
        assert isinstance(documents.prepare(query, name), Refused)
    assert len(documents) == 0


def test_a_document_keeps_so_many_statements(client: Client):
    names = [f"v{number}" for number in range(7)]
    fields = " ".join(f"{name}: number @include(if: ${name})" for name in names)
    declared = ", ".join(f"${name}: Boolean!" for name in names)
    query = f"query ({declared}) {{ incidents {{ nodes {{ {fields} }} }} }}"
    prepared = client.prepared(query)
    for bits in range(2 ** len(names)):
        client.statement(query, {name: bool(bits >> position & 1) for position, name in enumerate(names)})
    assert len(prepared.statements) == STATEMENTS_PER_DOCUMENT


def test_what_was_not_used_for_longest_is_forgotten_first():
    kept: RecentlyUsed[str, int] = RecentlyUsed(3)
    for position, key in enumerate("abc"):
        kept.put(key, position)
    assert kept.get("a") == 0
    kept.put("d", 3)
    assert (kept.get("a"), kept.get("b"), kept.get("c"), kept.get("d")) == (0, None, 2, 3)
    kept.put("a", 7)
    assert (kept.get("a"), len(kept)) == (7, 3)


def _statement(client: Client, variables: dict[str, Any]) -> Any:
    return client.statement(SHAPES, {"without": False, "id": "a", **variables})[0]
