"""Log lines: structured, one per event, each with the request and the span that it belongs to.

The lines of libraries (the standard library's `logging`) take the same way out as ours. A collector gets them as well,
where there is one (`export`).
"""

import logging
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import orjson
import structlog
from starlette.types import Scope
from structlog.typing import EventDict, Processor, WrappedLogger

from app.observability.log_records import LogRecord
from app.observability.redaction import Redactor
from domain import tracing

BACKEND: Final = "reliability_studio.backend"
"""The logger of what no part of the server says by itself."""

Export = Callable[[LogRecord], None]

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that is being answered, where there is one."""

_JSON_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def configure_logs(
    *, level: str, json: bool, redactor: Redactor, stream: TextIO = sys.stdout, export: Export | None = None
) -> None:
    """Write log lines of `level` ("debug" to "error") and above to `stream`, as JSON or for people to read.

    All of them pass `redactor`, those of libraries too. `export` gets them as well, and has to be quick.
    """
    least = logging.getLevelNamesMapping()[level.upper()]
    complete: list[Processor] = [_complete, redactor.members]
    if export is not None:
        complete.append(_Exporting(export, redactor))
    finish: list[Processor]
    if json:
        finish = [structlog.processors.format_exc_info, _to_json, redactor.line]
    else:
        # Plain tracebacks: the boxed ones would print the values of local variables, secrets among them.
        plain = structlog.dev.plain_traceback
        finish = [
            _time_as_text,
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain, timestamp_key="time"),
            redactor.line,
        ]
    structlog.configure(
        processors=[*complete, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *names: _Logger(stream, *names),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *complete],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(least, logging.INFO))
    # What they say at level info is about every request, or said better by ourselves.
    for library in ("uvicorn", "httpx", "httpcore", "alembic", "sqlalchemy"):
        logging.getLogger(library).setLevel(max(least, logging.WARNING))


class RequestLog:
    """One line for each answered request, with what is known when it ends.

    As JSON it is written without structlog's pipeline, which costs more than answering a compiled query does.
    """

    def __init__(
        self, *, level: str, json: bool, redactor: Redactor, stream: TextIO = sys.stdout, export: Export | None = None
    ) -> None:
        self._least = logging.getLevelNamesMapping()[level.upper()]
        self._redactor = redactor
        self._bytes = stream.buffer if json else None
        self._export = export
        self._log = structlog.get_logger()

    def __call__(self, scope: Scope, route: str, status: int, seconds: float, operation: str | None) -> None:
        """Write the line, at level error where the fault is ours."""
        level = "info" if status < 500 else "error"
        if self._least > (logging.INFO if status < 500 else logging.ERROR):
            return
        client = scope.get("client")
        line = {
            "time": datetime.now(UTC),
            "level": level,
            "event": "request",
            "request_id": request_id.get(),
            "method": scope["method"],
            "path": self._redactor.text(scope["path"]),
            "route": route,
            "status": status,
            "duration_seconds": round(seconds, 6),
            "operation": operation,
            "client": client[0] if client else None,
        }
        if self._bytes is None:
            for known in ("time", "level", "request_id"):
                del line[known]
            getattr(self._log, level)(**line)
            return
        if self._export is not None:
            self._export(_record(BACKEND, line))
        if (span := tracing.context()) is not None:
            line |= _ids(span)
        self._bytes.write(orjson.dumps(line, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))
        self._bytes.flush()


class _Logger(structlog.WriteLogger):
    """Writes lines, and knows whose they are."""

    def __init__(self, stream: TextIO, name: str = BACKEND) -> None:
        super().__init__(stream)
        self.name = name


class _Exporting:
    """Hands each line to a collector's exporter before it is written."""

    def __init__(self, export: Export, redactor: Redactor) -> None:
        self._export = export
        self._redactor = redactor

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """The line as it came."""
        line = structlog.processors.format_exc_info(logger, method, {**event})
        line = {name: self._redactor.text(text) if isinstance(text, str) else text for name, text in line.items()}
        self._export(_record(line.pop("logger", BACKEND), line))
        return event


def _record(logger: str, line: EventDict) -> LogRecord:
    """A line as it is exported, with its span instead of the ids of that."""
    details = {name: value for name, value in line.items() if name not in _TOLD_APART}
    return LogRecord(time.time_ns(), logger, line["level"], str(line["event"]), details, tracing.context())


_TOLD_APART: Final = frozenset({"time", "level", "event", "trace_id", "span_id"})


def _ids(span: tracing.SpanContext) -> dict[str, str]:
    return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}


def _complete(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """When, how bad, what, who says it, for whom; then everything else."""
    level = {"exception": "error", "warn": "warning"}.get(method, method)
    complete: EventDict = {"time": datetime.now(UTC), "level": level, "event": event.pop("event", "")}
    complete["logger"] = _name_of(logger, event)
    if (current := request_id.get()) is not None:
        complete["request_id"] = current
    if (span := tracing.context()) is not None:
        complete.update(_ids(span))
    return {**complete, **event}


def _name_of(logger: WrappedLogger, event: EventDict) -> str:
    record: logging.LogRecord | None = event.get("_record")
    name: str = logger.name if record is None else record.name
    return name


def _time_as_text(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["time"] = f"{event['time']:%H:%M:%S}"
    return event


def _to_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return orjson.dumps(event, default=_as_text, option=_JSON_OPTIONS).decode()


def _as_text(value: Any) -> str:
    return str(value)
