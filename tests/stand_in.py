"""A small GraphQL server that answers until the product's own one does. Goes when `server_url` starts that one."""

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
import strawberry
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.http.explorer import explorer_assets, explorer_page


@strawberry.type
class TimelineEvent:
    occurred_at: datetime
    type: str
    title: str


@strawberry.type
class TimelineEvents:
    nodes: list[TimelineEvent]


@strawberry.type
class Service:
    name: str
    status: str


@strawberry.type
class Incident:
    number: int
    title: str
    severity: str
    status: str
    started_at: datetime
    services: list[Service]
    events: strawberry.Private[list[TimelineEvent]]

    @strawberry.field
    def timeline(self, last: int) -> TimelineEvents:
        return TimelineEvents(nodes=self.events[-last:])


@strawberry.input
class IncidentFilter:
    active: bool | None = None


@strawberry.type
class Incidents:
    nodes: list[Incident]

    @strawberry.field
    def total_count(self) -> int:
        return len(self.nodes)


@strawberry.type
class Query:
    @strawberry.field
    def incidents(self, first: int = 20, filter: IncidentFilter | None = None) -> Incidents:
        return Incidents(nodes=INCIDENTS[:first])


def _at(minute: int) -> datetime:
    return datetime(2026, 3, 14, 9, minute, tzinfo=UTC)


INCIDENTS = [
    Incident(
        number=42,
        title="Checkout answers slowly",
        severity="HIGH",
        status="INVESTIGATING",
        started_at=_at(2),
        services=[Service(name="checkout", status="DEGRADED"), Service(name="payments", status="HEALTHY")],
        events=[
            TimelineEvent(occurred_at=_at(2), type="DETECTED", title="Latency p95 above 2 s"),
            TimelineEvent(occurred_at=_at(5), type="STATUS_CHANGE", title="Open → Investigating"),
        ],
    ),
    Incident(
        number=41,
        title="Search index is stale",
        severity="LOW",
        status="OPEN",
        started_at=_at(0),
        services=[Service(name="search", status="HEALTHY")],
        events=[TimelineEvent(occurred_at=_at(0), type="NOTE", title="Reported by support")],
    ),
]
SCHEMA = strawberry.Schema(Query)
MODERN, LEGACY = "application/graphql-response+json", "application/json"


async def _graphql(request: Request) -> Response:
    accept = request.headers.get("accept", "*/*")
    if request.method == "GET" and "text/html" in accept and "query" not in request.query_params:
        return explorer_page(request)
    modern = MODERN in accept
    if request.method == "POST":
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return Response(status_code=415)
        try:
            parameters = orjson.loads(await request.body())
        except orjson.JSONDecodeError:
            return Response(status_code=400)
    else:
        try:
            parameters = {
                name: orjson.loads(value) if name in ("variables", "extensions") else value
                for name, value in request.query_params.items()
            }
        except orjson.JSONDecodeError:
            return Response(status_code=400)
    if not _well_formed(parameters) or (request.method == "GET" and parameters["query"].startswith("mutation")):
        return _json({"errors": [{"message": "Not a GraphQL request"}]}, 400, modern=modern)
    result = await SCHEMA.execute(
        parameters["query"], parameters.get("variables"), operation_name=parameters.get("operationName")
    )
    body: dict[str, Any] = {"errors": [error.formatted for error in result.errors]} if result.errors else {}
    if result.data is None and result.errors:
        return _json(body, 400 if modern else 200, modern=modern)
    return _json({**body, "data": result.data}, 200, modern=modern)


def _well_formed(parameters: Any) -> bool:
    return (
        isinstance(parameters, dict)
        and isinstance(parameters.get("query"), str)
        and isinstance(parameters.get("operationName"), str | None)
        and isinstance(parameters.get("variables"), dict | None)
        and isinstance(parameters.get("extensions"), dict | None)
    )


def _json(body: dict[str, Any], status_code: int, *, modern: bool) -> Response:
    media_type = f"{MODERN if modern else LEGACY}; charset=utf-8"
    return Response(orjson.dumps(body), status_code, media_type=media_type)


@pytest.fixture(scope="session")
async def server_url() -> AsyncIterator[str]:
    """The base URL of a running server."""
    routes = [
        Route("/graphql", _graphql, methods=["GET", "POST"]),
        explorer_assets(),
    ]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="warning"))
    listener = socket.create_server(("127.0.0.1", 0))  # accepts connections from here on, before uvicorn answers them
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    await serving
