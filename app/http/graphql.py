"""GraphQL over HTTP: from a request at the ASGI edge to an answer, without a framework in between.

The status codes follow one of two texts (setting GRAPHQL_HTTP_PROFILE). `default` is what clients of today expect and
what the audits of npm's graphql-http check: a request that GraphQL refuses is 200 for clients that want
`application/json` and 400 for `application/graphql-response+json`. `draft` is the text of August 2026: 422 for what is
readable and wrong, 294 for an answer with data and errors, the same for both media types.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPMethod
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
import structlog
from starlette.types import Receive, Scope

from app.http.answer import CLOSE, GRAPHQL_RESPONSE_TYPE, Answer
from app.http.body import BodyTooLarge, ClientGone, read_body
from app.http.cors import PREFLIGHT_HEADER, AllowedOrigins
from app.http.errors import headers_of, status_of, whole_seconds
from app.http.negotiation import GRAPHQL_RESPONSE, incremental_form, is_json, response_type
from app.http.security_headers import UNCACHED
from app.http.time_limit import TimeLimit
from domain.access import Actor
from domain.errors import DeadlineExceeded, DomainError, Unauthenticated
from domain.time import Deadline
from resolvers.context import RequestContext
from resolvers.errors import INTERNAL, PARSE_FAILED
from resolvers.incremental import IncrementalAnswer
from resolvers.operations import OperationAnswer, OperationNotAllowed, OperationRequest, Operations

PATH: Final = "/graphql"
METHODS: Final = b"GET, HEAD, POST, OPTIONS"

_JSON_TYPE = (b"content-type", b"application/json; charset=utf-8")
_ALLOW = (b"allow", METHODS)
_POST_ONLY = (b"allow", b"POST")
_QUERIES = frozenset({"query"})
_QUERIES_AND_MUTATIONS = frozenset({"query", "mutation"})

_MOST_QUERY_STRING_BYTES = 32_768
MOST_DEPTH = 64
_MOST_PARAMETERS = 100
_SIMPLE = (
    "A request without a body needs a header that pages of other origins cannot send unasked: "
    f"add {PREFLIGHT_HEADER}: 1, or use POST"
)
_PARAMETERS = frozenset({"query", "documentId", "operationName", "variables", "extensions"})
ContextFactory = Callable[[Actor, str, Deadline], RequestContext]
Identify = Callable[[Scope, Mapping[bytes, bytes]], Awaitable[Actor]]

log = structlog.get_logger()


class Refused(Exception):
    """The request gets no execution, because of its form. `draft_status` where the draft has a status of its own."""

    def __init__(
        self, status: int, code: str, message: str, *headers: tuple[bytes, bytes], draft_status: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.draft_status = draft_status or status
        self.code = code
        self.message = message
        self.headers = headers


class GraphQLEndpoint:
    """Answers requests to the endpoint. One object serves them all.

    An operation is given a deadline in `timeout_seconds`, and knows best which of its fields came too late.
    `time_limit` is for what does not listen to that.
    """

    def __init__(
        self,
        operations: Operations,
        make_context: ContextFactory,
        identify: Identify,
        *,
        origins: AllowedOrigins,
        is_draft: bool,
        timeout_seconds: float,
        time_limit: TimeLimit,
        most_body_bytes: int,
    ) -> None:
        self._operations = operations
        self._make_context = make_context
        self._identify = identify
        self._origins = origins
        self._is_draft = is_draft
        self._timeout_seconds = timeout_seconds
        self._time_limit = time_limit
        self._most_body_bytes = most_body_bytes

    async def answer(
        self,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        request_id: str,
        operation: OperationRequest | None = None,
        actor: Actor | None = None,
    ) -> tuple[Answer | IncrementalAnswer, str | None]:
        """The answer to a request, and the type of its operation where one was found. Raises ClientGone.

        `operation` is what the request asks for, and `actor` who asks, where that is known already.
        """
        wanted = response_type(headers.get(b"accept"))
        try:
            if wanted is None:
                raise Refused(
                    406,
                    "NOT_ACCEPTABLE",
                    "Accept application/graphql-response+json or application/json: there is nothing else to get",
                )
            return await self._execute(scope, headers, receive, request_id, wanted, operation, actor)
        except Refused as refused:
            return self.refusal(refused, wanted), None

    async def read(self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive) -> OperationRequest:
        """What a request asks for. Raises Refused and ClientGone."""
        if scope["method"] == "POST":
            return await self._posted(headers, receive)
        if scope["method"] in ("GET", "HEAD"):
            if not self._origins.may_ask_unasked(headers):
                raise Refused(403, "PREFLIGHT_REQUIRED", _SIMPLE)
            return _from_query_string(scope["query_string"])
        raise Refused(405, "METHOD_NOT_ALLOWED", f"{_method(scope)} is not a way to ask: use POST, or GET", _ALLOW)

    def refusal(self, refused: Refused, wanted: str | None) -> Answer:
        """The answer to a request that is wrong in its form, in the media type that the client wants, if any."""
        status = refused.draft_status if self._is_draft else refused.status
        return self._refusal(status, wanted, refused.code, refused.message, *refused.headers)

    def completed(self, result: OperationAnswer, wanted: str) -> Answer:
        """What came of an operation, with the status and in the media type that the client is to get."""
        content_type = GRAPHQL_RESPONSE_TYPE if wanted is GRAPHQL_RESPONSE else _JSON_TYPE
        if result.retry_after_seconds is not None:
            retry_after = (b"retry-after", b"%d" % whole_seconds(result.retry_after_seconds))
            return Answer(429, (content_type, retry_after, UNCACHED), result.body)
        if result.executed:
            status = 294 if result.has_errors and self._is_draft else 200
        elif self._is_draft:
            # Only a 2xx may be called plain JSON there: a client could not tell it from the answer of a proxy.
            status, content_type = 400 if _is_unreadable(result.body) else 422, GRAPHQL_RESPONSE_TYPE
        else:
            status = 400 if wanted is GRAPHQL_RESPONSE else 200
        return Answer(status, (content_type, UNCACHED), result.body)

    async def _execute(
        self,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        request_id: str,
        wanted: str,
        operation: OperationRequest | None,
        actor: Actor | None,
    ) -> tuple[Answer | IncrementalAnswer, str | None]:
        deadline = Deadline.after(self._timeout_seconds)
        watch = self._time_limit.start()
        try:
            actor = actor or await self._identify(scope, headers)
            operation = operation or await self.read(scope, headers, receive)
            allowed = _QUERIES_AND_MUTATIONS if scope["method"] == "POST" else _QUERIES
            context = self._make_context(actor, request_id, deadline)
            form = None if scope["method"] == "HEAD" else incremental_form(headers.get(b"accept"))
            if form is None:
                result: OperationAnswer | IncrementalAnswer = await self._operations.execute(
                    operation, context, allowed=allowed
                )
            else:
                result = await self._operations.execute_in_parts(operation, context, form, allowed=allowed)
        except (Refused, ClientGone):
            raise
        except (Exception, asyncio.CancelledError) as error:
            if watch.is_over and operation is None:
                raise too_slow(self._timeout_seconds) from error
            if watch.is_over or isinstance(error, DeadlineExceeded):
                return self._late(wanted), None
            return self._failed(error, scope["method"], request_id, wanted), None
        finally:
            self._time_limit.end(watch)
        if isinstance(result, IncrementalAnswer):
            return result, result.operation
        return self.completed(result, wanted), result.operation

    async def _posted(self, headers: Mapping[bytes, bytes], receive: Receive) -> OperationRequest:
        content_type = headers.get(b"content-type")
        if content_type is None or not is_json(content_type):
            given = "none" if content_type is None else repr(content_type.decode("latin-1")[:100])
            raise Refused(
                415,
                "UNSUPPORTED_MEDIA_TYPE",
                f"The content type must be application/json in UTF-8; the request has {given}",
            )
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", "The body must be sent without a content encoding")
        try:
            body = await read_body(
                receive, declared_length=headers.get(b"content-length"), most_bytes=self._most_body_bytes
            )
        except BodyTooLarge as error:
            raise Refused(
                413,
                "PAYLOAD_TOO_LARGE",
                f"The body has more than the {self._most_body_bytes} bytes that are allowed",
            ) from error
        return parse_body(body)

    def _failed(self, error: BaseException, method: str, request_id: str, wanted: str) -> Answer:
        """The answer to what came out of the execution instead of one. Raises Refused, or a cancellation again."""
        match error:
            case OperationNotAllowed():
                raise not_allowed(error.operation, method) from error
            case RecursionError():
                raise _malformed("The document is nested too deeply to be read") from error
            case Unauthenticated():
                raise unauthenticated(error) from error
            case DomainError():
                return self._refusal(status_of(error), wanted, error.code, error.message, *headers_of(error))
            case Exception():
                log.exception("an operation failed unexpectedly", exc_info=error)
                message = f"Something went wrong here. Mention {request_id} when you report it."
                return self._refusal(500, wanted, INTERNAL, message, reference=request_id)
        raise error

    def _refusal(
        self, status: int, wanted: str | None, code: str, message: str, *headers: tuple[bytes, bytes], **details: str
    ) -> Answer:
        content_type = GRAPHQL_RESPONSE_TYPE if wanted is GRAPHQL_RESPONSE or self._is_draft else _JSON_TYPE
        errors = [{"message": message, "extensions": {"code": code, **details}}]
        return Answer(status, (content_type, UNCACHED, *headers), orjson.dumps({"errors": errors}))

    def _late(self, wanted: str) -> Answer:
        message = f"The operation took longer than the {self._timeout_seconds:g} s that are allowed"
        body = orjson.dumps(
            {"data": None, "errors": [{"message": message, "extensions": {"code": "DEADLINE_EXCEEDED"}}]}
        )
        content_type = GRAPHQL_RESPONSE_TYPE if wanted is GRAPHQL_RESPONSE else _JSON_TYPE
        return Answer(294 if self._is_draft else 200, (content_type, UNCACHED), body)


def unauthenticated(error: Unauthenticated) -> Refused:
    """The refusal of a request of which nobody knows who sends it."""
    return Refused(status_of(error), error.code, error.message, *headers_of(error))


def too_slow(timeout_seconds: float) -> Refused:
    """The refusal of a request that took too long to arrive."""
    return Refused(408, "REQUEST_TIMEOUT", f"The request did not arrive within {timeout_seconds:g} s", CLOSE)


def parse_body(body: bytes) -> OperationRequest:
    """The request in a JSON body. Raises Refused."""
    try:
        parameters = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "BAD_REQUEST", _not_json(body, error)) from error
    if type(parameters) is not dict:
        if type(parameters) is list:
            raise _malformed("The body is a list, and batches are not supported: send one operation per request")
        raise _malformed("The body must be a JSON object with the key query, or documentId")
    if body.count(b"{") + body.count(b"[") > MOST_DEPTH and deeper_than(parameters, MOST_DEPTH):
        raise _malformed(f"The body is nested more than {MOST_DEPTH} levels deep")
    return _operation_request(parameters)


def _from_query_string(query_string: bytes) -> OperationRequest:
    """The request in the parameters of a URL. Raises Refused."""
    if len(query_string) > _MOST_QUERY_STRING_BYTES:
        raise Refused(414, "URI_TOO_LONG", f"The URL is longer than {_MOST_QUERY_STRING_BYTES} bytes: use POST")
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS
        )
    except ValueError as error:  # UnicodeDecodeError is one
        raise Refused(400, "BAD_REQUEST", "The parameters of the URL cannot be read as UTF-8") from error
    parameters: dict[str, Any] = {}
    for name, value in pairs:
        if name in parameters and name in _PARAMETERS:
            raise _malformed(f"The parameter {name} is given twice")
        parameters[name] = value or None
    for name in ("variables", "extensions"):
        if (text := parameters.get(name)) is not None:
            parameters[name] = _json_parameter(name, text)
    return _operation_request(parameters)


def _json_parameter(name: str, text: str) -> Any:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "BAD_REQUEST", f"The parameter {name} is not JSON: {error.msg}") from error
    if deeper_than(value, MOST_DEPTH):
        raise _malformed(f"The parameter {name} is nested more than {MOST_DEPTH} levels deep")
    return value


def _operation_request(parameters: dict[str, Any]) -> OperationRequest:
    query, document_id = parameters.get("query"), parameters.get("documentId")
    if document_id is not None and type(document_id) is not str:
        raise _malformed("The parameter documentId must be a string")
    if type(query) is not str and (query is not None or document_id is None):
        raise _malformed("The parameter query is missing" if query is None else "The parameter query must be a string")
    operation_name = parameters.get("operationName")
    if operation_name is not None and type(operation_name) is not str:
        raise _malformed("The parameter operationName must be a string")
    variables = parameters.get("variables")
    if variables is not None and type(variables) is not dict:
        raise _malformed("The parameter variables must be an object")
    extensions = parameters.get("extensions")
    if extensions is not None and type(extensions) is not dict:
        raise _malformed("The parameter extensions must be an object")
    return OperationRequest(query, operation_name or None, variables, extensions, document_id)


def _malformed(message: str) -> Refused:
    return Refused(400, "BAD_REQUEST", message, draft_status=422)


def not_allowed(operation: str, method: str) -> Refused:
    """The refusal of a type of operation that a method of HTTP cannot ask for."""
    if operation == "subscription":
        return Refused(
            400,
            "SUBSCRIPTION_NOT_SUPPORTED",
            "A subscription needs a connection that stays open: ask for text/event-stream, or use a WebSocket",
            draft_status=422,
        )
    return Refused(405, "METHOD_NOT_ALLOWED", f"A {operation} cannot be sent with {method}: use POST", _POST_ONLY)


def _is_unreadable(body: bytes) -> bool:
    """Whether a refusal is for the document's syntax."""
    return bool(orjson.loads(body)["errors"][0]["extensions"]["code"] == PARSE_FAILED)


def _not_json(body: bytes, error: orjson.JSONDecodeError) -> str:
    if not body:
        return "The body is empty: send a JSON object with the key query"
    try:
        body.decode()
    except UnicodeDecodeError:
        return "The body is not valid UTF-8"
    return f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"


def deeper_than(value: object, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return False
    return any(isinstance(value, dict | list) for value in level)


def _method(scope: Scope) -> str:
    method = scope["method"]
    return method if method in HTTPMethod.__members__ else "That method"
