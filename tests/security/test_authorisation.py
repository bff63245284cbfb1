"""Every field, argument, mutation, subscription and route as everybody, held against the written matrix."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any, cast

import httpx
import orjson
import pytest
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLObjectType,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_required_argument,
    is_required_input_field,
)
from graphql import get_named_type as named
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from app.alert_intake import AlertIntake
from app.http.errors import answer_domain_error
from db.database import Database
from domain.access import Actor, Role, TokenScope
from domain.errors import DomainError, Forbidden
from domain.time import Deadline
from feed.hub import Hub
from resolvers.context import RequestContext
from resolvers.operations import OperationRequest, Operations
from resolvers.subscriptions import Subscriptions
from schema.root import build_schema
from tests.resolvers.awkward_values import NOW
from tests.resolvers.client import Client
from tests.security.rights import MATRIX, Right, matrix, rest_paths, webhook_paths, written

ID = "00000000-0000-4000-8000-000000000001"
SCOPE_SETS = (None, frozenset[TokenScope](), *(frozenset({scope}) for scope in TokenScope), frozenset(TokenScope))
EVERYBODY = [*product(Role, SCOPE_SETS)]
SCALARS = {
    "ID": f'"{ID}"',
    "String": '"x"',
    "Int": "1",
    "Float": "1.0",
    "Boolean": "false",
    "DateTime": '"2026-01-01T00:00:00Z"',
    "JSON": "{}",
    "URL": '"https://example.org/"',
}
RESOLVED = {"routing_key": "of-somebody", "event_action": "resolve", "dedup_key": "x"}
WAYS = {
    "AlertDelivery": "{ alertDeliveries { nodes { %s } } }",
    "AuditEntry": "{ auditLog { nodes { %s } } }",
    "User": "{ viewer { user { %s } } }",
}
"""From a root to the types of which fields take something."""


class Untouchable:
    """In place of what must not be asked."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked for something forbidden")


@pytest.fixture(scope="module")
def operations() -> Operations:
    return Operations(build_schema())


@pytest.fixture(scope="module")
def fields(operations: Operations) -> list[Right]:
    return [right for right in written() if "/" not in right.what]


def test_the_written_matrix_is_what_the_schema_and_the_routes_declare(operations):
    assert MATRIX.read_text() == matrix(operations), "review it, and write it: python -m tests.security.rights"


async def test_every_query_is_refused_to_whoever_lacks_a_right_and_reads_nothing(operations, fields):
    asked = 0
    for right, (name, document) in _documents(operations, fields, "Query"):
        for role, scopes in _without(right):
            answer = await _ask(operations, document, role, scopes)
            assert _told(answer) == ("FORBIDDEN", [name]), (right, role, scopes, answer)
            assert not answer["data"] or answer["data"] == {name: None}
            asked += 1
    assert asked > 1000


async def test_every_mutation_is_refused_to_whoever_lacks_a_right_and_does_nothing(operations, fields):
    for right, (name, document) in _documents(operations, fields, "Mutation"):
        for role, scopes in _without(right):
            answer = await _ask(operations, document, role, scopes)
            assert answer.keys() == {"data"}, answer
            [error] = answer["data"][name]["errors"]
            assert (error["__typename"], error["code"], error["path"]) == ("ForbiddenError", "FORBIDDEN", [])


async def test_every_subscription_is_refused_to_whoever_lacks_a_right(operations, fields):
    client = Client(operations, cast("Database", Untouchable()))
    subscriptions = Subscriptions(operations.sources, cast("Hub", Untouchable()), lambda: NOW)
    for right, (name, document) in _documents(operations, fields, "Subscription"):
        for role, scopes in _without(right):
            context = replace(client.context(), actor=Actor(None, "tests", role, scopes=scopes))
            with pytest.raises(GraphQLError) as refused:
                await subscriptions.open(client.prepared(document), None, context)
            assert isinstance(refused.value.original_error, Forbidden)
            assert refused.value.path == [name]


async def test_the_least_rights_that_the_matrix_names_are_enough(operations, fields, database):
    for root in ("Query", "Mutation"):
        for right, (_, document) in _documents(operations, fields, root):
            scopes = frozenset({right.scope}) if right.scope is not None else frozenset[TokenScope]()
            answer = await _ask(operations, document, right.role, scopes, database)
            # What one may not do to this object, whatever one's rights, is another matter.
            assert b"This takes " not in orjson.dumps(answer), (right, answer)


def test_fields_inside_of_objects_are_left_out_of_what_is_read_for_whoever_lacks_a_right(operations, fields):
    client = Client(operations, cast("Database", Untouchable()))
    inside = [right for right in fields if right.what.partition(".")[0] not in ("Query", "Mutation", "Subscription")]
    assert len(inside) > 15
    for right in inside:
        type_, _, name = right.what.partition("(")[0].partition(".")
        field = operations.schema.type_map[type_].fields[name]
        prepared = client.prepared(WAYS[type_] % _selected(name, field, []))
        for role, scopes in EVERYBODY:
            hidden = prepared.permitted_to(Actor(None, "tests", role, scopes=scopes)).forbidden
            assert ((type_, name) in hidden) == (not right.permits(role, scopes)), (right, role, scopes)


async def test_every_route_answers_those_who_have_the_right_and_nobody_else(database):
    for right in [right for right in written() if "/" in right.what]:
        method, _, path = right.what.partition(" ")
        for role, scopes in EVERYBODY:
            actor = Actor(None, "tests", role, scopes=scopes)
            is_permitted = right.permits(role, scopes)
            async with _routes(database if is_permitted else cast("Database", Untouchable()), actor) as http:
                body = RESOLVED if path == "/v2/enqueue" else {}
                headers = {"authorization": "Bearer of-somebody"}
                response = await http.request(method, path.replace("{id}", ID), json=body, headers=headers)
            assert (response.status_code == 403) == (not is_permitted), (right, role, scopes, response.text)


def _without(right: Right) -> Iterator[tuple[Role, frozenset[TokenScope] | None]]:
    """Everybody who lacks a right; for its arguments only those who lack hardly anything."""
    almost = (None, frozenset[TokenScope](), frozenset(TokenScope) - {right.scope})
    some = product(Role, almost) if "(" in right.what else EVERYBODY
    return ((role, scopes) for role, scopes in some if not right.permits(role, scopes))


def _documents(operations: Operations, rights: list[Right], root: str) -> Iterator[tuple[Right, tuple[str, str]]]:
    """A document for each line of the matrix about a field of a root: the field's name, and how it is asked for."""
    type_ = operations.schema.type_map[root]
    assert isinstance(type_, GraphQLObjectType)
    covered = set()
    for right in rights:
        of, _, what = right.what.partition(".")
        if of != root:
            continue
        name, _, argument = what.rstrip(")").partition("(")
        covered.add(name)
        selection = _selected(name, type_.fields[name], [argument] if argument else [])
        yield right, (name, f"{root.lower()} {{ {selection} }}")
    assert covered == set(type_.fields)


def _selected(name: str, field: GraphQLField, wanted: list[str]) -> str:
    given = {
        each: _literal(argument.type)
        for each, argument in field.args.items()
        if each in wanted or is_required_argument(argument)
    }
    arguments = f"({', '.join(f'{each}: {value}' for each, value in given.items())})" if given else ""
    if is_leaf_type(named(field.type)):
        return name + arguments
    inner = "errors { __typename code message path }" if "Payload" in str(field.type) else "__typename"
    return f"{name}{arguments} {{ {inner} }}"


def _literal(type_: GraphQLInputType | GraphQLArgument) -> str:
    if is_non_null_type(type_):
        return _literal(type_.of_type)
    if is_list_type(type_):
        return f"[{_literal(type_.of_type)}]"
    if isinstance(type_, GraphQLEnumType):
        return next(iter(type_.values))
    if isinstance(type_, GraphQLInputObjectType):
        required = {name: field for name, field in type_.fields.items() if is_required_input_field(field)}
        return "{" + ", ".join(f"{name}: {_literal(field.type)}" for name, field in required.items()) + "}"
    return SCALARS[str(type_)]


async def _ask(
    operations: Operations,
    document: str,
    role: Role,
    scopes: frozenset[TokenScope] | None,
    database: Database | None = None,
) -> dict[str, Any]:
    context = RequestContext(
        database=database or cast("Database", Untouchable()),
        actor=Actor(None, "tests", role, scopes=scopes),
        deadline=Deadline.after(30),
        request_id="request-1",
        now=NOW,
    )
    answer = await operations.execute(OperationRequest(document), context, allowed={"query", "mutation"})
    body: dict[str, Any] = orjson.loads(answer.body)
    return body


def _told(answer: dict[str, Any]) -> tuple[str, list[str]]:
    [error] = answer["errors"]
    return error["extensions"]["code"], error["path"]


def _routes(database: Database, actor: Actor) -> httpx.AsyncClient:
    intake = AlertIntake(database, now=lambda: NOW)
    paths = [*rest_paths(database), *webhook_paths(intake, actor)]
    routes = Starlette(routes=paths, exception_handlers={DomainError: answer_domain_error})

    async def known(scope: Scope, receive: Receive, send: Send) -> None:
        await routes({**scope, "actor": actor}, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(known), base_url="http://studio")
