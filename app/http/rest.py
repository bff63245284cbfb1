"""The REST façade: incidents, their timelines, services and SLOs, for scripts and for curl.

It writes through the same actions as GraphQL's mutations do. Every error is `{"error": "<what is wrong>"}`.
"""

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import RowMapping, Select, func
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actions import incidents as actions
from actions.incidents import AffectedService, IncidentChanges, NewIncident
from actions.timeline import add_note
from app.clock import now
from app.http import representations
from app.http.inputs import actor_of, choices, json_object, only, page, path_id, time
from app.http.routes import GuardedRoute, Method
from db.database import Database
from db.incidents import ACTIVE, LATEST_FIRST, select_incidents
from db.services import select_services, services
from db.slos import select_slos, slos
from db.timeline import OLDEST_FIRST, select_timeline
from domain.errors import NotFound, ValidationFailed
from domain.incidents import IncidentSource, IncidentStatus, Severity
from domain.permissions import INCIDENTS_WRITE, READ
from domain.references import parse_id
from domain.services import service_name
from resolvers.limits.rates import RateLimiter

_CHANGEABLE: Final = frozenset({"title", "description", "severity", "status", "root_cause", "resolution"})
_CREATABLE: Final = frozenset(
    {"title", "description", "severity", "service", "services", "service_ids", "started_at", "labels"}
)
_NOTE: Final = frozenset({"text", "occurred_at"})

_ROW_COST: Final = 1
_WRITE_COST: Final = 10

Represent = Callable[[RowMapping], dict[str, Any]]


def rest_routes(database: Database, limiter: RateLimiter | None, *, most_body_bytes: int) -> list[Route]:
    """The routes below `/api`. Who asks is the `actor` of the request's scope.

    What they cost counts together with what GraphQL does.
    """
    rest = _Rest(database, limiter, most_body_bytes)
    return [
        GuardedRoute(
            "/api/incidents",
            GET=Method(READ, rest.list_incidents),
            POST=Method(INCIDENTS_WRITE, rest.create_incident),
        ),
        GuardedRoute("/api/incidents/active", GET=Method(READ, rest.list_active_incidents)),
        GuardedRoute(
            "/api/incidents/{id}",
            GET=Method(READ, rest.get_incident),
            PATCH=Method(INCIDENTS_WRITE, rest.update_incident),
        ),
        GuardedRoute(
            "/api/incidents/{id}/timeline",
            GET=Method(READ, rest.get_timeline),
            POST=Method(INCIDENTS_WRITE, rest.add_note),
        ),
        GuardedRoute("/api/services", GET=Method(READ, rest.list_services)),
        GuardedRoute("/api/slos", GET=Method(READ, rest.list_slos)),
    ]


class _Rest:
    def __init__(self, database: Database, limiter: RateLimiter | None, most_body_bytes: int) -> None:
        self._database = database
        self._limiter = limiter
        self._most_body_bytes = most_body_bytes

    async def list_incidents(self, request: Request) -> Response:
        """Incidents, the latest first, filtered by status, severity and service."""
        service = request.query_params.get("service", "").strip()
        statement = select_incidents(
            statuses=choices(request, "status", IncidentStatus, "Status"),
            severities=choices(request, "severity", Severity, "Severity"),
            service=(parse_id(service) or service_name(service, "service")) if service else None,
        )
        return await self._page(request, statement, LATEST_FIRST, representations.incident)

    async def list_active_incidents(self, request: Request) -> Response:
        """Incidents that are not resolved, the latest first."""
        return await self._page(request, select_incidents(statuses=ACTIVE), LATEST_FIRST, representations.incident)

    async def get_incident(self, request: Request) -> Response:
        """One incident, whole."""
        id = path_id(request, "incident")
        self._charge(request, _ROW_COST)
        return _json(await self._incident(id))

    async def create_incident(self, request: Request) -> Response:
        """Open an incident, and answer with all of it."""
        body = await self._object(request, _CREATABLE)
        new = NewIncident(
            title=body.get("title"),
            severity=body.get("severity") or Severity.MEDIUM,
            description=body.get("description"),
            services=_services(body),
            source=IncidentSource.API,
            started_at=time(body.get("started_at"), "started_at"),
            labels=body.get("labels") or {},
        )
        actor, key = actor_of(request), request.headers.get("idempotency-key")
        id = await self._database.transact(
            lambda tx: actions.create(tx, new, actor=actor, idempotency_key=key), now=now()
        )
        return _json(await self._incident(id), 201, {"Location": f"/api/incidents/{id}"})

    async def update_incident(self, request: Request) -> Response:
        """Change some fields of an incident, and answer with all of it."""
        id = path_id(request, "incident")
        body = await self._object(request, _CHANGEABLE)
        if not body:
            raise ValidationFailed(f"There is nothing to change. Give one of: {', '.join(sorted(_CHANGEABLE))}")
        changes, actor = IncidentChanges(**body), actor_of(request)
        await self._database.transact(lambda tx: actions.update(tx, id, changes, actor=actor), now=now())
        return _json(await self._incident(id))

    async def get_timeline(self, request: Request) -> Response:
        """The timeline of an incident, the oldest entry first."""
        id = path_id(request, "incident")
        await self._incident(id)
        return await self._page(request, select_timeline(id), OLDEST_FIRST, representations.timeline_event)

    async def add_note(self, request: Request) -> Response:
        """Add a note to the timeline of an incident."""
        id = path_id(request, "incident")
        body = await self._object(request, _NOTE)
        note, occurred_at = body.get("text") or "", time(body.get("occurred_at"), "occurred_at")
        actor, key = actor_of(request), request.headers.get("idempotency-key")
        entry_id = await self._database.transact(
            lambda tx: add_note(tx, id, note, occurred_at=occurred_at, actor=actor, idempotency_key=key), now=now()
        )
        async with self._database.reading() as connection:
            row = (await connection.execute(select_timeline(id, entry_id))).mappings().one()
        return _json(representations.timeline_event(row), 201)

    async def list_services(self, request: Request) -> Response:
        """The catalog by name."""
        order = (services.c.name, services.c.id)
        return await self._page(request, select_services(), order, representations.service)

    async def list_slos(self, request: Request) -> Response:
        """The SLOs by name."""
        return await self._page(request, select_slos(), (slos.c.name, slos.c.id), representations.slo)

    async def _object(self, request: Request, allowed: frozenset[str]) -> dict[str, Any]:
        self._charge(request, _WRITE_COST)
        body = await json_object(request, most_bytes=self._most_body_bytes)
        only(body, allowed)
        return body

    def _charge(self, request: Request, cost: float) -> None:
        """Count what a request asks for. Raises TooManyRequests."""
        if self._limiter is not None:
            self._limiter.take(actor_of(request), cost)

    async def _incident(self, id: UUID) -> dict[str, Any]:
        async with self._database.reading() as connection:
            row = (await connection.execute(select_incidents(id=id))).mappings().one_or_none()
        if row is None:
            raise NotFound("incident", id)
        return representations.incident(row)

    async def _page(
        self, request: Request, statement: Select[Any], order: tuple[Any, ...], represent: Represent
    ) -> Response:
        limit, offset = page(request)
        self._charge(request, limit * _ROW_COST)
        matching = statement.with_only_columns(func.count(), maintain_column_froms=True)
        async with self._database.reading() as connection:
            total = (await connection.execute(matching)).scalar_one()
            rows = await connection.execute(statement.order_by(*order).limit(limit).offset(offset))
            items = [represent(row) for row in rows.mappings()]
        return _json(items, headers={"X-Total-Count": str(total)})


def _services(body: dict[str, Any]) -> list[AffectedService]:
    """What `service`, `services` and `service_ids` name, in this order."""
    named = [] if body.get("service") in (None, "") else [body["service"]]
    for key in ("services", "service_ids"):
        values = body.get(key) or []
        if not isinstance(values, list):
            raise ValidationFailed(f"{key} must be a list of names or ids", (key,))
        named += values
    return [AffectedService(service=value) for value in named]


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    text = orjson.dumps(value, option=orjson.OPT_UTC_Z)
    return Response(text, status, headers, media_type="application/json")
