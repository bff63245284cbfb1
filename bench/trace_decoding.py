"""Which encoding of a trace is decoded faster, and what its tree costs: `python -m bench.trace_decoding`.

CPU time, the best of several rounds in turn, as a ratio against reading the JSON without making spans of it.
"""

import gc
from collections.abc import Callable
from time import process_time

import orjson
import typer
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from rich.console import Console
from rich.table import Table

from engines.traces import trace_tree
from telemetry_clients.tempo import otlp

_SERVICES = 20
_START_NS = 1_795_419_097_000_000_000


def made_trace(spans: int) -> TracesData:
    """A trace of so many spans, each with a few attributes, one in ten of which failed with an exception."""
    trace = TracesData()
    batches = []
    for number in range(_SERVICES):
        batch = trace.resource_spans.add()
        name = batch.resource.attributes.add(key="service.name")
        name.value.string_value = f"service-{number}"
        batches.append(batch.scope_spans.add())
    for number in range(spans):
        parent = (number - 1) // 4
        span = batches[(number * 7) % _SERVICES].spans.add(
            trace_id=bytes(15) + b"\1",
            span_id=(number + 1).to_bytes(8, "big"),
            parent_span_id=(parent + 1).to_bytes(8, "big") if number else b"",
            name=f"GET /items/{number % 50}",
            kind=2 + number % 2,
            start_time_unix_nano=_START_NS + number * 1000,
            end_time_unix_nano=_START_NS + number * 1000 + 900_000_000 // (number + 1),
        )
        span.attributes.add(key="http.request.method").value.string_value = "GET"
        span.attributes.add(key="http.response.status_code").value.int_value = 200
        span.attributes.add(key="url.path").value.string_value = f"/items/{number}"
        if number % 10 == 0:
            span.status.code = 2
            event = span.events.add(name="exception", time_unix_nano=span.start_time_unix_nano)
            event.attributes.add(key="exception.message").value.string_value = "upstream failed"
    return trace


def main(spans: int = 10_000, rounds: int = 7) -> None:
    """Compare the ways to read one trace."""
    trace = made_trace(spans)
    protobuf, json = trace.SerializeToString(), orjson.dumps(MessageToDict(trace))
    decoded = otlp.spans_of_protobuf(protobuf)
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "JSON, only parsed (baseline)": (len(json), lambda: orjson.loads(json)),
        "JSON to spans": (len(json), lambda: otlp.spans_of_json(orjson.loads(json)["resourceSpans"])),
        "protobuf to spans": (len(protobuf), lambda: otlp.spans_of_protobuf(protobuf)),
        "tree, self times, critical path": (0, lambda: trace_tree(decoded)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (_size, way) in ways.items():
            gc.collect()
            started = process_time()
            way()
            seconds[name].append(process_time() - started)
    baseline = min(seconds["JSON, only parsed (baseline)"])
    table = Table(title=f"one trace of {spans:,} spans")
    table.add_column("")
    for heading in ("bytes", "CPU ms", "ratio"):
        table.add_column(heading, justify="right")
    for name, (size, _) in ways.items():
        best = min(seconds[name])
        table.add_row(name, f"{size:,}" if size else "", f"{best * 1e3:.1f}", f"{best / baseline:.2f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
