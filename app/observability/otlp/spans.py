"""Recorded spans as OpenTelemetry's SDK has them."""

from collections.abc import Callable, Mapping
from typing import Final

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from app.observability.otlp.values import exported
from domain.tracing import Attributes, Span, SpanContext, SpanKind

SCOPE: Final = "reliability_studio"
_KINDS: Final = {kind: trace.SpanKind[kind.name] for kind in SpanKind}
_CALLED_FROM_OUTSIDE: Final = frozenset({SpanKind.SERVER, SpanKind.CONSUMER})
_NOT_FAILED: Final = trace.Status(trace.StatusCode.UNSET)
_FAILED: Final = trace.Status(trace.StatusCode.ERROR)


def converter(resource: Mapping[str, str]) -> Callable[[Span], ReadableSpan]:
    """Makes spans of this server into the SDK's."""
    sender, scope = Sender(resource), InstrumentationScope(SCOPE, resource.get("service.version", ""))

    def convert(span: Span) -> ReadableSpan:
        is_remote = span.kind in _CALLED_FROM_OUTSIDE
        return ReadableSpan(
            span.name,
            context=sdk_context(span.context, is_remote=False),
            parent=None if span.parent is None else sdk_context(span.parent, is_remote=is_remote),
            resource=sender,
            attributes=_attributes(span.attributes, span.error),
            links=[trace.Link(sdk_context(link, is_remote=True)) for link in span.links],
            kind=_KINDS[span.kind],
            status=_NOT_FAILED if span.error is None else _FAILED,
            start_time=span.started_ns,
            end_time=span.ended_ns,
            instrumentation_scope=scope,
        )

    return convert


def sdk_context(context: SpanContext, *, is_remote: bool) -> trace.SpanContext:
    """Which span it is, as the SDK has it."""
    return trace.SpanContext(
        context.trace_id,
        context.span_id,
        is_remote,
        trace.TraceFlags(context.is_sampled),
        trace.TraceState.from_header([context.state]) if context.state else None,
    )


class Sender(Resource):
    """Who sends. Its hash is asked for with every span, and the SDK makes JSON of a resource each time."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        super().__init__({name: exported(value) for name, value in attributes.items()})
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


def _attributes(attributes: Attributes, error: str | None) -> Attributes:
    sent = {name: exported(value) for name, value in attributes.items()}
    if error is not None:
        sent["error.type"] = exported(error)
    return sent
