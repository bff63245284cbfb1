"""Which HTTP status tells a caller of which error. The one place for it."""

from math import ceil
from typing import Final

import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.http.answer import JSON_TYPE, Answer
from app.observability.logs import request_id
from domain.errors import (
    Conflict,
    CursorExpired,
    DatabaseUnavailable,
    DeadlineExceeded,
    DocumentNotTrusted,
    DomainError,
    Forbidden,
    IdempotencyKeyReused,
    InvalidCursor,
    IssuerUnavailable,
    LimitExceeded,
    NotFound,
    TooManyRequests,
    Unauthenticated,
    ValidationFailed,
)
from domain.redaction import redact

STATUSES: Final[dict[type[DomainError], int]] = {
    ValidationFailed: 400,
    InvalidCursor: 400,
    LimitExceeded: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    DocumentNotTrusted: 403,
    NotFound: 404,
    Conflict: 409,
    CursorExpired: 410,
    IdempotencyKeyReused: 422,  # as the draft of the Idempotency-Key header has it (draft-ietf-httpapi-idempotency-key)
    TooManyRequests: 429,
    DatabaseUnavailable: 503,
    IssuerUnavailable: 503,
    DeadlineExceeded: 504,
}

_CHALLENGE: Final = b'Bearer realm="Reliability Studio"'

log = structlog.get_logger()


def status_of(error: DomainError) -> int:
    """The HTTP status for an error that a caller can be told."""
    return next(status for kind in type(error).__mro__ if (status := STATUSES.get(kind)))


async def answer_domain_error(_request: Request, error: Exception) -> Response:
    """An error that a caller can be told, in its own words."""
    assert isinstance(error, DomainError)  # noqa: S101 # Starlette's handlers are typed for any exception
    if isinstance(error, Unauthenticated):
        answer = refusal(error)
        return Response(answer.body, answer.status, {name.decode(): value.decode() for name, value in answer.headers})
    headers = {name.decode(): value.decode() for name, value in headers_of(error)}
    return JSONResponse({"error": error.message}, status_of(error), headers)


def headers_of(error: DomainError) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that belong to an error's status: how to prove who one is, or when to come back."""
    match error:
        case Unauthenticated():
            return (challenge(error),)
        case DatabaseUnavailable() | IssuerUnavailable():
            return ((b"retry-after", b"1"),)
        case TooManyRequests():
            return ((b"retry-after", b"%d" % whole_seconds(error.retry_after_seconds)),)
    return ()


def whole_seconds(seconds: float) -> int:
    """Seconds as the header Retry-After has them: at least one."""
    return max(1, ceil(seconds))


def challenge(error: Unauthenticated) -> tuple[bytes, bytes]:
    """The header that says how to prove who one is (RFC 6750, section 3)."""
    if not error.is_token_wrong:
        return (b"www-authenticate", _CHALLENGE)
    description = error.message.replace('"', "'").encode("ascii", "replace")
    return (b"www-authenticate", _CHALLENGE + b', error="invalid_token", error_description="%b"' % description)


def refusal(error: DomainError) -> Answer:
    """The answer outside GraphQL to a request that went no further than to the question who asks."""
    body: dict[str, str] = {"error": error.message, "code": error.code}
    return Answer(status_of(error), (JSON_TYPE, *headers_of(error)), orjson.dumps(body))


async def answer_http_error(request: Request, error: Exception) -> Response:
    """What the router refuses: an unknown path, a method that a path does not have."""
    assert isinstance(error, HTTPException)  # noqa: S101 # Starlette's handlers are typed for any exception
    headers = dict(error.headers or {})
    message = error.detail
    if error.status_code == 404:
        message = f"There is nothing at {redact(request.url.path)}"
    elif error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(headers.get("Allow", "").split(", ")))
        message = f"{request.method} is not possible at {request.url.path}. Possible: {headers['Allow']}"
    return JSONResponse({"error": message}, error.status_code, headers)


async def answer_unexpected(_request: Request, _error: Exception) -> Response:
    """What nobody foresaw: masked, with the reference under which the log tells more."""
    return JSONResponse({"error": unexpected()}, 500)


def unexpected() -> str:
    """What is said of what nobody foresaw."""
    return f"Something went wrong here. Mention {request_id.get()} when you report it."
