"""A Tempo of the test's own: it has the traces that it is given, and answers in the words of a recorded one."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from tests.telemetry_clients.local_server import Request, http_answer

ESCAPE = re.compile(r'\\(["\\]|u[0-9a-f]{4}|U[0-9a-f]{8})')
SERVICE = re.compile(r'resource\.service\.name = "((?:[^"\\]|\\.)*)"')
AT_LEAST = re.compile(r"traceDuration >= (\d+)ms")


@dataclass(frozen=True)
class StoredTrace:
    """A trace: when it began (seconds since 1970), how long it took, its services, and which of them failed.

    Each service calls the next one and waits for it. Where others hold some of its spans, `shown` are whose are here.
    """

    trace_id: str
    at: float
    duration_ms: int
    services: Sequence[str]
    failed: frozenset[str] = frozenset()
    shown: Sequence[str] | None = None

    def found(self) -> dict[str, object]:
        """What a search tells of it."""
        return {
            "traceID": self.trace_id.lstrip("0") or "0",
            "rootServiceName": self.services[0],
            "rootTraceName": f"GET /{self.services[0]}",
            "startTimeUnixNano": str(int(self.at * 1e9)),
            "durationMs": self.duration_ms,
            "serviceStats": {
                service: {"spanCount": 1, **({"errorCount": 1} if service in self.failed else {})}
                for service in self.services
            },
        }

    def protobuf(self) -> bytes:
        """What the second API answers: the trace, in the first field of another message."""
        trace = TracesData()
        for depth, service in enumerate(self.services):
            if self.shown is not None and service not in self.shown:
                continue
            batch = trace.resource_spans.add()
            batch.resource.attributes.add(key="service.name").value.string_value = service
            margin_ns = depth * self.duration_ms * 100_000
            span = batch.scope_spans.add().spans.add(
                span_id=(depth + 1).to_bytes(8, "big"),
                parent_span_id=depth.to_bytes(8, "big") if depth else b"",
                name=f"GET /{service}",
                kind=2,
                start_time_unix_nano=int(self.at * 1e9) + margin_ns,
                end_time_unix_nano=int(self.at * 1e9) + self.duration_ms * 1_000_000 - margin_ns,
            )
            span.status.code = 2 if service in self.failed else 0
        body = trace.SerializeToString()
        return b"\x0a" + _varint(len(body)) + body


@dataclass
class TempoServer:
    """A behaviour for `local_server`. `broken` are ids that it fails to read, `refusal` what it says to searches."""

    traces: Sequence[StoredTrace] = ()
    counts_spans: bool = True
    broken: frozenset[str] = frozenset()
    refusal: tuple[int, bytes] | None = None
    searches: list[Mapping[str, str]] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        parameters = {name: values[0] for name, values in request.parameters.items()}
        if request.path == "/api/search" and self.refusal is not None:
            status, words = self.refusal
            writer.write(http_answer(words, status=status, content_type="text/plain; charset=utf-8"))
        elif request.path == "/api/search":
            self.searches.append(parameters)
            writer.write(http_answer(json.dumps({"traces": self._search(parameters)}).encode()))
        elif request.path.startswith("/api/v2/traces/"):
            writer.write(self._trace(request.path.rpartition("/")[2]))
        elif request.path == "/ready":
            writer.write(http_answer(b"ready\n", content_type="text/plain; charset=utf-8"))
        elif request.path == "/api/status/buildinfo":
            writer.write(http_answer(b'{"version": "3.1.0", "revision": "abc"}'))
        else:
            writer.write(http_answer(b"404 page not found\n", status=404, content_type="text/plain; charset=utf-8"))

    def _search(self, parameters: Mapping[str, str]) -> list[dict[str, object]]:
        query = parameters["q"]
        names = {unescaped(name) for name in SERVICE.findall(query)}
        at_least = max(map(int, AT_LEAST.findall(query)), default=0)
        start, end = int(parameters["start"]), int(parameters["end"])
        found = [
            trace.found()
            for trace in sorted(self.traces, key=lambda trace: -trace.at)
            if start <= trace.at <= end
            and trace.duration_ms >= at_least
            and (not names or names & (trace.failed if "status = error" in query else set(trace.services)))
        ][: int(parameters["limit"])]
        if not self.counts_spans:
            for trace in found:
                del trace["serviceStats"]
        return found

    def _trace(self, trace_id: str) -> bytes:
        self.fetched.append(trace_id)
        if trace_id in self.broken:
            return http_answer(b"block is unreadable", status=500, content_type="text/plain; charset=utf-8")
        for trace in self.traces:
            if trace.trace_id == trace_id:
                return http_answer(trace.protobuf(), content_type="application/protobuf")
        return http_answer(b"", content_type="application/protobuf")


def trace_id(number: int) -> str:
    """An id that ends with this number."""
    return f"{number:032x}"


def unescaped(literal: str) -> str:
    """What a string of TraceQL says, given without its quotes."""
    return ESCAPE.sub(lambda found: found[1] if found[1] in '"\\' else chr(int(found[1][1:], 16)), literal)


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])
