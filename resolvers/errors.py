"""What went wrong, as entries of a GraphQL answer's `errors`.

Every entry has a stable `extensions.code`. What nobody expected is logged under the request's id, which the client gets
too, and is told nothing else.
"""

from collections.abc import Iterable
from typing import Any

import structlog
from graphql import GraphQLError, GraphQLSyntaxError

from domain.errors import (
    CursorExpired,
    DomainError,
    InvalidCursor,
    LimitExceeded,
    TooManyRequests,
    ValidationFailed,
)
from domain.redaction import redact
from resolvers.context import Remark
from telemetry_clients.errors import TelemetryBadQuery, TelemetryError

log = structlog.get_logger("reliability_studio.graphql")

PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
BAD_USER_INPUT = "BAD_USER_INPUT"
INTERNAL = "INTERNAL_SERVER_ERROR"

_MOST_WARNINGS = 100


def request_error(error: GraphQLError) -> dict[str, Any]:
    """The entry for what is wrong with a document, found before anything was executed."""
    if isinstance(error.original_error, DomainError):
        return field_error(error, "")
    code = PARSE_FAILED if isinstance(error, GraphQLSyntaxError) else VALIDATION_FAILED
    return _entry(error, error.message, code)


def refusal(error: DomainError) -> dict[str, Any]:
    """The entry for an operation that is not executed at all."""
    return field_error(GraphQLError(error.message, original_error=error), "")


def field_error(error: GraphQLError, request_id: str) -> dict[str, Any]:
    """The entry for what went wrong with a field."""
    original = error.original_error
    while isinstance(original, GraphQLError) and original.original_error is not None:
        original = original.original_error
    match original:
        case ValidationFailed() | InvalidCursor():
            return _entry(error, original.message, original.code, argumentPath=list(original.path))
        case CursorExpired():
            return _entry(error, original.message, original.code, oldestCursor=original.oldest_cursor)
        case LimitExceeded():
            requested = {} if original.requested is None else {"requested": original.requested}
            extensions = {"limit": original.limit, "allowed": original.allowed, **requested}
            return _entry(error, original.message, original.code, **extensions)
        case TooManyRequests():
            seconds = round(original.retry_after_seconds, 3)
            extensions = {"limit": original.limit, "retryAfterSeconds": seconds}
            return _entry(error, original.message, original.code, **extensions)
        case TelemetryBadQuery(line=int(line), column=int(column)):
            return _entry(error, redact(original.message), original.code, position={"line": line, "column": column})
        case TelemetryError():
            return _entry(error, redact(original.message), original.code)  # It may hold the backend's own words.
        case DomainError():
            return _entry(error, original.message, original.code)
        case None | GraphQLError():
            return _entry(error, error.message, BAD_USER_INPUT)
    log.error("unexpected error", request_id=request_id, path=error.path, exc_info=original)
    message = f"Something went wrong here. Mention {request_id} when you report it."
    return _entry(error, message, INTERNAL, reference=request_id)


def warnings(remarks: Iterable[Remark]) -> list[dict[str, Any]]:
    """What backends remarked about fields, for `extensions.warnings`: as many as somebody will read."""
    ordered = sorted(remarks, key=lambda remark: ([*map(str, remark.path)], remark.backend, remark.message))
    return [
        {
            "path": [*remark.path],
            "backend": remark.backend,
            "message": redact(remark.message),
            **({} if remark.code is None else {"code": remark.code}),
        }
        for remark in ordered[:_MOST_WARNINGS]
    ]


def _entry(error: GraphQLError, message: str, code: str, **extensions: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"message": message}
    if error.locations:
        entry["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    if error.path is not None:
        entry["path"] = error.path
    entry["extensions"] = {"code": code, **extensions}
    return entry
