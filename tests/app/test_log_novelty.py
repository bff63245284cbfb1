"""Kinds of log lines that a service has never logged, against a local Loki."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from actions import jobs
from app.alert_intake import AlertIntake
from app.background import in_background
from app.detection import KIND, Detection
from app.jobs import EVERYTHING
from telemetry_clients.instances import Instances, Telemetry
from telemetry_clients.loki import Loki
from telemetry_clients.loki.answers import nanoseconds
from telemetry_clients.transport import Endpoint, Transport
from tests.schema.conftest import Api, api, operations
from tests.telemetry_clients.loki_server import LocalLoki, local_loki
from tests.waiting import until

__all__ = ["api", "operations"]  # fixtures

SAID = "{ alerts { nodes { name status annotations service { name } } } }"
STATES = """{ detectionRules { nodes { name lastError states { service { name } status lastValue } } } }"""


@pytest.fixture
async def loki(api: Api) -> AsyncIterator[LocalLoki]:
    async with local_loki() as server, Transport(Endpoint(backend="Loki", url=server.url)) as transport:
        api.telemetry = Telemetry(loki=Instances("Loki", {"default": Loki(transport)}))
        server.label_values = {"service_name": ["checkout", "payment"]}
        yield server


def write(api: Api, loki: LocalLoki, name: str, line: str, *, seconds_ago: float, times: int = 10) -> None:
    for number in range(times):
        time_ns = nanoseconds(api.now - timedelta(seconds=seconds_ago)) + number
        loki.lines.append((time_ns, {"service_name": name}, f"level=error {line} after {number} ms"))


async def evaluate(api: Api, detection: Detection, *, after_seconds: float) -> dict[str, str]:
    """Evaluate once; the status of each service."""
    api.now += timedelta(seconds=after_seconds)
    async with api.database.writing(api.now) as tx:
        await jobs.enqueue(tx, KIND, EVERYTHING)
        [job] = await jobs.claim(tx, [KIND], worker="tests", lease_seconds=30, most=1)
    await detection.evaluate(job)
    async with api.database.writing(api.now) as tx:
        assert await jobs.finish(tx, job)
    rules = (await api(STATES))["data"]["detectionRules"]["nodes"]
    [rule] = [rule for rule in rules if rule["name"] == "New errors"]
    assert rule["lastError"] is None
    return {state["service"]["name"]: state["status"] for state in rule["states"]}


async def test_errors_of_a_new_kind_fire_for_a_while_and_known_ones_do_not(api: Api, loki: LocalLoki) -> None:
    for name in ("checkout", "payment"):
        await api.changed("createService", "service { id }", input={"name": name})
    rule = {"name": "New errors", "kind": "LOG_NOVELTY", "severity": "LOW", "parameters": {"resolveSeconds": 0}}
    await api.changed("createDetectionRule", "detectionRule { id }", input=rule)
    write(api, loki, "checkout", "pay/card.go:77 card declined", seconds_ago=3600)
    write(api, loki, "payment", "ledger is slow", seconds_ago=60)
    detection = Detection(api.database, api.telemetry, now=lambda: api.now, interval_seconds=30)

    assert await evaluate(api, detection, after_seconds=30) == {"checkout": "OK", "payment": "OK"}
    queries = len(loki.asked_for("query_range"))
    write(api, loki, "checkout", "pay/card.go:81 card declined", seconds_ago=0)  # the same, in an edited file
    write(api, loki, "payment", "connection to vault refused by peer", seconds_ago=0)
    assert await evaluate(api, detection, after_seconds=30) == {"checkout": "OK", "payment": "FIRING"}
    assert len(loki.asked_for("query_range")) == queries + 1, "one query for all services"

    async with in_background({"alerts": AlertIntake(api.database, now=lambda: api.now).run}):

        async def is_told() -> bool:
            return bool((await api(SAID))["data"]["alerts"]["nodes"])

        await until(is_told)
    [alert] = (await api(SAID))["data"]["alerts"]["nodes"]
    assert (alert["name"], alert["service"], alert["status"]) == ("New errors", {"name": "payment"}, "FIRING")
    assert "connection to vault refused by peer after <_>" in alert["annotations"]["summary"]

    write(api, loki, "payment", "connection to vault refused by peer", seconds_ago=0)
    assert await evaluate(api, detection, after_seconds=1_000) == {"checkout": "OK", "payment": "OK"}
