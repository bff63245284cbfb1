"""Scalars beyond the specification's own."""

from datetime import UTC, datetime
from typing import Any, NewType
from urllib.parse import urlsplit

import strawberry
from graphql import GraphQLError, Undefined, ValueNode, value_from_ast_untyped
from strawberry.schema.config import StrawberryConfig

DateTime = NewType("DateTime", datetime)
JSON = NewType("JSON", object)
URL = NewType("URL", str)


def parse_time(value: Any) -> datetime:
    """A point in time that a client wrote, in UTC. Without an offset it would mean another moment to everybody."""
    if not isinstance(value, str):
        raise GraphQLError(f"DateTime must be a string as in RFC 3339, not {value!r}")
    try:
        time = datetime.fromisoformat(value)
    except ValueError as error:
        raise GraphQLError(f"DateTime {value!r} is not a time as in RFC 3339, such as 2026-11-23T14:46:00Z") from error
    if time.tzinfo is None:
        raise GraphQLError(f"DateTime {value!r} has no offset: write Z for UTC, or an offset such as +01:00")
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise GraphQLError(f"DateTime {value!r} is out of range") from error


def write_time(value: Any) -> str:
    """A time as Postgres writes it in JSON, in UTC; one that came from there is passed on."""
    if isinstance(value, str):
        return value
    text: str = value.astimezone(UTC).isoformat()
    head, dot, fraction = text.removesuffix("+00:00").partition(".")
    return head + (dot + fraction).rstrip("0").rstrip(".") + "+00:00"


def parse_url(value: Any) -> str:
    """A link to somewhere on the web."""
    if not isinstance(value, str):
        raise GraphQLError(f"URL must be a string, not {value!r}")
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise GraphQLError(f"URL {value!r} cannot be read: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise GraphQLError(f"URL {value!r} must begin with http:// or https:// and name a host")
    return value


def _same(value: Any) -> Any:
    return value


def _literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
    return _without_missing(value_from_ast_untyped(node, variables))


def _without_missing(value: Any) -> Any:
    """As in input objects and lists: a variable that was not given leaves its member out, and its item null."""
    if isinstance(value, dict):
        return {name: _without_missing(part) for name, part in value.items() if part is not Undefined}
    if isinstance(value, list):
        return [_without_missing(item) for item in value]
    return None if value is Undefined else value


CONFIG = StrawberryConfig(
    scalar_map={
        DateTime: strawberry.scalar(
            name="DateTime",
            description="A point in time as in RFC 3339, in UTC. Input without an offset is refused.",
            specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
            serialize=write_time,
            parse_value=parse_time,
        ),
        JSON: strawberry.scalar(
            name="JSON",
            description="Any JSON value.",
            specified_by_url="https://www.rfc-editor.org/rfc/rfc8259",
            serialize=_same,
            parse_value=_same,
            parse_literal=_literal,
        ),
        URL: strawberry.scalar(
            name="URL",
            description="A link that begins with http:// or https://.",
            specified_by_url="https://www.rfc-editor.org/rfc/rfc3986",
            serialize=str,
            parse_value=parse_url,
        ),
    }
)
