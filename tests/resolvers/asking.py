"""Ways to ask: compiled only, ordinary execution only, and as a server would."""

from collections.abc import Mapping
from typing import Any

import orjson

from db.database import Database
from domain.access import Actor, Role
from domain.time import Deadline
from resolvers.compile.documents import Refused
from resolvers.compile.parameters import Bindings
from resolvers.context import RequestContext
from resolvers.operations import OperationRequest, Operations
from tests.resolvers.awkward_values import NOW

Variables = Mapping[str, Any]


def context_of(database: Database) -> RequestContext:
    """The surroundings of a request."""
    actor = Actor(None, "tests", Role.ADMIN)
    return RequestContext(database=database, actor=actor, deadline=Deadline.after(30), request_id="r-1", now=NOW)


async def compiled(
    operations: Operations, database: Database, query: str, variables: Variables | None = None, name: str | None = None
) -> bytes:
    """What one statement answers. Raises what keeps the compiler from it."""
    prepared = operations.documents.prepare(query, name)
    assert not isinstance(prepared, Refused), prepared.errors
    values, shape = prepared.variables.read(variables)
    statement = prepared.statement(shape, values)
    context = context_of(database)
    text = await context.read(statement.sql, statement.values(Bindings(values, context.now)))
    assert text is not None, "a null where the schema has none"
    return text


async def ordinary(
    operations: Operations, database: Database, query: str, variables: Variables | None = None, name: str | None = None
) -> bytes:
    """What ordinary execution answers."""
    request = OperationRequest(query, name, variables)
    answer = await operations.execute_without_compiler(request, context_of(database))
    return answer.body


async def answer(
    operations: Operations, database: Database, query: str, variables: Variables | None = None, name: str | None = None
) -> bytes:
    """What a client gets."""
    request = OperationRequest(query, name, variables)
    return (await operations.execute(request, context_of(database), allowed={"query"})).body


async def ask(
    operations: Operations, database: Database, query: str, variables: Variables | None = None, name: str | None = None
) -> Any:
    """What a client gets, parsed."""
    return orjson.loads(await answer(operations, database, query, variables, name))


def ordered(body: bytes) -> bytes:
    """JSON in a form that is equal where two answers are: the same values, and the same keys in the same order."""
    return orjson.dumps(_plain(orjson.loads(body)))


def _plain(value: Any) -> Any:
    """JSON has one kind of number: 1 and 1.0 are the same."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return float(value) if type(value) is int and abs(value) < 2**53 else value
