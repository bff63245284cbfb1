"""A Prometheus at the network's edge that has one gauge of some services, for rules that watch it by a query."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson

from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.transport import Endpoint, Transport
from tests.telemetry_clients.local_server import Request, http_answer, local_server

QUERY = 'sum by (service) (queue_length{service=~"$services"})'


@dataclass
class GaugeBackend:
    """`values` are the gauge's, by service. A query that holds `refused` is refused; with a `status`, all are."""

    values: dict[str, float] = field(default_factory=dict)
    status: int = 200
    refused: str = "nothing"
    asked: list[str] = field(default_factory=list)

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        [query] = request.parameters["query"]
        if "last_over_time" in query:  # which of the usual metrics there are: none
            writer.write(http_answer(_vector([])))
            return
        self.asked.append(query)
        if self.status != 200:
            writer.write(http_answer(b"down for maintenance", status=self.status))
            return
        if self.refused in query:
            reason = {"status": "error", "errorType": "execution", "error": "multiple matches for labels"}
            writer.write(http_answer(orjson.dumps(reason), status=422))
            return
        label = "service" if re.search(r"by \(service\)", query) else "shard"
        [at] = request.parameters.get("time", ["0"])
        samples = [{"metric": {label: name}, "value": [float(at), str(v)]} for name, v in self.values.items()]
        writer.write(http_answer(_vector(samples)))


@asynccontextmanager
async def telemetry_of(backend: GaugeBackend) -> AsyncIterator[Telemetry]:
    """Clients of it."""
    async with (
        local_server(backend) as server,
        Transport(Endpoint(backend="Prometheus", url=server.url)) as transport,
    ):
        yield Telemetry(prometheus=Instances("Prometheus", {DEFAULT: Prometheus(transport)}))


def _vector(samples: list[dict[str, object]]) -> bytes:
    return orjson.dumps({"status": "success", "data": {"resultType": "vector", "result": samples}})
