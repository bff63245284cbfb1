"""One operation from its request to its answer."""

import asyncio
from collections.abc import Mapping, Set
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from inspect import isawaitable
from typing import Any

import asyncpg
import orjson
import strawberry
import structlog
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    experimental_execute_incrementally,
)

from domain.access import Actor
from domain.errors import DeadlineExceeded, DomainError, TooManyRequests
from resolvers.binding import bind
from resolvers.compile.arguments import Uncompilable
from resolvers.compile.documents import Documents, PreparedOperation, Refused
from resolvers.compile.parameters import Bindings
from resolvers.compile.variables import Uncoercible
from resolvers.context import RequestContext, Running, Snapshot
from resolvers.errors import field_error, refusal, request_error, warnings
from resolvers.execution import Executor, Result, whole
from resolvers.incremental import IncrementalAnswer, IncrementalForm
from resolvers.limits.guard import Guard, Pass
from resolvers.observing import Nobody, Observed, Observer, Outcome
from resolvers.prefetched import Prefetched

log = structlog.get_logger("reliability_studio.graphql")


@dataclass(frozen=True, slots=True)
class OperationRequest:
    """What a client asks for (GraphQL over HTTP, section 5)."""

    query: str | None
    operation_name: str | None = None
    variables: Mapping[str, Any] | None = None
    extensions: Mapping[str, Any] | None = None
    document_id: str | None = None
    """The id of a trusted document, in the place of a `query`."""

    @property
    def asks_for_cost(self) -> bool:
        """Whether the answer shall tell what it cost."""
        return self.extensions is not None and self.extensions.get("cost") is True


@dataclass(frozen=True, slots=True)
class OperationAnswer:
    """A JSON object with `data`, `errors` or both. `executed` is False where the request itself was wrong.

    `retry_after_seconds` is set where the client has asked for too much in a short time.
    """

    body: bytes
    executed: bool
    has_errors: bool
    operation: str | None
    has_extensions: bool = False
    retry_after_seconds: float | None = None

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


@dataclass(slots=True)
class Admitted:
    """An operation that may be executed. `running` is None where its variables are wrong, as execution will say."""

    prepared: PreparedOperation
    running: Running | None
    passed: Pass


class Operations:
    """Executes the operations of one schema, within limits."""

    def __init__(self, schema: strawberry.Schema, observer: Observer | None = None, guard: Guard | None = None) -> None:
        self.schema = schema._schema
        self.observer = observer or Nobody()
        self.sources = bind(schema)
        self.guard = guard or Guard()
        self.documents = Documents(self.schema, self.sources, self.guard.documents)

    def prepare(self, request: OperationRequest, actor: Actor) -> PreparedOperation | Refused:
        """The operation that somebody asks for, or why there is none."""
        guard = self.guard
        try:
            text = guard.trusted.text_of(request.query, request.document_id, actor.role)
        except DomainError as error:
            return Refused([GraphQLError(error.message, original_error=error)])
        hides = not guard.may_introspect(actor)
        return self.documents.prepare(text, request.operation_name, hides_suggestions=hides)

    async def execute(
        self, request: OperationRequest, context: RequestContext, *, allowed: Set[str]
    ) -> OperationAnswer:
        """The answer to a request. Raises OperationNotAllowed for a kind of operation that is not `allowed`."""
        with Observed(self.observer) as observed:
            admitted = self._admit(request, context, allowed)
            if isinstance(admitted, OperationAnswer):
                return admitted
            with observed.executing(admitted.prepared.name, admitted.prepared.kind):
                answer = await self._whole(admitted, request, context)
            observed.outcome = answer.outcome
            return answer

    async def _whole(self, admitted: Admitted, request: OperationRequest, context: RequestContext) -> OperationAnswer:
        try:
            if admitted.prepared.kind != "query":
                answer = await self._execute(admitted, request, context, None)
            else:
                read = await _read(admitted, context)
                if isinstance(read, bytes):
                    answer = OperationAnswer(read, True, False, "query")
                else:
                    async with Snapshot(context.database) as snapshot:
                        answer = await self._execute(admitted, request, replace(context, reading=snapshot), read)
            return self._with_cost(answer, admitted, request, context.actor)
        finally:
            self.guard.leave(admitted.passed)

    async def execute_in_parts(
        self, request: OperationRequest, context: RequestContext, form: IncrementalForm, *, allowed: Set[str]
    ) -> OperationAnswer | IncrementalAnswer:
        """The answer to a request, in several parts where it asks for that and other backends have a part in it.

        Raises likewise.
        """
        with Observed(self.observer) as observed:
            admitted = self._admit(request, context, allowed)
            if isinstance(admitted, OperationAnswer):
                return admitted
            document = admitted.prepared.deferring
            answer: OperationAnswer | IncrementalAnswer
            with observed.executing(admitted.prepared.name, admitted.prepared.kind):
                if document is None:
                    answer = await self._whole(admitted, request, context)
                else:
                    answer = await self._in_parts(admitted, document, request, context, form)
            observed.outcome = answer.outcome
            return answer

    async def _in_parts(
        self,
        admitted: Admitted,
        document: DocumentNode,
        request: OperationRequest,
        context: RequestContext,
        form: IncrementalForm,
    ) -> OperationAnswer | IncrementalAnswer:
        prepared = admitted.prepared
        root = None
        async with AsyncExitStack() as resources:
            resources.callback(self.guard.leave, admitted.passed)
            if prepared.kind == "query":
                read = await _read(admitted, context)
                if isinstance(read, bytes):
                    answer = OperationAnswer(read, True, False, "query")
                    return self._with_cost(answer, admitted, request, context.actor)
                root = read
                snapshot = await resources.enter_async_context(Snapshot(context.database))
                context = replace(context, reading=snapshot)
            context = replace(context, running=admitted.running)
            results = await self._result(document, request, context, root)
            if isinstance(results, ExecutionResult):
                answer = _completed(results, prepared, context)
                return self._with_cost(answer, admitted, request, context.actor)
            cost = None
            if request.asks_for_cost or self.guard.always_tells_cost:
                # What it has cost is not known before the last part, and what is asked for is.
                cost = self.guard.cost_extension(admitted.passed.cost, None, context.actor)
            return IncrementalAnswer(results, context, form, prepared.kind, resources.pop_all(), cost=cost)

    def _admit(
        self, request: OperationRequest, context: RequestContext, allowed: Set[str]
    ) -> Admitted | OperationAnswer:
        """The operation to execute, or the answer that says why there is none. Raises OperationNotAllowed."""
        prepared = self.prepare(request, context.actor)
        if isinstance(prepared, Refused):
            return self.refused(prepared, request, context.actor)
        if prepared.kind not in allowed:
            raise OperationNotAllowed(prepared.kind)
        return self.admit(prepared, request, context.actor)

    def admit(self, prepared: PreparedOperation, request: OperationRequest, actor: Actor) -> Admitted | OperationAnswer:
        """Let an operation be executed, as far as the actor may; or the answer that says why not.

        What was let pass has to be handed back to the guard.
        """
        try:
            permitted = prepared.permitted_to(actor)
            running = _running(permitted, request.variables)
            values = None if running is None else running.variables
            return Admitted(permitted, running, self.guard.admit(prepared, values, request.variables, actor))
        except DomainError as error:
            return self._limited(error, actor, prepared.kind)

    def refused(self, refused: Refused, request: OperationRequest, actor: Actor) -> OperationAnswer:
        """The answer to a document that is not executed. To have it read and validated is not for nothing."""
        try:
            self.guard.charge_refused(request.query, actor)
        except TooManyRequests as error:
            return self._limited(error, actor, None)
        return _refusal(refused.errors, None)

    def _limited(self, error: DomainError, actor: Actor, operation: str | None) -> OperationAnswer:
        """The answer to an operation that its limits keep from being executed."""
        body: dict[str, Any] = {"errors": [refusal(error)]}
        is_about_cost = isinstance(error, TooManyRequests) or getattr(error, "limit", "") == "cost"
        requested = getattr(error, "requested", None) if is_about_cost else None
        if is_about_cost:
            body["extensions"] = {"cost": self.guard.cost_extension(requested, None, actor)}
        retry_after = error.retry_after_seconds if isinstance(error, TooManyRequests) else None
        return OperationAnswer(orjson.dumps(body), False, True, operation, True, retry_after)

    def _with_cost(
        self, answer: OperationAnswer, admitted: Admitted, request: OperationRequest, actor: Actor
    ) -> OperationAnswer:
        """An answer that tells what it cost, where that is wanted. Only who asks has it parsed and counted."""
        asks = request.asks_for_cost
        if not (asks or self.guard.always_tells_cost) or not answer.executed:
            return answer
        actual = None
        if asks and admitted.running is not None:
            data = orjson.loads(answer.body).get("data")
            actual = admitted.prepared.cost.actual(admitted.running.variables, data)
        cost = self.guard.cost_extension(admitted.passed.cost, actual, actor)
        return replace(answer, body=_extended(answer, cost), has_extensions=True)

    async def execute_without_compiler(self, request: OperationRequest, context: RequestContext) -> OperationAnswer:
        """The answer that ordinary execution gives to a query: what the compiler is held against."""
        admitted = self._admit(request, context, {"query"})
        if isinstance(admitted, OperationAnswer):
            return admitted
        try:
            async with Snapshot(context.database) as snapshot:
                return await self._execute(admitted, request, replace(context, reading=snapshot), None)
        finally:
            self.guard.leave(admitted.passed)

    async def _execute(
        self, admitted: Admitted, request: OperationRequest, context: RequestContext, root: Prefetched | None
    ) -> OperationAnswer:
        prepared = admitted.prepared
        context = replace(context, running=admitted.running)
        result = whole(await self._result(prepared.document, request, context, root))
        return _completed(result, prepared, context)

    async def _result(
        self,
        document: DocumentNode,
        request: OperationRequest,
        context: RequestContext,
        root: Prefetched | None,
    ) -> Result:
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
                    hide_suggestions=not self.guard.may_introspect(context.actor),
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


async def _read(admitted: Admitted, context: RequestContext) -> bytes | Prefetched | None:
    """Everything that Postgres answers of a query, in one statement: all of it as bytes, or the part that is its own.

    None where ordinary execution has to say what is wrong.
    """
    running = admitted.running
    if running is None:
        return None
    try:
        statement = admitted.prepared.statement(running.shape, running.variables)
        arguments = statement.values(Bindings(running.variables, context.now))
        read = context.read if statement.of_event_log else context.read_at_leisure
        text = await read(statement.sql, arguments)
    except (Uncompilable, DomainError):
        return None
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        log.warning("a compiled statement failed", error=type(error).__name__, request_id=context.request_id)
        return None
    if text is None or not statement.mixed:
        return text
    return Prefetched.parse(text)


def _running(prepared: PreparedOperation, given: Mapping[str, Any] | None) -> Running | None:
    """None where the variables are wrong, which execution is about to say. Raises LimitExceeded."""
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
    return OperationAnswer(orjson.dumps(body), executed, "errors" in body, operation, "extensions" in body)


def _extended(answer: OperationAnswer, cost: Mapping[str, Any]) -> bytes:
    """The body with its cost: put in before its end where nothing is there yet, so that the rest stays as it came."""
    if not answer.has_extensions:
        return b'%b,"extensions":{"cost":%b}}' % (answer.body[:-1], orjson.dumps(cost))
    body = orjson.loads(answer.body)
    body["extensions"]["cost"] = cost
    return orjson.dumps(body)
