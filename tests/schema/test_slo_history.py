"""What is computed from stored slices: the last evaluation, history, explanation, what-if."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
import pytest

from actions.slos.slices import store
from engines.slo.slices import Slices
from tests.schema.conftest import NOON, Api

RATIO = {"ratio": {"bad": 'http_requests_total{code=~"5.."}', "total": "http_requests_total"}}
PROMISE = {"service": "checkout", "name": "availability", "objective": 0.99, "windowDays": 1, "indicator": RATIO}
DAYS = 3
HOURLY = 12
START = NOON - timedelta(days=DAYS)


@pytest.fixture
async def slo(api: Api) -> str:
    """An SLO with three days of slices of 100 requests; from an hour before noon to noon 20 of them fail."""
    made = await api.changed("createSlo", "slo { id }", input=PROMISE)
    count = DAYS * 288
    good, total = np.full((1, count), 100.0), np.full((1, count), 100.0)
    good[0, -HOURLY:] = 80
    total[0, 288:300] = np.nan
    slices = Slices(int(START.timestamp()), 300, good, total, np.zeros((1, count), dtype=bool))
    async with api.database.writing(NOON) as tx:
        await store(tx.connection, {(UUID(made["id"]), ""): slices})
    id: str = made["id"]
    return id


def span(hours: float, until: datetime = NOON) -> dict[str, str]:
    return {"from": (until - timedelta(hours=hours)).isoformat(), "to": until.isoformat()}


HISTORY = """query($id: ID!, $range: TimeRange!, $step: Int) { slo(id: $id) {
  history(range: $range, stepSeconds: $step) { %s } } }"""


async def test_a_history_has_every_step_measured_over_the_window_before_it(api, slo):
    fields = "measuredAt sli totalEvents left: errorBudgetRemaining"
    answer = await api(HISTORY % fields, id=slo, range=span(2), step=1800)
    found = answer["data"]["slo"]["history"]
    times = [datetime.fromisoformat(one["measuredAt"]) for one in found]
    assert times == [NOON - timedelta(hours=2) + timedelta(minutes=30 * n) for n in range(5)]
    assert [one["left"] for one in found[:3]] == [1, 1, 1]
    assert found[-1]["sli"] == pytest.approx(1 - 12 * 20 / 28_800)
    assert found[-1]["left"] == pytest.approx(1 - 12 * 20 / 28_800 / 0.01)


async def test_a_history_is_the_same_through_a_fragment(api, slo):
    plain = await api(HISTORY % "measuredAt sli", id=slo, range=span(6), step=3600)
    spread = await api(
        HISTORY % "...All" + " fragment All on SLOMeasurement { measuredAt sli }", id=slo, range=span(6), step=3600
    )
    as_data = [
        one | {"measuredAt": datetime.fromisoformat(one["measuredAt"])} for one in spread["data"]["slo"]["history"]
    ]
    assert as_data == [
        one | {"measuredAt": datetime.fromisoformat(one["measuredAt"])} for one in plain["data"]["slo"]["history"]
    ]


async def test_a_history_has_at_most_a_thousand_moments(api, slo):
    answer = await api(HISTORY % "sli", id=slo, range=span(24 * 30), step=1)
    assert 90 < len(answer["data"]["slo"]["history"]) <= 1001


@pytest.mark.parametrize(("hours", "step"), [(-1, 60), (24 * 401, 60), (1, 0)])
async def test_a_range_that_makes_no_sense_is_refused(api, slo, hours, step):
    answer = await api(HISTORY % "sli", id=slo, range=span(hours), step=step)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["BAD_USER_INPUT"]


EXPLAINED = """query($id: ID!, $range: TimeRange!) { slo(id: $id) { explanation(range: $range) {
  goodEvents badEvents totalEvents excludedSeconds noDataSeconds errorBudgetConsumed errorBudgetReturned
  worst { startsAt endsAt badEvents errorBudgetConsumed } incidents { incident { title } errorBudgetConsumed } } } }"""


async def test_an_explanation_says_what_was_spent_when_and_during_which_incident(api, slo):
    api.now = NOON - timedelta(minutes=30)
    known = {"title": "Checkout is failing", "severity": "HIGH", "services": ["checkout"]}
    await api.changed("createIncident", "incident { id }", input=known)
    api.now = NOON
    answer = await api(EXPLAINED, id=slo, range=span(12))
    found = answer["data"]["slo"]["explanation"]
    spent = 240 / 28_800 / 0.01
    assert (found["badEvents"], found["totalEvents"]) == (240, 14_400)
    assert found["errorBudgetConsumed"] == pytest.approx(spent)
    assert (found["excludedSeconds"], found["noDataSeconds"], found["errorBudgetReturned"]) == (0, 0, 0)
    [worst] = found["worst"]
    assert datetime.fromisoformat(worst["startsAt"]) == NOON - timedelta(hours=1)
    assert worst["errorBudgetConsumed"] == pytest.approx(spent)
    [incident] = found["incidents"]
    assert incident["incident"] == {"title": "Checkout is failing"}
    assert incident["errorBudgetConsumed"] == pytest.approx(spent / 2)


async def test_an_explanation_counts_what_is_unknown_and_what_is_excluded(api, slo):
    hour = {"startsAt": (NOON - timedelta(hours=1)).isoformat(), "endsAt": NOON.isoformat()}
    night = {"sloId": slo, "kind": "EXCLUSION", "reason": "A test of the fire alarm"}
    await api.changed("adjustSlo", "adjustment { id }", input=night | hour)
    answer = await api(EXPLAINED, id=slo, range=span(72))
    found = answer["data"]["slo"]["explanation"]
    assert (found["badEvents"], found["excludedSeconds"], found["noDataSeconds"]) == (0, 3600, 3600)


async def test_an_incident_says_what_it_took_of_each_budget(api, slo):
    api.now = NOON - timedelta(hours=2)
    known = {"title": "Checkout is failing", "severity": "HIGH", "services": ["checkout"]}
    opened = await api.changed("createIncident", "incident { id }", input=known)
    api.now = NOON
    document = "query($id: ID!) { incident(id: $id) { budgetBurns { slo { name } errorBudgetConsumed badEvents } } }"
    [burn] = (await api(document, id=opened["id"]))["data"]["incident"]["budgetBurns"]
    assert burn["slo"] == {"name": "availability"}
    assert burn["badEvents"] == 240
    assert burn["errorBudgetConsumed"] == pytest.approx(240 / 28_800 / 0.01)


TRIED = """query($input: TestSLOInput!, $range: TimeRange!) { testSlo(input: $input, range: $range) {
  status sli errorBudgetRemaining firings { name startsAt endsAt } warnings } }"""


async def test_another_promise_is_tried_over_the_slices_that_are_stored(api, slo):
    tried = (await api(TRIED, input={"sloId": slo, "objective": 0.999}, range=span(12)))["data"]["testSlo"]
    assert tried["status"] == "EXHAUSTED"
    assert tried["errorBudgetRemaining"] == pytest.approx(1 - 240 / 28_800 / 0.001)
    pair = {"name": "fast", "response": "PAGE", "longWindowSeconds": 3600, "shortWindowSeconds": 300, "factor": 10.0}
    looser = {"sloId": slo, "objective": 0.98, "windowDays": 2, "alerting": {"burnRates": [pair]}}
    tried = (await api(TRIED, input=looser | {"alerting": {"burnRates": [pair | {"factor": 5.0}]}}, range=span(12)))[
        "data"
    ]["testSlo"]
    [firing] = tried["firings"]
    assert (firing["name"], firing["endsAt"]) == ("fast", None)
    assert datetime.fromisoformat(firing["startsAt"]) == NOON - timedelta(minutes=25), "the hour's mean passes 10 %"
    excluded = {"startsAt": (NOON - timedelta(hours=1)).isoformat(), "endsAt": NOON.isoformat()}
    tried = (await api(TRIED, input={"sloId": slo, "exclusions": [excluded]}, range=span(12)))["data"]["testSlo"]
    assert (tried["status"], tried["errorBudgetRemaining"], tried["firings"]) == ("HEALTHY", 1, [])


async def test_a_trial_saves_nothing(api, slo):
    before = await api.written()
    await api(TRIED, input={"sloId": slo, "objective": 0.5}, range=span(12))
    assert await api.written() == before


async def test_slices_before_a_change_are_judged_by_what_was_promised_then(api, slo):
    api.now = NOON - timedelta(minutes=30)
    await api.changed("updateSlo", "slo { id }", input={"id": slo, "objective": 0.9})
    api.now = NOON
    answer = await api(HISTORY % "errorBudgetConsumed", id=slo, range=span(0.5), step=1800)
    allowed = 28_200 * 0.01 + 600 * 0.1
    assert answer["data"]["slo"]["history"][-1]["errorBudgetConsumed"] == pytest.approx(240 / allowed)


def test_the_slices_of_these_tests_begin_with_a_slice():
    assert START.timestamp() % 300 == 0
    assert UTC is NOON.tzinfo
