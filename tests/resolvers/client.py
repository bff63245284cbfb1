"""Ways to ask: compiled only, ordinary execution only, and as a server would."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from db.database import Database
from domain.access import Actor, Role
from domain.health import HealthStatus, SystemHealth
from domain.time import Deadline
from resolvers.compile.documents import PreparedOperation, Refused
from resolvers.compile.parameters import Bindings
from resolvers.compile.statement import Statement
from resolvers.context import RequestContext
from resolvers.operations import OperationRequest, Operations
from telemetry_clients.instances import Telemetry
from tests.resolvers.awkward_values import NOW

Variables = Mapping[str, Any] | None


@dataclass(frozen=True)
class Client:
    """Somebody who asks one schema about one database."""

    operations: Operations
    database: Database
    telemetry: Telemetry = field(default_factory=Telemetry)

    def of(self, database: Database) -> "Client":
        """The same, about another database."""
        return replace(self, database=database)

    def context(self) -> RequestContext:
        """The surroundings of a request."""
        return RequestContext(
            database=self.database,
            actor=Actor(None, "tests", Role.ADMIN),
            deadline=Deadline.after(30),
            request_id="r-1",
            now=NOW,
            telemetry=self.telemetry,
            health=_health,
        )

    def prepared(self, query: str, name: str | None = None) -> PreparedOperation:
        """A document that has to be valid."""
        prepared = self.operations.documents.prepare(query, name)
        assert not isinstance(prepared, Refused), prepared.errors
        return prepared

    def statement(
        self, query: str, variables: Variables = None, name: str | None = None
    ) -> tuple[Statement, list[Any]]:
        """The statement that answers a document, and its values. Raises what keeps the compiler from it."""
        prepared = self.prepared(query, name)
        values, shape = prepared.variables.read(variables)
        statement = prepared.statement(shape, values)
        return statement, statement.values(Bindings(values, NOW))

    async def compiled(self, query: str, variables: Variables = None, name: str | None = None) -> bytes:
        """What one statement answers. Raises what keeps the compiler from it."""
        statement, values = self.statement(query, variables, name)
        text = await self.context().read(statement.sql, values)
        assert text is not None, "the statement answered null"
        return text

    async def ordinary(self, query: str, variables: Variables = None, name: str | None = None) -> bytes:
        """What ordinary execution answers."""
        request = OperationRequest(query, name, variables)
        return (await self.operations.execute_without_compiler(request, self.context())).body

    async def answer(self, query: str, variables: Variables = None, name: str | None = None) -> bytes:
        """What a server answers."""
        request = OperationRequest(query, name, variables)
        return (await self.operations.execute(request, self.context(), allowed={"query"})).body

    async def ask(self, query: str, variables: Variables = None, name: str | None = None) -> Any:
        """What a server answers, parsed."""
        return orjson.loads(await self.answer(query, variables, name))


def ordered(body: bytes) -> bytes:
    """JSON in a form that is equal where two answers are: the same values, and the same keys in the same order.

    Errors are ordered by their paths, because fields that wait for others end when they end. Of the errors below what
    they made null there is one for each such place: which of them came first is chance.
    """
    answer = _plain(orjson.loads(body))
    if "errors" in answer:
        told = {orjson.dumps(_place(error, answer.get("data"))): error for error in answer["errors"]}
        answer["errors"] = [[place.decode(), _said(error, place)] for place, error in sorted(told.items())]
    return orjson.dumps(answer)


def _place(error: dict[str, Any], data: Any) -> list[Any] | None:
    """Where the answer is null because of an error: its own field, or a field above it."""
    path: list[Any] | None = error.get("path")
    for depth, step in enumerate(path or []):
        if data is None:
            return path[:depth] if path else None
        data = data[step if isinstance(step, str) else int(step)]
    return path


def _said(error: dict[str, Any], place: bytes) -> Any:
    return error if orjson.dumps(error.get("path")) == place else None


def _plain(value: Any) -> Any:
    """JSON has one kind of number: 1 and 1.0 are the same."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return float(value) if type(value) is int and abs(value) < 2**53 else value


async def _health() -> SystemHealth:
    return SystemHealth(HealthStatus.HEALTHY, ())
