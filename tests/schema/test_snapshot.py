"""The schema as clients read it: printed, described throughout, and holding what the contract promises."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from graphql import (
    DocumentNode,
    EnumTypeDefinitionNode,
    FieldDefinitionNode,
    GraphQLSchema,
    InputObjectTypeDefinitionNode,
    InterfaceTypeDefinitionNode,
    ObjectTypeDefinitionNode,
    TypeDefinitionNode,
    build_schema,
    parse,
    print_ast,
)
from strawberry.printer import print_schema

from schema.root import build_schema as build_ours

ROOT = Path(__file__).parents[2]
CONTRACT = ROOT.parent / "shared" / "design" / "contract.graphql"

# What the contract promises and later work brings. What has come goes from here.
LATER: set[str] = set()


@pytest.fixture(scope="module")
def printed() -> str:
    return print_schema(build_ours())


@pytest.fixture(scope="module")
def ours(printed: str) -> GraphQLSchema:
    return build_schema(printed)


def test_the_printed_schema_is_current(printed):
    assert (ROOT / "schema.graphql").read_text() == printed + "\n", "Run `make schema`"


def test_everything_in_the_schema_is_described(ours):
    members = [*_members(ours)]
    assert len(members) > 500
    assert [place for place, described in members if not (described.description or "").strip()] == []


def _members(schema: GraphQLSchema) -> Iterator[tuple[str, object]]:
    for type_ in schema.type_map.values():
        if type_.name.startswith("__"):
            continue
        yield type_.name, type_
        for name, field in getattr(type_, "fields", {}).items():
            yield f"{type_.name}.{name}", field
            for argument_name, argument in getattr(field, "args", {}).items():
                yield f"{type_.name}.{name}.{argument_name}", argument
        for name, value in getattr(type_, "values", {}).items():
            yield f"{type_.name}.{name}", value


def test_mutations_answer_with_errors_as_data(ours):
    for name, field in ours.mutation_type.fields.items():
        payload = field.type.of_type
        assert str(payload.fields["errors"].type) == "[MutationError!]!", name
        assert str(payload.fields["cursor"].type) == "String", name
        if payload.name == "ImportPayload":  # Many objects, each with what became of it.
            continue
        [answer] = [member for member in payload.fields if member not in {"errors", "cursor", "warnings", "secret"}]
        assert not str(payload.fields[answer].type).endswith("!"), name
    errors = {type_.name: {*type_.fields} for type_ in ours.get_implementations(ours.type_map["MutationError"]).objects}
    shared = {"message", "code", "path"}
    assert errors == {
        "ValidationError": shared,
        "NotFoundError": shared,
        "ConflictError": {*shared, "currentVersion"},
        "ForbiddenError": shared,
    }


def test_everything_that_can_be_created_takes_an_idempotency_key(ours):
    for name, field in ours.mutation_type.fields.items():
        given = field.args["input"].type.of_type.fields if "input" in field.args else field.args
        creates = name.startswith(("create", "record", "add")) and name != "createApiToken"  # its secret is shown once
        assert ("idempotencyKey" in given) == creates, name


@pytest.mark.skipif(not CONTRACT.exists(), reason="the contract is not beside this checkout, in ../shared/design")
def test_the_schema_holds_what_the_contract_promises(ours, printed):
    promised = _signatures(parse(CONTRACT.read_text()))
    held = _signatures(parse(printed))
    assert len(promised) > 400
    assert {place for place in LATER if place not in promised or place in held} == set(), "no longer later"
    late = {place for place in promised if place in LATER or any(place.startswith(f"{later}.") for later in LATER)}
    broken = {
        place: f"promised {signature}, held {held.get(place)}"
        for place, signature in promised.items()
        if place not in late and held.get(place) != signature
    }
    assert broken == {}


def _signatures(document: DocumentNode) -> dict[str, str]:
    """What a document says of each type, field, argument and enum value, by its place: `Incident.title` → `String!`."""
    return dict(
        found
        for definition in document.definitions
        if isinstance(definition, TypeDefinitionNode)
        for found in _signatures_of(definition)
    )


def _signatures_of(definition: TypeDefinitionNode) -> Iterator[tuple[str, str]]:
    name = definition.name.value
    yield name, definition.kind
    match definition:
        case ObjectTypeDefinitionNode() | InterfaceTypeDefinitionNode():
            for interface in definition.interfaces or ():
                yield f"{name} implements {interface.name.value}", ""
    match definition:
        case EnumTypeDefinitionNode():
            for value in definition.values or ():
                yield f"{name}.{value.name.value}", ""
        case ObjectTypeDefinitionNode() | InterfaceTypeDefinitionNode() | InputObjectTypeDefinitionNode():
            for field in definition.fields or ():
                yield f"{name}.{field.name.value}", print_ast(field.type)
                if isinstance(field, FieldDefinitionNode):
                    for argument in field.arguments or ():
                        yield f"{name}.{field.name.value}.{argument.name.value}", print_ast(argument.type)
