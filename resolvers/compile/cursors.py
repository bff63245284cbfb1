"""Cursors: the place of a row in an order, as opaque text.

A place is the value that the row is sorted by, and the row's tie-breaker.
"""

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from db.columns import enum_labels
from domain.errors import InvalidCursor
from resolvers.compile.sources import Order

_DECIMAL = re.compile(r"-?[0-9]{1,500}(\.[0-9]{1,500})?")
_INTEGER_BITS = {"smallint": 16, "integer": 32, "bigint": 64}


def cursor_sql(order: Order, name: str, value: str, tiebreak: str) -> str:
    """The cursor of a place, given by expressions, in the order called `name`. Null where they are."""
    key = _json_sql(value, order.keys[name].pg_type)
    place = f"""'["{name}",' || {key} || ',' || {_json_sql(tiebreak, order.tiebreak.pg_type)} || ']'"""
    return f"translate(encode(convert_to({place}, 'UTF8'), 'base64'), E'\\n', '')"


def _json_sql(value: str, pg_type: str) -> str:
    match pg_type:
        case "uuid":
            return f"""'"' || ({value})::text || '"'"""
        case "smallint" | "integer" | "bigint":
            return f"({value})::text"
        case "numeric":
            # JSON's numbers would be read as binary floats, which lie beside the decimal that they stand for.
            return f"to_json(({value})::text)::text"
    return f"to_json({value})::text"


def decoder(order: Order, name: str, argument: str) -> Callable[[str], tuple[Any, Any]]:
    """Reads the place that a cursor of the order called `name` stands for. Raises InvalidCursor."""
    read_key, read_tiebreak = _reader(order.keys[name].pg_type), _reader(order.tiebreak.pg_type)

    def decode(cursor: str) -> tuple[Any, Any]:
        try:
            found, key, tiebreak = _items(orjson.loads(base64.b64decode(cursor, validate=True)))
            if found == name:
                return read_key(key), read_tiebreak(tiebreak)
        except (binascii.Error, ValueError, OverflowError) as error:
            raise InvalidCursor(f"`{argument}` is not a cursor of this list", [argument]) from error
        if found in order.keys:
            raise InvalidCursor(f"`{argument}` is a cursor of a list ordered by {found}, not by {name}", [argument])
        raise InvalidCursor(f"`{argument}` is not a cursor of this list", [argument])

    return decode


def _items(place: Any) -> tuple[str, Any, Any]:
    if not isinstance(place, list) or len(place) != 3 or not isinstance(place[0], str):
        raise ValueError("not a place")
    return place[0], place[1], place[2]


def _reader(pg_type: str) -> Callable[[Any], Any]:
    match pg_type:
        case "timestamptz":
            return _time
        case "uuid":
            return lambda value: UUID(_text(value))
        case "smallint" | "integer" | "bigint":
            return _integer(2 ** (_INTEGER_BITS[pg_type] - 1))
        case "double precision":
            return _number
        case "numeric":
            return _decimal
        case "text":
            return _text
    return _label(enum_labels(pg_type))


def _time(value: Any) -> datetime:
    time = datetime.fromisoformat(_text(value))
    if time.tzinfo is None:
        raise ValueError("a time without an offset")
    return time.astimezone(UTC)


def _integer(limit: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int or not -limit <= value < limit:
            raise ValueError("not an integer of this size")
        return value

    return read


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError("not a number")
    return float(value)


def _decimal(value: Any) -> str:
    if not _DECIMAL.fullmatch(_text(value)):
        raise ValueError("not a decimal number")
    return str(value)


def _label(labels: frozenset[str]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if _text(value) not in labels:
            raise ValueError("not one of the enum")
        return str(value)

    return read


def _text(value: Any) -> str:
    if type(value) is not str or "\0" in value:
        raise ValueError("not text")
    return value
