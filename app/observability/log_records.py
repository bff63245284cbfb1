"""Log lines on their way to a collector."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from domain.tracing import SpanContext


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One line: when, by which logger, how bad, what, and everything else that is said with it."""

    time_ns: int
    logger: str
    level: str
    event: str
    details: Mapping[str, Any]
    span: SpanContext | None = None
