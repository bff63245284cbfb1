"""Every place of the schema where a client can put a text, and a document that puts one there."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_composite_type,
    is_enum_type,
    is_required_argument,
    is_required_input_field,
)

from schema.root import build_schema

TEXTS = {"String", "ID", "JSON", "DateTime", "URL"}
_DEEPEST = 4
ID = "an id"
"""Stands in variables for the id of something that is there."""


@dataclass(frozen=True)
class Site:
    """One text within one argument of one field, reached from a root by fields with their own arguments."""

    operation: str
    fields: tuple[tuple[str, GraphQLField], ...]
    argument: str
    path: tuple[str, ...]
    scalar: str
    """What kind of text it is. `ENUM` where it is a member of an enumeration."""

    @property
    def name(self) -> str:
        fields = ".".join(name for name, _ in self.fields)
        return f"{self.operation} {fields}({'.'.join((self.argument, *self.path))})"

    def request(self, value: object) -> dict[str, Any]:
        """The operation that puts a value there, as a variable."""
        *way, (name, field) = self.fields
        types: dict[str, GraphQLInputType] = {}
        variables: dict[str, Any] = {}
        document = ""
        for depth, (step, reached) in enumerate([*way, (name, field)]):
            passed = {}
            for argument, declared in reached.args.items():
                is_target = depth == len(way) and argument == self.argument
                if is_target or is_required_argument(declared):
                    variable = f"v{depth}_{argument}"
                    passed[argument] = f"${variable}"
                    types[variable] = declared.type
                    path = self.path if is_target else None
                    variables[variable] = _value(declared.type, path, value)
            arguments = ", ".join(f"{argument}: {variable}" for argument, variable in passed.items())
            document += f" {{ {step}{f'({arguments})' if arguments else ''}"
        if is_composite_type(get_named_type(field.type)):
            document += " { __typename }"
        declared_variables = ", ".join(f"${name}: {type_}" for name, type_ in types.items())
        head = f"{self.operation} Attack{f'({declared_variables})' if declared_variables else ''}"
        return {"query": head + document + " }" * len(self.fields), "variables": variables}


@cache
def sites() -> tuple[Site, ...]:
    """All of them."""
    schema = build_schema()._schema
    assert schema.mutation_type is not None
    return (*_sites(schema, "query"), *_sites(schema, "mutation"))


def _sites(schema: GraphQLSchema, operation: str) -> Iterator[Site]:
    root = schema.query_type if operation == "query" else schema.mutation_type
    assert root is not None
    seen: set[str] = {root.name}
    ways = deque([((), root)])
    while ways:
        way, type_ = ways.popleft()
        for name, field in type_.fields.items():
            fields = (*way, (name, field))
            for argument, declared in field.args.items():
                for path, scalar in _texts(declared):
                    yield Site(operation, fields, argument, path, scalar)
            reached = get_named_type(field.type)
            if (
                operation == "query"
                and isinstance(reached, GraphQLObjectType | GraphQLInterfaceType)
                and reached.name not in seen
            ):
                seen.add(reached.name)
                ways.append((fields, reached))


def _texts(declared: GraphQLArgument) -> Iterator[tuple[tuple[str, ...], str]]:
    def walk(type_: GraphQLInputType, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
        named = get_named_type(type_)
        if isinstance(named, GraphQLInputObjectType):
            if len(path) < _DEEPEST:
                for name, field in named.fields.items():
                    yield from walk(field.type, (*path, name))
        elif is_enum_type(named):
            yield path, "ENUM"
        elif named.name in TEXTS:
            yield path, named.name

    yield from walk(declared.type, ())


def _value(type_: GraphQLInputType, path: tuple[str, ...] | None, value: object) -> Any:
    """A value of a type that is as small as possible, with the given one at the path, if any."""
    match type_:
        case GraphQLNonNull():
            return _value(type_.of_type, path, value)
        case GraphQLList():
            return [_value(type_.of_type, path, value)]
        case GraphQLInputObjectType():
            members = {}
            for name, field in type_.fields.items():
                if path and path[0] == name:
                    members[name] = _value(field.type, path[1:], value)
                elif is_required_input_field(field):
                    members[name] = _value(field.type, None, value)
            return members
    if path is not None:
        return value
    if is_enum_type(type_):
        return next(iter(type_.values))
    usual = {
        "ID": ID,
        "Int": 1,
        "Float": 0.5,
        "Boolean": True,
        "DateTime": "2026-03-01T12:00:00Z",
        "URL": "https://example.org",
        "JSON": {},
    }
    return usual.get(type_.name, "checkout")
