"""Somebody who asks a server within its limits, and what reached the database of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from db.database import Database
from domain.access import Actor, Role
from domain.time import Deadline
from resolvers.context import RequestContext
from resolvers.operations import OperationAnswer, OperationRequest, Operations

EVERY_TYPE = frozenset({"query", "mutation"})


@dataclass
class Reads:
    """The database, with every statement that was run on it."""

    database: Database
    statements: list[str] = field(default_factory=list)

    async def fetch_text(self, sql: str, arguments: Sequence[Any], *, timeout_seconds: float) -> bytes | None:
        self.statements.append(sql)
        return await self.database.reads.fetch_text(sql, arguments, timeout_seconds=timeout_seconds)


@dataclass
class LimitedClient:
    """Asks operations as a person with a role. `reads` are all that its operations read."""

    operations: Operations
    database: Database
    actor: Actor = field(default_factory=lambda: Actor(None, "somebody", Role.ADMIN, address="192.0.2.7"))

    def __post_init__(self) -> None:
        self.reads = Reads(self.database)

    async def send(self, request: OperationRequest) -> OperationAnswer:
        """The answer to a request as it is."""
        now = datetime.now(UTC)
        context = RequestContext(self.database, self.actor, Deadline.after(30), "r-1", now, reading=self.reads)
        return await self.operations.execute(request, context, allowed=EVERY_TYPE)

    async def ask(self, query: str, variables: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """The answer to a document."""
        answer = await self.send(OperationRequest(query, None, variables, **more))
        parsed: dict[str, Any] = orjson.loads(answer.body)
        return parsed

    async def refusal(self, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The only error of an answer that has nothing else, given without asking the database."""
        answer = await self.ask(query, variables)
        assert "data" not in answer, answer
        assert self.reads.statements == []
        (error,) = answer["errors"]
        assert isinstance(error, dict)
        return error

    async def cost(self, query: str, variables: Mapping[str, Any] | None = None) -> int:
        """What an operation is said to cost, before anybody has looked."""
        answer = await self.ask(query, variables, extensions={"cost": True})
        requested = answer["extensions"]["cost"]["requested"]
        assert isinstance(requested, int)
        return requested
