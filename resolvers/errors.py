"""What went wrong, as entries of a GraphQL answer's `errors`.

Every entry has a stable `extensions.code`. What nobody expected is logged under the request's id, which the client gets
too, and is told nothing else.
"""

from typing import Any

import structlog
from graphql import GraphQLError, GraphQLSyntaxError

from domain.errors import CursorExpired, DomainError, InvalidCursor, ValidationFailed
from telemetry_clients.errors import TelemetryError

log = structlog.get_logger("reliability_studio.graphql")

PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
BAD_USER_INPUT = "BAD_USER_INPUT"
INTERNAL = "INTERNAL_SERVER_ERROR"


def request_error(error: GraphQLError) -> dict[str, Any]:
    """The entry for what is wrong with a document, found before anything was executed."""
    code = PARSE_FAILED if isinstance(error, GraphQLSyntaxError) else VALIDATION_FAILED
    return _entry(error, error.message, code)


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
        case DomainError() | TelemetryError():
            return _entry(error, original.message, original.code)
        case None | GraphQLError():
            return _entry(error, error.message, BAD_USER_INPUT)
    log.error("unexpected error", request_id=request_id, path=error.path, exc_info=original)
    message = f"Something went wrong here. Mention {request_id} when you report it."
    return _entry(error, message, INTERNAL, reference=request_id)


def _entry(error: GraphQLError, message: str, code: str, **extensions: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"message": message}
    if error.locations:
        entry["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    if error.path is not None:
        entry["path"] = error.path
    entry["extensions"] = {"code": code, **extensions}
    return entry
