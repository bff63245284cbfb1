"""Values bound to a statement: never written into it."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from domain.errors import ValidationFailed
from resolvers.compile.arguments import Argument


class Bindings(NamedTuple):
    """What the values of a statement are taken from, once per request."""

    variables: Mapping[str, Any]
    now: datetime
    source: Any = None


class EventPlaces(NamedTuple):
    """The source of statements that render events: where each stands, its cursor, and that of the one before it."""

    positions: Sequence[int]
    cursors: Sequence[str]
    previous: Sequence[str | None]


Getter = Callable[[Bindings], Any]
_PLACEHOLDER = re.compile(r"\$(\d+)")


class Parameters:
    """The values of one statement, numbered as they are bound."""

    def __init__(self) -> None:
        self.getters: list[Getter] = []
        self._now: str | None = None

    def bind(self, argument: Argument, pg_type: str) -> str:
        """The placeholder of an argument that is bound as `pg_type`."""
        convert = _converter(pg_type)
        if argument.get is None:
            value = convert(argument.value)
            return self.bind_getter(lambda _: value, pg_type)
        get = argument.get
        return self.bind_getter(lambda bindings: convert(get(bindings.variables)), pg_type)

    def bind_converted(self, argument: Argument, convert: Callable[[Any], Any], pg_type: str) -> str:
        """The placeholder of what `convert` makes of an argument."""
        if argument.get is None:
            value = convert(argument.value)
            return self.bind_getter(lambda _: value, pg_type)
        get = argument.get
        return self.bind_getter(lambda bindings: convert(get(bindings.variables)), pg_type)

    def bind_getter(self, getter: Getter, pg_type: str) -> str:
        """The placeholder of whatever `getter` takes from the bindings."""
        self.getters.append(getter)
        return f"${len(self.getters)}{_cast(pg_type)}"

    @property
    def now(self) -> str:
        """The placeholder of the request's time."""
        if self._now is None:
            self._now = self.bind_getter(lambda bindings: bindings.now, "timestamptz")
        return self._now

    def finish(self, sql: str) -> tuple[str, tuple[Getter, ...], tuple[Getter, ...]]:
        """The SQL with the placeholders that it uses numbered anew, their getters, and those of all others.

        The others were bound for something that the selection did not ask for, and still say when a value is wrong.
        """
        found = dict.fromkeys(int(number) for number in _PLACEHOLDER.findall(sql))
        used = {number: position for position, number in enumerate(found, start=1)}
        renumbered = _PLACEHOLDER.sub(lambda found: f"${used[int(found[1])]}", sql)
        getters = tuple(self.getters[number - 1] for number in used)
        unused = tuple(getter for number, getter in enumerate(self.getters, start=1) if number not in used)
        return renumbered, getters, unused


def identifier(value: Any) -> UUID | None:
    """The UUID that a client wrote, or None for what is none: no row has such an id."""
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        return None


def text(value: Any) -> Any:
    """Text that Postgres can hold. Raises ValidationFailed for NUL characters and lone surrogates."""
    if isinstance(value, str) and ("\0" in value or not _is_unicode(value)):
        raise ValidationFailed("Text may hold neither NUL characters nor lone surrogates")
    return value


def _is_unicode(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _json(value: Any) -> Any:
    if value is None:
        return None
    try:
        written = orjson.dumps(value).decode()
        if "\\u0000" in written:
            _refuse_nul(value)
    except TypeError as error:
        raise ValidationFailed(_UNWRITABLE) from error
    return written


_UNWRITABLE = "JSON may hold neither lone surrogates nor integers beyond 64 bits, and nest 250 levels at most"


def _refuse_nul(value: Any) -> None:
    """Postgres' jsonb holds every character but one."""
    if isinstance(value, dict):
        for name, part in value.items():
            text(name)
            _refuse_nul(part)
    elif isinstance(value, list):
        for item in value:
            _refuse_nul(item)
    else:
        text(value)


def _same(value: Any) -> Any:
    return value


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "uuid": identifier,
    "text": text,
    "jsonb": _json,
    "timestamptz": _same,
    "integer": _same,
    "bigint": _same,
    "double precision": _same,
    "boolean": _same,
}
"""How the values of the types that the driver is given as they are become Python's; others go in as text."""


def _converter(pg_type: str) -> Callable[[Any], Any]:
    element = pg_type.removesuffix("[]")
    convert = _CONVERTERS.get(element, text)
    if element == pg_type:
        return convert
    return lambda value: None if value is None else [convert(item) for item in value]


def _cast(pg_type: str) -> str:
    """Enums go in as text, because the driver would have to look their types up; so do JSON and decimals."""
    element = pg_type.removesuffix("[]")
    if element in _CONVERTERS and element != "jsonb":
        return f"::{pg_type}"
    return f"::text{pg_type[len(element) :]}::{pg_type}"
