"""A Prometheus at the network's edge, which has heard of some services and counts what it is asked."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.local_server import Request, http_answer, local_server

HISTOGRAM = "http_server_request_duration_seconds_count"


@dataclass
class PrometheusBackend:
    """`metrics` are the labels of what it has. Every range has the same samples for all services that the query names;
    a query that holds `refused` is refused."""

    metrics: Sequence[dict[str, str]]
    samples: Sequence[tuple[float, str]] = ((1772366400, "0.5"), (1772366415.25, "NaN"))
    refused: str = "nothing"
    warnings: Sequence[str] = ()
    delay_seconds: float = 0.0
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def ranges(self) -> list[str]:
        """The queries over ranges."""
        return [query for path, query in self.asked if path.endswith("query_range")]

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        [query] = request.parameters["query"]
        self.asked.append((request.path, query))
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        if self.refused in query:
            reason = {"status": "error", "errorType": "bad_data", "error": '1:5: parse error: unexpected ")"'}
            writer.write(http_answer(orjson.dumps(reason), status=400))
            return
        kind, result = self._result(request, query)
        body = {"status": "success", "data": {"resultType": kind, "result": result}, "warnings": [*self.warnings]}
        writer.write(http_answer(orjson.dumps(body)))

    def _result(self, request: Request, query: str) -> tuple[str, list[Any]]:
        if request.path.endswith("/query"):
            return "vector", [{"metric": labels, "value": [1, "1"]} for labels in self.metrics]
        named = {text for part in re.findall('"([^"]*)"', query) for text in part.split("|")}
        found = {
            (label, value): None
            for labels in self.metrics
            for label, value in labels.items()
            if label in ("service", "job") and value in named
        }
        return "matrix", [{"metric": {label: value}, "values": self.samples} for label, value in found]


@asynccontextmanager
async def telemetry_of(backend: PrometheusBackend) -> AsyncIterator[Telemetry]:
    """Clients of it."""
    async with (
        local_server(backend) as server,
        Transport(Endpoint(backend="Prometheus", url=server.url)) as transport,
    ):
        yield Telemetry(prometheus=Instances("Prometheus", {DEFAULT: Prometheus(transport)}))
