"""Log lines: structured, one per event, each with the id of the request that it belongs to.

The lines of libraries (the standard library's `logging`) take the same way out as ours.
"""

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson
import structlog
from starlette.types import Scope
from structlog.typing import EventDict, Processor, WrappedLogger

from app.observability.redaction import Redactor

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that is being answered, where there is one."""

_JSON_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def configure_logs(*, level: str, json: bool, redactor: Redactor, stream: TextIO = sys.stdout) -> None:
    """Write log lines of `level` ("debug" to "error") and above to `stream`, as JSON or for people to read.

    All of them pass `redactor`, those of libraries too.
    """
    least = logging.getLevelNamesMapping()[level.upper()]
    finish: list[Processor]
    if json:
        finish = [redactor.members, structlog.processors.format_exc_info, _to_json, redactor.line]
    else:
        # Plain tracebacks: the boxed ones would print the values of local variables, secrets among them.
        plain = structlog.dev.plain_traceback
        finish = [
            redactor.members,
            _time_as_text,
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain, timestamp_key="time"),
            redactor.line,
        ]
    structlog.configure(
        processors=[_complete, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_complete, structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder()],
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

    def __init__(self, *, level: str, json: bool, redactor: Redactor, stream: TextIO = sys.stdout) -> None:
        self._least = logging.getLevelNamesMapping()[level.upper()]
        self._redactor = redactor
        self._bytes = stream.buffer if json else None
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
        self._bytes.write(orjson.dumps(line, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))
        self._bytes.flush()


def _complete(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """When, how bad, what, for whom; then everything else."""
    level = {"exception": "error", "warn": "warning"}.get(method, method)
    complete: EventDict = {"time": datetime.now(UTC), "level": level, "event": event.pop("event", "")}
    if (current := request_id.get()) is not None:
        complete["request_id"] = current
    return {**complete, **event}


def _time_as_text(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["time"] = f"{event['time']:%H:%M:%S}"
    return event


def _to_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return orjson.dumps(event, default=_as_text, option=_JSON_OPTIONS).decode()


def _as_text(value: Any) -> str:
    return str(value)
