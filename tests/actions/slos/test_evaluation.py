"""The evaluation of objectives against a real Prometheus that has stored six hours of a shop's history."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import update

from actions import services
from actions.services import NewService
from actions.slos import objectives
from actions.slos.evaluation import SLOEvaluator
from db.alerts import alerts
from db.slos import slo_group_states, slo_states, slos
from domain.alerts import AlertStatus
from domain.objectives import (
    Alerting,
    AvailabilityIndicator,
    BurnRateAlert,
    Composite,
    CompositeRule,
    LatencyIndicator,
    Member,
    ObjectiveDefinition,
    RatioIndicator,
    RollingWindow,
)
from domain.slos import BurnResponse, SLOStatus
from domain.time import Deadline
from telemetry_clients.instances import Instances
from telemetry_clients.prometheus import Prometheus
from telemetry_clients.transport import Endpoint, Transport
from tests.actions.alerting import processed
from tests.actions.conftest import Studio
from tests.actions.shop_history import NOW
from tests.telemetry_clients.prometheus_server import PrometheusServer


def objective(name: str, indicator: object, **more: object) -> ObjectiveDefinition:
    known = {"objective": Decimal("0.99"), "window": RollingWindow(6 * 3600)}
    return ObjectiveDefinition(service="shop", name=name, indicator=indicator, **(known | more))


ERRORS = RatioIndicator(bad='shop_requests_total{code="500"}', total="shop_requests_total")


def watched_by(server: PrometheusServer) -> Instances[Prometheus]:
    return Instances("Prometheus", {"default": server.client})


async def evaluated(studio: Studio, shop: PrometheusServer, at: datetime = NOW) -> SLOEvaluator:
    evaluator = SLOEvaluator(studio.database, watched_by(shop), scrape_interval_seconds=0)
    studio.now = at
    cycle = await evaluator.cycle(at, Deadline.after(30))
    assert cycle.failure is None
    return evaluator


async def state(studio: Studio, id: UUID) -> dict:
    [found] = await studio.rows(slo_states, slo_id=id)
    return found


async def test_a_new_objective_is_measured_over_all_of_its_history_at_once(studio, shop):
    id = await studio.do(objectives.create, objective("availability", ERRORS))
    await evaluated(studio, shop)
    found = await state(studio, id)
    good, bad = 4 * 4 * 360, 4 * 60
    assert found["total_events"] == pytest.approx(good + bad, rel=0.01)
    assert found["error_budget_consumed"] == pytest.approx(bad / (good + bad) / 0.01, rel=0.02)
    assert found["error_budget_remaining"] == 1 - found["error_budget_consumed"] < 0, "overspent, and never clamped"
    assert found["coverage"] == 1
    assert found["status"] is SLOStatus.EXHAUSTED
    assert found["measured_at"] == NOW


async def test_latency_and_availability_are_told_from_buckets_and_gauges(studio, shop):
    fast = await studio.do(objectives.create, objective("fast", LatencyIndicator("shop_seconds", Decimal(1))))
    up = await studio.do(objectives.create, objective("up", AvailabilityIndicator("shop_up")))
    await evaluated(studio, shop)
    assert (await state(studio, fast))["sli"] == pytest.approx(0.9, rel=0.001)
    assert (await state(studio, up))["sli"] == pytest.approx(5 / 6, rel=0.005)


async def test_errors_that_a_series_appears_with_count_in_full(studio, shop):
    burst = RatioIndicator(bad='sum(rate(shop_jobs_total{code="503"}[$window]))', total="shop_jobs_total")
    id = await studio.do(objectives.create, objective("jobs", burst))
    await evaluated(studio, shop)
    found = await state(studio, id)
    assert found["total_events"] - found["good_events"] == 50, "which Prometheus's increase() takes for none"


async def test_every_group_has_a_budget_of_its_own_and_the_whole_is_as_bad_as_the_worst(studio, shop):
    by_team = objective("by team", ERRORS, group_by=("team",))
    id = await studio.do(objectives.create, by_team)
    await evaluated(studio, shop)
    groups = {row["labels"]["team"]: row for row in await studio.rows(slo_group_states, slo_id=id)}
    assert groups["batch"]["sli"] == 1
    assert groups["batch"]["status"] is SLOStatus.HEALTHY
    assert groups["api"]["sli"] == pytest.approx(1 - 240 / (4320 + 240), rel=0.001)
    assert (await state(studio, id))["status"] is SLOStatus.EXHAUSTED


async def test_a_query_that_prometheus_refuses_costs_only_its_own_objective(studio, shop):
    wrong = RatioIndicator(bad="sum(increase(shop_requests_total[$window])) by (code)", total="shop_requests_total")
    refused = RatioIndicator(good='label_replace(vector(1), "a", "$1", "b", "(")', total="shop_requests_total")
    broken = [
        await studio.do(objectives.create, objective(f"broken {n}", one)) for n, one in enumerate((wrong, refused))
    ]
    fine = [await studio.do(objectives.create, objective(f"fine {n}", ERRORS)) for n in range(9)]
    await evaluated(studio, shop)
    assert [(await state(studio, id))["status"] for id in fine] == [SLOStatus.EXHAUSTED] * 9
    several, invalid = [await state(studio, id) for id in broken]
    assert several["status"] is invalid["status"] is SLOStatus.ERROR
    assert "several series, expected one. Aggregate it" in several["last_error"]
    assert "invalid regular expression" in invalid["last_error"]


async def test_a_refused_query_over_more_history_than_one_answer_holds_costs_only_its_own_objective_too(studio, shop):
    refused = RatioIndicator(good='label_replace(vector(1), "a", "$1", "b", "(")', total="shop_requests_total")
    quarter = RollingWindow(90 * 86_400)
    broken = await studio.do(objectives.create, objective("broken", refused, window=quarter))
    fine = await studio.do(objectives.create, objective("fine", ERRORS, window=quarter))
    await evaluated(studio, shop)
    assert (await state(studio, broken))["status"] is SLOStatus.ERROR
    assert (await state(studio, fine))["status"] is SLOStatus.EXHAUSTED


async def test_what_prometheus_knows_nothing_of_has_no_data_and_burns_nothing(studio, shop):
    id = await studio.do(
        objectives.create, objective("nothing", RatioIndicator(good="nobody_total", total="nobody_total{}"))
    )
    await evaluated(studio, shop)
    found = await state(studio, id)
    assert (found["status"], found["sli"], found["coverage"]) == (SLOStatus.NO_DATA, None, 0)


async def test_each_slice_is_read_once_and_downtime_is_caught_up_with(studio, shop):
    id = await studio.do(objectives.create, objective("availability", ERRORS))
    evaluator = await evaluated(studio, shop, NOW - timedelta(minutes=90))
    assert (await state(studio, id))["sli"] == 1
    one_more = await evaluator.cycle(NOW - timedelta(minutes=85), Deadline.after(30))
    assert (one_more.evaluated, one_more.queries) == (1, 1)
    nothing = await evaluator.cycle(NOW - timedelta(minutes=84), Deadline.after(30))
    assert (nothing.evaluated, nothing.queries) == (0, 0)
    later = await evaluator.cycle(NOW, Deadline.after(30))
    assert (later.evaluated, later.queries) == (1, 1)
    found = await state(studio, id)
    other = await studio.do(objectives.create, objective("all at once", ERRORS))
    await evaluated(studio, shop)
    expected = await state(studio, other)
    assert found["error_budget_consumed"] == pytest.approx(expected["error_budget_consumed"])


async def test_a_composite_follows_its_members(studio, shop):
    await studio.do(objectives.create, objective("availability", ERRORS))
    await studio.do(objectives.create, objective("fast", LatencyIndicator("shop_seconds", Decimal(1))))
    members = (Member("shop", "availability", Decimal(3)), Member("shop", "fast", Decimal(1)))
    id = await studio.do(objectives.create, objective("checkout", Composite(CompositeRule.WEIGHTED, members)))
    await evaluated(studio, shop)
    failing = 0.2 / 6  # one of five requests in the last hour of six
    assert (await state(studio, id))["sli"] == pytest.approx(1 - (3 * failing + 0.1) / 4, rel=0.01)


async def test_a_status_that_changes_is_told_to_subscribers_incidents_and_the_store_of_alerts(studio, shop):
    pair = BurnRateAlert("page-1h", BurnResponse.PAGE, 3600, 600, Decimal("1.5"))
    paged = objective("availability", ERRORS, objective=Decimal("0.9"), alerting=Alerting(burn_rates=(pair,)))
    incident = await studio.open_incident("shop")
    id = await studio.do(objectives.create, paged)
    evaluator = await evaluated(studio, shop, NOW - timedelta(minutes=90))
    assert await studio.events(type="SLO_STATUS_CHANGED") == []
    studio.now = NOW
    await evaluator.cycle(NOW, Deadline.after(30))
    assert (await state(studio, id))["status"] is SLOStatus.CRITICAL
    [changed] = await studio.events(type="SLO_STATUS_CHANGED")
    assert changed["subject_id"] == id
    assert changed["payload"] == {"changes": [{"field": "status", "from": "HEALTHY", "to": "CRITICAL"}]}
    told = (await studio.timeline(incident))[-1]
    assert told["title"] == "SLO availability of shop is burning its error budget very fast"
    assert "times too fast over page-1h" in told["description"]
    await processed(studio)
    [alert] = await studio.rows(alerts)
    assert (alert["status"], alert["source"], alert["labels"]["severity"]) == (AlertStatus.FIRING, "slo", "page")
    assert alert["incident_id"] == incident
    studio.now = NOW + timedelta(hours=2)
    await evaluator.cycle(studio.now, Deadline.after(30))
    await processed(studio)
    assert (await state(studio, id))["status"] is SLOStatus.HEALTHY
    [alert] = await studio.rows(alerts)
    assert alert["status"] is AlertStatus.RESOLVED
    assert [event["type"] for event in await studio.events() if event["type"] != "TIMELINE_EVENT_ADDED"][-2:] == [
        "SLO_STATUS_CHANGED",
        "ALERT_RESOLVED",
    ]


async def test_a_prometheus_that_is_away_costs_only_the_objectives_that_it_sees_and_is_said(studio, shop):
    await studio.do(services.create, NewService(name="shop", telemetry_instances={"prometheus": "near"}))
    await studio.do(services.create, NewService(name="abroad", telemetry_instances={"prometheus": "far"}))
    near = await studio.do(objectives.create, objective("availability", ERRORS))
    far = await studio.do(objectives.create, replace(objective("availability", ERRORS), service="abroad"))
    async with Transport(Endpoint(backend="Prometheus", url="http://127.0.0.1:9")) as nowhere:
        instances = Instances("Prometheus", {"near": shop.client, "far": shop.client})
        evaluator = SLOEvaluator(studio.database, instances, scrape_interval_seconds=0)
        await evaluator.cycle(NOW - timedelta(minutes=5), Deadline.after(30))
        before = await state(studio, far)
        away = Instances("Prometheus", {"near": shop.client, "far": Prometheus(nowhere)})
        cycle = await SLOEvaluator(studio.database, away, scrape_interval_seconds=0).cycle(NOW, Deadline.after(30))
    assert cycle.failure is not None
    assert (await state(studio, near))["measured_at"] == NOW
    after = await state(studio, far)
    assert after.pop("last_error") == cycle.failure
    assert after == {name: value for name, value in before.items() if name != "last_error"}
    assert (await evaluator.cycle(NOW, Deadline.after(30))).failure is None
    assert (await state(studio, far))["last_error"] is None


async def test_an_objective_that_somebody_wrote_by_hand_costs_no_other_its_evaluation(studio, shop):
    fine = await studio.do(objectives.create, objective("availability", ERRORS))
    broken = await studio.do(objectives.create, objective("broken", ERRORS))
    async with studio.database.writing(NOW) as tx:
        await tx.execute(update(slos).where(slos.c.id == broken).values(indicator={"of": "whom"}))
    await evaluated(studio, shop)
    assert (await state(studio, fine))["measured_at"] == NOW
    found = await state(studio, broken)
    assert (found["status"], found["last_error"]) == (
        SLOStatus.ERROR,
        "It is not kept as a whole: say its indicator anew",
    )
