"""Spans, their context in W3C headers, and their form in OTLP over HTTP (opentelemetry-proto, in its JSON encoding)."""

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


class Kind(IntEnum):
    """Which side of a call a span is, as OTLP numbers it."""

    SERVER = 2
    CLIENT = 3


@dataclass(slots=True)
class Span:
    """One piece of work. Times are nanoseconds since 1970."""

    service: str
    version: str
    name: str
    kind: Kind
    trace_id: str
    parent_id: str = ""
    span_id: str = field(default_factory=lambda: secrets.token_hex(8))
    started_at: int = field(default_factory=time.time_ns)
    ended_at: int = 0
    attributes: dict[str, str | int] = field(default_factory=dict)
    error: str | None = None

    def end(self) -> None:
        """It is over."""
        self.ended_at = time.time_ns()

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended_at - self.started_at) / 1e9

    def child(self, name: str, kind: Kind, **attributes: str | int) -> "Span":
        """Work that is part of this; the underscores of attributes are dots."""
        named = {key.replace("__", "."): value for key, value in attributes.items()}
        return Span(self.service, self.version, name, kind, self.trace_id, self.span_id, attributes=named)

    @property
    def headers(self) -> dict[str, str]:
        """What tells a callee that it works for this span (W3C Trace Context)."""
        return {"traceparent": f"00-{self.trace_id}-{self.span_id}-01"}


def parent_of(headers: Mapping[str, str]) -> tuple[str, str]:
    """The trace and the span that a request belongs to; a new trace where it says none."""
    found = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    return (found[1], found[2]) if found else (secrets.token_hex(16), "")


def as_otlp(spans: Sequence[Span]) -> dict[str, Any]:
    """An ExportTraceServiceRequest."""
    by_resource: dict[tuple[str, str], list[Span]] = {}
    for span in spans:
        by_resource.setdefault((span.service, span.version), []).append(span)
    return {
        "resourceSpans": [
            {
                "resource": {
                    "attributes": _attributes(
                        {"service.name": service, "service.namespace": "demo-shop", "service.version": version}
                    )
                },
                "scopeSpans": [{"scope": {"name": "demo-shop"}, "spans": [_span(span) for span in some]}],
            }
            for (service, version), some in by_resource.items()
        ]
    }


def _span(span: Span) -> dict[str, Any]:
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        **({"parentSpanId": span.parent_id} if span.parent_id else {}),
        "name": span.name,
        "kind": int(span.kind),
        "startTimeUnixNano": str(span.started_at),
        "endTimeUnixNano": str(span.ended_at),
        "attributes": _attributes(span.attributes),
        "status": {"code": 2, "message": span.error} if span.error else {},
    }


def _attributes(attributes: Mapping[str, str | int]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in attributes.items()
    ]
