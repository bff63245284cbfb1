"""Databases to read from, each made once per session and never written to by a test."""

from collections.abc import AsyncIterator

import orjson
import pytest
from sqlalchemy import text

from db.database import Database
from db.embedded import EmbeddedPostgres
from resolvers.compile.sources import Page
from resolvers.operations import Operations
from schema.root import build_schema
from tests.postgres import TEMPLATE, run_sql
from tests.resolvers.awkward_rows import awkward_rows
from tests.resolvers.awkward_values import NOW
from tests.resolvers.client import Client
from tests.resolvers.rows_by_table import write_rows
from tests.resolvers.values import Values, values_of


@pytest.fixture(scope="session")
def operations() -> Operations:
    """The schema, ready to execute."""
    return Operations(build_schema())


@pytest.fixture(scope="session")
async def awkward(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A database of few rows that are hard to write as JSON, to sort and to page through."""
    await run_sql(postgres.url, f"create database awkward template {TEMPLATE}")
    database = await Database.connect(postgres.url_of("awkward"))
    async with database.writing(NOW) as tx:
        await write_rows(tx, awkward_rows())
        await tx.execute(text("update event_log_head set position = (select max(position) from event_log)"))
        await tx.execute(text("analyze"))
    yield database
    await database.close()


@pytest.fixture(scope="session")
def client(operations: Operations, awkward: Database) -> Client:
    """Somebody who asks about the awkward database."""
    return Client(operations, awkward)


@pytest.fixture(scope="session")
async def values(client: Client) -> Values:
    """Values to ask the awkward database for."""
    cursors = {}
    for holder, field in _LISTS:
        source = client.operations.sources.fields[holder, field]
        assert isinstance(source, Page)
        for order in source.order.keys:
            by = f"orderBy: {{field: {order}, direction: ASC}}, " if len(source.order.keys) > 1 else ""
            selection = f"{field}({by}first: 200) {{ __typename edges {{ cursor }} }}"
            holders = _HOLDERS.get(holder, f"{holder.lower()}s")
            query = f"{{ {selection} }}" if holder == "Query" else f"{{ {holders} {{ nodes {{ {selection} }} }} }}"
            data = orjson.loads(await client.ordinary(query))["data"]
            lists = [data] if holder == "Query" else data[holders]["nodes"]
            type_ = lists[0][field]["__typename"]
            cursors[type_, order] = [edge["cursor"] for found in lists for edge in found[field]["edges"]]
    return values_of(awkward_rows(), cursors)


_LISTS = (
    ("Query", "incidents"),
    ("Query", "services"),
    ("Query", "slos"),
    ("Query", "alerts"),
    ("Query", "timelineEvents"),
    ("Query", "alertDeliveries"),
    ("Query", "maintenanceWindows"),
    ("Query", "detectionRules"),
    ("Query", "events"),
    ("Query", "auditLog"),
    ("Service", "deployments"),
    ("Incident", "correlations"),
    ("Incident", "analyses"),
    ("Alert", "history"),
    ("AlertDelivery", "dispositions"),
)
_HOLDERS = {"AlertDelivery": "alertDeliveries"}
