"""A client of the API: documents in, answers out, on a real Postgres and without HTTP in between."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from sqlalchemy import func, select

from actions import people
from db.database import Database
from db.tables import metadata
from domain.access import Actor, Role
from domain.time import Deadline
from resolvers.context import Reading, RequestContext
from resolvers.operations import OperationRequest, Operations
from schema.root import build_schema
from telemetry_clients.instances import Telemetry

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ERRORS = "errors { __typename message code path ... on ConflictError { currentVersion } }"


class Api:
    """`await api(document, **variables)` is the JSON object that a client gets, at a time that the test sets."""

    def __init__(self, operations: Operations, database: Database) -> None:
        self.operations = operations
        self.database = database
        self.actor = Actor(id=None, name="deploy-pipeline", role=Role.RESPONDER)
        self.now = NOON
        self.timeout_seconds = 20.0
        self.reading: Reading | None = None
        self.telemetry = Telemetry()

    async def __call__(self, document: str, **variables: Any) -> dict[str, Any]:
        context = RequestContext(
            database=self.database,
            actor=self.actor,
            deadline=Deadline.after(self.timeout_seconds),
            request_id="request-1",
            now=self.now,
            reading=self.reading,
            telemetry=self.telemetry,
        )
        request = OperationRequest(document, variables=variables)
        answer = await self.operations.execute(request, context, allowed={"query", "mutation"})
        body: dict[str, Any] = orjson.loads(answer.body)
        return body

    async def change(self, mutation: str, selection: str, **arguments: Any) -> dict[str, Any]:
        """The payload of one mutation, its errors included, whose arguments are given as variables."""
        known = self.operations.schema.mutation_type.fields[mutation].args
        variables = ", ".join(f"${name}: {known[name].type}" for name in arguments)
        passed = ", ".join(f"{name}: ${name}" for name in arguments)
        document = f"mutation({variables}) {{ {mutation}({passed}) {{ {selection} {ERRORS} }} }}"
        answer = await self(document, **arguments)
        assert answer.keys() == {"data"}, answer
        payload: dict[str, Any] = answer["data"][mutation]
        return payload

    async def changed(self, mutation: str, selection: str, **arguments: Any) -> Any:
        """The object of a mutation's payload, which has no errors."""
        payload = await self.change(mutation, selection, **arguments)
        assert payload.pop("errors") == []
        [changed] = payload.values()
        assert changed is not None
        return changed

    async def refused(self, mutation: str, selection: str, **arguments: Any) -> dict[str, Any]:
        """The one error of a mutation, which has written nothing and answers no object."""
        before = await self.written()
        payload = await self.change(mutation, selection, **arguments)
        assert await self.written() == before
        [error] = payload.pop("errors")
        assert [*payload.values()] == [None]
        refusal: dict[str, Any] = error
        return refusal

    async def written(self) -> dict[str, int]:
        """How many rows every table has."""
        async with self.database.reading() as connection:
            counts = [select(func.count()).select_from(table).scalar_subquery() for table in metadata.sorted_tables]
            row = (await connection.execute(select(*counts))).one()
        return dict(zip((table.name for table in metadata.sorted_tables), row, strict=True))

    def wait(self, **duration: float) -> None:
        self.now += timedelta(**duration)


@pytest.fixture(scope="session")
def operations() -> Operations:
    return Operations(build_schema())


@pytest.fixture
def api(operations: Operations, database: Database) -> Api:
    return Api(operations, database)


@pytest.fixture
async def incident(api: Api) -> str:
    """The id of an open incident that hurts the service "checkout"."""
    known = {"title": "Checkout is failing", "severity": "HIGH", "services": ["checkout"]}
    opened = await api.changed("createIncident", "incident { id }", input=known)
    return str(opened["id"])


@pytest.fixture
async def ada(api: Api) -> str:
    """The id of a user."""
    return str(await added(api, people.create_user, "ada@example.org", "Ada Lovelace"))


@pytest.fixture
async def team(api: Api) -> str:
    """The id of a team."""
    return str(await added(api, people.create_team, "Payments"))


async def added(api: Api, action: Any, *arguments: Any) -> UUID:
    return await api.database.transact(lambda tx: action(tx, *arguments, actor=api.actor), now=api.now)
