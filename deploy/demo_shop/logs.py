"""Log lines: JSON on standard output, and for Loki's push API."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from deploy.demo_shop.traces import Span


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `at` is nanoseconds since 1970."""

    at: int
    service: str
    level: str
    message: str
    trace_id: str = ""
    span_id: str = ""

    def as_json(self) -> str:
        """The line as it is written and pushed."""
        said = {
            "time": datetime.fromtimestamp(self.at / 1e9, UTC).isoformat(timespec="milliseconds"),
            "level": self.level,
            "service": self.service,
            "message": self.message,
            "trace_id": self.trace_id,
            "span_id": self.span_id,
        }
        return json.dumps({key: value for key, value in said.items() if value})


class Journal:
    """Where the shop's services write their lines; `push` gets each of them as well, where Loki is configured."""

    def __init__(self, push: Callable[[Line], None] | None = None, *, is_quiet: bool = False) -> None:
        self._push = push
        self._is_quiet = is_quiet

    def write(self, service: str, level: str, message: str, span: Span | None = None) -> None:
        """Write a line about a service, of the trace of a span."""
        ids = (span.trace_id, span.span_id) if span is not None else ("", "")
        line = Line(time.time_ns(), service, level, message, *ids)
        if not self._is_quiet:
            sys.stdout.write(line.as_json() + "\n")
            sys.stdout.flush()
        if self._push is not None:
            self._push(line)


def as_loki_push(lines: Sequence[Line]) -> dict[str, Any]:
    """The body of `POST /loki/api/v1/push`: a stream for each service and level, ids as structured metadata."""
    streams: dict[tuple[str, str], list[list[Any]]] = {}
    for line in lines:
        metadata = {"trace_id": line.trace_id} if line.trace_id else {}
        streams.setdefault((line.service, line.level), []).append([str(line.at), line.as_json(), metadata])
    return {
        "streams": [
            {"stream": {"service_name": service, "level": level, "job": "demo-shop"}, "values": values}
            for (service, level), values in streams.items()
        ]
    }
