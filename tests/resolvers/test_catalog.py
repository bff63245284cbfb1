"""A server does not start on a database that its schema was not written for."""

import pytest
from sqlalchemy import text

from db.database import Database
from resolvers.compile.catalog import CatalogMismatch, check_catalog
from resolvers.operations import Operations
from schema.root import build_schema


@pytest.fixture(scope="module")
def operations() -> Operations:
    return Operations(build_schema())


async def mismatches(database: Database, operations: Operations, alteration: str) -> list[str]:
    """What the check says after somebody has altered the database."""
    async with database.engine.begin() as connection:
        await connection.execute(text(alteration))
    with pytest.raises(CatalogMismatch, match="reliability-studio migrate") as raised:
        await check_catalog(database, operations.schema, operations.sources)
    return raised.value.mismatches


async def test_a_migrated_database_fits(database, operations):
    await check_catalog(database, operations.schema, operations.sources)


async def test_a_missing_column_is_named_with_the_field_that_reads_it(database, operations):
    found = await mismatches(database, operations, "alter table incidents drop column postmortem_url")
    assert "Incident.postmortemUrl: there is no column incidents.postmortem_url" in found


async def test_a_column_that_may_be_null_where_the_schema_promises_a_value_is_named(database, operations):
    found = await mismatches(database, operations, "alter table services alter column display_name drop not null")
    assert found == ["Service.displayName is never null, and services.display_name can be"]


async def test_a_column_of_another_type_is_named(database, operations):
    found = await mismatches(database, operations, "alter table deployments alter column started_at type date")
    assert "Deployment.startedAt is of type DateTime, and deployments.started_at of type date" in found


async def test_an_enum_with_another_label_is_named(database, operations):
    found = await mismatches(database, operations, "alter type severity add value 'COSMIC'")
    assert any(each.startswith("Incident.severity: the labels of severity are") for each in found)


async def test_an_expression_that_postgres_does_not_understand_is_named(database, operations):
    found = await mismatches(database, operations, "alter table slo_states rename column budget_exhausts_at to gone_at")
    assert any(each.startswith("SLO.budgetExhaustsAt: column") for each in found)


async def test_a_filter_that_postgres_does_not_understand_is_named(database, operations):
    found = await mismatches(database, operations, "alter table timeline_events drop column search")
    assert any(each.startswith("Query.incidents(search)") for each in found)
