"""No list becomes slow because a table has grown: every filter and order that the API offers has its index."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from db.embedded import EmbeddedPostgres
from db.read_connection import ReadConnection
from db.read_pool import ReadPool
from db.tables import metadata
from resolvers.compile.documents import Refused
from resolvers.compile.statement import Statement
from resolvers.operations import Operations
from tests.postgres import TEMPLATE, run_sql
from tests.resolvers.list_documents import list_documents

MANY_ROWS = Path(__file__).with_name("many_rows.sql").read_text()
SMALL = {
    "detection_rules",
    "detection_states",
    "event_log_epochs",
    "event_log_head",
    "maintenance_windows",
    "service_dependencies",
    "services",
    "slo_states",
    "slos",
    "team_members",
    "teams",
    "users",
}
"""What an organisation has hundreds of. Everything else grows with time."""

PARTIAL_INDEXES = {
    index.name
    for table in metadata.tables.values()
    for index in table.indexes
    if index.dialect_options["postgresql"]["where"] is not None
}


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
            statement = _statement(operations, document)
            plan = await _plan(connection, statement.sql, len(statement.getters))
            if tables := sorted(set(_scanned(plan)) - SMALL):
                scans.append(f"{', '.join(tables)}: {document}")
    assert len(documents) > 1000
    assert not scans, "\n".join(scans)


@pytest.mark.parametrize(
    "sql",
    [
        "select id from incidents where title = $1::text order by title limit 20",
        "select id from incidents where title = $1::text",
        "select count(id) from incidents where id::text <> $1::text",
    ],
)
async def test_a_missing_index_would_be_noticed(sql: str, many_rows: ReadPool):
    async with many_rows.connection(timeout_seconds=60) as connection:
        plan = await _plan(connection, sql, 1)
    assert list(_scanned(plan)) == ["incidents"]


def _statement(operations: Operations, document: str) -> Statement:
    prepared = operations.documents.prepare(document, None)
    assert not isinstance(prepared, Refused), f"{document}: {prepared.errors}"
    values, shape = prepared.variables.read({"place": "a cursor"} if "$place" in document else {})
    return prepared.statement(shape, values)


async def _plan(connection: ReadConnection, sql: str, values: int) -> dict[str, Any]:
    """How Postgres runs a statement whatever its values are."""
    given = f"({', '.join(['null'] * values)})" if values else ""
    await connection.execute(f"prepare asked as {sql}")
    plans = await connection.fetchval(f"explain (format json) execute asked{given}")
    await connection.execute("deallocate asked")
    plan: dict[str, Any] = orjson.loads(plans)[0]["Plan"]
    return plan


def _scanned(plan: dict[str, Any], stops_early: bool = False) -> Iterator[str]:
    """The tables that a plan reads from end to end, be it through an index.

    Going through an index in its order is fine where a limit ends it, and nothing between the two wants all rows.
    """
    node = plan["Node Type"]
    through_index = node in {"Index Scan", "Index Only Scan"} and plan["Index Name"] not in PARTIAL_INDEXES
    if node == "Seq Scan" or (through_index and "Index Cond" not in plan and not stops_early):
        yield plan["Relation Name"]
    stops_early = node == "Limit" or (stops_early and node not in {"Aggregate", "Hash", "Materialize", "Sort"})
    for part in plan.get("Plans", ()):
        yield from _scanned(part, stops_early and part["Parent Relationship"] != "InitPlan")
