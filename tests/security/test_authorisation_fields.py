"""What people get of an answer some of which they may not see, and what is asked of the database for them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any

import orjson
import pytest
import strawberry
from sqlalchemy import insert

from actions import people
from db.alerts import alert_deliveries
from db.database import Database
from db.identifiers import new_id
from domain.access import Actor, Role, TokenScope
from domain.alerts import WebhookKind
from domain.permissions import ADMINISTRATION, READ, TELEMETRY_QUERY
from resolvers.compile.permissions import PERMISSION, permissions_of
from resolvers.incremental import IncrementalAnswer, IncrementalForm
from resolvers.operations import OperationRequest, Operations
from schema.root import build_schema
from tests.resolvers.client import Client
from tests.schema.conftest import NOON, Api, added

FORBIDDEN = {"code": "FORBIDDEN"}
FOR_ADMINS = "This takes the role ADMIN, and yours is VIEWER: ask an admin for it"
LED_BY_ADA = "{ incidents { nodes { number commander { %s } } } }"


@pytest.fixture(scope="module")
def operations() -> Operations:
    return Operations(build_schema())


@pytest.fixture
async def api(operations: Operations, database: Database) -> Api:
    """A viewer, where Ada leads an incident."""
    api = Api(operations, database)
    ada = await added(api, people.create_user, "ada@example.org", "Ada Lovelace")
    known = {"title": "Down", "severity": "HIGH", "commanderId": str(ada)}
    await api.changed("createIncident", "incident { id }", input=known)
    api.actor = Actor(ada, "Ada Lovelace", Role.VIEWER)
    return api


def sql_of(operations: Operations, query: str, actor: Actor) -> str:
    prepared = operations.documents.prepare(query, None)
    values, shape = prepared.variables.read({})
    return prepared.permitted_to(actor).statement(shape, values).sql


async def test_a_forbidden_field_is_not_selected_and_the_error_says_where_it_would_have_been(api, operations):
    query = LED_BY_ADA % "name email"
    answer = await api(query)
    assert answer["data"] == {"incidents": {"nodes": [{"number": 1, "commander": None}]}}
    [error] = answer["errors"]
    assert (error["message"], error["extensions"]) == (FOR_ADMINS, FORBIDDEN)
    assert error["path"] == ["incidents", "nodes", 0, "commander", "email"]
    assert "email" not in sql_of(operations, query, api.actor).replace("'email'", "").replace('"email"', "")
    admin = replace(api.actor, role=Role.ADMIN)
    assert ".email" in sql_of(operations, query, admin)


@pytest.mark.parametrize(
    "selection",
    [
        "name address: email",
        "... on Node { ... on User { email } }",
        "...Contact",
        "... @include(if: true) { email }",
        "email name email",
    ],
)
async def test_no_way_of_asking_leads_around_a_right(api, selection):
    query = LED_BY_ADA % selection
    if "Contact" in query:
        query += " fragment Contact on User { ...More } fragment More on User { email }"
    answer = await api(query)
    assert answer["data"]["incidents"]["nodes"][0]["commander"] is None
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"FORBIDDEN"}
    assert b"ada@example.org" not in orjson.dumps(answer)


async def test_what_is_skipped_is_not_forbidden(api):
    answer = await api(LED_BY_ADA % "name email @skip(if: true)")
    assert answer == {"data": {"incidents": {"nodes": [{"number": 1, "commander": {"name": "Ada Lovelace"}}]}}}


async def test_the_same_document_is_answered_by_the_rights_of_whoever_asks(api):
    query = LED_BY_ADA % "email"
    viewer = api.actor
    for role in (Role.ADMIN, Role.VIEWER, Role.ADMIN, Role.RESPONDER):
        api.actor = replace(viewer, role=role)
        [node] = (await api(query))["data"]["incidents"]["nodes"]
        assert node["commander"] == ({"email": "ada@example.org"} if role is Role.ADMIN else None)


async def test_everybody_sees_their_own_address(api):
    assert await api("{ viewer { email name } }") == {
        "data": {"viewer": {"email": "ada@example.org", "name": "Ada Lovelace"}}
    }
    api.actor = replace(api.actor, id=None, scopes=frozenset())
    assert await api("{ viewer { email } }") == {"data": {"viewer": {"email": None}}}


async def test_objects_of_a_hidden_type_are_not_found_by_their_ids(api, operations):
    delivery = new_id()
    async with api.database.writing(NOON) as tx:
        row = {"id": delivery, "source": "grafana", "kind": WebhookKind.GRAFANA, "received_at": NOON}
        await tx.execute(insert(alert_deliveries).values(**row, body=b"{}", alert_count=0))
    query = "query($id: ID!) { node(id: $id) { id ... on AlertDelivery { source } } nodes(ids: [$id]) { __typename } }"
    hidden = {"data": {"node": None, "nodes": [None]}}
    assert await api(query, id=str(delivery)) == hidden
    context = replace(_context(api), actor=api.actor)
    request = OperationRequest(query, variables={"id": str(delivery)})
    assert orjson.loads((await operations.execute_without_compiler(request, context)).body) == hidden
    api.actor = replace(api.actor, role=Role.RESPONDER)
    found = await api(query, id=str(delivery))
    assert found["data"]["node"] == {"id": str(delivery), "source": "grafana"}


async def test_a_list_that_is_forbidden_takes_what_is_around_it_along_as_the_specification_says(api):
    answer = await api("{ auditLog { totalCount } viewer { name } }")
    assert answer["data"] is None
    assert [(error["path"], error["extensions"]) for error in answer["errors"]] == [(["auditLog"], FORBIDDEN)]


@pytest.mark.parametrize(
    "query",
    [
        LED_BY_ADA % "name email",
        "{ incidents { nodes { timeline { nodes { actor { name email } } } } } viewer { user { email } } }",
        '{ alertDelivery(receipt: "x") { source } incidentByNumber(number: 1) { title commander { id email } } }',
        "{ events { nodes { type actor { name email } } } }",
        '{ tempo(traceId: "1") { traceId } services { totalCount } }',
    ],
)
@pytest.mark.parametrize("role", list(Role))
async def test_ordinary_execution_and_statements_forbid_the_same(api, operations, query, role):
    api.actor = replace(api.actor, role=role, scopes=frozenset({TokenScope.READ, TokenScope.ADMIN}))
    context = replace(_context(api), actor=api.actor)
    ordinary = await operations.execute_without_compiler(OperationRequest(query), context)
    assert await api(query) == orjson.loads(ordinary.body)


async def test_of_several_mutations_those_that_are_allowed_happen(api):
    api.actor = Actor(None, "ci", Role.RESPONDER, scopes=frozenset({TokenScope.CATALOG_WRITE}))
    answer = await api(
        """mutation {
          one: createService(input: {name: "cart"}) { service { name } errors { code } }
          two: createIncident(input: {title: "Down", severity: LOW}) { incident { number } errors { code message } }
          three: createService(input: {name: "stock"}) { service { name } errors { code } }
        }"""
    )
    assert answer == {
        "data": {
            "one": {"service": {"name": "cart"}, "errors": []},
            "two": {
                "incident": None,
                "errors": [
                    {
                        "code": "FORBIDDEN",
                        "message": "This takes a token with the scope incidents:write, which yours has not",
                    }
                ],
            },
            "three": {"service": {"name": "stock"}, "errors": []},
        }
    }


async def test_a_scope_narrows_and_never_widens(api):
    api.actor = Actor(None, "ci", Role.VIEWER, scopes=frozenset(TokenScope))
    error = await api.refused("createService", "service { id }", input={"name": "cart"})
    assert error["message"] == "This takes the role RESPONDER, and yours is VIEWER: ask an admin for it"
    assert (await api("{ auditLog { totalCount } }"))["data"] is None


async def test_what_a_write_answers_hides_what_is_hidden_elsewhere(api):
    api.actor = replace(api.actor, role=Role.RESPONDER)
    answer = await api(
        'mutation($ada: ID!) { createIncident(input: {title: "X", severity: LOW, commanderId: $ada})'
        " { incident { title commander { email } } errors { code } } }",
        ada=str(api.actor.id),
    )
    assert answer["data"]["createIncident"] == {"incident": {"title": "X", "commander": None}, "errors": []}
    assert [error["path"] for error in answer["errors"]] == [["createIncident", "incident", "commander", "email"]]


async def test_what_is_deferred_is_forbidden_all_the_same(api, operations):
    query = "{ incidents { nodes { number ... @defer { commander { email } } } } }"
    context = replace(_context(api), actor=api.actor)
    answer = await operations.execute_in_parts(OperationRequest(query), context, IncrementalForm.IDS, allowed={"query"})
    if isinstance(answer, IncrementalAnswer):
        async with answer:
            said = b"".join([part.body async for part in answer.parts()])
    else:
        said = answer.body
    assert b"FORBIDDEN" in said
    assert b"ada@example.org" not in said


def test_a_schema_with_a_mutation_or_a_subscription_that_takes_nothing_is_not_built():
    def write() -> int:
        return 1

    async def listen() -> AsyncIterator[int]:
        yield 1

    query = strawberry.type(type("Query", (), {"one": strawberry.field(write)}))
    mutation = strawberry.type(type("Mutation", (), {"write": strawberry.mutation(write)}))
    subscription = strawberry.type(type("Subscription", (), {"listen": strawberry.subscription(listen)}))
    with pytest.raises(ValueError, match=r"Mutation\.write, Subscription\.listen"):
        permissions_of(strawberry.Schema(query, mutation, subscription))
    declared = strawberry.mutation(write, metadata={PERMISSION: READ})
    mutation = strawberry.type(type("Mutation", (), {"write": declared}))
    assert permissions_of(strawberry.Schema(query, mutation)).fields == {
        ("Query", "one"): (READ,),
        ("Mutation", "write"): (READ,),
    }


@strawberry.type
class Library:
    """Something with an argument that is for few."""

    @strawberry.field
    def books(
        self,
        title: str = "",
        shelf: Annotated[str, strawberry.argument(metadata={PERMISSION: ADMINISTRATION})] = "open",
    ) -> str | None:
        return f"{title} from {shelf}"

    @strawberry.field(metadata={PERMISSION: TELEMETRY_QUERY})
    def catalog(self) -> str | None:
        return "catalog"


@pytest.mark.parametrize("variables", ["", "($shelf: String!)"])
async def test_an_argument_can_take_more_than_its_field(database, variables):
    operations = Operations(strawberry.Schema(Library))
    shelf = "$shelf" if variables else '"locked"'
    documents = {'{ books(title: "Emma") }': True, f"query {variables} {{ books(shelf: {shelf}) }}": False}
    for document, is_for_all in documents.items():
        for role in Role:
            api = Api(operations, database)
            api.actor = Actor(None, "tests", role)
            answer = await api(document, **({"shelf": "locked"} if "$" in document else {}))
            permitted = is_for_all or role is Role.ADMIN
            assert (answer["data"]["books"] is not None) == permitted
            assert ("errors" in answer) == (not permitted)


def _context(api: Api) -> Any:
    return Client(api.operations, api.database).context()
