"""Operations over connections that stay open: what each request turns into, whichever way it came."""

import asyncio
from collections.abc import Callable
from typing import Final, overload

import orjson
import uuid_utils
from graphql import GraphQLError
from starlette.types import Scope

from app.http.read_marks import ReadMarks
from app.http.tracing import socket_operation
from app.observability import logs
from domain.access import Actor
from domain.errors import DatabaseUnavailable, DeadlineExceeded, Unauthenticated
from domain.time import Deadline
from domain.tracing import Tracer
from feed.stream import Sink
from resolvers.compile.documents import PreparedOperation, Refused
from resolvers.context import RequestContext
from resolvers.errors import field_error
from resolvers.incremental import IncrementalAnswer, IncrementalForm
from resolvers.observing import Observed, Outcome
from resolvers.operations import OperationAnswer, OperationRequest, Operations
from resolvers.subscriptions import Current, Subscription, Subscriptions

ContextFactory = Callable[[Actor, str, Deadline], RequestContext]

_EVERY_TYPE: Final = frozenset({"query", "mutation"})
_GRACE_SECONDS = 0.25  # An operation's own deadline comes first, because it knows which fields were late.
_PATIENCE_SECONDS = 30.0
_RETRY_SECONDS = 0.5


class Runner:
    """Runs operations, each with an id, a time and a deadline of its own."""

    def __init__(
        self,
        operations: Operations,
        subscriptions: Subscriptions,
        make_context: ContextFactory,
        marks: ReadMarks,
        current: Current,
        *,
        timeout_seconds: float,
        tracer: Tracer | None = None,
    ) -> None:
        """`current` says which rights somebody has now: a connection may have been open for long."""
        self._tracer = tracer
        self._operations = operations
        self._subscriptions = subscriptions
        self._make_context = make_context
        self._marks = marks
        self._current = current
        self._timeout_seconds = timeout_seconds

    def kind(self, request: OperationRequest, actor: Actor) -> str | None:
        """ "query", "mutation", "subscription", or None where the document is wrong."""
        prepared = self._operations.prepare(request, actor)
        return None if isinstance(prepared, Refused) else prepared.kind

    @overload
    async def start(
        self, request: OperationRequest, actor: Actor, *, socket: Scope, sink: Sink | None = None
    ) -> OperationAnswer | Subscription: ...

    @overload
    async def start(
        self,
        request: OperationRequest,
        actor: Actor,
        *,
        request_id: str,
        resume_after: str | None,
        form: IncrementalForm,
    ) -> OperationAnswer | IncrementalAnswer | Subscription: ...

    async def start(
        self,
        request: OperationRequest,
        actor: Actor,
        *,
        request_id: str | None = None,
        resume_after: str | None = None,
        socket: Scope | None = None,
        sink: Sink | None = None,
        form: IncrementalForm | None = None,
    ) -> OperationAnswer | IncrementalAnswer | Subscription:
        """The answer to a query or mutation, an open subscription, or an answer that was not executed and says why.

        `socket` is what the request came by, where that is no HTTP request. `resume_after` and `sink` are for
        `Subscriptions.open`. The answer comes in parts only where a `form` is given.
        """
        id = request_id or uuid_utils.uuid7().hex
        logs.request_id.set(id)
        if socket is None:
            return await self._start(request, actor, id, resume_after, sink, form)
        with socket_operation(self._tracer, socket):
            return await self._start(request, actor, id, resume_after, sink, form)

    async def _start(
        self,
        request: OperationRequest,
        actor: Actor,
        id: str,
        resume_after: str | None,
        sink: Sink | None,
        form: IncrementalForm | None,
    ) -> OperationAnswer | IncrementalAnswer | Subscription:
        try:
            actor = await self._still(actor)
            prepared = self._operations.prepare(request, actor)
            if isinstance(prepared, Refused):
                self._operations.observer.operation_ended(None, None, Outcome.REFUSED, 0.0)
                return self._operations.refused(prepared, request, actor)
            if prepared.kind == "subscription":
                return await self._subscribe(prepared, request, actor, id, resume_after, sink)
            context = self._make_context(actor, id, Deadline.after(self._timeout_seconds))
            async with asyncio.timeout(self._timeout_seconds + _GRACE_SECONDS):
                if form is None:
                    answer: OperationAnswer | IncrementalAnswer = await self._operations.execute(
                        request, context, allowed=_EVERY_TYPE
                    )
                else:
                    answer = await self._operations.execute_in_parts(request, context, form, allowed=_EVERY_TYPE)
                if prepared.kind == "mutation":
                    await self._marks.after_write()
                return answer
        except Exception as error:
            return OperationAnswer(orjson.dumps({"errors": [failure(error, id)]}), False, True, None)

    async def _still(self, actor: Actor) -> Actor:
        """Whoever opened the connection, with the rights that they have now. Raises Unauthenticated."""
        now = await self._current(actor)
        if now is None:
            raise Unauthenticated("What proved who you are does not hold any more: sign in, and connect again")
        return now

    async def _subscribe(
        self,
        prepared: PreparedOperation,
        request: OperationRequest,
        actor: Actor,
        id: str,
        resume_after: str | None,
        sink: Sink | None,
    ) -> OperationAnswer | Subscription:
        """To open a subscription is an operation like any other, which ends when it is open."""
        admitted = self._operations.admit(prepared, request, actor)
        if isinstance(admitted, OperationAnswer):
            self._operations.observer.operation_ended(prepared.name, "subscription", Outcome.REFUSED, 0.0)
            return admitted
        try:
            return await self._open(prepared, request, actor, id, resume_after, sink)
        finally:
            self._operations.guard.leave(admitted.passed)

    async def _open(
        self,
        prepared: PreparedOperation,
        request: OperationRequest,
        actor: Actor,
        id: str,
        resume_after: str | None,
        sink: Sink | None,
    ) -> Subscription:
        """Clients give up on a subscription that is refused, so a database that restarts is waited for."""
        give_up = Deadline.after(_PATIENCE_SECONDS)
        self._marks.follow_events()
        with Observed(self._operations.observer) as observed:
            while True:
                context = self._make_context(actor, id, Deadline.after(self._timeout_seconds))
                try:
                    with observed.executing(prepared.name, prepared.kind, what="graphql.subscribe"):
                        opened = await self._subscriptions.open(
                            prepared,
                            request.variables,
                            context,
                            resume_after=resume_after,
                            sink=sink,
                            hides_suggestions=not self._operations.guard.may_introspect(actor),
                        )
                    observed.outcome = Outcome.OK
                    return opened
                except GraphQLError as error:
                    observed.outcome = Outcome.REFUSED
                    if not isinstance(error.original_error, DatabaseUnavailable) or give_up.expired:
                        raise
                await asyncio.sleep(_RETRY_SECONDS)
                actor = await self._still(actor)


def failure(error: Exception, request_id: str) -> dict[str, object]:
    """The entry of `errors` for whatever ended an operation."""
    match error:
        case GraphQLError():
            return field_error(error, request_id)
        case TimeoutError():
            return failure(DeadlineExceeded(), request_id)
        case RecursionError():
            return field_error(GraphQLError("The document is nested too deeply to be read"), request_id)
    return field_error(GraphQLError(str(error), original_error=error), request_id)
