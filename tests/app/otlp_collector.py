"""A collector that keeps what it is sent by OTLP over HTTP, on a port of its own, in a thread of its own."""

import gzip
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue


@dataclass(frozen=True, slots=True)
class SeenSpan:
    """A span as it came in."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    attributes: Mapping[str, Any]
    links: tuple[tuple[str, str], ...]
    is_error: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class SeenLine:
    """A log line as it came in."""

    logger: str
    body: str
    severity: str
    trace_id: str
    span_id: str
    attributes: Mapping[str, Any]


@dataclass(slots=True)
class Collector:
    """What came in so far. While `status` is not 200, everything is answered with that and thrown away."""

    url: str = ""
    status: int = 200
    spans: list[SeenSpan] = field(default_factory=list)
    lines: list[SeenLine] = field(default_factory=list)
    resources: list[Mapping[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)

    def of(self, trace_id: str) -> list[SeenSpan]:
        """The spans of one trace, in the order in which they ended."""
        return [span for span in self.spans if span.trace_id == trace_id]

    def tree(self, trace_id: str) -> dict[str, Any]:
        """The names of a trace's spans, each with those of its parts, in the order of their names."""
        spans = self.of(trace_id)
        ids = {span.span_id for span in spans}

        def parts(parent_id: str) -> dict[str, Any]:
            found = sorted((span for span in spans if span.parent_id == parent_id), key=lambda span: span.name)
            return {span.name: parts(span.span_id) for span in found}

        roots = sorted({span.parent_id for span in spans} - ids)
        return {name: inner for root in roots for name, inner in parts(root).items()}

    def linked_to(self, span: SeenSpan) -> list[SeenSpan]:
        """The spans that say they were caused by one."""
        return [other for other in self.spans if (span.trace_id, span.span_id) in other.links]

    def take(self, path: str, content: bytes) -> None:
        """Read and keep one request."""
        if path.endswith("/v1/traces"):
            self._take_spans(ExportTraceServiceRequest.FromString(content))
        elif path.endswith("/v1/logs"):
            self._take_lines(ExportLogsServiceRequest.FromString(content))

    def _take_spans(self, request: ExportTraceServiceRequest) -> None:
        for sender in request.resource_spans:
            self.resources.append(_plain(sender.resource.attributes))
            for scope in sender.scope_spans:
                self.spans += [
                    SeenSpan(
                        span.name,
                        span.kind,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        _plain(span.attributes),
                        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                        span.status.code == span.status.STATUS_CODE_ERROR,
                        (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                    )
                    for span in scope.spans
                ]

    def _take_lines(self, request: ExportLogsServiceRequest) -> None:
        for sender in request.resource_logs:
            self.resources.append(_plain(sender.resource.attributes))
            for scope in sender.scope_logs:
                self.lines += [
                    SeenLine(
                        scope.scope.name,
                        line.body.string_value,
                        line.severity_text,
                        line.trace_id.hex(),
                        line.span_id.hex(),
                        _plain(line.attributes),
                    )
                    for line in scope.log_records
                ]


@contextmanager
def collecting(port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Collector]:
    """A collector for as long as the block lasts, by HTTPS where it has a certificate."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if collector.status == 200:
                assert self.headers["Content-Type"] == "application/x-protobuf"
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                collector.take(self.path, gzip.decompress(content))
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    collector.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _plain(attributes: Any) -> dict[str, Any]:
    pairs: list[KeyValue] = list(attributes)
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")
