"""A null where the schema has none: never passed on, never a row that is silently missing."""

from typing import Any

import asyncpg
import pytest
from sqlalchemy import update

from db.database import Database
from db.tables import analyses, correlations, services, slo_states
from tests.resolvers.awkward_rows import awkward_rows
from tests.resolvers.awkward_values import NOW
from tests.resolvers.client import Client, ordered
from tests.resolvers.rows_by_table import write_rows

ANALYSIS = awkward_rows()["analyses"][0]
IMPACT = ANALYSIS["impacts"][0]
COMPONENT = {"name": "a", "weight": 0.5, "value": 0.5, "explanation": "b"}


@pytest.fixture
async def writable(client: Client, database: Database) -> Client:
    """Somebody who asks about a database of their own."""
    async with database.writing(NOW) as tx:
        await write_rows(tx, awkward_rows())
    return client.of(database)


async def _errors(client: Client, query: str) -> list[tuple[list[Any], str]]:
    """The paths and codes of a document's errors, that no statement could answer."""
    with pytest.raises(asyncpg.UndefinedObjectError, match=r"null\.where_the_schema_has_none"):
        await client.compiled(query)
    answer = await client.ask(query)
    assert ordered(await client.answer(query)) == ordered(await client.ordinary(query))
    return [(error["path"], error["extensions"]["code"]) for error in answer["errors"]]


async def test_an_object_that_is_gone_fails_the_list_that_it_belongs_to(writable: Client):
    impacts = [IMPACT, IMPACT | {"service_id": "00000000-0000-0000-0000-000000000000"}]
    async with writable.database.writing(NOW) as tx:
        await tx.execute(update(analyses).where(analyses.c.id == ANALYSIS["id"]).values(impacts=impacts))
    query = f'{{ node(id: "{ANALYSIS["id"]}") {{ ... on IncidentAnalysis {{ impacts {{ service {{ id }} }} }} }} }}'
    assert await _errors(writable, query) == [(["node", "impacts", 0, "service"], "INTERNAL_SERVER_ERROR")]


async def test_a_member_that_is_missing_from_stored_json_fails_its_list(writable: Client):
    found = awkward_rows()["correlations"][0]["id"]
    components = [COMPONENT, COMPONENT | {"value": None}]
    async with writable.database.writing(NOW) as tx:
        await tx.execute(update(correlations).where(correlations.c.id == found).values(score_components=components))
    query = f'{{ node(id: "{found}") {{ ... on Correlation {{ scoreComponents {{ value }} }} }} }}'
    assert await _errors(writable, query) == [(["node", "scoreComponents", 0, "value"], "INTERNAL_SERVER_ERROR")]


async def test_a_selector_that_is_null_is_as_one_that_is_not_given(writable: Client):
    service = awkward_rows()["services"][0]
    async with writable.database.writing(NOW) as tx:
        selectors = {"prometheus": None, "loki": None, "tempo": None}
        await tx.execute(update(services).where(services.c.id == service["id"]).values(selectors=selectors))
    query = f'{{ service(id: "{service["id"]}") {{ selectors {{ prometheus loki tempo }} }} }}'
    assert ordered(await writable.compiled(query)) == ordered(await writable.ordinary(query))
    assert (await writable.ask(query))["data"]["service"]["selectors"] == {
        "prometheus": {"service": service["name"]},
        "loki": {"service_name": service["name"]},
        "tempo": service["name"],
    }


async def test_a_label_that_no_enum_has_is_an_error_and_not_an_answer(writable: Client):
    state = awkward_rows()["slo_states"][0]
    rates = [state["burn_rates"][0] | {"response": "PANIC"}]
    async with writable.database.writing(NOW) as tx:
        await tx.execute(update(slo_states).where(slo_states.c.slo_id == state["slo_id"]).values(burn_rates=rates))
    query = f'{{ slo(id: "{state["slo_id"]}") {{ burnRates {{ response }} }} }}'
    answer = await writable.ask(query)
    assert [error["path"] for error in answer["errors"]] == [["slo", "burnRates"]]
    assert answer["data"] == {"slo": None}
