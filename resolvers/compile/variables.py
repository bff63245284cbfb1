"""An operation's variables: accepted at speed, and their shape.

Two requests have the same shape when one statement serves both: the same variables are given or null, and booleans,
enums and the members of input objects, which are written into the statement, are equal. Whatever is not plainly right
is Uncoercible: ordinary execution then finds the words for what is wrong.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    GraphQLSchema,
    OperationDefinitionNode,
    coerce_input_literal,
    type_from_ast,
)

from resolvers.limits.structure import too_many_items

Coercer = Callable[[Any], Any]
Shaper = Callable[[Any], Hashable]
ABSENT = object()


class Uncoercible(Exception):
    """A value that is not plainly of its type."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of an operation. `shape` is None where the value cannot change the statement."""

    name: str
    coerce: Coercer
    is_required: bool
    default: Any
    shape: Shaper | None


class Variables:
    """The variables that an operation declares."""

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode, *, most_items: int) -> None:
        self._variables = []
        for node in operation.variable_definitions or ():
            type_ = cast(GraphQLInputType, type_from_ast(schema, node.type))
            default = coerce_input_literal(node.default_value, type_) if node.default_value else ABSENT
            required = isinstance(type_, GraphQLNonNull) and default is ABSENT
            name = node.variable.name.value
            self._variables.append(Variable(name, _coercer(type_, most_items), required, default, _shaper(type_)))

    def read(self, given: Mapping[str, Any] | None) -> tuple[dict[str, Any], tuple[Hashable, ...]]:
        """The coerced values and their shape. Raises Uncoercible, and LimitExceeded for a list that is too long."""
        given = given or {}
        values: dict[str, Any] = {}
        shape: list[Hashable] = []
        for variable in self._variables:
            value = given.get(variable.name, ABSENT)
            if value is ABSENT:
                if variable.is_required:
                    raise Uncoercible(variable.name)
                value = variable.default
            else:
                value = variable.coerce(value)
            if value is not ABSENT:
                values[variable.name] = value
            if variable.shape is not None:
                shape.append(variable.shape(value))
        return values, tuple(shape)


def _shaper(type_: GraphQLInputType) -> Shaper | None:
    if isinstance(type_, GraphQLNonNull):
        inner = type_.of_type
        return (
            _shaper(inner)
            if inner is GraphQLBoolean or isinstance(inner, GraphQLEnumType | GraphQLInputObjectType)
            else None
        )
    if type_ is GraphQLBoolean or isinstance(type_, GraphQLEnumType):
        return _itself
    if isinstance(type_, GraphQLInputObjectType):
        return _members(type_)
    return _presence


def _itself(value: Any) -> Hashable:
    return None if value is ABSENT else (value,)


def _presence(value: Any) -> Hashable:
    return 0 if value is ABSENT else 1 if value is None else 2


def _members(type_: GraphQLInputObjectType) -> Shaper:
    shapers: dict[str, Shaper] | None = None

    def shape(value: Any) -> Hashable:
        nonlocal shapers
        if value is ABSENT or value is None:
            return _presence(value)
        if shapers is None:
            shapers = {name: _shaper(field.type) or _presence for name, field in type_.fields.items()}
        return tuple([(name, shapers[name](part)) for name, part in value.items()])

    return shape


def _coercer(type_: GraphQLInputType, most_items: int) -> Coercer:
    if isinstance(type_, GraphQLNonNull):
        inner = _coercer(type_.of_type, most_items)

        def required(value: Any) -> Any:
            if value is None:
                raise Uncoercible("null")
            return inner(value)

        return required
    if isinstance(type_, GraphQLList):
        return _list(_coercer(type_.of_type, most_items), most_items)
    if isinstance(type_, GraphQLInputObjectType):
        return _object(type_, most_items)
    return _leaf(type_)


def _list(item: Coercer, most_items: int) -> Coercer:
    def coerce(value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, list):
            return [item(value)]
        if len(value) > most_items:
            raise too_many_items(most_items, len(value))
        return [item(part) for part in value]

    return coerce


def _object(type_: GraphQLInputObjectType, most_items: int) -> Coercer:
    coercers: dict[str, Coercer] | None = None

    def coerce(value: Any) -> Any:
        nonlocal coercers
        if value is None:
            return None
        if coercers is None:
            coercers = {name: _coercer(field.type, most_items) for name, field in type_.fields.items()}
        if not isinstance(value, dict) or not value.keys() <= coercers.keys():
            raise Uncoercible(type_.name)
        if any(isinstance(type_.fields[name].type, GraphQLNonNull) for name in coercers.keys() - value.keys()):
            raise Uncoercible(type_.name)
        return {name: coercer(value[name]) for name, coercer in coercers.items() if name in value}

    return coerce


def _leaf(type_: GraphQLScalarType | GraphQLEnumType) -> Coercer:
    accepts = _PLAIN.get(type_.name)

    def coerce(value: Any) -> Any:
        if value is None or (accepts is not None and accepts(value)):
            return value
        try:
            return type_.coerce_input_value(value)
        except GraphQLError as error:
            raise Uncoercible(type_.name) from error

    return coerce


_PLAIN: dict[str, Callable[[Any], bool]] = {
    "ID": lambda value: type(value) is str,
    "String": lambda value: type(value) is str,
    "Boolean": lambda value: type(value) is bool,
    "Int": lambda value: type(value) is int and -(2**31) <= value < 2**31,
}
