"""Whatever clients send to mutations: an answer that says what came of it, and never an error of ours."""

from typing import Any, TypeVar
from uuid import uuid4

import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLInputType, GraphQLList, GraphQLNonNull
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schema.root import build_schema

# What reads whole files has fuzzed readers of its own (`tests/engines/slo/formats/`), and answers about many things.
MUTATIONS = {
    name: field
    for name, field in build_schema()._schema.mutation_type.fields.items()
    if field.type.of_type.name != "ImportPayload"
}
THINGS = {
    "incidentId": "incident",
    "serviceId": "service",
    "hypothesisId": "hypothesis",
    "teamId": "team",
    "commanderId": "user",
    "assigneeId": "user",
    "deletedId": "service",
}

# What another system has to agree to, which nobody has configured here.
ASK_ELSEWHERE = {"createSilence", "expireSilence"}

T = TypeVar("T")


def mostly(usual: st.SearchStrategy[T], odd: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    return st.integers(0, 5).flatmap(lambda chance: usual if chance else odd)


odd_texts = st.one_of(
    st.sampled_from(["", " ", "\0", "\ud800", "a\nb", "\u200b", "👩‍🚒", "\x1c", "{it}", "%s", "'"]),
    st.text(st.characters(), max_size=20),
    st.sampled_from([100, 101, 200, 201, 300, 301, 1_000, 20_000, 20_001, 64_001]).map("a".__mul__),
)
texts = mostly(st.sampled_from(["checkout", "Checkout", "payments", "carts", "region"]), odd_texts)
numbers = st.sampled_from([0, 1, 0.5, 2**31, 2**63, 2**64, -(2**63) - 1, 1e308]) | st.integers() | st.floats()
json = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
odd_instants = st.sampled_from(
    [
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59.999999Z",
        "9999-12-31T23:59:59-12:00",
        "2026-03-01T12:00:00",
        "soon",
    ]
)
odd_urls = st.sampled_from(["https://[::1", "ftp://x", "https://a b", "https://x:99999", "https://\0"])
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "String": texts,
    "Boolean": st.booleans(),
    "Int": mostly(st.integers(1, 5), st.integers(-(2**31), 2**31 - 1)),
    "Float": mostly(st.floats(0, 1), st.floats(allow_nan=False, allow_infinity=False)),
    "JSON": mostly(st.dictionaries(texts, texts, max_size=3), json),
    "DateTime": mostly(st.sampled_from(["2026-03-01T11:59:00Z", "2026-03-01T12:00:30+00:00"]), odd_instants),
    "URL": mostly(st.just("https://example.org"), odd_urls),
}


def values(type_: GraphQLInputType, thing: str) -> st.SearchStrategy[Any]:
    """What a client may take for a value of a type, where an id would be that of a `thing`."""
    match type_:
        case GraphQLNonNull():
            return values(type_.of_type, thing)
        case GraphQLList():
            return st.lists(values(type_.of_type, thing), max_size=3)
        case GraphQLEnumType():
            return st.sampled_from([*type_.values])
        case GraphQLInputObjectType():
            return members({name: field.type for name, field in type_.fields.items()}, thing)
        case _ if type_.name == "ID":
            return mostly(st.just(f"the id of the {thing}"), odd_texts | st.uuids().map(str))
        case _:
            return SCALARS[type_.name]


def members(types: dict[str, GraphQLInputType], thing: str) -> st.SearchStrategy[dict[str, Any]]:
    known = {name: values(type_, THINGS.get(name, thing)) for name, type_ in types.items()}
    required = {name: known.pop(name) for name, type_ in types.items() if isinstance(type_, GraphQLNonNull)}
    return st.fixed_dictionaries(required, optional={name: mostly(some, st.none()) for name, some in known.items()})


def answer_of(mutation: str) -> str:
    """The field of a mutation's payload that holds what it was about."""
    beside = {"errors", "cursor", "warnings", "secret"}
    [answer] = [field for field in MUTATIONS[mutation].type.of_type.fields if field not in beside]
    return str(answer)


def calls(mutation: str) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    types = {argument: known.type for argument, known in MUTATIONS[mutation].args.items()}
    answer = answer_of(mutation)
    return st.tuples(st.just(mutation), members(types, THINGS.get(answer, answer)))


@pytest.fixture
async def ids(api, incident, ada, team) -> dict[str, str]:
    """One thing of each kind."""

    async def id_of(mutation: str, selection: str, **input: Any) -> str:
        return (await api.changed(mutation, f"{selection} {{ id }}", input=input))["id"]

    about = {"incidentId": incident, "title": "Traffic"}
    deployment = {"service": "payments", "version": "1", "outcome": "IN_PROGRESS"}
    watched = {"kind": "THRESHOLD", "signal": "ERROR_RATIO", "threshold": 0.1}
    made = {
        "incident": incident,
        "service": await id_of("createService", "service", name="search"),
        "hypothesis": await id_of("createHypothesis", "hypothesis", **about),
        "step": await id_of("createInvestigationStep", "step", **about),
        "task": await id_of("createTask", "task", **about),
        "deployment": await id_of("recordDeployment", "deployment", **deployment),
        "user": ada,
        "team": team,
        "silence": str(uuid4()),
        "detectionRule": await id_of("createDetectionRule", "detectionRule", name="Errors", **watched),
    }
    return {f"the id of the {thing}": id for thing, id in made.items()}


def with_ids(value: Any, ids: dict[str, str]) -> Any:
    match value:
        case dict():
            return {name: with_ids(part, ids) for name, part in value.items()}
        case list():
            return [with_ids(part, ids) for part in value]
        case str():
            return ids.get(value, value)
        case _:
            return value


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(call=st.sampled_from([*MUTATIONS]).flatmap(calls))
async def test_whatever_a_mutation_is_given_it_says_what_came_of_it(api, ids, call):
    name, given_arguments = call
    arguments = with_ids(given_arguments, ids)
    field = MUTATIONS[name]
    variables = ", ".join(f"${argument}: {field.args[argument].type}" for argument in arguments)
    passed = ", ".join(f"{argument}: ${argument}" for argument in arguments)
    answer = answer_of(name)
    selection = answer if answer == "deletedId" else f"{answer} {{ id }}"
    document = f"mutation({variables}) {{ {name}({passed}) {{ {selection} errors {{ __typename message path }} }} }}"
    body = await api(document, **arguments)
    if "data" not in body:
        assert {error["extensions"]["code"] for error in body["errors"]} == {"BAD_USER_INPUT"}
        return
    if name in ASK_ELSEWHERE and "errors" in body:
        assert [error["extensions"]["code"] for error in body["errors"]] == ["TELEMETRY_NOT_CONFIGURED"]
        return
    assert body.keys() == {"data"}, body
    payload = body["data"][name]
    if payload["errors"] == []:
        # A retry of what was created may come after it was deleted.
        assert payload[answer] is not None or "idempotencyKey" in str(arguments)
        return
    [error] = payload["errors"]
    assert payload[answer] is None
    assert error["__typename"] in ("ValidationError", "NotFoundError", "ConflictError")
    assert error["message"]
    assert error["path"] == [] or error["path"][0] in field.args
