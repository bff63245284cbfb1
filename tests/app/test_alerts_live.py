"""A real Prometheus and a real Alertmanager fire at our server, which is killed meanwhile."""

import signal
import socket
from pathlib import Path
from typing import Any

import httpx

from domain.time import Deadline
from tests.app.alert_sources import AlertSources, alert_sources
from tests.http.graphql_socket import GraphQLSocket, connect
from tests.servers import ServerProcess
from tests.waiting import until

TOKEN = "s3cret"
SERVICES = ("checkout", "search")
FOUND = """{ incidents(first: 10) { nodes { title status severity source services { name status }
  timeline { nodes { title description source } } alerts { nodes { name status source } } } } }"""
FIRED = """subscription($after: String) { events(after: $after, filter: { types: [ALERT_FIRED, ALERT_RESOLVED] }) {
  type incident { title } service { name }
  ... on AlertFired { alert { name } } ... on AlertResolved { alert { name } } } }"""


async def test_real_alerts_become_an_incident_that_rests_when_they_are_over(tmp_path: Path, database_url: str):
    port = free_port()
    settings = {
        "DATABASE_URL": database_url,
        "PORT": str(port),
        "WEBHOOK_TOKENS": f"eu={TOKEN}",
        "ALERT_HOLD_SECONDS": "0.5",
        "ALERT_UPKEEP_SECONDS": "0.5",
        "ALERT_RECONCILIATION_SECONDS": "0",
    }
    webhook = f"http://127.0.0.1:{port}/api/webhooks/alertmanager"
    async with alert_sources(tmp_path, webhook=webhook, token=TOKEN) as sources:
        server = await ServerProcess(**settings).__aenter__()
        try:
            async with connect(server.url) as events:
                after = (await events.ask("now", "{ asOfCursor }"))["data"]["asOfCursor"]
                await events.subscribe("events", FIRED, variables={"after": after})
                await sources.fire(["checkout"], of=SERVICES)
                fired = await heard(events)
            assert fired == {
                "type": "ALERT_FIRED",
                "incident": {"title": "HighErrorRatio on checkout: checkout fails one of ten requests"},
                "service": {"name": "checkout"},
                "alert": {"name": "HighErrorRatio"},
            }
            [incident] = await incidents(server.url)
            assert {key: incident[key] for key in ("status", "severity", "source", "services")} == {
                "status": "OPEN",
                "severity": "CRITICAL",
                "source": "ALERT",
                "services": [{"name": "checkout", "status": "DOWN"}],
            }
            told = [(it["title"], it["source"]) for it in incident["timeline"]["nodes"]]
            assert ("Opened by eu: checkout affected", "eu") in told
            assert ("HighErrorRatio on checkout fires", "eu") in told
            # While nobody is here, another alert fires, and the first one ends: Alertmanager tries again.
            await server.stop(signal.SIGKILL)
            await sources.fire(["search"], of=SERVICES)
            await until(lambda: fires(sources, "search"))
            server = await ServerProcess(**settings).__aenter__()
            await until(lambda: is_told(server.url, {"checkout": "MITIGATED", "search": "OPEN"}), timeout_seconds=60)
            async with connect(server.url) as events:
                after = (await events.ask("now", "{ asOfCursor }"))["data"]["asOfCursor"]
                await events.subscribe("events", FIRED, variables={"after": after})
                await sources.fire([], of=SERVICES)
                assert (await heard(events))["type"] == "ALERT_RESOLVED"
            await until(lambda: is_told(server.url, {"checkout": "MITIGATED", "search": "MITIGATED"}))
            for incident in await incidents(server.url):
                titles = [it["title"] for it in incident["timeline"]["nodes"]]
                assert titles[-1] == "Mitigated by alerts"
                assert [service["status"] for service in incident["services"]] == ["HEALTHY"]
        finally:
            await server.stop()


async def incidents(url: str) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        answer = (await http.post("/graphql", json={"query": FOUND})).json()
    found: list[dict[str, Any]] = answer["data"]["incidents"]["nodes"]
    return found


async def is_told(url: str, wanted: dict[str, str]) -> bool:
    return {it["services"][0]["name"]: it["status"] for it in await incidents(url)} == wanted


async def fires(sources: AlertSources, service: str) -> bool:
    return any(
        alert.labels["service"] == service for alert in await sources.alertmanager.alerts(deadline=Deadline.after(20))
    )


async def heard(socket: GraphQLSocket) -> dict[str, Any]:
    message = await socket.hear()
    assert message["type"] == "next", message
    event: dict[str, Any] = message["payload"]["data"]["events"]
    return event


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
