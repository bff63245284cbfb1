"""Pages of lists: what is on them, what lies around them, and that nothing is lost or repeated between them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, update

from db.database import Database
from db.tables import incidents
from domain.incidents import Severity
from resolvers.operations import Operations
from tests.resolvers.awkward_rows import awkward_rows
from tests.resolvers.awkward_values import NOW
from tests.resolvers.client import Client
from tests.resolvers.values import Values

PAGE = "edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount"
INCIDENTS = f"""
query (
  $first: Int, $after: String, $last: Int, $before: String, $field: IncidentOrderField!, $way: OrderDirection!
) {{
  page: incidents(
    first: $first, after: $after, last: $last, before: $before, orderBy: {{field: $field, direction: $way}}
  ) {{ {PAGE} }}
}}
"""
SORTED_BY: dict[str, Callable[[dict[str, Any]], Any]] = {
    "STARTED_AT": lambda row: row["started_at"],
    "UPDATED_AT": lambda row: row["updated_at"],
    "SEVERITY": lambda row: list(Severity).index(Severity(row["severity"])),
    "NUMBER": lambda row: row["number"],
}
ORDERED_LISTS = {
    "incidents": ("STARTED_AT", "UPDATED_AT", "SEVERITY", "NUMBER"),
    "services": ("NAME", "STATUS", "TIER", "UPDATED_AT"),
    "slos": ("NAME", "OBJECTIVE", "CREATED_AT"),
}
ROOT_LISTS = ("alerts", "timelineEvents", "detectionRules")
FORWARD_LISTS = (
    "events(first: $size, after: $from)",
    'service(id: "{service}") {{ page: alerts(first: $size, after: $from)',
    'service(id: "{service}") {{ page: deployments(first: $size, after: $from)',
    'incident(id: "{incident}") {{ page: correlations(first: $size, after: $from)',
)


@given(data=st.data())
async def test_a_page_is_what_a_list_in_memory_says(data: st.DataObject, client: Client, values: Values):
    field, way = data.draw(st.sampled_from(sorted(SORTED_BY))), data.draw(st.sampled_from(("ASC", "DESC")))
    everything = sorted(
        awkward_rows()["incidents"], key=lambda row: (SORTED_BY[field](row), row["id"]), reverse=way == "DESC"
    )
    cursors = await _cursors(client, field, way)
    places = st.none() | st.integers(0, len(everything) - 1)
    after, before = data.draw(places), data.draw(places)
    size, name = data.draw(st.integers(0, 10)), data.draw(st.sampled_from(("first", "last")))

    window = everything[0 if after is None else after + 1 : before]
    shown = window[:size] if name == "first" else window[max(0, len(window) - size) :]
    is_cut = len(window) > size
    variables = {
        "field": field,
        "way": way,
        name: size,
        "after": None if after is None else cursors[after],
        "before": None if before is None else cursors[before],
    }
    page = (await client.ask(INCIDENTS, variables))["data"]["page"]

    assert [edge["node"]["id"] for edge in page["edges"]] == [str(row["id"]) for row in shown]
    assert page["totalCount"] == len(everything)
    assert page["pageInfo"] == {
        "hasNextPage": before is not None or (name == "first" and is_cut),
        "hasPreviousPage": after is not None or (name == "last" and is_cut),
        "startCursor": page["edges"][0]["cursor"] if shown else None,
        "endCursor": page["edges"][-1]["cursor"] if shown else None,
    }


@pytest.mark.parametrize(
    ("name", "order"), [(name, order) for name, orders in ORDERED_LISTS.items() for order in orders]
)
@pytest.mark.parametrize("size", [1, 2, 5])
async def test_paging_through_a_list_loses_and_repeats_nothing_either_way(
    client: Client, name: str, order: str, size: int
):
    ways = {}
    for way in ("ASC", "DESC"):
        by = f"orderBy: {{field: {order}, direction: {way}}}"
        forwards = await _walk(client, f"page: {name}({by}, first: $size, after: $from)", "endCursor", size)
        backwards = await _walk(client, f"page: {name}({by}, last: $size, before: $from)", "startCursor", size)
        assert (
            len(set(forwards))
            == len(forwards)
            == (await client.ask(f"{{ {name} {{ totalCount }} }}"))["data"][name]["totalCount"]
        )
        assert backwards[::-1] == forwards
        ways[way] = forwards
    assert ways["DESC"] == ways["ASC"][::-1]


@pytest.mark.parametrize("name", ROOT_LISTS)
async def test_paging_through_a_list_with_one_order_does_the_same(client: Client, name: str):
    forwards = await _walk(client, f"page: {name}(first: $size, after: $from)", "endCursor", 3)
    backwards = await _walk(client, f"page: {name}(last: $size, before: $from)", "startCursor", 2)
    assert forwards
    assert backwards[::-1] == forwards
    assert len(set(forwards)) == len(forwards)


@pytest.mark.parametrize("field", FORWARD_LISTS)
async def test_paging_through_a_list_that_only_goes_forward_loses_nothing(client: Client, field: str):
    rows = awkward_rows()
    ids = {noun: str(rows[f"{noun}s"][0]["id"]) for noun in ("service", "incident")}
    made = f"page: {field}" if "page:" not in field else field.format(**ids)
    whole = await _walk(client, made, "endCursor", 200)
    assert len(whole) > 2
    assert await _walk(client, made, "endCursor", 2) == whole


async def test_rows_that_come_and_go_do_not_shift_pages(operations: Operations, database: Database):
    client = Client(operations, database)
    ids = await _open_incidents(database, 9)
    first = await _page(client, first=3)
    assert _ids(first) == ids[:3]
    async with database.writing(NOW) as tx:
        await tx.execute(delete(incidents).where(incidents.c.id.in_([ids[0], ids[2], ids[3]])))  # 2 ended the page.
    added = await _open_incidents(database, 2, before=NOW - timedelta(days=1))  # Before the first of all.
    second = await _page(client, first=3, after=first["pageInfo"]["endCursor"])
    assert _ids(second) == ids[4:7]
    assert second["pageInfo"]["hasPreviousPage"]
    back = await _page(client, last=9, before=second["pageInfo"]["startCursor"])
    assert _ids(back) == [*added, ids[1]]
    assert back["totalCount"] == 8


async def test_a_page_before_a_place_whose_rows_are_all_gone_is_the_start_of_the_list(
    operations: Operations, database: Database
):
    client = Client(operations, database)
    ids = await _open_incidents(database, 4)
    page = await _page(client, first=2)
    async with database.writing(NOW) as tx:
        await tx.execute(delete(incidents).where(incidents.c.id.in_(ids[:2])))
    rest = await _page(client, first=9, after=page["pageInfo"]["endCursor"])
    assert _ids(rest) == ids[2:]
    assert rest["pageInfo"]["hasPreviousPage"] is False


async def test_a_row_that_moves_in_the_order_is_met_where_it_is_now(operations: Operations, database: Database):
    client = Client(operations, database)
    ids = await _open_incidents(database, 6)
    first = await _page(client, first=2)
    async with database.writing(NOW) as tx:
        statement = update(incidents).where(incidents.c.id == ids[0])
        await tx.execute(statement.values(started_at=NOW + timedelta(days=1)))
    assert _ids(await _page(client, first=9, after=first["pageInfo"]["endCursor"])) == [*ids[2:], ids[0]]


async def test_after_the_last_row_there_is_an_empty_page(client: Client):
    last = (await client.ask(f"{{ page: alerts(last: 1) {{ {PAGE} }} }}"))["data"]["page"]
    query = f"query ($after: String) {{ page: alerts(first: 5, after: $after) {{ {PAGE} }} }}"
    page = (await client.ask(query, {"after": last["pageInfo"]["endCursor"]}))["data"]["page"]
    assert page == {
        "edges": [],
        "pageInfo": {"hasNextPage": False, "hasPreviousPage": True, "startCursor": None, "endCursor": None},
        "totalCount": last["totalCount"],
    }


async def test_an_empty_list_has_an_empty_page(operations: Operations, database: Database):
    client = Client(operations, database)
    for size in ("first: 5", "last: 5", "first: 0"):
        page = (await client.ask(f"{{ page: incidents({size}) {{ {PAGE} nodes {{ id }} }} }}"))["data"]["page"]
        info = {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None}
        assert page == {"edges": [], "pageInfo": info, "totalCount": 0, "nodes": []}


async def test_a_page_of_nothing_still_says_what_lies_around_it(client: Client):
    query = "{ first: incidents(first: 0) { nodes { id } pageInfo { hasNextPage hasPreviousPage } totalCount }"
    query += " last: incidents(last: 0) { nodes { id } pageInfo { hasNextPage hasPreviousPage } totalCount } }"
    assert (await client.ask(query))["data"] == {
        "first": {"nodes": [], "pageInfo": {"hasNextPage": True, "hasPreviousPage": False}, "totalCount": 9},
        "last": {"nodes": [], "pageInfo": {"hasNextPage": False, "hasPreviousPage": True}, "totalCount": 9},
    }


async def test_the_total_counts_what_the_filter_lets_through_whatever_the_page(client: Client):
    query = '{ page: incidents(first: 1, filter: {labels: {env: "prod"}}) { totalCount nodes { labels } } }'
    page = (await client.ask(query))["data"]["page"]
    assert page["totalCount"] == sum(row["labels"].get("env") == "prod" for row in awkward_rows()["incidents"])
    assert len(page["nodes"]) == 1


async def test_a_page_has_20_rows_unless_told_otherwise_and_200_at_most(operations: Operations, database: Database):
    client = Client(operations, database)
    await _open_incidents(database, 210)
    assert len((await _page(client))["edges"]) == 20
    assert len((await _page(client, first=200))["edges"]) == 200
    assert len((await _page(client, last=200))["edges"]) == 200
    answer = await client.ask("{ incidents(first: 201) { totalCount } }")
    assert [error["message"] for error in answer["errors"]] == ["`first` must be between 0 and 200"]


async def _open_incidents(database: Database, number: int, before: Any = NOW) -> list[str]:
    """Incidents of one moment, which only their ids tell apart; newest first, as lists have them by default."""
    async with database.writing(NOW) as tx:
        taken = len((await tx.execute(incidents.select())).all())
        rows = [
            await tx.insert(
                incidents,
                number=taken * 1000 + n + 1,
                title=f"Incident {n}",
                severity="LOW",
                source="MANUAL",
                started_at=before,
            )
            for n in range(number)
        ]
    return [str(row["id"]) for row in sorted(rows, key=lambda row: row["id"])]


async def _page(client: Client, **arguments: Any) -> Any:
    variables = {"field": "STARTED_AT", "way": "ASC", **arguments}
    return (await client.ask(INCIDENTS, variables))["data"]["page"]


def _ids(page: Any) -> list[str]:
    return [edge["node"]["id"] for edge in page["edges"]]


async def _cursors(client: Client, field: str, way: str) -> list[str]:
    page = (await client.ask(INCIDENTS, {"field": field, "way": way, "first": 200}))["data"]["page"]
    return [edge["cursor"] for edge in page["edges"]]


async def _walk(client: Client, field: str, end: str, size: int) -> list[str]:
    """What one meets on the way from page to page, in the order in which one meets it."""
    closing = "} }" if "{ page:" in field else "}"
    query = f"query ($size: Int, $from: String) {{ {field} {{ edges {{ cursor }} pageInfo {{ {end} }} }} {closing}"
    met: list[str] = []
    place = None
    while True:
        data = (await client.ask(query, {"size": size, "from": place}))["data"]
        page = data.get("page") or next(iter(data.values()))["page"]
        found = [edge["cursor"] for edge in page["edges"]]
        met += found if end == "endCursor" else found[::-1]
        if not found:
            return met
        place = page["pageInfo"][end]
