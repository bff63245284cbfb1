"""Spans as OpenTelemetry writes them (OTLP), in protobuf or in JSON.

JSON is read as Tempo writes it (ids in base64, enums by name) and as the specification of OTLP wants it (ids in
hexadecimal, enums by number).
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, TracesData

from domain.json_values import JSON
from domain.traces import Span, SpanEvent, SpanKind, SpanStatus

UNKNOWN_SERVICE = "unknown_service"
"""What OpenTelemetry calls a service that does not say its name."""

_KINDS: dict[Any, SpanKind] = dict(enumerate(SpanKind)) | {f"SPAN_KIND_{kind}": kind for kind in SpanKind}
_STATUSES: dict[Any, SpanStatus] = dict(enumerate(SpanStatus)) | {f"STATUS_CODE_{code}": code for code in SpanStatus}
_LARGEST_NS = 253_402_300_799_000_000_000  # the end of the year 9999
_SPAN_ID_CHARACTERS = 16


def spans_of_json(resource_spans: Any) -> list[Span]:
    """The spans of `resourceSpans` (`batches` in Tempo's first API). Raises ValueError for what is not OTLP."""
    try:
        return [
            span
            for batch in resource_spans
            for span in _json_batch(
                _json_attributes(batch.get("resource", {}).get("attributes", ())),
                batch.get("scopeSpans") or batch.get("instrumentationLibrarySpans") or (),
            )
        ]
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError("these are no spans in OTLP's JSON") from error


def spans_of_protobuf(body: bytes) -> list[Span]:
    """The spans of a message TracesData, which Tempo calls Trace. Raises ValueError for what is none."""
    try:
        return _protobuf_spans(TracesData.FromString(body).resource_spans)
    except DecodeError as error:
        raise ValueError("these are no spans in OTLP's protobuf") from error


def spans_of_trace_response(body: bytes) -> list[Span]:
    """The spans of a message TraceByIDResponse, the answer of Tempo's second API. Raises ValueError."""
    try:
        return _protobuf_spans(_TraceByIDResponse.FromString(body).trace.resource_spans)
    except DecodeError as error:
        raise ValueError("these are no spans in OTLP's protobuf") from error


def _trace_by_id_response() -> Any:
    """Tempo's message around a trace, as far as it is read: the trace in its first field."""
    file = descriptor_pb2.FileDescriptorProto(
        name="reliability_studio/trace_by_id.proto",
        package="reliability_studio",
        syntax="proto3",
        dependency=[TracesData.DESCRIPTOR.file.name],
    )
    message = file.message_type.add(name="TraceByIDResponse")
    message.field.add(
        name="trace",
        number=1,
        label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
        type=descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
        type_name="." + TracesData.DESCRIPTOR.full_name,
    )
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("reliability_studio.TraceByIDResponse"))


_TraceByIDResponse = _trace_by_id_response()


def _json_batch(resource: Mapping[str, JSON], scopes: Iterable[Any]) -> Iterable[Span]:
    service = _service(resource)
    for scope in scopes:
        for span in scope.get("spans", ()):
            start_ns = _time(span.get("startTimeUnixNano", 0))
            status = span.get("status") or {}
            yield Span(
                _hexadecimal(span["spanId"], _SPAN_ID_CHARACTERS),
                _hexadecimal(span.get("parentSpanId"), _SPAN_ID_CHARACTERS) or None,
                service,
                str(span.get("name", "")),
                _KINDS.get(span.get("kind"), SpanKind.UNSPECIFIED),
                _STATUSES.get(status.get("code"), SpanStatus.UNSET),
                start_ns,
                _time(span.get("endTimeUnixNano", 0)) or start_ns,
                str(status.get("message", "")),
                _json_attributes(span.get("attributes", ())),
                resource,
                tuple(
                    SpanEvent(
                        str(event.get("name", "")),
                        _time(event.get("timeUnixNano", 0)),
                        _json_attributes(event.get("attributes", ())),
                    )
                    for event in span.get("events", ())
                ),
            )


def _protobuf_spans(batches: Iterable[ResourceSpans]) -> list[Span]:
    spans = []
    for batch in batches:
        resource = _protobuf_attributes(batch.resource.attributes)
        service = _service(resource)
        for scope in batch.scope_spans:
            for span in scope.spans:
                start_ns = _time(span.start_time_unix_nano)
                status = span.status
                spans.append(
                    Span(
                        span.span_id.hex(),
                        span.parent_span_id.hex() if any(span.parent_span_id) else None,
                        service,
                        span.name,
                        _KINDS.get(span.kind, SpanKind.UNSPECIFIED),
                        _STATUSES.get(status.code, SpanStatus.UNSET),
                        start_ns,
                        _time(span.end_time_unix_nano) or start_ns,
                        status.message,
                        _protobuf_attributes(span.attributes),
                        resource,
                        tuple(
                            SpanEvent(event.name, _time(event.time_unix_nano), _protobuf_attributes(event.attributes))
                            for event in span.events
                        ),
                    )
                )
    return spans


def _service(resource: Mapping[str, JSON]) -> str:
    return str(resource.get("service.name") or UNKNOWN_SERVICE)


def _time(value: Any) -> int:
    nanoseconds = int(value)
    if not 0 <= nanoseconds <= _LARGEST_NS:
        raise ValueError("a time beyond the year 9999")
    return nanoseconds


def _hexadecimal(value: Any, characters: int) -> str:
    """An id in lower-case hexadecimal, "" for none: absent, empty or all zeros."""
    if not value:
        return ""
    if len(value) != characters:
        try:
            value = base64.b64decode(value, validate=True).hex()
        except binascii.Error as error:
            raise ValueError("an id that is neither hexadecimal nor base64") from error
    return value.lower() if value.strip("0") else ""


def _json_attributes(attributes: Sequence[Any]) -> dict[str, JSON]:
    return {item["key"]: _json_value(item.get("value") or {}) for item in attributes}


def _json_value(value: Mapping[str, Any]) -> JSON:
    for kind, held in value.items():
        match kind:
            case "stringValue" | "boolValue" | "bytesValue":
                return held  # type: ignore[no-any-return] # whatever it is, it came out of JSON
            case "intValue":
                return int(held)
            case "doubleValue":
                return float(held)
            case "arrayValue":
                return [_json_value(item) for item in held.get("values", ())]
            case "kvlistValue":
                return _json_attributes(held.get("values", ()))
    return None


def _protobuf_attributes(attributes: Iterable[KeyValue]) -> dict[str, JSON]:
    return {item.key: _protobuf_value(item.value) for item in attributes}


def _protobuf_value(value: AnyValue) -> JSON:
    kind = value.WhichOneof("value")
    match kind:
        case "string_value" | "int_value" | "bool_value" | "double_value":
            return getattr(value, kind)  # type: ignore[no-any-return] # one of the four
        case "array_value":
            return [_protobuf_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return _protobuf_attributes(value.kvlist_value.values)
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
    return None
