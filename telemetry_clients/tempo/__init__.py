"""A client of Tempo: `client.py` asks, `traceql.py` writes what it asks, `otlp.py` reads the traces that come back."""

from telemetry_clients.tempo.client import (
    MOST_TRACES,
    BuildInfo,
    FoundTrace,
    MetricSeries,
    ServiceSpans,
    Tags,
    TagValue,
    Tempo,
    normal_trace_id,
)

__all__ = [
    "MOST_TRACES",
    "BuildInfo",
    "FoundTrace",
    "MetricSeries",
    "ServiceSpans",
    "TagValue",
    "Tags",
    "Tempo",
    "normal_trace_id",
]
