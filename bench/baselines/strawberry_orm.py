"""The same contract served with Strawberry and the SQLAlchemy ORM, as their guides show it.

ORM rows are resolved by attribute, a session a resolver, and a DataLoader for every relationship, so that a list costs
one statement a level and not one an object: the plain way, done well.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

import strawberry
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, aliased
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.scalars import ID

from bench.baselines.serve import serve
from db import tables
from domain.incidents import IncidentSource, IncidentStatus, Severity
from domain.services import ServiceStatus
from domain.slos import SLOStatus
from domain.timeline import TimelineEventType

Sessions = async_sessionmaker[AsyncSession]

for enum in (IncidentSource, IncidentStatus, Severity, ServiceStatus, SLOStatus, TimelineEventType):
    strawberry.enum(enum)


class Row(DeclarativeBase):
    """What the ORM maps. Search vectors are for the database alone."""

    __mapper_args__ = {"exclude_properties": ["search"]}


class IncidentRow(Row):
    __table__ = tables.incidents


class ServiceRow(Row):
    __table__ = tables.services


class TimelineEventRow(Row):
    __table__ = tables.timeline_events


class SLORow(Row):
    __table__ = tables.slos


class SLOStateRow(Row):
    __table__ = tables.slo_states


class Loaders:
    """One of each per request."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._timelines: dict[int, DataLoader[UUID, list[TimelineEventRow]]] = {}
        self.services = DataLoader(self._services)
        self.incident_services = DataLoader(self._incident_services)
        self.slo_states = DataLoader(self._slo_states)

    def timelines(self, last: int) -> DataLoader[UUID, list[TimelineEventRow]]:
        """The last events of incidents, oldest first."""
        if last not in self._timelines:

            async def load(incident_ids: list[UUID]) -> Sequence[list[TimelineEventRow]]:
                return await self._timeline_events(incident_ids, last)

            self._timelines[last] = DataLoader(load)
        return self._timelines[last]

    async def _services(self, ids: list[UUID]) -> Sequence[ServiceRow]:
        async with self._sessions() as session:
            rows = await session.scalars(select(ServiceRow).where(ServiceRow.id.in_(ids)))
            by_id = {row.id: row for row in rows}
        return [by_id[id] for id in ids]

    async def _slo_states(self, slo_ids: list[UUID]) -> Sequence[SLOStateRow | None]:
        async with self._sessions() as session:
            rows = await session.scalars(select(SLOStateRow).where(SLOStateRow.slo_id.in_(slo_ids)))
            by_id = {row.slo_id: row for row in rows}
        return [by_id.get(id) for id in slo_ids]

    async def _incident_services(self, incident_ids: list[UUID]) -> Sequence[list[ServiceRow]]:
        impacts = tables.incidents_services
        statement = (
            select(impacts.c.incident_id, ServiceRow)
            .join(ServiceRow, ServiceRow.id == impacts.c.service_id)
            .where(impacts.c.incident_id.in_(incident_ids))
            .order_by(ServiceRow.name)
        )
        by_incident: defaultdict[UUID, list[ServiceRow]] = defaultdict(list)
        async with self._sessions() as session:
            for incident_id, service in await session.execute(statement):
                by_incident[incident_id].append(service)
        return [by_incident[id] for id in incident_ids]

    async def _timeline_events(self, incident_ids: list[UUID], last: int) -> Sequence[list[TimelineEventRow]]:
        rank = func.row_number().over(
            partition_by=TimelineEventRow.incident_id,
            order_by=(TimelineEventRow.occurred_at.desc(), TimelineEventRow.id.desc()),
        )
        ranked = select(TimelineEventRow, rank.label("rank")).where(TimelineEventRow.incident_id.in_(incident_ids))
        ranked_rows = ranked.subquery()
        event = aliased(TimelineEventRow, ranked_rows)
        statement = select(event).where(ranked_rows.c.rank <= last).order_by(event.occurred_at, event.id)
        by_incident: defaultdict[UUID, list[TimelineEventRow]] = defaultdict(list)
        async with self._sessions() as session:
            for row in await session.scalars(statement):
                by_incident[row.incident_id].append(row)
        return [by_incident[id] for id in incident_ids]


@strawberry.type
class Service:
    id: ID
    name: str
    display_name: str
    tier: int | None
    status: ServiceStatus


@strawberry.type
class ServiceConnection:
    nodes: list[Service]


@strawberry.type
class TimelineEvent:
    id: ID
    type: TimelineEventType
    occurred_at: datetime
    title: str


@strawberry.type
class TimelineEventConnection:
    nodes: list[TimelineEvent]


@strawberry.type
class Incident:
    id: ID
    number: int
    title: str
    description: str
    severity: Severity
    status: IncidentStatus
    source: IncidentSource
    started_at: datetime
    acknowledged_at: datetime | None
    resolved_at: datetime | None
    version: int

    @strawberry.field
    async def services(self, info: strawberry.Info) -> list[Service]:
        return await info.context["loaders"].incident_services.load(self.id)

    @strawberry.field
    async def timeline(self, info: strawberry.Info, last: int = 20) -> TimelineEventConnection:
        return TimelineEventConnection(nodes=await info.context["loaders"].timelines(last).load(self.id))


@strawberry.type
class IncidentConnection:
    nodes: list[Incident]


@strawberry.type
class SLOMeasurement:
    sli: float | None
    error_budget_remaining: float


@strawberry.type
class SLO:
    id: ID
    name: str
    objective: float
    service_id: strawberry.Private[UUID]

    @strawberry.field
    async def service(self, info: strawberry.Info) -> Service:
        return await info.context["loaders"].services.load(self.service_id)

    @strawberry.field
    async def status(self, info: strawberry.Info) -> SLOStatus:
        state = await info.context["loaders"].slo_states.load(self.id)
        return SLOStatus.NO_DATA if state is None else state.status

    @strawberry.field
    async def current(self, info: strawberry.Info) -> SLOMeasurement | None:
        return await info.context["loaders"].slo_states.load(self.id)


@strawberry.type
class SLOConnection:
    nodes: list[SLO]


@strawberry.enum
class OrderDirection(Enum):
    ASC = "ASC"
    DESC = "DESC"


@strawberry.enum
class IncidentOrderField(Enum):
    STARTED_AT = "started_at"
    UPDATED_AT = "updated_at"
    SEVERITY = "severity"
    NUMBER = "number"


@strawberry.enum
class NameOrderField(Enum):
    NAME = "name"


@strawberry.input
class IncidentOrder:
    field: IncidentOrderField
    direction: OrderDirection


@strawberry.input
class NameOrder:
    field: NameOrderField
    direction: OrderDirection


@strawberry.input
class IncidentFilter:
    active: bool | None = None
    started_before: datetime | None = None


def ordered(row: type[Any], order: IncidentOrder | NameOrder) -> list[Any]:
    columns = [getattr(row, order.field.value), row.id]
    return [column.desc() for column in columns] if order.direction is OrderDirection.DESC else columns


NEWEST_FIRST = IncidentOrder(field=IncidentOrderField.STARTED_AT, direction=OrderDirection.DESC)
BY_NAME = NameOrder(field=NameOrderField.NAME, direction=OrderDirection.ASC)


@strawberry.type
class Query:
    @strawberry.field
    async def incident(self, info: strawberry.Info, id: ID) -> Incident | None:
        async with info.context["sessions"]() as session:
            return await session.get(IncidentRow, UUID(id))

    @strawberry.field
    async def incidents(
        self,
        info: strawberry.Info,
        first: int = 20,
        filter: IncidentFilter | None = None,
        order_by: IncidentOrder = NEWEST_FIRST,
    ) -> IncidentConnection:
        statement = select(IncidentRow).order_by(*ordered(IncidentRow, order_by)).limit(first)
        if filter is not None and filter.active is not None:
            resolved = IncidentRow.status == IncidentStatus.RESOLVED
            statement = statement.where(~resolved if filter.active else resolved)
        if filter is not None and filter.started_before is not None:
            statement = statement.where(IncidentRow.started_at < filter.started_before)
        async with info.context["sessions"]() as session:
            return IncidentConnection(nodes=list(await session.scalars(statement)))

    @strawberry.field
    async def services(
        self, info: strawberry.Info, first: int = 20, order_by: NameOrder = BY_NAME
    ) -> ServiceConnection:
        statement = select(ServiceRow).order_by(*ordered(ServiceRow, order_by)).limit(first)
        async with info.context["sessions"]() as session:
            return ServiceConnection(nodes=list(await session.scalars(statement)))

    @strawberry.field
    async def slos(self, info: strawberry.Info, first: int = 20, order_by: NameOrder = BY_NAME) -> SLOConnection:
        statement = select(SLORow).order_by(*ordered(SLORow, order_by)).limit(first)
        async with info.context["sessions"]() as session:
            return SLOConnection(nodes=list(await session.scalars(statement)))


class Server(GraphQL[dict[str, Any], None]):
    """Strawberry's ASGI application over a pool of ten connections."""

    def __init__(self, database_url: str) -> None:
        super().__init__(strawberry.Schema(Query), graphql_ide=None)
        engine = create_async_engine(
            database_url.replace("postgresql://", "postgresql+asyncpg://", 1), pool_size=10, max_overflow=0
        )
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)

    async def get_context(self, request: Any, response: Any) -> dict[str, Any]:
        """A session maker and fresh loaders."""
        return {"sessions": self._sessions, "loaders": Loaders(self._sessions)}


if __name__ == "__main__":
    serve(Server)
