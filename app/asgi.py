"""The whole application, put together in one place."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from app.alert_intake import AlertIntake
from app.alert_settings import tokens_of
from app.auth.authenticator import PROOFS
from app.auth.opening import SignIn, open_sign_in
from app.backends import Backends, open_backends
from app.background import in_background
from app.clock import now
from app.health import Health, database_dependency, replica_dependency
from app.http import graphql
from app.http.cors import AllowedOrigins
from app.http.edge import Edge, RequestLog
from app.http.errors import answer_domain_error, answer_http_error, answer_unexpected
from app.http.explorer import explorer_assets, explorer_route
from app.http.forwarding import TrustedProxies
from app.http.graphql import GraphQLEndpoint
from app.http.health import health_routes
from app.http.hosts import AllowedHosts
from app.http.open_paths import is_open
from app.http.outlet import Admission
from app.http.read_marks import ReadMarks
from app.http.rest import rest_routes
from app.http.running import Runner
from app.http.sign_in import sign_in_routes
from app.http.sse import EventStreams
from app.http.time_limit import TimeLimit
from app.http.webhooks import webhook_routes
from app.http.websocket import SocketLimits, WebSocketEndpoint
from app.limit_settings import Audience
from app.limits import guard
from app.observability.alerts import AlertMetrics
from app.observability.exporters import Exporters
from app.observability.fleet import Fleet
from app.observability.live import LiveMetrics
from app.observability.metrics import Metrics
from app.observability.replica import ReplicaMetrics
from app.processes.worker import Colleagues
from app.service_graph import service_graph_dependency
from app.settings import GraphQLHTTPProfile, Settings
from app.version import VERSION
from app.workers import Running, grouping_rules, has_service_graph, workers
from db.credentials import RIGHTS_CHANNEL
from db.database import Database
from db.observing import Observer
from domain.access import Actor
from domain.errors import DomainError
from domain.references import parse_id
from domain.time import Deadline
from domain.tracing import Tracer
from feed.hub import Hub
from feed.log import EventLog
from feed.relay import Relay, RelayState
from resolvers.compile.catalog import check_catalog
from resolvers.context import RequestContext
from resolvers.log_tails import LogTails
from resolvers.operations import Operations
from resolvers.subscriptions import Subscriptions
from schema.root import build_schema

# An operation's own deadline comes first, because it knows which fields were late.
_GRACE_SECONDS = 0.25


@asynccontextmanager
async def application(
    settings: Settings,
    database_url: str,
    *,
    with_workers: bool = True,
    log_request: RequestLog | None = None,
    colleagues: Colleagues | None = None,
    exporters: Exporters | None = None,
    fleet: Fleet | None = None,
) -> AsyncGenerator[Edge]:
    """The application with everything that it holds open, and what runs beside the requests.

    Without workers it only serves: relaying events, processing alerts and forgetting what is old is left to other
    processes. `fleet` and `colleagues` are its place among the processes that listen on the same port, and what it
    knows of them. Raises DatabaseUnavailable, CatalogMismatch, TelemetryNotConfigured.
    """
    exporters = exporters or Exporters()
    metrics = Metrics(VERSION, operation_names=settings.metrics_operation_names, fleet=fleet)
    exporters.show(metrics.registry)
    tracer = exporters.tracer(settings)
    database = await open_database(settings, database_url, observer=metrics.database)
    try:
        limits = guard(settings, database)
        operations = Operations(build_schema(), metrics.operations, limits)
        await check_catalog(database, operations.schema, operations.sources, may_be_newer=True)
        metrics.operations.watch(operations.documents, limits.trusted.operation_names())
        metrics.database.watch(database)
        async with (
            open_backends(settings, metrics.telemetry) as backends,
            open_sign_in(settings, database, limits.limiter) as sign_in,
        ):
            dependencies = [database_dependency(database), *backends.dependencies]
            if database.replica is not None:
                dependencies.append(replica_dependency(database.replica))
                metrics.registry.register(ReplicaMetrics(database.replica))
            if has_service_graph(settings, backends):
                dependencies.append(service_graph_dependency(database))
            if colleagues is not None:
                dependencies.append(colleagues.dependency())
            health = Health(dependencies, now=now)
            event_log = EventLog(database, database_url)
            hub = Hub(event_log, tracer=tracer)
            relay = Relay(database_url, event_log, observer=metrics.database) if with_workers else None
            alerts = AlertIntake(database, rules=grouping_rules(settings), now=now, tracer=tracer)
            app = create_app(
                settings,
                operations,
                database=database,
                hub=hub,
                backends=backends,
                health=health,
                metrics=metrics,
                relay=None if relay is None else relay.state,
                alerts=alerts,
                sign_in=sign_in,
                log_request=log_request,
                tracer=tracer,
            )
            works: dict[str, Running] = {"event log": event_log.run, "hub": hub.run, "streams": app.watch_streams}
            if database.replica is not None:
                works["read replica"] = database.replica.run
            if limits.limiter is not None:
                works["rate limits"] = limits.limiter.run
            if relay is not None:
                works |= workers(
                    settings,
                    database,
                    database_url,
                    backends=backends,
                    metrics=metrics,
                    relay=relay,
                    alerts=alerts,
                    tracer=tracer,
                )
            try:
                async with in_background(works), metrics.told_to_others():
                    yield app
            finally:
                await health.close()
    finally:
        await database.close()


def create_app(
    settings: Settings,
    operations: Operations,
    *,
    database: Database,
    hub: Hub,
    backends: Backends,
    health: Health,
    metrics: Metrics,
    alerts: AlertIntake,
    sign_in: SignIn,
    relay: RelayState | None = None,
    log_request: RequestLog | None = None,
    tracer: Tracer | None = None,
) -> Edge:
    """The ASGI application: the edge with the GraphQL endpoint, and every other route behind it."""
    authenticator = sign_in.authenticator
    log_tails = LogTails()
    time_limit = TimeLimit(settings.operation_timeout_seconds + _GRACE_SECONDS)
    marks = ReadMarks(database)

    def make_context(actor: Actor, id: str, deadline: Deadline) -> RequestContext:
        return RequestContext(
            database=database,
            event_log=hub.log,
            telemetry=backends.telemetry,
            scrape_interval_seconds=settings.prometheus_scrape_interval_seconds,
            # What runs on a connection that stays open has a request id of its own.
            actor=actor if actor.request_id == id else replace(actor, request_id=id),
            deadline=deadline,
            request_id=id,
            now=now(),
            read_after=marks.position,
            health=health.report,
            log_tails=log_tails,
        )

    origins = AllowedOrigins(settings.cors_allowed_origins)
    answered = settings.answered_hosts()
    hosts = None if answered is None else AllowedHosts(answered)

    async def identify(request: Request) -> Actor:
        return await authenticator.identify(request.scope, dict(request.scope["headers"]))

    async def is_known(request: Request) -> bool:
        """Whether a request to a path that is open to everybody has a proof all the same."""
        if settings.auth_enabled and PROOFS.isdisjoint(request.headers.keys()):
            return False  # Nobody asked for one, so nothing is refused.
        try:
            await identify(request)
        except DomainError:
            return False
        return True

    endpoint = GraphQLEndpoint(
        operations,
        make_context,
        authenticator.identify,
        origins=origins,
        is_draft=settings.graphql_http_profile is GraphQLHTTPProfile.DRAFT,
        timeout_seconds=settings.operation_timeout_seconds,
        time_limit=time_limit,
        most_body_bytes=settings.max_body_bytes,
    )
    subscriptions = Subscriptions(
        operations.sources, hub, now, authenticator.current, recheck_seconds=settings.rights_kept_seconds / 2
    )

    def doubt(told: str | None) -> None:
        """Somebody's rights have changed: whose, the database says, if nothing was missed."""
        user_id = None if told is None else parse_id(told)
        authenticator.doubt(user_id)
        subscriptions.doubt(user_id)

    hub.log.hear(RIGHTS_CHANNEL, doubt)
    runner = Runner(
        operations,
        subscriptions,
        make_context,
        marks,
        authenticator.current,
        timeout_seconds=settings.operation_timeout_seconds,
        tracer=tracer,
    )
    admission = Admission(
        most=settings.max_streams,
        most_per_address=settings.max_streams_per_address,
        most_per_user=settings.max_streams_per_user,
    )
    sockets = WebSocketEndpoint(
        runner, admission, authenticator.identify, origins, _socket_limits(settings), path=graphql.PATH, hosts=hosts
    )
    streams = EventStreams(
        endpoint,
        runner,
        admission,
        authenticator.identify,
        timeout_seconds=settings.operation_timeout_seconds,
        keep_alive_seconds=settings.stream_keep_alive_seconds,
        send_timeout_seconds=settings.send_timeout_seconds,
    )
    live = LiveMetrics(database, hub, relay, {"websocket": sockets.counts, "sse": streams.counts})
    metrics.sampled_collectors.add("live", live)
    metrics.sampled_collectors.add("alerts", AlertMetrics(database))
    routes = Starlette(
        routes=[
            Route("/", _welcome),
            explorer_route(
                graphql.PATH,
                authenticator.identify,
                settings.explorer_role.permission,
                is_open=settings.explorer_role is Audience.ANYONE,
            ),
            explorer_assets(),
            *health_routes(
                health,
                metrics,
                version=VERSION,
                metrics_token=None if settings.metrics_token is None else settings.metrics_token.get_secret_value(),
                is_known=is_known,
            ),
            *sign_in_routes(sign_in.sessions, identify),
            *rest_routes(database, operations.guard.limiter, most_body_bytes=settings.max_body_bytes),
            *webhook_routes(
                alerts,
                tokens_of(settings.webhook_tokens),
                identify=authenticator.identify if settings.auth_enabled else None,
                most_body_bytes=settings.max_webhook_bytes,
            ),
        ],
        exception_handlers={
            DomainError: answer_domain_error,
            HTTPException: answer_http_error,
            Exception: answer_unexpected,
        },
    )
    return Edge(
        endpoint,
        sockets,
        streams,
        routes,
        identify=authenticator.identify,
        open_paths=is_open,
        time_limit=time_limit,
        origins=origins,
        marks=marks,
        proxies=TrustedProxies(settings.trusted_proxies),
        hosts=hosts,
        hsts_seconds=settings.hsts_seconds,
        durations=metrics.request_durations,
        log_request=log_request,
        tracer=tracer,
    )


async def open_database(settings: Settings, url: str, *, observer: Observer | None = None) -> Database:
    """Connect as the settings say. Raises DatabaseUnavailable."""
    return await Database.connect(
        url,
        read_url=settings.replica_url(),
        replica_most_lag_seconds=settings.database_read_most_lag_seconds,
        pool_size=settings.db_pool_kept_connections,
        pool_max=settings.db_pool_max_connections,
        read_connections=settings.db_read_connections,
        connection_lifetime_seconds=settings.db_connection_lifetime_seconds,
        statement_timeout_seconds=settings.db_statement_timeout_seconds,
        observer=observer,
    )


def _socket_limits(settings: Settings) -> SocketLimits:
    return SocketLimits(
        operations=settings.max_operations_per_socket,
        init_timeout_seconds=settings.socket_init_timeout_seconds,
        ping_seconds=settings.socket_ping_seconds,
        send_timeout_seconds=settings.send_timeout_seconds,
    )


async def _welcome(_request: Request) -> Response:
    return RedirectResponse(graphql.PATH)
