"""Log lines as OpenTelemetry's SDK has them."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import orjson
from opentelemetry._logs import LogRecord as SDKLogRecord
from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, set_span_in_context

from app.observability.log_records import LogRecord
from app.observability.otlp.spans import Sender, sdk_context
from app.observability.otlp.values import exported, exported_text
from domain.tracing import Value

_SEVERITIES: Final = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
}


def converter(resource: Mapping[str, str]) -> Callable[[LogRecord], ReadableLogRecord]:
    """Makes log lines of this server into the SDK's. Each logger is a scope of its own."""
    sender = Sender(resource)

    def convert(record: LogRecord) -> ReadableLogRecord:
        written = SDKLogRecord(
            timestamp=record.time_ns,
            observed_timestamp=record.time_ns,
            context=_context(record),
            severity_text=record.level,
            severity_number=_SEVERITIES.get(record.level, SeverityNumber.INFO),
            body=exported_text(record.event),
            attributes={name: exported(_value(it)) for name, it in record.details.items() if it is not None},
        )
        return ReadableLogRecord(written, sender, _scope(record.logger))

    return convert


def _context(record: LogRecord) -> Context:
    if record.span is None:
        return Context()
    return set_span_in_context(NonRecordingSpan(sdk_context(record.span, is_remote=False)), Context())


@lru_cache(maxsize=256)
def _scope(logger: str) -> InstrumentationScope:
    return InstrumentationScope(logger)


def _value(value: Any) -> Value:
    """A value that OTLP has, or its JSON."""
    if isinstance(value, str | bool | int | float):
        return value
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z).decode()
