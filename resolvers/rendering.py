"""Plain values as finished JSON, where executing them field by field would cost more than fetching them.

A range of metrics holds tens of thousands of points, each an object of two fields. A resolver that returns `Plain`
has its selection written at once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar, cast

import orjson
from graphql import (
    GraphQLEnumType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    specified_scalar_types,
)
from graphql.execution.collect_fields import CollectedFields, FieldDetails
from strawberry.types.field import StrawberryField

from resolvers.compile.declarations import DECLARATION
from telemetry_clients.prometheus.samples import Points

T = TypeVar("T")
Writer = Callable[[Any], Any]

_TYPENAME = "__typename"
# Beyond this many distinct times the memory is given back: a selection over all of history must not keep it.
_MOST_TIMES = 50_000


@dataclass(frozen=True, slots=True)
class Plain:
    """A value of dataclasses, lists, texts and numbers only, whose fields are its attributes and fail never."""

    value: Any


def plain(value: T) -> T:
    """A value that is written at once, as what a resolver says that it returns."""
    return cast("T", Plain(value))


class Collecting(Protocol):
    """What an executor knows of a selection."""

    def collect_subfields(self, return_type: GraphQLObjectType, details: list[FieldDetails], /) -> CollectedFields:
        """The fields that are selected of an object, by response key."""
        ...


GUARDED: Final = "guarded"
"""Marks a field that not everybody may see, among its extensions."""


class Deferred(Exception):
    """A part of the selection is to come later, or is not for everybody: it has to be executed field by field."""


def writer_of(executor: Collecting, type_: GraphQLOutputType, details: list[FieldDetails]) -> Writer:
    """What writes values of a type as the selection wants them: into something that orjson can dump.

    Raises Deferred.
    """
    match type_:
        case GraphQLNonNull():
            return writer_of(executor, type_.of_type, details)
        case GraphQLList():
            item = writer_of(executor, type_.of_type, details)
            return lambda values: item.all(values) if isinstance(item, _Objects) else [item(value) for value in values]
        case GraphQLObjectType():
            return _Objects(executor, type_, details)
        case GraphQLScalarType() if type_.name in specified_scalar_types:
            return _as_it_is
        case GraphQLScalarType() | GraphQLEnumType():
            serialize = type_.serialize
            return lambda value: None if value is None else serialize(value)
    raise TypeError(f"{type_} depends on what its values are")


class _Objects:
    """Writes objects of one type."""

    def __init__(self, executor: Collecting, type_: GraphQLObjectType, details: list[FieldDetails]) -> None:
        collected = executor.collect_subfields(type_, details)
        if collected.new_defer_usages:
            raise Deferred
        self._type_name = type_.name
        self._members = [(key, *_member(executor, type_, found)) for key, found in collected.grouped_field_set.items()]
        self._points = _PointsWriter(self._type_name, self._members)

    def __call__(self, value: Any) -> Mapping[str, Any] | None:
        if value is None:
            return None
        return {
            key: self._type_name if write is None else write(getattr(value, attribute))
            for key, attribute, write in self._members
        }

    def all(self, values: Sequence[Any] | None) -> Any:
        """A list of them."""
        if isinstance(values, Points):
            return self._points.write(values)
        return None if values is None else list(map(self, values))


class _PointsWriter:
    """Writes points: from two columns to text, without an object for each."""

    def __init__(self, type_name: str, members: Sequence[tuple[str, str, Writer | None]]) -> None:
        self._type_name = type_name
        self._members = members
        self._values_per_point = sum(attribute == "value" and write is not None for _, attribute, write in members)
        self._points: dict[float, str] = {}
        self._last_seconds: Sequence[float] = ()
        self._last_template = "[]"

    def write(self, points: Points) -> orjson.Fragment:
        if points.seconds != self._last_seconds:  # All series of one range mostly have the same times.
            self._last_seconds = points.seconds
            found = [self._points.get(seconds) or self._point(seconds) for seconds in points.seconds]
            self._last_template = "[" + ",".join(found) + "]"
        values = points.texts if points.texts is not None else _texts(points.values)
        if self._values_per_point != 1:
            values = [value for value in values for _ in range(self._values_per_point)]
        return orjson.Fragment(self._last_template % tuple(values))

    def _point(self, seconds: float) -> str:
        """A point of this time, with a place for its value. Series of one range share their times."""
        if len(self._points) >= _MOST_TIMES:
            self._points.clear()
        parts = []
        for key, attribute, write in self._members:
            text = "%s"
            if write is None:
                text = f'"{self._type_name}"'
            elif attribute == "time":
                text = orjson.dumps(write(datetime.fromtimestamp(seconds, UTC))).decode()
            parts.append(f'"{key}":{text}')
        point = self._points[seconds] = "{" + ",".join(parts) + "}"
        return point


def _member(executor: Collecting, type_: GraphQLObjectType, details: list[FieldDetails]) -> tuple[str, Writer | None]:
    name = details[0].node.name.value
    if name == _TYPENAME:
        return name, None
    field = type_.fields[name]
    if GUARDED in field.extensions:
        raise Deferred
    declaration = field.extensions.get(DECLARATION)
    attribute = declaration.python_name if isinstance(declaration, StrawberryField) else name
    return attribute, writer_of(executor, field.type, details)


def _texts(values: Sequence[float | None]) -> Sequence[str]:
    return orjson.dumps(values)[1:-1].decode().split(",") if values else ()


def _as_it_is(value: Any) -> Any:
    return value
