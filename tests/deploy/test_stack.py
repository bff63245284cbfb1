"""`make stack`: the whole stack on this machine, and what can be seen in it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import yaml
from promql_parser import VectorSelector, parse

from deploy.demo_shop.services import OBJECTIVES
from grafana.boards import BOARDS
from tests.deploy.conftest import RunningStack, start_stack
from tests.servers import ROOT
from tests.waiting import until


def dashboard_queries() -> Iterator[tuple[str, str]]:
    for name in BOARDS:
        board = json.loads((ROOT / "grafana" / "dashboards" / f"{name}.json").read_text())
        for panel in board["panels"]:
            for target in panel["targets"]:
                if target["datasource"]["type"] == "prometheus":
                    query = target["expr"].replace("$__rate_interval", "20s").replace("$service", ".*")
                    yield f"{name}: {panel['title']}", query


def recording_rules() -> Iterator[tuple[str, str]]:
    for rule in rules():
        if "record" in rule:
            yield rule["record"], rule["expr"]


def rules() -> Iterator[dict[str, str]]:
    for path in sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def last_minutes() -> dict[str, str]:
    now = datetime.now(UTC)
    return {"from": (now - timedelta(minutes=5)).isoformat(), "to": now.isoformat()}


async def asked(web: httpx.AsyncClient, stack: RunningStack, query: str) -> list[dict[str, object]]:
    answer = await web.post(f"{stack.urls['prometheus']}/api/v1/query", data={"query": query})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()["data"]["result"]
    return found


async def test_it_starts_in_order_and_every_check_holds(stack: RunningStack):
    assert list(stack.urls) == ["prometheus", "pushgateway", "alertmanager", "backend", "demo-shop"]
    checked = [line for line in stack.lines if line.startswith(("holds", "FAILS"))]
    assert len(checked) > 10
    assert [line for line in checked if line.startswith("FAILS")] == []
    assert any(line.startswith("loki") and "left out" in line for line in stack.lines) or "loki" in stack.urls


async def test_no_dashboard_and_no_recording_rule_is_empty(stack: RunningStack, web: httpx.AsyncClient):
    """Only alert rules may be: they hold for nothing while nothing is wrong. Loki's and Tempo's panels need those."""
    queries = [*dashboard_queries(), *recording_rules()]
    assert len(queries) > 30
    empty: list[str] = []

    async def all_have_series() -> bool:
        empty[:] = [place for place, query in queries if not await asked(web, stack, query)]
        return not empty

    try:
        await until(all_have_series, timeout_seconds=60)
    except TimeoutError:
        pytest.fail(f"nothing is to be seen in {empty}")


async def test_every_metric_of_the_alert_rules_exists(stack: RunningStack, web: httpx.AsyncClient):
    pushed = {
        "reliability_studio_job_last_run_succeeded",  # by batch commands, of which none has run
        "reliability_studio_worker_up",  # by a server of several processes, and this is one of one
    }
    names: set[str] = set()

    def collect(node: object) -> None:
        if isinstance(node, VectorSelector):
            names.add(node.name)
        for part in ("expr", "lhs", "rhs", "args", "vector_selector"):
            found = getattr(node, part, None)
            for child in found if isinstance(found, list) else [found]:
                if child is not None and not isinstance(child, str):
                    collect(child)

    for rule in rules():
        collect(parse(rule["expr"]))
    assert len(names) > 12

    missing = {name for name in names - pushed if not await asked(web, stack, f"count({name})")}
    assert missing == set()


async def test_no_alert_of_the_server_fires_while_all_is_well(stack: RunningStack, web: httpx.AsyncClient):
    firing = await asked(web, stack, 'ALERTS{alertstate="firing", alertname=~"Studio.*"}')
    assert firing == []


async def test_the_services_of_the_shop_join_the_catalog(stack: RunningStack, web: httpx.AsyncClient):
    query = "{ services(first: 50) { nodes { name dependencies { dependsOn { name } } } } }"

    async def known() -> bool:
        answer = (await web.post(f"{stack.urls['backend']}/graphql", json={"query": query})).json()
        found = {
            node["name"]: {edge["dependsOn"]["name"] for edge in node["dependencies"]}
            for node in answer["data"]["services"]["nodes"]
        }
        return found.get("checkout") == {"inventory", "payments", "shipping"} and "storefront" in found

    await until(known)


async def test_the_objectives_of_the_shop_are_measured(stack: RunningStack, web: httpx.AsyncClient):
    query = "{ slos(first: 50) { nodes { name service { name } } } }"

    async def promised() -> bool:
        answer = (await web.post(f"{stack.urls['backend']}/graphql", json={"query": query})).json()
        found = {(node["service"]["name"], node["name"]) for node in answer["data"]["slos"]["nodes"]}
        return found == {(each.service, each.name) for each in OBJECTIVES}

    await until(promised, timeout_seconds=60)


async def test_the_golden_signals_of_the_shop_are_in_graphql(stack: RunningStack, web: httpx.AsyncClient):
    query = """query ($from: DateTime!, $to: DateTime!) {
      services(filter: { name: ["checkout"] }) {
        nodes { metrics(range: { from: $from, to: $to }) { name points { value } } }
      }
    }"""

    async def has_signals() -> bool:
        answer = (
            await web.post(f"{stack.urls['backend']}/graphql", json={"query": query, "variables": last_minutes()})
        ).json()
        nodes = answer["data"]["services"]["nodes"]
        return bool(nodes) and any(metric["points"] for metric in nodes[0]["metrics"] or [])

    await until(has_signals, timeout_seconds=60)


async def test_a_service_that_dies_is_an_alert_in_alertmanager_and_an_incident_here(
    stack: RunningStack, web: httpx.AsyncClient
):
    shop, alertmanager = stack.urls["demo-shop"], stack.urls["alertmanager"]
    (await web.post(f"{shop}/faults/dead-dependency")).raise_for_status()
    try:

        async def is_told() -> bool:
            alerts = (await web.get(f"{alertmanager}/api/v2/alerts")).json()
            labels = [alert["labels"] for alert in alerts]
            return any(one["alertname"] == "ServiceDown" and one["service_name"] == "shipping" for one in labels)

        await until(is_told, timeout_seconds=60)

        async def is_an_incident() -> bool:
            query = '{ incidents(filter: { active: true, services: ["shipping"] }) { nodes { title source } } }'
            answer = (await web.post(f"{stack.urls['backend']}/graphql", json={"query": query})).json()
            return [node["source"] for node in answer["data"]["incidents"]["nodes"]] == ["ALERT"]

        await until(is_an_incident, timeout_seconds=60)
    finally:
        await web.delete(f"{shop}/faults/dead-dependency")


async def test_ctrl_c_stops_all_of_it(stack: RunningStack, web: httpx.AsyncClient):
    """The last test of this file, because nothing runs afterwards."""
    urls = [*stack.urls.values()]

    assert await stack.stop() == 0

    for url in urls:
        with pytest.raises(httpx.ConnectError):
            await web.get(url)


async def test_what_is_missing_is_said(tmp_path: Path):
    running = await start_stack("--help")
    assert running.process.stdout is not None
    text = (await running.process.stdout.read()).decode()
    assert await running.process.wait() == 0
    assert "--check" in text
    assert "demo_shop" in text
