"""The whole application, put together in one place."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Scope

from app.backends import Backends, open_backends
from app.clock import now
from app.health import Health, database_dependency
from app.http import graphql
from app.http.cors import AllowedOrigins
from app.http.edge import Edge, RequestLog
from app.http.errors import answer_domain_error, answer_http_error, answer_unexpected
from app.http.explorer import explorer_assets, explorer_page
from app.http.graphql import GraphQLEndpoint
from app.http.health import health_routes
from app.http.rest import rest_routes
from app.http.time_limit import TimeLimit
from app.observability.logs import request_id
from app.observability.metrics import Metrics
from app.settings import GraphQLHTTPProfile, Settings
from app.version import VERSION
from db.database import Database
from domain.access import Actor, Role
from domain.errors import DomainError
from domain.time import Deadline
from resolvers.context import RequestContext
from resolvers.operations import Operations
from schema.root import build_schema

# An operation's own deadline comes first, because it knows which fields were late.
_GRACE_SECONDS = 0.25


@asynccontextmanager
async def application(
    settings: Settings, database_url: str, *, log_request: RequestLog | None = None
) -> AsyncGenerator[ASGIApp]:
    """The application with everything that it holds open. Raises DatabaseUnavailable, TelemetryNotConfigured."""
    database = await open_database(settings, database_url)
    try:
        async with open_backends(settings) as backends:
            health = Health([database_dependency(database), *backends.dependencies], now=now)
            try:
                yield create_app(settings, database=database, backends=backends, health=health, log_request=log_request)
            finally:
                await health.close()
    finally:
        await database.close()


def create_app(
    settings: Settings,
    *,
    database: Database,
    backends: Backends,
    health: Health,
    log_request: RequestLog | None = None,
) -> ASGIApp:
    """The ASGI application: the edge with the GraphQL endpoint, and every other route behind it."""
    metrics = Metrics(VERSION)
    time_limit = TimeLimit(settings.operation_timeout_seconds + _GRACE_SECONDS)

    def make_context(scope: Scope, id: str, deadline: Deadline) -> RequestContext:
        return RequestContext(
            database=database,
            prometheus=backends.prometheus,
            scrape_interval_seconds=settings.prometheus_scrape_interval_seconds,
            actor=_actor(scope),
            deadline=deadline,
            request_id=id,
            now=now(),
            health=health.report,
        )

    endpoint = GraphQLEndpoint(
        Operations(build_schema()),
        make_context,
        is_draft=settings.graphql_http_profile is GraphQLHTTPProfile.DRAFT,
        timeout_seconds=settings.operation_timeout_seconds,
        time_limit=time_limit,
        most_body_bytes=settings.max_body_bytes,
    )
    routes = Starlette(
        routes=[
            Route("/", _welcome),
            Route(graphql.PATH, explorer_page),
            explorer_assets(),
            *health_routes(health, metrics, version=VERSION),
            *rest_routes(database, lambda request: _actor(request.scope), most_body_bytes=settings.max_body_bytes),
        ],
        exception_handlers={
            DomainError: answer_domain_error,
            HTTPException: answer_http_error,
            Exception: answer_unexpected,
        },
    )
    return Edge(
        endpoint,
        routes,
        time_limit=time_limit,
        origins=AllowedOrigins(settings.cors_allowed_origins),
        durations=metrics.request_durations,
        log_request=log_request,
    )


async def open_database(settings: Settings, url: str) -> Database:
    """Connect as the settings say. Raises DatabaseUnavailable."""
    return await Database.connect(
        url,
        pool_size=settings.db_pool_kept_connections,
        pool_max=settings.db_pool_max_connections,
        read_connections=settings.db_read_connections,
        connection_lifetime_seconds=settings.db_connection_lifetime_seconds,
        statement_timeout_seconds=settings.db_statement_timeout_seconds,
    )


def _actor(scope: Scope) -> Actor:
    """Whoever asks: until people can sign in, everybody may do everything."""
    client = scope.get("client")
    address = client[0] if client else None
    return Actor(id=None, name="anonymous", role=Role.ADMIN, request_id=request_id.get(), address=address)


async def _welcome(_request: Request) -> Response:
    return RedirectResponse(graphql.PATH)
