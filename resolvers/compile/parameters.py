"""Values bound to a statement: never written into it."""

import re
from collections.abc import Callable, Mapping
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
        return f"${len(self.getters)}{_CASTS.get(pg_type) or _cast(pg_type)}"

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


def _texts(value: Any) -> Any:
    return None if value is None else [text(item) for item in value]


def _identifiers(value: Any) -> Any:
    return None if value is None else [identifier(item) for item in value]


def _json(value: Any) -> Any:
    if value is None:
        return None
    try:
        return text(orjson.dumps(value).decode())
    except TypeError as error:
        raise ValidationFailed("Text may hold neither NUL characters nor lone surrogates") from error


def _same(value: Any) -> Any:
    return value


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "uuid": identifier,
    "uuid[]": _identifiers,
    "bigint[]": lambda value: value,
    "text": text,
    "jsonb": _json,
    "timestamptz": _same,
    "integer": _same,
    "bigint": _same,
    "double precision": _same,
    "numeric": _same,
    "boolean": _same,
}
_CASTS = {"jsonb": "::text::jsonb", "text": "::text", "numeric": "::text::numeric"}


def _converter(pg_type: str) -> Callable[[Any], Any]:
    return _CONVERTERS.get(pg_type) or (_texts if pg_type.endswith("[]") else text)


def _cast(pg_type: str) -> str:
    """Enums go in as text, because the driver would have to look their types up."""
    if pg_type in _CONVERTERS or pg_type == "text[]":
        return f"::{pg_type}"
    return f"::text[]::{pg_type}" if pg_type.endswith("[]") else f"::text::{pg_type}"
