"""The span of each HTTP request and of each operation on a WebSocket (OpenTelemetry's conventions for HTTP)."""

from collections.abc import Mapping
from contextlib import AbstractContextManager

from starlette.types import Scope

from domain import tracing
from domain.tracing import SpanContext, SpanKind, Tracer, Within


def begin_request(tracer: Tracer | None, headers: Mapping[bytes, bytes]) -> None:
    """Go on with the trace of whoever asks, or begin one; what follows in this task is a part of it.

    Without a `tracer`, the trace of whoever asks is passed on, and nothing of it recorded.
    """
    parent = _parent(headers)
    tracing.enter(parent if tracer is None else tracer.begin("HTTP", SpanKind.SERVER, parent=parent))


def end_request(scope: Scope, route: str, status: int, method: str) -> None:
    """Say what became of a request. `method` and `route` are of few values, and so its span's name is."""
    request = tracing.recording()
    if request is None:
        return
    client = scope.get("client")
    request.name = f"{method} {route}" if route else method
    request.attributes = {
        **request.attributes,
        "http.request.method": method,
        "url.path": scope["path"],
        "url.scheme": scope["scheme"],
        "http.response.status_code": status,
        **({"http.route": route} if route else {}),
        **({"client.address": client[0]} if client else {}),
    }
    request.end(str(status) if status >= 500 else None)


def socket_operation(tracer: Tracer | None, scope: Scope) -> AbstractContextManager[object]:
    """One operation on a WebSocket, in the trace of the request that opened it where that has one."""
    parent = _parent(dict(scope["headers"]))
    if tracer is None:
        return Within(parent)
    attributes = {"url.path": scope["path"], "network.protocol.name": "websocket"}
    return Within(tracer.begin("websocket operation", SpanKind.SERVER, parent=parent, attributes=attributes))


def _parent(headers: Mapping[bytes, bytes]) -> SpanContext | None:
    header = headers.get(b"traceparent")
    if header is None:
        return None
    state = headers.get(b"tracestate")
    return tracing.read_traceparent(header.decode("latin-1"), None if state is None else state.decode("latin-1"))
