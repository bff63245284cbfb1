"""A document for everything that can be asked of each field that reads rows, found by walking the schema."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_composite_type,
    is_required_argument,
)

from resolvers.compile.sources import Lookup, Member, Needs, Page, Sources

NEARLY_EVERYTHING = ([], ["filter: {active: false}"])
"""What nobody can count without looking at it."""

PAGING = {"first", "after", "last", "before", "orderBy"}
LITERALS = {
    "ID": ['"01900000-0000-7000-8000-000000000000"'],
    "String": ['"checkout"'],
    "Int": ["3600"],
    "Float": ["0.5"],
    "Boolean": ["true", "false"],
    "DateTime": ['"2025-06-01T00:00:00Z"'],
    "JSON": ['{region: "region-1"}'],
    "TimeRange": ['{from: "2025-06-01T00:00:00Z", to: "2025-06-02T00:00:00Z"}'],
}


@dataclass(frozen=True)
class Path:
    """The way from the root of a document to the selection of a type."""

    opening: str
    depth: int

    def into(self, selection: str) -> "Path":
        """One level further."""
        return Path(f"{self.opening} {selection} {{", self.depth + 1)

    def document(self, selection: str) -> str:
        """A whole document."""
        query = f"{self.opening} {selection} {'}' * self.depth}"
        return f"query($place: String) {query}" if "$place" in query else query


def list_documents(schema: GraphQLSchema, sources: Sources) -> Iterator[str]:
    """Each field that reads rows of its own, with each of its filters alone, in each order, paged in each direction."""
    for type_, path in _paths(schema, sources):
        for name, field in type_.fields.items():
            source = sources.fields.get((type_.name, name))
            if isinstance(source, Page):
                yield from _pages(type_.name, name, field, path)
            elif source is not None and is_composite_type(inner := get_named_type(field.type)):
                for given in _arguments(field.args):
                    yield path.document(f"{name}{_call(given)} {{ {_leaves(inner, sources)} }}")


def _paths(schema: GraphQLSchema, sources: Sources) -> Iterator[tuple[GraphQLObjectType, Path]]:
    """The object types that are read from Postgres, each with a shortest way to it."""
    assert schema.query_type is not None
    found = {schema.query_type.name}
    waiting = deque([(schema.query_type, Path("{", 1))])
    while waiting:
        type_, path = waiting.popleft()
        yield type_, path
        for name, field in type_.fields.items():
            source = sources.fields.get((type_.name, name))
            inner = get_named_type(field.type)
            if source is None or isinstance(source, Lookup | Member) or not is_composite_type(inner):
                continue
            way = path.into(f"{name}{_call(next(_arguments(field.args)))}")
            if isinstance(source, Page):
                assert isinstance(inner, GraphQLObjectType)
                inner = get_named_type(inner.fields["nodes"].type)
                way = way.into("nodes")
            for concrete in schema.get_possible_types(inner) if isinstance(inner, GraphQLInterfaceType) else [inner]:
                assert isinstance(concrete, GraphQLObjectType)
                if concrete.name not in found:
                    found.add(concrete.name)
                    waiting.append((concrete, way if concrete is inner else way.into(f"... on {concrete.name}")))


def _pages(holder: str, name: str, field: GraphQLField, path: Path) -> Iterator[str]:
    windows = ["first: 20", "first: 20, after: $place"]
    if "last" in field.args:
        windows.append("last: 20, before: $place")
    for given, order, window in product(_arguments(field.args), _orders(field.args), windows):
        count = "" if holder == "Query" and given in NEARLY_EVERYTHING else " totalCount"
        selection = f"edges {{ cursor node {{ __typename }} }} pageInfo {{ hasNextPage hasPreviousPage }}{count}"
        yield path.document(f"{name}{_call([*given, *order, window])} {{ {selection} }}")


def _orders(arguments: Mapping[str, GraphQLArgument]) -> Iterator[list[str]]:
    if "orderBy" not in arguments:
        yield []
        return
    order = get_named_type(arguments["orderBy"].type)
    assert isinstance(order, GraphQLInputObjectType)
    keys, directions = (get_named_type(order.fields[name].type) for name in ("field", "direction"))
    assert isinstance(keys, GraphQLEnumType)
    assert isinstance(directions, GraphQLEnumType)
    for key, direction in product(keys.values, directions.values):
        yield [f"orderBy: {{field: {key}, direction: {direction}}}"]


def _arguments(arguments: Mapping[str, GraphQLArgument]) -> Iterator[list[str]]:
    """What is required alone, and with each other argument and field of a filter."""
    required = [f"{name}: {_values(it.type)[0]}" for name, it in arguments.items() if is_required_argument(it)]
    yield required
    for name, argument in arguments.items():
        if not is_required_argument(argument) and name not in PAGING:
            for value in _values(argument.type):
                yield [*required, f"{name}: {value}"]


def _values(type_: GraphQLInputType) -> list[str]:
    """Literals of a type, in as many shapes as make statements of their own."""
    type_ = get_nullable_type(type_)
    if isinstance(type_, GraphQLList):
        return [f"[{item}]" for item in _values(type_.of_type)]
    if isinstance(type_, GraphQLEnumType):
        return [next(iter(type_.values))]
    if type_.name in LITERALS:
        return LITERALS[type_.name]
    assert isinstance(type_, GraphQLInputObjectType), f"There is no literal for {type_}"
    assert not any(isinstance(field.type, GraphQLNonNull) for field in type_.fields.values())
    return [f"{{{name}: {value}}}" for name, field in type_.fields.items() for value in _values(field.type)]


def _call(arguments: list[str]) -> str:
    return f"({', '.join(arguments)})" if arguments else ""


def _leaves(type_: GraphQLNamedType, sources: Sources) -> str:
    """Everything about an object itself that is read with it."""
    fields = type_.fields if isinstance(type_, GraphQLObjectType) else {}
    leaves = [
        name
        for name, field in fields.items()
        if not is_composite_type(get_named_type(field.type))
        and not isinstance(sources.fields.get((type_.name, name)), Needs)
    ]
    return " ".join(["__typename", *leaves])
