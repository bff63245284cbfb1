"""The statements that our compiler makes, for whoever wants to run them without our server."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from resolvers.compile.documents import Refused
from resolvers.compile.parameters import Bindings
from resolvers.operations import Operations
from schema.root import build_schema


def compiled_statement(query: str, variables: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
    """The SQL that returns the whole body of the answer as one text, and the values to bind.

    Raises ValueError for a query that our schema refuses, and for one that a statement alone cannot answer.
    """
    prepared = _operations().documents.prepare(query, None)
    if isinstance(prepared, Refused):
        raise ValueError("; ".join(error.message for error in prepared.errors))
    values, shape = prepared.variables.read(variables)
    statement = prepared.statement(shape, values)
    if statement.mixed:
        raise ValueError("The query also asks for what Postgres does not know")
    return statement.sql, statement.values(Bindings(values, datetime.now(UTC)))


@cache
def _operations() -> Operations:
    return Operations(build_schema())
