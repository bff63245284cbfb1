"""Services are asked about where they are known: each at its own instance of a backend."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import orjson
import pytest

from actions.services import NewService, create
from db.database import Database
from domain.access import Actor, Role
from resolvers.operations import Operations
from telemetry_clients.instances import DEFAULT, Instances, Telemetry
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.transport import Endpoint, Transport
from tests.resolvers.awkward_values import NOW
from tests.resolvers.client import Client
from tests.telemetry_clients.local_server import Behaviour, LocalServer, Request, http_answer, local_server

QUESTION = """{ services { nodes {
  name
  metrics(signals: [REQUEST_RATE], range: { from: "2026-03-01T00:00:00Z", to: "2026-03-01T01:00:00Z" }) { name }
} } }"""
ACTOR = Actor(None, "tests", Role.ADMIN)


def knowing(service: str) -> Behaviour:
    """A Prometheus that has the requests of one service."""
    known = [{"metric": {"__name__": "http_requests_total", "service": service}, "value": [1772323200, "1"]}]
    series = [{"metric": {"service": service}, "values": [[1772323200, "1"]]}]

    async def behaviour(request: Request, writer: asyncio.StreamWriter) -> None:
        kind, result = ("matrix", series) if request.path.endswith("query_range") else ("vector", known)
        body = {"status": "success", "data": {"resultType": kind, "result": result}}
        writer.write(http_answer(orjson.dumps(body)))

    return behaviour


@pytest.fixture
async def servers() -> AsyncIterator[dict[str, LocalServer]]:
    async with (
        local_server(knowing("checkout")) as default,
        local_server(knowing("payments")) as eu,
    ):
        yield {DEFAULT: default, "eu": eu}


async def test_each_service_is_asked_about_at_its_own_instance(database: Database, operations: Operations, servers):
    declared = {"checkout": {}, "payments": {"prometheus": "eu"}, "search": {"prometheus": "asia"}}
    for name, instances in declared.items():
        new = NewService(name=name, telemetry_instances=instances)
        await database.transact(lambda tx, new=new: create(tx, new, actor=ACTOR), now=NOW)
    async with AsyncExitStack() as stack:
        clients = {}
        for name, server in servers.items():
            endpoint = Endpoint(backend="Prometheus", instance=name, url=server.url)
            clients[name] = Prometheus(await stack.enter_async_context(Transport(endpoint)))
        client = Client(operations, database, Telemetry(prometheus=Instances("Prometheus", clients)))
        answer = await client.ask(QUESTION)
    metrics = {node["name"]: node["metrics"] for node in answer["data"]["services"]["nodes"]}
    assert metrics == {
        "checkout": [{"name": "checkout request_rate"}],
        "payments": [{"name": "payments request_rate"}],
        "search": None,
    }
    [error] = answer["errors"]
    assert error["extensions"]["code"] == "TELEMETRY_NOT_CONFIGURED"
    assert "No Prometheus called 'asia' is configured. Configured are: default, eu." in error["message"]
    for server in servers.values():
        assert [request.path for request in server.requests] == ["/api/v1/query", "/api/v1/query_range"]
