"""Detection as people see it: rules fire and recover, alerts and incidents follow, and what is unknown is said so."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text

from actions import jobs
from actions.jobs import Job
from app.alert_intake import AlertIntake
from app.background import in_background
from app.detection import KIND, Detection
from app.jobs import EVERYTHING
from db.slos import slo_states, slos
from domain.detection_defaults import DEFAULT_RULES
from domain.errors import Conflict
from tests.app.detection_backend import QUERY, GaugeBackend, telemetry_of
from tests.schema.conftest import Api, api, operations
from tests.waiting import until

__all__ = ["api", "operations"]  # fixtures

STATES = """{ detectionRules { nodes {
  name lastError failingSince lastEvaluatedAt
  states { service { name } status since badSince lastValue lastError }
} } }"""
ALERTS = """{ alerts { nodes {
  name status severity labels annotations startsAt endsAt service { name } incident { status title }
} } }"""
RULE = {
    "name": "Long queue",
    "kind": "THRESHOLD",
    "query": QUERY,
    "threshold": 100.0,
    "forSeconds": 60,
    "severity": "HIGH",
    "parameters": {"resolveSeconds": 60, "recoveryThreshold": 80},
}


class Shop:
    """Some services, their Prometheus, and a detection that is started anew with `restart`."""

    def __init__(self, api: Api, backend: GaugeBackend) -> None:
        self.api = api
        self.backend = backend
        self.restart()

    def restart(self) -> None:
        self.detection = Detection(self.api.database, self.api.telemetry, now=lambda: self.api.now, interval_seconds=30)

    async def claim(self) -> Job:
        async with self.api.database.writing(self.api.now) as tx:
            await jobs.enqueue(tx, KIND, EVERYTHING)
            [job] = await jobs.claim(tx, [KIND], worker="tests", lease_seconds=30, most=1)
        return job

    async def evaluate(self, *, after_seconds: float = 30) -> None:
        """What the job does, a while after the last time."""
        self.api.now += timedelta(seconds=after_seconds)
        job = await self.claim()
        await self.detection.evaluate(job)
        async with self.api.database.writing(self.api.now) as tx:
            assert await jobs.finish(tx, job)

    async def create_rule(self, **changes: Any) -> str:
        rule = await self.api.changed("createDetectionRule", "detectionRule { id }", input={**RULE, **changes})
        return str(rule["id"])

    async def rule(self, name: str = "Long queue") -> dict[str, Any]:
        answer = await self.api(STATES)
        assert answer.keys() == {"data"}, answer
        return next(rule for rule in answer["data"]["detectionRules"]["nodes"] if rule["name"] == name)

    async def statuses(self) -> dict[str, str]:
        return {state["service"]["name"]: state["status"] for state in (await self.rule())["states"]}

    async def alerts(self) -> list[dict[str, Any]]:
        """The alerts, once all that was told is worked off."""

        async def worked_off() -> bool:
            async with self.api.database.reading() as connection:
                waiting = "select count(*) from alert_deliveries where processed_at is null"
                return not await connection.scalar(text(waiting))

        await until(worked_off)
        answer = await self.api(ALERTS)
        assert answer.keys() == {"data"}, answer
        return [*answer["data"]["alerts"]["nodes"]]


@pytest.fixture
async def shop(api: Api) -> AsyncIterator[Shop]:
    backend = GaugeBackend({"checkout": 5.0, "payment": 5.0})
    for name in backend.values:
        await api.changed("createService", "service { id }", input={"name": name})
    async with telemetry_of(backend) as telemetry:
        api.telemetry = telemetry
        intake = AlertIntake(api.database, now=lambda: api.now, poll_seconds=0.02)
        async with in_background({"alerts": intake.run}):
            yield Shop(api, backend)


async def test_a_rule_fires_after_its_time_makes_an_incident_and_recovers(shop: Shop) -> None:
    await shop.create_rule()
    await shop.evaluate()
    assert await shop.statuses() == {"checkout": "OK", "payment": "OK"}

    shop.backend.values["checkout"] = 150.0
    await shop.evaluate()
    began = shop.api.now.isoformat()
    assert await shop.statuses() == {"checkout": "PENDING", "payment": "OK"}
    assert await shop.alerts() == []
    await shop.evaluate()
    await shop.evaluate()

    assert await shop.statuses() == {"checkout": "FIRING", "payment": "OK"}
    [alert] = await shop.alerts()
    assert (alert["name"], alert["status"], alert["severity"]) == ("Long queue", "FIRING", "HIGH")
    assert alert["startsAt"] == began
    assert alert["service"] == {"name": "checkout"}
    assert alert["labels"] == {"alertname": "Long queue", "service": "checkout"}
    assert alert["annotations"]["summary"] == "The value of the query of checkout is 150, above 100 for 1 min"
    assert alert["incident"]["status"] == "OPEN"

    shop.backend.values["checkout"] = 90.0  # Below the threshold, but not back yet.
    await shop.evaluate(after_seconds=120)
    assert (await shop.statuses())["checkout"] == "FIRING"
    shop.backend.values["checkout"] = 10.0
    await shop.evaluate()
    assert (await shop.statuses())["checkout"] == "FIRING", "it must stay good for a while"
    await shop.evaluate(after_seconds=60)

    assert (await shop.statuses())["checkout"] == "OK"
    [alert] = await shop.alerts()
    assert (alert["status"], alert["startsAt"], alert["endsAt"]) == ("RESOLVED", began, shop.api.now.isoformat())
    assert alert["annotations"]["summary"] == "The value of the query of checkout is back at 10"


async def test_a_restart_keeps_since_when_it_was_bad(shop: Shop) -> None:
    await shop.create_rule()
    shop.backend.values["checkout"] = 150.0
    await shop.evaluate()
    began = shop.api.now.isoformat()
    shop.restart()
    await shop.evaluate(after_seconds=60)

    [state, _] = (await shop.rule())["states"]
    assert (state["status"], state["badSince"]) == ("FIRING", began)
    shop.restart()
    await shop.evaluate()
    assert len(await shop.alerts()) == 1


async def test_a_backend_that_is_away_is_no_all_clear(shop: Shop) -> None:
    await shop.create_rule(forSeconds=0)
    shop.backend.values["checkout"] = 150.0
    await shop.evaluate()
    assert await shop.statuses() == {"checkout": "FIRING", "payment": "OK"}

    shop.backend.status = 503
    await shop.evaluate(after_seconds=600)
    failing_since = shop.api.now.isoformat()

    rule = await shop.rule()
    assert "503" in rule["lastError"]
    assert rule["failingSince"] == failing_since
    assert await shop.statuses() == {"checkout": "FIRING", "payment": "ERROR"}
    assert {state["lastError"] for state in rule["states"]} == {rule["lastError"]}
    assert [alert["status"] for alert in await shop.alerts()] == ["FIRING"]

    shop.backend.status = 200
    await shop.evaluate()
    rule = await shop.rule()
    assert (rule["lastError"], rule["failingSince"]) == (None, None)
    assert await shop.statuses() == {"checkout": "FIRING", "payment": "OK"}


async def test_a_rule_that_fails_says_so_and_stops_no_other(shop: Shop) -> None:
    await shop.create_rule(forSeconds=0)
    await shop.create_rule(name="Broken", query="sum by (service) (broken)")
    shop.backend.refused = "broken"
    shop.backend.values["checkout"] = 150.0

    await shop.evaluate()

    assert "multiple matches for labels" in (await shop.rule("Broken"))["lastError"]
    assert (await shop.rule())["lastError"] is None
    assert [alert["name"] for alert in await shop.alerts()] == ["Long queue"]


async def test_one_query_asks_for_all_services(shop: Shop) -> None:
    for number in range(50):
        shop.backend.values[f"service-{number}"] = 1.0
        await shop.api.changed("createService", "service { id }", input={"name": f"service-{number}"})
    await shop.create_rule()
    shop.backend.asked.clear()

    await shop.evaluate()

    assert len(shop.backend.asked) == 1
    assert len(await shop.statuses()) == 52


async def test_two_workers_never_do_it_twice(shop: Shop) -> None:
    await shop.create_rule(forSeconds=0)
    shop.backend.values["checkout"] = 150.0
    lost = await shop.claim()
    async with shop.api.database.writing(shop.api.now) as tx:
        await tx.execute(text("update jobs set claimed_until = now() - interval '1 minute'"))
    async with shop.api.database.writing(shop.api.now) as tx:
        [taken] = await jobs.claim(tx, [KIND], worker="another", lease_seconds=30, most=1)

    shop.api.now += timedelta(seconds=30)
    with pytest.raises(Conflict, match="taken this work over"):
        await shop.detection.evaluate(lost)
    assert await shop.alerts() == []

    await shop.detection.evaluate(taken)
    await shop.detection.evaluate(taken)  # at the same moment
    assert len(await shop.alerts()) == 1


async def test_what_a_rule_said_ends_with_it(shop: Shop) -> None:
    shop.backend.values = {"checkout": 150.0, "payment": 150.0}
    deleted = await shop.create_rule(forSeconds=0)
    disabled = await shop.create_rule(name="Queue", forSeconds=0)
    await shop.evaluate()
    assert [alert["status"] for alert in await shop.alerts()] == ["FIRING"] * 4

    await shop.api.changed("deleteDetectionRule", "deletedId", id=deleted)
    await shop.api.changed("updateDetectionRule", "detectionRule { id }", input={"id": disabled, "isEnabled": False})
    await shop.evaluate()

    told = {(alert["name"], alert["status"], alert["annotations"]["summary"]) for alert in await shop.alerts()}
    assert told == {
        ("Long queue", "RESOLVED", "The detection rule was deleted"),
        ("Queue", "RESOLVED", "The detection rule was disabled"),
    }
    assert (await shop.rule("Queue"))["states"] == []


async def test_the_alert_of_a_service_that_left_the_catalog_ends(shop: Shop) -> None:
    await shop.create_rule(forSeconds=0)
    shop.backend.values["checkout"] = 150.0
    await shop.evaluate()
    assert [alert["status"] for alert in await shop.alerts()] == ["FIRING"]
    async with shop.api.database.writing(shop.api.now) as tx:
        await tx.execute(text("delete from incidents_services"))
        await tx.execute(text("delete from services where name = 'checkout'"))

    await shop.evaluate(after_seconds=300)

    assert [alert["status"] for alert in await shop.alerts()] == ["RESOLVED"]


async def test_what_was_there_and_is_missing_fires_until_it_is_back(shop: Shop) -> None:
    await shop.create_rule(kind="ABSENCE", parameters={"resolveSeconds": 0}, threshold=None)
    await shop.api.changed("createService", "service { id }", input={"name": "never-seen"})
    await shop.evaluate()
    del shop.backend.values["payment"]
    await shop.evaluate()
    await shop.evaluate(after_seconds=60)

    assert await shop.statuses() == {"payment": "FIRING", "checkout": "OK"}
    shop.backend.values["payment"] = 1.0
    await shop.evaluate()
    assert await shop.statuses() == {"payment": "OK", "checkout": "OK"}
    del shop.backend.values["payment"]
    await shop.evaluate(after_seconds=60)
    await shop.evaluate(after_seconds=60)
    await shop.evaluate(after_seconds=86_400)
    assert await shop.statuses() == {"checkout": "OK"}, "it was taken down"
    assert {alert["status"] for alert in await shop.alerts()} == {"RESOLVED"}


async def test_series_that_name_no_service_are_an_error_unless_one_service_is_watched(shop: Shop) -> None:
    async with shop.api.database.writing(shop.api.now) as tx:
        await tx.execute(
            text("update detection_rules set signal = null, query = 'queue_length' where name = 'High error ratio'")
        )
        await tx.execute(text("update detection_rules set parameters = '{}' where name = 'High error ratio'"))
    await shop.evaluate()

    assert "aggregate `by (service)`" in (await shop.rule("High error ratio"))["lastError"]
    found = await shop.api('{ serviceByName(name: "payment") { id } }')
    service_id = found["data"]["serviceByName"]["id"]
    await shop.create_rule(query="queue_length", serviceId=service_id)
    await shop.evaluate()
    assert await shop.statuses() == {"payment": "OK"}


async def test_everybody_starts_with_the_default_rules(shop: Shop) -> None:
    wanted = "name description kind signal comparison threshold forSeconds severity parameters isEnabled"
    answer = await shop.api(f"{{ detectionRules {{ nodes {{ {wanted} }} }} }}")

    assert answer["data"]["detectionRules"]["nodes"] == [
        {
            "name": rule.name,
            "description": rule.description,
            "kind": rule.kind,
            "signal": rule.signal,
            "comparison": rule.comparison,
            "threshold": rule.threshold,
            "forSeconds": rule.for_seconds,
            "severity": rule.severity,
            "parameters": rule.parameters,
            "isEnabled": True,
        }
        for rule in sorted(DEFAULT_RULES, key=lambda rule: rule.name)
    ]


async def test_a_rule_about_budgets_reads_the_slos_of_services_that_have_them(shop: Shop) -> None:
    windows = {"longWindowSeconds": 3600, "shortWindowSeconds": 300}
    await shop.create_rule(
        name="Long queue",
        kind="SLO_BURN",
        query=None,
        signal="ERROR_RATIO",
        threshold=14.4,
        forSeconds=0,
        parameters=windows,
    )
    indicator = {"ratio": {"bad": 'errors_total{job="shop"}', "total": 'requests_total{job="shop"}'}}
    promise = {"service": "checkout", "name": "Availability", "objective": 0.999, "indicator": indicator}
    shop.backend.values = {}
    await shop.api.changed("createSlo", "slo { id }", input=promise)

    async def burn(long: float, short: float) -> None:
        rates = [{"long_window_seconds": 3600, "short_window_seconds": 300, "long_rate": long, "short_rate": short}]
        rates.append({**rates[0], "long_window_seconds": 21_600, "long_rate": 500.0})
        async with shop.api.database.writing(shop.api.now) as tx:
            known = (await tx.execute(select(slos.c.id))).scalar_one()
            await tx.execute(delete(slo_states))
            state = {"slo_id": known, "status": "HEALTHY", "measured_at": shop.api.now, "burn_rates": rates}
            budget = {"error_budget_remaining": 0.5, "error_budget_consumed": 0.5, "coverage": 1.0}
            await tx.execute(insert(slo_states).values(**state, **budget))

    await burn(20.0, 3.0)
    await shop.evaluate()
    assert (await shop.statuses())["checkout"] == "OK", "it burns no more"
    await burn(20.0, 30.0)
    await shop.evaluate()
    states = {state["service"]["name"]: state for state in (await shop.rule())["states"]}
    assert (states["checkout"]["status"], states["checkout"]["lastValue"]) == ("FIRING", 20.0)
    assert states.keys() == {"checkout"}, "payment has no SLO, and nothing is measured of it"
