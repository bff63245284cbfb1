"""Plain values as finished JSON, where executing them field by field would cost more than fetching them.

A range of metrics holds tens of thousands of points, each an object of two fields. A resolver that returns `Plain`
has its selection written at once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import repeat
from typing import Any, Protocol

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

from telemetry_clients.prometheus.samples import Points

Writer = Callable[[Any], Any]

_BACKREF = "strawberry-definition"
_TYPENAME = "__typename"
# Beyond this many distinct times the memory is given back: a selection over all of history must not keep it.
_MOST_TIMES = 50_000


@dataclass(frozen=True, slots=True)
class Plain:
    """A value of dataclasses, lists, texts and numbers only, whose fields are its attributes and fail never."""

    value: Any


class Collecting(Protocol):
    """What an executor knows of a selection."""

    def collect_subfields(self, return_type: GraphQLObjectType, details: list[FieldDetails], /) -> CollectedFields:
        """The fields that are selected of an object, by response key."""
        ...


class Deferred(Exception):
    """A part of the selection is to come later: it has to be executed field by field."""


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
        self._members = members
        parts = [f'"{key}":' + (f'"{type_name}"' if write is None else "%s") for key, _, write in members]
        self._template = "{" + ",".join(parts) + "}"
        self._times: dict[float, str] = {}
        self._last_seconds: Sequence[float] = ()
        self._last_times: Sequence[str] = ()
        times = [write for _, attribute, write in members if attribute == "time" and write is not None]
        self._write_time = times[0] if times else str

    def write(self, points: Points) -> orjson.Fragment:
        columns = [self._column(attribute, points) for _, attribute, write in self._members if write is not None]
        rows = zip(*columns, strict=True) if columns else repeat((), len(points))
        return orjson.Fragment("[" + ",".join(map(self._template.__mod__, rows)) + "]")

    def _column(self, attribute: str, points: Points) -> Sequence[str]:
        if attribute == "value":
            return orjson.dumps(points.values)[1:-1].decode().split(",") if len(points) else ()
        if points.seconds != self._last_seconds:  # All series of one range mostly have the same times.
            self._last_seconds = points.seconds
            self._last_times = [self._times.get(seconds) or self._time(seconds) for seconds in points.seconds]
        return self._last_times

    def _time(self, seconds: float) -> str:
        """A time as the schema writes it. Series of one range share their times."""
        if len(self._times) >= _MOST_TIMES:
            self._times.clear()
        text = self._times[seconds] = orjson.dumps(self._write_time(datetime.fromtimestamp(seconds, UTC))).decode()
        return text


def _member(executor: Collecting, type_: GraphQLObjectType, details: list[FieldDetails]) -> tuple[str, Writer | None]:
    name = details[0].node.name.value
    if name == _TYPENAME:
        return name, None
    field = type_.fields[name]
    declaration = field.extensions.get(_BACKREF)
    attribute = declaration.python_name if isinstance(declaration, StrawberryField) else name
    return attribute, writer_of(executor, field.type, details)


def _as_it_is(value: Any) -> Any:
    return value
