"""Traces, as clients see them."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import strawberry

from domain import traces
from domain.permissions import TELEMETRY_QUERY
from domain.traces import SpanOrder, TraceOrder, moment, seconds
from engines.traces import SpanNode, TraceTree
from resolvers.compile.permissions import PERMISSION
from resolvers.context import RequestContext
from resolvers.limits.weights import BACKEND_CALL, Weight, costing
from resolvers.rendering import plain
from resolvers.telemetry import incident_range
from resolvers.traces import (
    MOST_TRACES_SHOWN,
    USUAL_TRACES,
    KeptTrace,
    ordered_spans,
    searchable_range,
    trace_question,
    traces_of_query,
    traces_of_service,
    traces_of_services,
    tree_anywhere,
    tree_of_trace,
)
from schema.nodes import TimeRange
from schema.scalars import JSON, DateTime
from schema.telemetry import given, remark
from telemetry_clients.tempo import normal_trace_id

Needed = strawberry.Parent[Mapping[str, Any]]
ErrorsOnly = Annotated[
    bool | None, strawberry.argument(description="Only traces in which a span of the service failed.")
]
MinDurationSeconds = Annotated[
    float | None, strawberry.argument(description="Only traces that took at least this long, as a whole.")
]
First = Annotated[
    int | None, strawberry.argument(description=f"How many, {USUAL_TRACES} by default, at most {MOST_TRACES_SHOWN}.")
]
TRACES = Weight(base=20, row=0.5, rows=USUAL_TRACES, sizes=("first",), most=MOST_TRACES_SHOWN)
WHOLE_TRACE = Weight(base=10)
OrderBy = Annotated[
    TraceOrder | None,
    strawberry.argument(
        description="START: the latest first (the default). DURATION: the slowest first. Tempo cannot order by that:"
        " where it has more traces than it returns at once, it is asked again for slower ones only, a few times."
    ),
]


@strawberry.type(description="Something that happened within a span, such as an exception.")
class SpanEvent:
    """Something that happened within a span."""

    name: str = strawberry.field(description='What it is; "exception" for one that was recorded.')
    time: DateTime = strawberry.field(description="When, by the clock of the host that ran the span.")
    attributes: JSON = strawberry.field(description="What else is known, such as `exception.message`.")


@strawberry.type(description="One operation of one service, as a part of a trace.")
class Span:
    """One operation of one service."""

    span_id: strawberry.ID = strawberry.field(description="Its id within the trace, 16 hexadecimal digits.")
    parent_span_id: strawberry.ID | None = strawberry.field(
        description="The span that caused it, which may be missing from the trace; null for a root."
    )
    service: str = strawberry.field(description="The `service.name` of what ran it.")
    operation: str = strawberry.field(description="What it did.")
    kind: str = strawberry.field(description="INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER or UNSPECIFIED.")
    status: str = strawberry.field(description="OK, ERROR, or UNSET, which most that went well are.")
    status_message: str = strawberry.field(description="What went wrong, in its own words.")
    is_error: bool = strawberry.field(description="Whether it failed.")
    is_error_origin: bool = strawberry.field(description="Whether it failed, and none of its children did.")
    depth: int = strawberry.field(description="How many spans lie between it and the root, 0 for the root itself.")
    started_at: DateTime = strawberry.field(description="When it began, by the clock of the host that ran it.")
    duration_seconds: float = strawberry.field(description="How long it took.")
    self_time_seconds: float = strawberry.field(
        description="Its duration without the time in which any of its children ran."
    )
    critical_path_seconds: float = strawberry.field(
        description="How much of the root's duration it accounts for; those of all spans add up to that."
    )
    clock_skew_seconds: float = strawberry.field(
        description="How far its host's clock is ahead of the root's, as far as it shows; corrected in the times above."
    )
    attributes: JSON = strawberry.field(description="Its attributes, in OpenTelemetry's names.")
    resource: JSON = strawberry.field(description="The attributes of what ran it: version, host, pod and so on.")
    events: list[SpanEvent] = strawberry.field(description="What happened in it, exceptions among it.")


SpansFirst = Annotated[int | None, strawberry.argument(description="How many; all by default.")]
SpansOrderBy = Annotated[
    SpanOrder | None,
    strawberry.argument(
        description="START: a parent before its children, children by their start (the default). "
        "SELF_TIME, DURATION: the longest first."
    ),
]


@strawberry.type(description="What one request did, across services.")
class Trace:
    """What one request did, across services. Whatever lies within its spans is fetched only when it is asked for."""

    trace_id: strawberry.ID = strawberry.field(description="Its id, 32 hexadecimal digits.")
    root_service: str | None = strawberry.field(description="The service in which it began; null while not known.")
    root_operation: str | None = strawberry.field(description="What was asked of that service.")
    started_at: DateTime = strawberry.field(description="When it began.")
    duration_seconds: float = strawberry.field(description="From its first moment to its last.")
    span_count: int | None = strawberry.field(
        description="How many spans it has; null where Tempo does not say so in a search."
    )
    error_count: int | None = strawberry.field(description="How many of them failed; null likewise.")
    tree: strawberry.Private[TraceTree | None] = None
    instance: strawberry.Private[str | None] = None

    @strawberry.field(
        description="Its spans. Null when Tempo has forgotten it meanwhile. Costs a call for each trace, made at once.",
        metadata=costing(WHOLE_TRACE),
    )
    async def spans(
        self,
        info: strawberry.Info[RequestContext],
        first: SpansFirst = strawberry.UNSET,
        order_by: SpansOrderBy = strawberry.UNSET,
    ) -> list[Span] | None:
        """The spans, in order."""
        tree = await self._fetched(info.context)
        if tree is None:
            return None
        nodes = ordered_spans(tree, given(order_by) or SpanOrder.START, first=given(first))
        return plain(_spans(nodes, tree))

    @strawberry.field(
        description="The spans that the root waited for, in the order of time. Costs what `spans` costs.",
        metadata=costing(WHOLE_TRACE),
    )
    async def critical_path(self, info: strawberry.Info[RequestContext]) -> list[Span] | None:
        """The spans without which the trace would have been faster."""
        tree = await self._fetched(info.context)
        return None if tree is None else plain(_spans([tree.nodes[at] for at in tree.critical_path], tree))

    @strawberry.field(
        description="The span in which the error began that the root reports, or else another error; null where none"
        " failed. Costs what `spans` costs.",
        metadata=costing(WHOLE_TRACE),
    )
    async def error_origin(self, info: strawberry.Info[RequestContext]) -> Span | None:
        """Where the first error began."""
        tree = await self._fetched(info.context)
        if tree is None or not tree.error_origins:
            return None
        [span] = _spans([tree.nodes[tree.error_origins[0]]], tree)
        return plain(span)

    async def _fetched(self, context: RequestContext) -> TraceTree | None:
        return self.tree or await tree_of_trace(context, self.trace_id, self.instance)


async def service_traces(
    needed: Needed,
    info: strawberry.Info[RequestContext],
    range: Annotated[TimeRange, strawberry.argument(description="When.")],
    errors_only: ErrorsOnly = strawberry.UNSET,
    min_duration_seconds: MinDurationSeconds = strawberry.UNSET,
    first: First = strawberry.UNSET,
    order_by: OrderBy = strawberry.UNSET,
) -> list[Trace] | None:
    """Traces with spans of the service whose `service.name` is needed as `selector`, in the Tempo `instance`."""
    question = trace_question(
        range.from_,
        range.to,
        now=info.context.now,
        errors_only=bool(given(errors_only)),
        min_duration_seconds=given(min_duration_seconds),
        first=given(first),
        order=given(order_by) or TraceOrder.START,
    )
    kept = await traces_of_service(info.context, needed["selector"], needed["instance"], question)
    return [_trace(trace) for trace in kept]


async def incident_traces(
    needed: Needed,
    info: strawberry.Info[RequestContext],
    range: Annotated[
        TimeRange | None,
        strawberry.argument(
            description="When; by default the time of the incident, with half an hour around it, the last of it where"
            " that is longer than Tempo searches."
        ),
    ] = strawberry.UNSET,
    errors_only: ErrorsOnly = strawberry.UNSET,
    min_duration_seconds: MinDurationSeconds = strawberry.UNSET,
    first: First = strawberry.UNSET,
    order_by: OrderBy = strawberry.UNSET,
) -> list[Trace] | None:
    """Traces with spans of any of the needed `services`: each an instance of Tempo, or null, and a `service.name`."""
    context = info.context
    start, end = (range.from_, range.to) if range else searchable_range(context, *incident_range(needed, context.now))
    question = trace_question(
        start,
        end,
        now=context.now,
        errors_only=bool(given(errors_only)),
        min_duration_seconds=given(min_duration_seconds),
        first=given(first),
        order=given(order_by) or TraceOrder.START,
    )
    services = [(instance, name) for instance, name in needed["services"]]
    kept, failures = await traces_of_services(context, services, question)
    remark(info, "Tempo", (), failures)
    return [_trace(trace) for trace in kept]


@strawberry.type
class TraceQueries:
    """Traces for those who know what they look for."""

    @strawberry.field(
        description="A trace by its id, from whichever Tempo has it; null where none does (any more).",
        metadata={PERMISSION: TELEMETRY_QUERY, **costing(BACKEND_CALL)},
    )
    async def tempo(
        self,
        info: strawberry.Info[RequestContext],
        trace_id: Annotated[strawberry.ID, strawberry.argument(description="Up to 32 hexadecimal digits.")],
    ) -> Trace | None:
        """The trace with an id, or null."""
        tree = await tree_anywhere(info.context, trace_id)
        return None if tree is None else _whole_trace(normal_trace_id(trace_id), tree)

    @strawberry.field(
        description="Traces that meet a query in TraceQL, from Tempo.",
        metadata={PERMISSION: TELEMETRY_QUERY, **costing(TRACES)},
    )
    async def trace_search(
        self,
        info: strawberry.Info[RequestContext],
        query: Annotated[
            str, strawberry.argument(description='In TraceQL, as in `{ span.http.route = "/cart" && duration > 1s }`.')
        ],
        range: Annotated[TimeRange, strawberry.argument(description="When.")],
        first: First = strawberry.UNSET,
        order_by: Annotated[
            TraceOrder | None,
            strawberry.argument(
                description="START: the latest first (the default). DURATION: the slowest first of those, some"
                " hundreds, that Tempo returns."
            ),
        ] = strawberry.UNSET,
        instance: Annotated[
            str | None, strawberry.argument(description="Which Tempo to ask, where there are several.")
        ] = strawberry.UNSET,
    ) -> list[Trace] | None:
        """Traces that meet a query of the client's own."""
        question = trace_question(
            range.from_,
            range.to,
            now=info.context.now,
            first=given(first),
            order=given(order_by) or TraceOrder.START,
        )
        kept = await traces_of_query(info.context, query, given(instance), question)
        return [_trace(trace) for trace in kept]


def _whole_trace(trace_id: str, tree: TraceTree) -> Trace:
    root = tree.root
    is_known = root.span.parent_span_id is None
    return Trace(
        trace_id=strawberry.ID(trace_id),
        root_service=root.span.service if is_known else None,
        root_operation=root.span.name if is_known else None,
        started_at=DateTime(moment(tree.start_ns)),
        duration_seconds=seconds(tree.duration_ns),
        span_count=len(tree.nodes),
        error_count=tree.error_count,
        tree=tree,
    )


def _trace(kept: KeptTrace) -> Trace:
    found = kept.found
    counted = None if found.services is None else found.services.values()
    return Trace(
        trace_id=strawberry.ID(found.trace_id),
        root_service=found.root_service,
        root_operation=found.root_operation,
        started_at=DateTime(found.started_at),
        duration_seconds=found.duration_seconds,
        span_count=None if counted is None else sum(service.spans for service in counted),
        error_count=None if counted is None else sum(service.errors for service in counted),
        instance=kept.instance,
    )


def _spans(nodes: Iterable[SpanNode], tree: TraceTree) -> list[Span]:
    origins = frozenset(tree.error_origins)
    return [_span(node, is_error_origin=node.position in origins) for node in nodes]


def _span(node: SpanNode, *, is_error_origin: bool) -> Span:
    span = node.span
    return Span(
        span_id=strawberry.ID(span.span_id),
        parent_span_id=None if span.parent_span_id is None else strawberry.ID(span.parent_span_id),
        service=span.service,
        operation=span.name,
        kind=span.kind.value,
        status=span.status.value,
        status_message=span.status_message,
        is_error=span.is_error,
        is_error_origin=is_error_origin,
        depth=node.depth,
        started_at=DateTime(moment(span.start_ns)),
        duration_seconds=seconds(span.duration_ns),
        self_time_seconds=seconds(node.self_ns),
        critical_path_seconds=seconds(node.critical_ns),
        clock_skew_seconds=seconds(node.skew_ns),
        attributes=JSON(dict(span.attributes)),
        resource=JSON(dict(span.resource)),
        events=[_span_event(event) for event in span.events],
    )


def _span_event(event: traces.SpanEvent) -> SpanEvent:
    return SpanEvent(name=event.name, time=DateTime(moment(event.at_ns)), attributes=JSON(dict(event.attributes)))
