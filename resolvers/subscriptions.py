"""Subscriptions to events: what is asked for, checked, and each event rendered once for all who ask the same."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

import orjson
from graphql import ExecutionResult, FieldNode, GraphQLError, GraphQLField, VariableNode
from sqlalchemy import select

from db.incidents import incidents
from domain.access import Actor, require
from domain.errors import DatabaseUnavailable, DomainError, Forbidden, NotFound, Unauthenticated
from domain.feed import EventType
from domain.incidents import Severity
from domain.time import Deadline
from feed.cursor import AS_OF_CURSOR_SQL, Cursor, decode, encode
from feed.filter import EventFilter
from feed.hub import Hub
from feed.log import EventLog
from feed.standing import RECHECK_SECONDS, Standing
from feed.stream import Frame, Place, Sink
from resolvers.compile.arguments import Argument, Uncompilable, field_arguments
from resolvers.compile.documents import PreparedOperation
from resolvers.compile.parameters import Bindings, EventPlaces, identifier
from resolvers.compile.selection import collect
from resolvers.compile.sources import Live, Sources, Stream
from resolvers.compile.statement import Statement
from resolvers.compile.variables import Uncoercible
from resolvers.context import RequestContext, Running
from resolvers.execution import answer_to_event, execute
from resolvers.live import LiveFrame, live_frames
from resolvers.rows import read_events

RENDER_SECONDS = 15.0
Current = Callable[[Actor], Awaitable[Actor | None]]

LOGGED = (
    "(select logged.*, place.cursor, place.previous"
    " from unnest({positions}, {cursors}, {previous}) as place(position, cursor, previous)"
    " join event_log logged on logged.position = place.position) {it}"
)
CHECKPOINT = (
    "(select (jsonb_populate_record(null::event_log, jsonb_build_object("
    "'position', place.position, 'type', 'CHECKPOINT', 'occurred_at', {now}))).*, place.cursor, place.previous"
    " from unnest({positions}, {cursors}, {previous}) as place(position, cursor, previous)) {it}"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """The one field of a subscription."""

    key: str
    definition: GraphQLField
    nodes: Sequence[FieldNode]
    source: Stream | Live
    arguments: Mapping[str, Argument]


@dataclass(frozen=True, slots=True)
class Subscription:
    """One that is open. Close the frames when done.

    `start` is the cursor that its frames come after, None for one that cannot be resumed.
    """

    start: str | None
    frames: AsyncGenerator[Frame] | AsyncGenerator[LiveFrame]


async def unchanged(actor: Actor) -> Actor | None:
    """The rights of whoever keeps them for good."""
    return actor


class Subscriptions:
    """Opens the subscriptions of one schema."""

    def __init__(
        self,
        sources: Sources,
        hub: Hub,
        clock: Callable[[], datetime],
        current: Current = unchanged,
        *,
        recheck_seconds: float = RECHECK_SECONDS,
    ) -> None:
        """`current` says which rights somebody has now. It is asked while events are told, about each subscriber once
        in `recheck_seconds`, and whenever their rights are in doubt.
        """
        self._sources = sources
        self._hub = hub
        self._clock = clock
        self._current = current
        self._recheck_seconds = recheck_seconds
        self._standings: WeakValueDictionary[tuple[str, str | None, Actor], Standing] = WeakValueDictionary()

    async def open(
        self,
        prepared: PreparedOperation,
        given: Mapping[str, Any] | None,
        context: RequestContext,
        *,
        resume_after: str | None = None,
        sink: Sink | None = None,
        hides_suggestions: bool = False,
    ) -> Subscription:
        """A subscription, whose frames are answers as JSON text. Raises GraphQLError where the request is wrong.

        `resume_after` is a cursor from the transport, which goes before the document's own `after`. `sink` is for
        `Hub.subscribe`. Errors may hide what else the schema has.
        """
        try:
            variables, shape = prepared.variables.read(given)
        except Uncoercible as error:
            raise _variable_error(prepared, given, hides_suggestions) from error
        asked = self._asked(prepared, variables)
        running = Running(prepared, variables, shape)
        refusal = _refusal(prepared, context.actor)
        if refusal is not None:
            raise GraphQLError(refusal.message, list(asked.nodes), path=[asked.key], original_error=refusal)
        standing = self._standing(prepared, context.actor)
        if isinstance(asked.source, Live):
            arguments = {name: argument.value for name, argument in asked.arguments.items()}
            name = asked.nodes[0].name.value
            return Subscription(None, live_frames(asked.source, name, running, arguments, context, standing))
        try:
            filter_ = await _filter(asked, asked.source.types, context)
            after = resume_after if resume_after is not None else _after(asked)
            start = await self._now(context) if after is None else await self._hub.log.require(decode(after))
        except DomainError as error:
            raise GraphQLError(error.message, list(asked.nodes), path=[asked.key], original_error=error) from error
        renderer = self._renderer(prepared, running, asked, context)
        # Whoever has other rights may be told other things.
        rights = (context.actor.role, context.actor.scopes)
        key = (prepared.text, prepared.name, _without_after(asked, given), filter_, rights)
        frames = self._hub.subscribe(key, filter_, renderer, start, after, sink, standing)
        return Subscription(after or encode(start), frames)

    def doubt(self, user_id: UUID | None) -> None:
        """Find out again before the next event whether a user, or anybody where none is named, may still be told."""
        for (*_, actor), standing in list(self._standings.items()):
            if user_id is None or actor.id == user_id:
                standing.doubt()

    def _standing(self, prepared: PreparedOperation, actor: Actor) -> Standing:
        """Whether an actor may still be told, the same for all of their subscriptions to the same."""
        actor = replace(actor, request_id=None, address=None)
        key = (prepared.text, prepared.name, actor)
        standing = self._standings.get(key)
        if standing is None:
            standing = Standing(lambda: self._lost(prepared, actor), self._recheck_seconds)
            self._standings[key] = standing
        return standing

    async def _lost(self, prepared: PreparedOperation, actor: Actor) -> DomainError | None:
        """Why somebody may not be told any more, or None while they may.

        Who has other rights than before is told on if these suffice: what a subscription tells is the same for all who
        may have it.
        """
        now = await self._current(actor)
        if now is None or (now.expires_at is not None and now.expires_at <= self._clock()):
            return Unauthenticated("What proved who you are does not hold any more: sign in, and subscribe again")
        return _refusal(prepared, now)

    async def _now(self, context: RequestContext) -> Cursor:
        """The place that has everything before it that has been committed, and nothing else."""
        text = await context.read(f"select {AS_OF_CURSOR_SQL}", [])
        if text is None:
            raise DatabaseUnavailable("The event log has no head: run `reliability-studio migrate`")
        return decode(text.decode())

    def _asked(self, prepared: PreparedOperation, variables: Mapping[str, Any]) -> Asked:
        root = prepared.lookup.schema.subscription_type
        if root is None:
            raise RuntimeError("the schema has no subscriptions")
        selections = collect(prepared.lookup, root, [prepared.operation.selection_set], variables)
        ((key, nodes),) = selections.items()
        name = nodes[0].name.value
        source = self._sources.fields[root.name, name]
        if not isinstance(source, Stream | Live):
            raise TypeError(f"{name} is no stream")
        definition = root.fields[name]
        return Asked(key, definition, nodes, source, field_arguments(definition, nodes[0], variables))

    def _renderer(
        self, prepared: PreparedOperation, running: Running, asked: Asked, context: RequestContext
    ) -> "Compiled | Executed":
        try:
            events, checkpoint = (
                prepared.stream_statement(
                    table, running.shape, running.variables, asked.definition, asked.key, asked.nodes, table
                )
                for table in (LOGGED, CHECKPOINT)
            )
        except Uncompilable:
            return Executed(self._sources, running, asked, context, self._hub.log, self._clock)
        return Compiled(events, checkpoint, running.variables, context, self._hub.log, self._clock)


class Compiled:
    """Renders events by one statement for all of them."""

    def __init__(
        self,
        events: Statement,
        checkpoint: Statement,
        variables: Mapping[str, Any],
        context: RequestContext,
        event_log: EventLog,
        clock: Callable[[], datetime],
    ) -> None:
        self._events = events
        self._checkpoint = checkpoint
        self._variables = variables
        self._reads = context.database.reads
        self._log = event_log
        self._clock = clock

    async def events(self, places: Sequence[Place]) -> list[bytes]:
        """The answers to these events. Raises CursorExpired when the log has forgotten one of them meanwhile."""
        answers = await self._render(self._events, places)
        if len(answers) != len(places):
            await _require(self._log, places)
        return answers

    async def checkpoint(self, place: Place) -> bytes:
        """The answer to a checkpoint."""
        (answer,) = await self._render(self._checkpoint, [place])
        return answer

    async def _render(self, statement: Statement, places: Sequence[Place]) -> list[bytes]:
        values = statement.values(Bindings(self._variables, self._clock(), _columns(places)))
        text = await self._reads.fetch_text(statement.sql, values, timeout_seconds=RENDER_SECONDS)
        return text.split(b"\n") if text is not None else []


class Executed:
    """Renders events by ordinary execution, where a selection asks other backends as well."""

    def __init__(
        self,
        sources: Sources,
        running: Running,
        asked: Asked,
        context: RequestContext,
        event_log: EventLog,
        clock: Callable[[], datetime],
    ) -> None:
        self._sources = sources
        self._running = running
        self._asked = asked
        self._context = context
        self._log = event_log
        self._clock = clock

    async def events(self, places: Sequence[Place]) -> list[bytes]:
        """The answers to these events. Raises CursorExpired likewise."""
        return [await self._execute(place, LOGGED) for place in places]

    async def checkpoint(self, place: Place) -> bytes:
        """The answer to a checkpoint."""
        return await self._execute(place, CHECKPOINT)

    async def _execute(self, place: Place, table: str) -> bytes:
        context = replace(
            self._context,
            now=self._clock(),
            deadline=Deadline.after(RENDER_SECONDS),
            running=self._running,
            remarks={},
        )
        schema = self._running.prepared.lookup.schema
        events = await read_events(self._sources, context, schema, table, _columns([place]))
        if not events:
            await _require(self._log, [place])
        (event,) = events
        return orjson.dumps(await answer_to_event(self._asked.nodes[0].name.value, event, self._running, context))


def _columns(places: Sequence[Place]) -> EventPlaces:
    return EventPlaces(
        [place.position for place in places], [place.cursor for place in places], [place.previous for place in places]
    )


async def _require(event_log: EventLog, places: Sequence[Place]) -> None:
    """Raises CursorExpired when the log has forgotten one of these events."""
    if event_log.epoch is not None:
        await event_log.require(Cursor(event_log.epoch, places[0].position - 1))


def _refusal(prepared: PreparedOperation, actor: Actor) -> Forbidden | None:
    """Why an actor may not subscribe to this: all of it is told, or nothing."""
    try:
        for permission in prepared.requirements:
            require(actor, permission)
    except Forbidden as refusal:
        return refusal
    return None


def _after(asked: Asked) -> str | None:
    after = asked.arguments.get("after")
    return None if after is None else after.value


async def _filter(asked: Asked, of_source: frozenset[str] | None, context: RequestContext) -> EventFilter:
    """What is asked, checked. Raises NotFound for incidents and services that do not exist."""
    given = asked.arguments.get("filter")
    parts = {name: part.value for name, part in ((given and given.fields) or {}).items() if part.value is not None}
    wanted = [parts["incidentId"]] if "incidentId" in parts else []
    if (own := asked.arguments.get("incidentId")) is not None and own.value is not None:
        wanted.append(own.value)
    types = None if "types" not in parts else frozenset(EventType(type_) for type_ in parts["types"])
    if of_source is not None:
        own_types = frozenset(EventType(type_) for type_ in of_source)
        types = own_types if types is None else types & own_types
    ids = {await _incident(id_, context) for id_ in wanted}
    if len(ids) > 1:
        types = frozenset()  # Nothing is about two incidents.
    return EventFilter(
        types=types,
        incident_id=next(iter(ids), None),
        service_ids=await _services(parts["services"], context) if "services" in parts else None,
        severities=None if "severity" not in parts else frozenset(Severity(each) for each in parts["severity"]),
    )


async def _incident(given: str, context: RequestContext) -> UUID:
    id_ = identifier(given)
    if id_ is not None:
        async with context.database.reading() as connection:
            if (await connection.execute(select(incidents.c.id).where(incidents.c.id == id_))).first():
                return id_
    raise NotFound("incident", given, ["incidentId"])


async def _services(names: Sequence[str], context: RequestContext) -> frozenset[UUID]:
    """The ids of services given by name or id."""
    text = await context.read(
        "select coalesce(json_agg(json_build_array(given, (select id from services"
        " where lower(name) = lower(given) or id::text = given limit 1))), '[]')::text from unnest($1::text[]) given",
        [list(names)],
    )
    found = orjson.loads(text or b"[]")
    for name, id_ in found:
        if id_ is None:
            raise NotFound("service", name, ["filter", "services"])
    return frozenset(UUID(id_) for _, id_ in found)


def _without_after(asked: Asked, given: Mapping[str, Any] | None) -> bytes:
    """The variables that decide what is sent: all but the one that only says from where."""
    passed = {
        argument.value.name.value
        for node in asked.nodes
        for argument in node.arguments or ()
        if argument.name.value == "after" and isinstance(argument.value, VariableNode)
    }
    kept = {name: value for name, value in (given or {}).items() if name not in passed}
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)


def _variable_error(
    prepared: PreparedOperation, given: Mapping[str, Any] | None, hides_suggestions: bool
) -> GraphQLError:
    """What graphql-core says is wrong with the variables."""
    result = execute(
        prepared.lookup.schema,
        prepared.document,
        None,
        None,
        dict(given or {}),
        prepared.name,
        hides_suggestions=hides_suggestions,
    )
    if isinstance(result, ExecutionResult) and result.errors:
        return result.errors[0]
    return GraphQLError("The variables do not fit the operation")
