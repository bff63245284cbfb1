"""What REST requests bring along: a JSON object, parameters of the URL."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request

from app.http.body import BodyTooLarge, read_body
from app.http.negotiation import is_json
from domain import text
from domain.access import Actor
from domain.errors import NotFound, ValidationFailed
from domain.references import parse_id
from domain.text import Choice

LARGEST_PAGE = 200
USUAL_PAGE = 50

_DIGITS = re.compile(r"[0-9]{1,9}")

Value = TypeVar("Value")


class Page(NamedTuple):
    """Which part of a list is wanted."""

    limit: int
    offset: int


async def json_object(request: Request, *, most_bytes: int) -> dict[str, Any]:
    """The body. Raises ValidationFailed, and HTTPException with 413 or 415."""
    if not is_json(request.headers.get("content-type", "").encode("latin-1")):
        raise HTTPException(415, "The body must be JSON: send the header Content-Type: application/json")
    body = await body_of(request, most_bytes=most_bytes)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValidationFailed("The body is empty" if not body else f"The body is not JSON: {error.msg}") from error
    if not isinstance(value, dict):
        raise ValidationFailed("The body must be a JSON object")
    return value


async def body_of(request: Request, *, most_bytes: int) -> bytes:
    """The body as it came. Raises HTTPException with 413 or 415."""
    headers = request.headers
    if headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "The body must be sent without a content encoding")
    declared = headers.get("content-length")
    try:
        return await read_body(
            request.receive, declared_length=declared.encode("latin-1") if declared else None, most_bytes=most_bytes
        )
    except BodyTooLarge as error:
        message = f"The body has more than the {most_bytes} bytes that are allowed"
        raise HTTPException(413, message) from error


def actor_of(request: Request) -> Actor:
    """Who asks, as the edge has found out."""
    actor: Actor = request.scope["actor"]
    return actor


def only(body: Mapping[str, Any], allowed: frozenset[str]) -> None:
    """Raises ValidationFailed for a key that would be ignored."""
    if unknown := sorted(body.keys() - allowed):
        raise ValidationFailed(f"Unknown field {unknown[0][:100]!r}. There are: {', '.join(sorted(allowed))}")


def path_id(request: Request, noun: str) -> UUID:
    """The id in the URL. What is no id is the id of nothing: raises NotFound."""
    given = request.path_params["id"]
    id = parse_id(given)
    if id is None:
        raise NotFound(noun, f"{given:.100}")
    return id


def page(request: Request) -> Page:
    """`limit` (1 to LARGEST_PAGE) and `offset`. Raises ValidationFailed."""
    return Page(
        _number(request, "limit", USUAL_PAGE, 1, LARGEST_PAGE),
        _number(request, "offset", 0, 0, 999_999_999),
    )


def choices(request: Request, name: str, members: type[Choice], label: str) -> tuple[Choice, ...]:
    """The members that a parameter names, separated by commas; none for all. Raises ValidationFailed."""
    given = request.query_params.get(name, "")
    return tuple(text.choice(members, part, label, name) for part in given.split(",") if part.strip())


def time(value: object, label: str) -> datetime | None:
    """A time in RFC 3339. Raises ValidationFailed."""
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValidationFailed(f"{label} must be a time like 2026-03-14T09:26:53Z") from error


def _number(request: Request, name: str, default: int, least: int, most: int) -> int:
    given = request.query_params.get(name, "").strip()
    if not given:
        return default
    if not _DIGITS.fullmatch(given) or not least <= int(given) <= most:
        raise ValidationFailed(f"{name} must be a whole number from {least} to {most}", (name,))
    return int(given)
