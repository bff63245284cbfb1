"""Spans as OTLP has them."""

from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2 as otlp

from app.observability.otlp import Encode, pairs, resource_of, scope_of
from domain.tracing import Span, SpanContext

SCOPE: Final = "reliability_studio"
_SAMPLED: Final = 1


def encoder(resource: Mapping[str, str]) -> Encode[Span]:
    """Writes batches of spans of this server."""
    sender, scope = resource_of(resource), scope_of(SCOPE, resource.get("service.version", ""))

    def encode(spans: Sequence[Span]) -> ExportTraceServiceRequest:
        written = otlp.ScopeSpans(scope=scope)
        for span in spans:
            _write(written, span)
        return ExportTraceServiceRequest(resource_spans=[otlp.ResourceSpans(resource=sender, scope_spans=[written])])

    return encode


def _write(into: otlp.ScopeSpans, span: Span) -> None:
    own = span.context
    written = into.spans.add(
        trace_id=own.trace_id.to_bytes(16, "big"),
        span_id=own.span_id.to_bytes(8, "big"),
        trace_state=own.state,
        flags=_SAMPLED,
        name=span.name,
        kind=span.kind.value,
        start_time_unix_nano=span.started_ns,
        end_time_unix_nano=span.ended_ns,
        attributes=pairs(span.attributes),
        links=[_link(link) for link in span.links],
    )
    if span.parent is not None:
        written.parent_span_id = span.parent.span_id.to_bytes(8, "big")
    if span.error is not None:
        written.status.code = otlp.Status.STATUS_CODE_ERROR
        written.attributes.extend(pairs({"error.type": span.error}))


def _link(link: SpanContext) -> otlp.Span.Link:
    return otlp.Span.Link(
        trace_id=link.trace_id.to_bytes(16, "big"),
        span_id=link.span_id.to_bytes(8, "big"),
        trace_state=link.state,
        flags=_SAMPLED if link.is_sampled else 0,
    )
