"""A studio at work: actions in transactions of their own, on a real Postgres, at a time that tests set."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Table, func, select

from actions import incidents, people
from actions.incidents import AffectedService, NewIncident
from db.audit import audit_log
from db.database import Database
from db.incidents import incidents as incidents_table
from db.outbox import outbox
from db.services import services
from db.timeline import timeline_events
from domain.access import Actor, Role
from domain.incidents import Severity

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PIPELINE = Actor(id=None, name="deploy-pipeline", role=Role.RESPONDER)


class Studio:
    """What the server is to a caller, without the server."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.actor = PIPELINE
        self.now = NOON

    def wait(self, **duration: float) -> None:
        self.now += timedelta(**duration)

    async def do(self, action: Callable[..., Awaitable[UUID]], *arguments: Any, **options: Any) -> UUID:
        """One action in one transaction."""
        who = options.pop("actor", self.actor)
        return await self.database.transact(lambda tx: action(tx, *arguments, actor=who, **options), now=self.now)

    async def open_incident(self, *names: str, severity: Severity = Severity.HIGH, **known: Any) -> UUID:
        hurt = [AffectedService(service=name) for name in names]
        title = known.pop("title", "Checkout is failing")
        return await self.do(incidents.create, NewIncident(title=title, severity=severity, services=hurt, **known))

    async def row(self, table: Table, id: UUID) -> dict[str, Any]:
        [row] = await self.rows(table, id=id)
        return row

    async def rows(self, table: Table, **where: Any) -> list[dict[str, Any]]:
        statement = select(table).where(*(table.c[column] == value for column, value in where.items()))
        async with self.database.reading() as connection:
            rows = await connection.execute(statement.order_by(*table.primary_key))
            return [dict(row) for row in rows.mappings()]

    async def incident(self, id: UUID) -> dict[str, Any]:
        return await self.row(incidents_table, id)

    async def service(self, name: str) -> dict[str, Any]:
        [service] = await self.rows(services, name=name)
        return service

    async def timeline(self, incident_id: UUID) -> list[dict[str, Any]]:
        """Entries in the order they were written."""
        return await self.rows(timeline_events, incident_id=incident_id)

    async def events(self, **where: Any) -> list[dict[str, Any]]:
        return await self.rows(outbox, **where)

    async def audit(self, **where: Any) -> list[dict[str, Any]]:
        return await self.rows(audit_log, **where)

    async def written(self) -> dict[str, int]:
        """How many rows each table has that an action can write to: the same before and after means nothing written."""
        tables = incidents_table.metadata.sorted_tables
        async with self.database.reading() as connection:
            return {
                table.name: (await connection.execute(select(func.count()).select_from(table))).scalar_one()
                for table in tables
            }


@pytest.fixture
def studio(database: Database) -> Studio:
    return Studio(database)


@pytest.fixture
async def ada(studio: Studio) -> Actor:
    """A responder who is a user."""
    id = await studio.do(people.create_user, "ada@example.org", "Ada Lovelace", role=Role.RESPONDER)
    return Actor(id=id, name="Ada Lovelace", role=Role.RESPONDER, request_id="r-1", address="192.0.2.7")
