"""A Tempo at the network's edge that the API asks, and questions about what it has."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from telemetry_clients.tempo import Tempo
from telemetry_clients.transport import Endpoint, Transport
from tests.schema.conftest import NOON, Api
from tests.telemetry_clients.local_server import LocalServer, local_server
from tests.telemetry_clients.tempo_server import StoredTrace, TempoServer, trace_id

HOUR = {"range": {"from": (NOON - timedelta(hours=1)).isoformat(), "to": NOON.isoformat()}}
OF_SERVICES = """
query($range: TimeRange!, $errorsOnly: Boolean, $min: Float, $first: Int, $orderBy: TraceOrder) {
  services { nodes {
    name traces(range: $range, errorsOnly: $errorsOnly, minDurationSeconds: $min, first: $first, orderBy: $orderBy) {
      traceId durationSeconds
    }
  } }
}
"""


@dataclass
class TempoBackend:
    """A Tempo that the API asks."""

    server: LocalServer
    tempo: TempoServer


@asynccontextmanager
async def tempo_backend(api: Api) -> AsyncIterator[TempoBackend]:
    """A Tempo of the API's own."""
    tempo = TempoServer()
    async with (
        local_server(tempo) as server,
        Transport(Endpoint(backend="Tempo", url=server.url)) as transport,
    ):
        api.telemetry = Telemetry(tempo=Instances("Tempo", {DEFAULT: Tempo(transport)}))
        yield TempoBackend(server, tempo)


def stored(
    number: int, *services: str, duration_ms: int = 100, failed: str = "", ago_seconds: float = 0
) -> StoredTrace:
    at = NOON.timestamp() - 60 - ago_seconds - number
    return StoredTrace(trace_id(number), at, duration_ms, services, frozenset(failed.split()))


async def create(api: Api, *names: str) -> None:
    for name in names:
        await api.changed("createService", "service { id }", input={"name": name})


def numbers(found: list[dict[str, Any]] | None) -> list[int]:
    assert found is not None
    return [int(trace["traceId"], 16) for trace in found]


async def by_service(api: Api, **asked: Any) -> dict[str, list[int]]:
    answer = await api(OF_SERVICES, **HOUR, **asked)
    assert "errors" not in answer, answer["errors"]
    return {service["name"]: numbers(service["traces"]) for service in answer["data"]["services"]["nodes"]}
