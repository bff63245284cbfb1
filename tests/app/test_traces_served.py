"""A server with a Tempo: traces in the answers, its health, and the dependencies that its traces show."""

import time
from typing import Any

import httpx

from tests.servers import ServerProcess
from tests.telemetry_clients.local_server import local_server
from tests.telemetry_clients.tempo_server import StoredTrace, TempoServer, trace_id
from tests.waiting import until

TRACE = "{ tempo(traceId: 7) { rootService spanCount criticalPath { service } } }"
GRAPH = "{ services { nodes { name dependencies { dependsOn { name } } } } }"


async def test_a_server_that_is_told_of_a_tempo_shows_what_its_traces_say(database_url: str) -> None:
    traces = [StoredTrace(trace_id(7), time.time() - 5, 100, ["frontend", "checkout"])]
    async with (
        local_server(TempoServer(traces)) as tempo,
        ServerProcess(DATABASE_URL=database_url, TEMPO_URL=tempo.url, SERVICE_GRAPH_INTERVAL_SECONDS="1") as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):

        async def ask(query: str) -> Any:
            return (await http.post("/graphql", json={"query": query})).json()

        async def is_known() -> bool:
            dependencies = {
                service["name"]: [edge["dependsOn"]["name"] for edge in service["dependencies"]]
                for service in (await ask(GRAPH))["data"]["services"]["nodes"]
            }
            return dependencies == {"checkout": [], "frontend": ["checkout"]}

        assert await ask(TRACE) == {
            "data": {
                "tempo": {
                    "rootService": "frontend",
                    "spanCount": 2,
                    "criticalPath": [{"service": "frontend"}, {"service": "checkout"}],
                }
            }
        }
        components = (await http.get("/api/health")).json()["components"]
        assert (components["tempo"]["status"], components["tempo"]["version"]) == ("healthy", "3.1.0")
        assert components["service_graph"]["status"] == "healthy"
        await until(is_known)
