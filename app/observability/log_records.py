"""Log lines as OTLP has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

import orjson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1 import logs_pb2 as otlp

from app.observability.otlp import Encode, any_value, pairs, resource_of, scope_of
from domain.tracing import SpanContext, Value

_SEVERITIES: Final = {
    "debug": otlp.SEVERITY_NUMBER_DEBUG,
    "info": otlp.SEVERITY_NUMBER_INFO,
    "warning": otlp.SEVERITY_NUMBER_WARN,
    "error": otlp.SEVERITY_NUMBER_ERROR,
    "critical": otlp.SEVERITY_NUMBER_FATAL,
}


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One line: when, by which logger, how bad, what, and everything else that is said with it."""

    time_ns: int
    logger: str
    level: str
    event: str
    details: Mapping[str, Any]
    span: SpanContext | None = None


def encoder(resource: Mapping[str, str]) -> Encode[LogRecord]:
    """Writes batches of log lines of this server. Each logger is a scope of its own."""
    sender = resource_of(resource)

    def encode(records: Sequence[LogRecord]) -> ExportLogsServiceRequest:
        by_logger = groupby(sorted(records, key=attrgetter("logger")), attrgetter("logger"))
        scopes = [
            otlp.ScopeLogs(scope=scope_of(logger), log_records=[_written(record) for record in of_it])
            for logger, of_it in by_logger
        ]
        return ExportLogsServiceRequest(resource_logs=[otlp.ResourceLogs(resource=sender, scope_logs=scopes)])

    return encode


def _written(record: LogRecord) -> otlp.LogRecord:
    written = otlp.LogRecord(
        time_unix_nano=record.time_ns,
        observed_time_unix_nano=record.time_ns,
        severity_number=_SEVERITIES.get(record.level, otlp.SEVERITY_NUMBER_INFO),
        severity_text=record.level,
        body=any_value(record.event),
        attributes=pairs({name: _value(value) for name, value in record.details.items() if value is not None}),
    )
    if record.span is not None:
        written.trace_id = record.span.trace_id.to_bytes(16, "big")
        written.span_id = record.span.span_id.to_bytes(8, "big")
        written.flags = int(record.span.is_sampled)
    return written


def _value(value: Any) -> Value:
    """A value that OTLP has, or its JSON."""
    if isinstance(value, str | bool | int | float):
        return value
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z).decode()
