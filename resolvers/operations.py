"""One operation from its request to its answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Set
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from inspect import isawaitable
from time import perf_counter
from typing import Any, TypeVar

import asyncpg
import orjson
import strawberry
import structlog
from graphql import (
    DocumentNode,
    ExecutionResult,
    ExperimentalIncrementalExecutionResults,
    GraphQLError,
    experimental_execute_incrementally,
)

from domain import tracing
from domain.errors import DeadlineExceeded, DomainError
from resolvers.binding import bind
from resolvers.compile.arguments import Uncompilable
from resolvers.compile.documents import Documents, PreparedOperation, Refused
from resolvers.compile.parameters import Bindings
from resolvers.compile.variables import Uncoercible
from resolvers.context import RequestContext, Running, Snapshot
from resolvers.errors import field_error, request_error, warnings
from resolvers.execution import Executor
from resolvers.incremental import IncrementalAnswer, IncrementalForm
from resolvers.observing import Nobody, Observer, Outcome
from resolvers.prefetched import Prefetched

log = structlog.get_logger("reliability_studio.graphql")


Given = TypeVar("Given", "OperationAnswer", "OperationAnswer | IncrementalAnswer")


@dataclass(frozen=True, slots=True)
class OperationRequest:
    """What a client asks for (GraphQL over HTTP, section 5)."""

    query: str | None
    operation_name: str | None = None
    variables: Mapping[str, Any] | None = None
    extensions: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class OperationAnswer:
    """A JSON object with `data`, `errors` or both. `executed` is False where the request itself was wrong."""

    body: bytes
    executed: bool
    has_errors: bool
    operation: str | None

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        if not self.executed:
            return Outcome.REFUSED
        return Outcome.ERRORS if self.has_errors else Outcome.OK


class OperationNotAllowed(Exception):
    """The transport cannot carry this kind of operation."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation)
        self.operation = operation


class Operations:
    """Executes the operations of one schema."""

    def __init__(self, schema: strawberry.Schema, observer: Observer | None = None) -> None:
        self.schema = schema._schema
        self.observer = observer or Nobody()
        self.sources = bind(schema)
        self.documents = Documents(self.schema, self.sources)

    async def execute(
        self, request: OperationRequest, context: RequestContext, *, allowed: Set[str]
    ) -> OperationAnswer:
        """The answer to a request. Raises OperationNotAllowed for a kind of operation that is not `allowed`."""
        began_seconds = perf_counter()
        prepared = self._prepare(request, context, allowed)
        return await self._observed(prepared, began_seconds, lambda it: self._whole(it, request, context))

    async def _whole(
        self, prepared: PreparedOperation, request: OperationRequest, context: RequestContext
    ) -> OperationAnswer:
        if prepared.kind != "query":
            return await self._execute(prepared, request, context, None)
        read = await _read(prepared, request.variables, context)
        if isinstance(read, bytes):
            return OperationAnswer(read, True, False, "query")
        async with Snapshot(context.database) as snapshot:
            return await self._execute(prepared, request, replace(context, reading=snapshot), read)

    async def execute_in_parts(
        self, request: OperationRequest, context: RequestContext, form: IncrementalForm, *, allowed: Set[str]
    ) -> OperationAnswer | IncrementalAnswer:
        """The answer to a request, in several parts where it asks for that and other backends have a part in it.

        Raises likewise.
        """
        began_seconds = perf_counter()
        prepared = self._prepare(request, context, allowed)
        if isinstance(prepared, OperationAnswer) or prepared.deferring is None:
            return await self._observed(prepared, began_seconds, lambda it: self._whole(it, request, context))
        document = prepared.deferring
        return await self._observed(
            prepared, began_seconds, lambda it: self._in_parts(it, document, request, context, form)
        )

    async def _in_parts(
        self,
        prepared: PreparedOperation,
        document: DocumentNode,
        request: OperationRequest,
        context: RequestContext,
        form: IncrementalForm,
    ) -> OperationAnswer | IncrementalAnswer:
        root = None
        async with AsyncExitStack() as resources:
            if prepared.kind == "query":
                read = await _read(prepared, request.variables, context)
                if isinstance(read, bytes):
                    return OperationAnswer(read, True, False, "query")
                root = read
                snapshot = await resources.enter_async_context(Snapshot(context.database))
                context = replace(context, reading=snapshot)
            context = replace(context, running=_running(prepared, request.variables))
            results = await self._result(prepared, document, request, context, root)
            if isinstance(results, ExecutionResult):
                return _completed(results, prepared, context)
            return IncrementalAnswer(results, context, form, prepared.kind, resources.pop_all())

    async def _observed(
        self,
        prepared: PreparedOperation | OperationAnswer,
        began_seconds: float,
        work: Callable[[PreparedOperation], Awaitable[Given]],
    ) -> Given | OperationAnswer:
        """Execute what was prepared, and tell how it went."""
        outcome, name, kind = Outcome.FAILED, None, None
        try:
            if isinstance(prepared, OperationAnswer):
                outcome = Outcome.REFUSED
                return prepared
            name, kind = prepared.name, prepared.kind
            request = tracing.recording()
            if request is None:
                answer = await work(prepared)
            else:
                about = {"graphql.operation.type": kind, **({"graphql.operation.name": name} if name else {})}
                request.attributes = {**request.attributes, **about}
                with tracing.span("graphql.execute", attributes=about):
                    answer = await work(prepared)
            outcome = answer.outcome
            return answer
        finally:
            self.observer.operation_ended(name, kind, outcome, perf_counter() - began_seconds)

    def _prepare(
        self, request: OperationRequest, context: RequestContext, allowed: Set[str]
    ) -> PreparedOperation | OperationAnswer:
        """The operation to execute, as far as the actor may, or the answer that says why there is none.

        Raises OperationNotAllowed.
        """
        if not request.query:
            return _refusal([GraphQLError("The request has no `query`")], None)
        prepared = self.documents.prepare(request.query, request.operation_name)
        if isinstance(prepared, Refused):
            return _refusal(prepared.errors, None)
        if prepared.kind not in allowed:
            raise OperationNotAllowed(prepared.kind)
        return prepared.permitted_to(context.actor)

    async def execute_without_compiler(self, request: OperationRequest, context: RequestContext) -> OperationAnswer:
        """The answer that ordinary execution gives to a query: what the compiler is held against."""
        prepared = self.documents.prepare(request.query or "", request.operation_name)
        if isinstance(prepared, Refused):
            return _refusal(prepared.errors, None)
        prepared = prepared.permitted_to(context.actor)
        async with Snapshot(context.database) as snapshot:
            return await self._execute(prepared, request, replace(context, reading=snapshot), None)

    async def _execute(
        self, prepared: PreparedOperation, request: OperationRequest, context: RequestContext, root: Prefetched | None
    ) -> OperationAnswer:
        context = replace(context, running=_running(prepared, request.variables))
        result = await self._result(prepared, prepared.document, request, context, root)
        if not isinstance(result, ExecutionResult):
            raise TypeError("a document that defers nothing was answered in parts")
        return _completed(result, prepared, context)

    async def _result(
        self,
        prepared: PreparedOperation,
        document: DocumentNode,
        request: OperationRequest,
        context: RequestContext,
        root: Prefetched | None,
    ) -> ExecutionResult | ExperimentalIncrementalExecutionResults:
        """What execution gives within the deadline: of an answer in parts, the first."""
        try:
            async with asyncio.timeout(context.deadline.remaining_seconds()):
                executing = experimental_execute_incrementally(
                    self.schema,
                    document,
                    root,
                    context,
                    dict(request.variables or {}),
                    request.operation_name,
                    executor_class=Executor,
                )
                return await executing if isawaitable(executing) else executing
        except TimeoutError:
            return ExecutionResult(None, [GraphQLError("", original_error=DeadlineExceeded())])


def _completed(result: ExecutionResult, prepared: PreparedOperation, context: RequestContext) -> OperationAnswer:
    if result.data is None and result.errors and all(error.path is None for error in result.errors):
        # What comes before the first field is the request's fault, but for the deadline. graphql-core wraps the
        # errors of wrong variables in errors of its own.
        executed = any(isinstance(error.original_error, DomainError) for error in result.errors)
        if not executed:
            return _answer({"errors": [_input_error(error) for error in result.errors]}, False, prepared.kind)
    body: dict[str, Any] = {"data": result.data}
    if result.errors:
        body = {"errors": [field_error(error, context.request_id) for error in result.errors], **body}
    if context.remarks:
        body["extensions"] = {"warnings": warnings(context.remarks)}
    return _answer(body, True, prepared.kind)


async def _read(
    prepared: PreparedOperation, variables: Mapping[str, Any] | None, context: RequestContext
) -> bytes | Prefetched | None:
    """Everything that Postgres answers of a query, in one statement: all of it as bytes, or the part that is its own.

    None where ordinary execution has to say what is wrong.
    """
    try:
        values, shape = prepared.variables.read(variables)
        statement = prepared.statement(shape, values)
        arguments = statement.values(Bindings(values, context.now))
        read = context.read if statement.of_event_log else context.read_at_leisure
        text = await read(statement.sql, arguments)
    except (Uncoercible, Uncompilable, DomainError):
        return None
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        log.warning("a compiled statement failed", error=type(error).__name__, request_id=context.request_id)
        return None
    if text is None or not statement.mixed:
        return text
    return Prefetched.parse(text)


def _running(prepared: PreparedOperation, given: Mapping[str, Any] | None) -> Running | None:
    """None where the variables are wrong, which execution is about to say."""
    try:
        values, shape = prepared.variables.read(given)
    except Uncoercible:
        return None
    return Running(prepared, values, shape)


def _input_error(error: GraphQLError) -> dict[str, Any]:
    entry = request_error(error)
    entry["extensions"]["code"] = "BAD_USER_INPUT"
    return entry


def _refusal(errors: Any, operation: str | None) -> OperationAnswer:
    return _answer({"errors": [request_error(error) for error in errors]}, False, operation)


def _answer(body: dict[str, Any], executed: bool, operation: str | None) -> OperationAnswer:
    return OperationAnswer(orjson.dumps(body), executed, "errors" in body, operation)
