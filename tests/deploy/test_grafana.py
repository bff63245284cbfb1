"""Grafana's data sources and dashboards. Whether their PromQL finds anything is asked in `test_stack.py`."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
import yaml

from app.demo import load
from db.database import Database
from deploy.demo_shop.logs import Line, as_loki_push
from grafana.boards import BOARDS
from grafana.write import FOLDER, text
from tests.servers import ROOT


@pytest.fixture(scope="module")
def sources() -> dict[str, dict[str, Any]]:
    """The provisioned data sources by their uids."""
    path = ROOT / "grafana" / "provisioning" / "datasources" / "datasources.yml"
    return {source["uid"]: source for source in yaml.safe_load(path.read_text())["datasources"]}


@pytest.mark.parametrize("name", BOARDS)
def test_the_dashboards_are_as_their_code_says(name: str):
    assert (FOLDER / f"{name}.json").read_text() == text(name), "run `make dashboards`"


def test_no_other_dashboard_is_provisioned():
    assert {path.stem for path in FOLDER.glob("*.json")} == {*BOARDS}


def boards() -> Iterator[dict[str, Any]]:
    for name in BOARDS:
        yield json.loads((FOLDER / f"{name}.json").read_text())


def test_dashboards_have_uids_of_their_own_and_every_panel_explains_itself():
    uids = [board["uid"] for board in boards()]
    assert len({*uids}) == len(uids)
    for board in boards():
        ids = [panel["id"] for panel in board["panels"]]
        assert len({*ids}) == len(ids)
        assert all(panel["title"] and panel["description"] and panel["targets"] for panel in board["panels"])


def test_panels_do_not_overlap():
    for board in boards():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, f"{board['title']}: {panel['title']}"
            assert place["x"] + place["w"] <= 24
            taken |= cells


def test_every_data_source_that_is_named_is_provisioned(sources: dict[str, dict[str, Any]]):
    named = [
        each["datasource"] for board in boards() for panel in board["panels"] for each in (panel, *panel["targets"])
    ] + [variable["datasource"] for board in boards() for variable in board["templating"]["list"]]
    for source in named:
        assert sources[source["uid"]]["type"] == source["type"]


def test_traces_logs_and_metrics_lead_to_each_other(sources: dict[str, dict[str, Any]]):
    exemplars = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert [(each["name"], each["datasourceUid"]) for each in exemplars] == [("trace_id", "tempo")]
    (field,) = sources["loki"]["jsonData"]["derivedFields"]
    assert field["datasourceUid"] == "tempo"
    # Loki makes it of what OTLP says beside a line's text, and the shop says it in the same way.
    assert (field["matcherType"], field["matcherRegex"]) == ("label", "trace_id")
    line = Line(1, "checkout", "error", "It fails.", trace_id="4bf92f3577b34da6a3ce929d0e0e4736")
    (pushed,) = as_loki_push([line])["streams"]
    assert pushed["values"][0][2] == {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
    tempo = sources["tempo"]["jsonData"]
    assert tempo["tracesToLogsV2"]["datasourceUid"] == "loki"
    assert tempo["tracesToMetrics"]["datasourceUid"] == "prometheus"
    assert tempo["serviceMap"]["datasourceUid"] == "prometheus"


def statements() -> Iterator[tuple[str, str]]:
    for board in boards():
        for panel in board["panels"]:
            for target in panel["targets"]:
                if "rawSql" in target:
                    yield f"{board['title']}: {panel['title']}", target["rawSql"]


def without_macros(sql: str) -> str:
    """What Grafana makes of its macros, for the last year."""
    sql = re.sub(r"\$__timeFilter\(([^()]+)\)", r"\1 between now() - interval '400 days' and now()", sql)
    return re.sub(
        r"\$__timeGroupAlias\((\w+), \$__interval\)",
        r"""date_bin('7 days', \1, timestamptz '2000-01-01') as "time" """,
        sql,
    )


async def test_every_statement_runs_and_finds_something_in_the_demo(database: Database, database_url: str):
    # Without an evaluation nothing is known of SLOs, and the demo has none.
    may_be_empty = {"Reliability Studio: SLOs: Good events by day"}
    may_be_null = {"Reliability Studio: SLOs: Least budget left"}
    await load(database, now=datetime.now(UTC))
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("set default_transaction_read_only = on")
        for place, sql in statements():
            rows = await connection.fetch(without_macros(sql))
            assert rows or place in may_be_empty, place
            if rows and place not in may_be_null:
                assert any(value is not None for value in rows[0].values()), place
    finally:
        await connection.close()
