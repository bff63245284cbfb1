"""What was given to a field, and how to get it again from the variables of the next request of the same shape."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    FieldNode,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLScalarType,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    ValueNode,
    VariableNode,
    coerce_input_literal,
    get_nullable_type,
    is_list_type,
    is_non_null_type,
)

Variables = Mapping[str, Any]


class Uncompilable(Exception):
    """The selection asks for something that no statement can answer."""


@dataclass(frozen=True, slots=True)
class Argument:
    """A value that was given, null included; one that was not given has no Argument.

    `value` is the coerced value in the request being compiled. `get` reads it from the variables of another request,
    and is None for a literal. `fields` holds the parts of an input object, whose presence is part of a shape.
    """

    value: Any
    get: Callable[[Variables], Any] | None = None
    fields: Mapping[str, "Argument"] | None = None


def field_arguments(definition: GraphQLField, node: FieldNode, variables: Variables) -> dict[str, Argument]:
    """The arguments given to a field, by GraphQL name. Compiled fields declare no defaults: absence has its meaning."""
    nodes = {argument.name.value: argument.value for argument in node.arguments or ()}
    found: dict[str, Argument] = {}
    for name, argument in definition.args.items():
        given = _evaluate(nodes[name], argument.type, variables) if name in nodes else None
        if given is not None:
            found[name] = given
    return found


def constant(value: Any) -> Argument:
    """A value that is the same in every request."""
    fields = {name: constant(part) for name, part in value.items()} if isinstance(value, dict) else None
    return Argument(value, None, fields)


def _evaluate(node: ValueNode, type_: GraphQLInputType, variables: Variables) -> Argument | None:
    """None: a variable that was not given, which counts as absent."""
    if isinstance(node, VariableNode):
        return _given(node.name.value, type_, variables)
    if isinstance(node, NullValueNode):
        return Argument(None)
    nullable = get_nullable_type(type_)
    if isinstance(node, ObjectValueNode) and isinstance(nullable, GraphQLInputObjectType):
        return _object(node, nullable, variables)
    if isinstance(node, ListValueNode) and is_list_type(nullable):
        return _list([_evaluate(item, nullable.of_type, variables) for item in node.values])
    if isinstance(nullable, GraphQLScalarType) and isinstance(node, ListValueNode | ObjectValueNode):
        return _structure(node, nullable, variables)
    value = coerce_input_literal(node, type_)
    return Argument([value] if is_list_type(nullable) and not isinstance(value, list) else value)


def _given(name: str, type_: GraphQLInputType, variables: Variables) -> Argument | None:
    if name not in variables:
        return None
    value = variables[name]
    if value is None and is_non_null_type(type_):
        # Validation lets a nullable variable stand here when it has a default, which null overrides.
        raise Uncompilable(f"${name} is null where the schema says non-null")
    return _variable(value, lambda given: given[name], type_)


def _structure(node: ValueNode, type_: GraphQLScalarType, variables: Variables) -> Argument:
    """A list or object of a custom scalar, which may hold variables anywhere."""
    value = type_.parse_literal(node, dict(variables))
    if not _holds_variable(node):
        return Argument(value)
    return Argument(value, lambda given: type_.parse_literal(node, dict(given)))


def _holds_variable(node: ValueNode) -> bool:
    if isinstance(node, ListValueNode):
        return any(_holds_variable(item) for item in node.values)
    if isinstance(node, ObjectValueNode):
        return any(_holds_variable(part.value) for part in node.fields)
    return isinstance(node, VariableNode)


def _variable(value: Any, get: Callable[[Variables], Any], type_: GraphQLInputType) -> Argument:
    nullable = get_nullable_type(type_)
    if isinstance(nullable, GraphQLInputObjectType) and isinstance(value, dict):
        fields = {
            name: _variable(part, lambda given, name=name: get(given)[name], nullable.fields[name].type)  # type: ignore[misc] # a default argument binds the loop's name
            for name, part in value.items()
        }
        return Argument(value, get, fields)
    if is_list_type(nullable) and value is not None and not isinstance(value, list):
        return Argument([value], lambda given: [get(given)])
    return Argument(value, get)


def _object(node: ObjectValueNode, type_: GraphQLInputObjectType, variables: Variables) -> Argument:
    nodes = {part.name.value: part.value for part in node.fields}
    fields: dict[str, Argument] = {}
    for name, definition in type_.fields.items():
        given = _evaluate(nodes[name], definition.type, variables) if name in nodes else None
        if given is not None:
            fields[name] = given
    return Argument({name: part.value for name, part in fields.items()}, None, fields)


def _list(items: list[Argument | None]) -> Argument:
    given = [item or Argument(None) for item in items]
    value = [item.value for item in given]
    if all(item.get is None for item in given):
        return Argument(value)
    return Argument(
        value, lambda variables: [item.value if item.get is None else item.get(variables) for item in given]
    )
