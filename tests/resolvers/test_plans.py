"""No list becomes slow because a table has grown: every filter and order that the API offers has its index."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from db.embedded import EmbeddedPostgres
from db.read_pool import ReadConnection, ReadPool
from resolvers.compile.documents import Refused
from resolvers.compile.statement import Statement
from resolvers.operations import Operations
from tests.postgres import TEMPLATE, run_sql
from tests.resolvers.list_documents import list_documents

MANY_ROWS = Path(__file__).with_name("many_rows.sql").read_text()
SMALL = {
    "detection_rules",
    "detection_states",
    "event_log_head",
    "service_dependencies",
    "services",
    "slo_states",
    "slos",
    "team_members",
    "teams",
    "users",
}
"""What an organisation has hundreds of. Everything else grows with time."""


@pytest.fixture(scope="session")
async def many_rows(postgres: EmbeddedPostgres) -> AsyncIterator[ReadPool]:
    """Connections that read, as a server's do, a database that has seen 100 000 incidents."""
    await run_sql(postgres.url, f"create database many_rows template {TEMPLATE} strategy file_copy")
    url = postgres.url_of("many_rows")
    await run_sql(url, MANY_ROWS)
    await run_sql(url, "vacuum analyze")
    pool = ReadPool(url, connections=1)
    yield pool
    await pool.close()
    await run_sql(postgres.url, "drop database many_rows with (force)")


async def test_no_field_reads_a_growing_table_from_end_to_end(operations: Operations, many_rows: ReadPool):
    documents = list(list_documents(operations.schema, operations.sources))
    scans = []
    async with many_rows.connection(timeout_seconds=60) as connection:
        for document in documents:
            plan = await _plan(connection, _statement(operations, document))
            tables = sorted({table for table in _scanned(plan) if table not in SMALL})
            if tables:
                scans.append(f"{', '.join(tables)}: {document}")
    assert scans == [], "\n".join(scans)
    assert len(documents) > 500


def _statement(operations: Operations, document: str) -> Statement:
    prepared = operations.documents.prepare(document, None)
    assert not isinstance(prepared, Refused), f"{document}: {prepared.errors}"
    values, shape = prepared.variables.read({"place": "a cursor"} if "$place" in document else {})
    return prepared.statement(shape, values)


async def _plan(connection: ReadConnection, statement: Statement) -> dict[str, Any]:
    """How Postgres runs a statement whatever its values are."""
    values = ", ".join(["null"] * len(statement.getters))
    await connection.execute(f"prepare asked as {statement.sql}")
    plans = await connection.fetchval(f"explain (format json) execute asked{f'({values})' if values else ''}")
    await connection.execute("deallocate asked")
    return orjson.loads(plans)[0]["Plan"]


def _scanned(plan: dict[str, Any]) -> Iterator[str]:
    """The tables that a plan reads from end to end."""
    if plan["Node Type"] == "Seq Scan":
        yield plan["Relation Name"]
    for part in plan.get("Plans", ()):
        yield from _scanned(part)
