"""SLOs through the API: made, changed, adjusted, deleted."""

from datetime import timedelta

import pytest

from tests.schema.conftest import NOON, Api

RATIO = {"ratio": {"bad": 'http_requests_total{code=~"5.."}', "total": "http_requests_total"}}
PROMISE = {"service": "checkout", "name": "availability", "objective": 0.999, "indicator": RATIO}
WHOLE = """slo { id name objective windowDays windowSeconds windowKind calendar { unit count timeZone startsOn }
  budgetingMethod sliceSeconds sliceObjective groupBy status version labels service { name }
  indicator { kind badQuery totalQuery } errorBudgetPolicy { status action applies } current { sli } } warnings"""


async def created(api: Api, **more: object) -> dict:
    payload = await api.change("createSlo", WHOLE, input=PROMISE | more)
    assert payload["errors"] == []
    return payload["slo"]


async def test_a_promise_is_kept_exactly_and_its_service_added_to_the_catalog(api):
    slo = await created(api, labels={"team": "payments"})
    assert slo | {"id": ""} == {
        "id": "",
        "name": "availability",
        "objective": 0.999,
        "windowDays": 30,
        "windowSeconds": 2_592_000,
        "windowKind": "ROLLING",
        "calendar": None,
        "budgetingMethod": "OCCURRENCES",
        "sliceSeconds": 300,
        "sliceObjective": None,
        "groupBy": [],
        "status": "NO_DATA",
        "version": 1,
        "labels": {"team": "payments"},
        "service": {"name": "checkout"},
        "indicator": {
            "kind": "RATIO",
            "badQuery": 'http_requests_total{code=~"5.."}',
            "totalQuery": "http_requests_total",
        },
        "errorBudgetPolicy": [],
        "current": None,
    }


async def test_windows_follow_the_calendar_of_a_time_zone(api):
    calendar = {"unit": "WEEK", "count": 2, "timeZone": "Europe/Berlin", "startsOn": "2026-01-05"}
    slo = await created(api, calendar=calendar)
    assert slo["calendar"] == calendar
    assert (slo["windowKind"], slo["windowDays"]) == ("CALENDAR", 14)


async def test_an_error_budget_policy_says_what_applies_now(api):
    rules = [
        {"status": "NO_DATA", "action": "Look at the exporter"},
        {"status": "EXHAUSTED", "action": "Stop releases"},
    ]
    slo = await created(api, errorBudgetPolicy=rules)
    assert slo["errorBudgetPolicy"] == [rule | {"applies": False} for rule in rules]


async def test_the_service_can_be_given_by_its_id(api):
    service = await api.changed("createService", "service { id }", input={"name": "payments"})
    assert (await created(api, service=service["id"]))["service"] == {"name": "payments"}


@pytest.mark.parametrize(
    ("wrong", "path", "message"),
    [
        ({"objective": 1.0}, ["objective"], "must be less than 1"),
        ({"objective": 99.9}, ["objective"], "99.9 % is 0.999"),
        ({"objective": 0.0}, ["objective"], "must be more than 0"),
        ({"windowDays": 0}, ["windowSeconds"], "longer than 0"),
        ({"windowDays": 400}, ["windowSeconds"], "at most 366 days"),
        ({"calendar": {"unit": "MONTH", "timeZone": "Mars/Olympus"}}, ["calendar", "timeZone"], "no time zone"),
        ({"indicator": {}}, ["indicator"], "exactly one kind"),
        ({"indicator": {"ratio": {"total": "a"}}}, ["indicator"], "either a good or a bad"),
        ({"indicator": {"ratio": {"good": "sum(rate(a[5m]", "total": "a"}}}, ["indicator", "good"], "not PromQL"),
        ({"indicator": {"ratio": {"bad": "a", "total": " a"}}}, ["indicator", "bad"], "same as the total query"),
        ({"indicator": {"ratio": {"bad": "1", "total": "a"}}}, ["indicator", "bad"], "is a constant"),
        ({"sliceSeconds": 7}, ["sliceSeconds"], "do not divide a day"),
        ({"sliceSeconds": 30}, ["sliceSeconds"], "fewer than 4 scrapes"),
        ({"groupBy": ["a-b"]}, ["groupBy", "0"], "no label to group by"),
        ({"name": ""}, ["name"], "required"),
        (
            {"indicator": {"composite": {"rule": "WEIGHTED", "members": [{"service": "a", "name": "b"}] * 2}}},
            ["indicator", "members", "1"],
            "a member twice",
        ),
    ],
)
async def test_a_promise_that_cannot_be_kept_is_refused_with_the_place_and_the_reason(api, wrong, path, message):
    refusal = await api.refused("createSlo", "slo { id }", input=PROMISE | wrong)
    assert refusal["code"] == "BAD_USER_INPUT"
    assert refusal["path"] == ["input", *path]
    assert message in refusal["message"]


async def test_an_alert_that_can_never_fire_is_said(api):
    payload = await api.change("createSlo", "slo { id } warnings", input=PROMISE | {"objective": 0.9})
    assert payload["errors"] == []
    [warning] = payload["warnings"]
    assert '"page-1h" can never fire' in warning


async def test_two_objectives_of_a_service_cannot_have_the_same_name(api):
    await created(api)
    refusal = await api.refused("createSlo", "slo { id }", input=PROMISE | {"name": "Availability"})
    assert (refusal["code"], refusal["path"]) == ("CONFLICT", ["input", "name"])


async def test_a_retry_with_its_key_makes_nothing_twice(api):
    first = await created(api, idempotencyKey="k")
    assert (await created(api, idempotencyKey="k"))["id"] == first["id"]


async def test_every_change_of_the_promise_is_kept_as_a_version_and_a_new_label_is_none(api):
    slo = await created(api)
    versions = "slo { version labels versions { version validFrom definition } }"
    api.wait(hours=1)
    labelled = await api.changed("updateSlo", versions, input={"id": slo["id"], "labels": {"a": "b"}})
    assert (labelled["version"], labelled["labels"]) == (2, {"a": "b"})
    assert [one["version"] for one in labelled["versions"]] == [1]
    stricter = await api.changed("updateSlo", versions, input={"id": slo["id"], "objective": 0.9999})
    assert [(one["version"], one["definition"]["objective"]) for one in stricter["versions"]] == [
        (1, "0.999"),
        (3, "0.9999"),
    ]
    assert stricter["versions"][1]["validFrom"] == (NOON + timedelta(hours=1)).isoformat()
    same = await api.changed("updateSlo", versions, input={"id": slo["id"], "objective": 0.9999})
    assert same["version"] == 3


async def test_somebody_elses_change_is_not_overwritten(api):
    slo = await created(api)
    await api.changed("updateSlo", "slo { id }", input={"id": slo["id"], "description": "Pays our rent"})
    refusal = await api.refused(
        "updateSlo", "slo { id }", input={"id": slo["id"], "expectedVersion": 1, "description": "mine"}
    )
    assert (refusal["code"], refusal["currentVersion"]) == ("CONFLICT", 2)


async def test_what_does_not_count_is_kept_with_who_and_why_until_it_counts_again(api):
    slo = await created(api)
    night = {"startsAt": "2026-03-01T02:00:00Z", "endsAt": "2026-03-01T03:00:00Z"}
    known = {"sloId": slo["id"], "kind": "EXCLUSION", "reason": "Maintenance", "recurrence": "FREQ=WEEKLY;BYDAY=SU"}
    fields = "adjustment { id kind startsAt endsAt recurrence timeZone reason }"
    adjusted = await api.changed("adjustSlo", fields, input=known | night | {"timeZone": "Europe/Berlin"})
    assert adjusted["recurrence"] == "FREQ=WEEKLY;BYDAY=SU"
    read = await api("query($id: ID!) { slo(id: $id) { adjustments { id reason } } }", id=slo["id"])
    assert read["data"]["slo"]["adjustments"] == [{"id": adjusted["id"], "reason": "Maintenance"}]
    await api.change("removeSloAdjustment", "deletedId", id=adjusted["id"])
    read = await api("query($id: ID!) { slo(id: $id) { adjustments { id } } }", id=slo["id"])
    assert read["data"]["slo"]["adjustments"] == []


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"endsAt": "2026-03-01T01:00:00Z"}, "endsAt"),
        ({"reason": " "}, "reason"),
        ({"recurrence": "every day"}, "recurrence"),
        ({"recurrence": "FREQ=SECONDLY"}, "recurrence"),
        ({"timeZone": "Nowhere"}, "timeZone"),
        ({"goodEvents": 5.0}, "goodEvents"),
        ({"kind": "CORRECTION"}, "goodEvents"),
    ],
)
async def test_an_adjustment_that_makes_no_sense_is_refused(api, wrong, path):
    slo = await created(api)
    night = {"startsAt": "2026-03-01T02:00:00Z", "endsAt": "2026-03-01T03:00:00Z"}
    known = {"sloId": slo["id"], "kind": "EXCLUSION", "reason": "Maintenance"}
    refusal = await api.refused("adjustSlo", "adjustment { id }", input=known | night | wrong)
    assert (refusal["code"], refusal["path"]) == ("BAD_USER_INPUT", ["input", path])


async def test_a_member_of_a_composite_has_to_exist_and_cannot_be_deleted(api):
    one, other = await created(api), await created(api, name="latency")
    members = [{"service": "checkout", "name": name} for name in ("availability", "latency")]
    whole = {"composite": {"rule": "WORST_MEMBER", "members": members}}
    composite = await created(api, name="all of it", indicator=whole)
    refusal = await api.refused("deleteSlo", "deletedId", id=one["id"])
    assert refusal["code"] == "CONFLICT"
    assert "all of it" in refusal["message"]
    for id in (composite["id"], one["id"], other["id"]):
        assert (await api.change("deleteSlo", "deletedId", id=id))["deletedId"] == id
    refusal = await api.refused("createSlo", "slo { id }", input=PROMISE | {"name": "again", "indicator": whole})
    assert refusal["path"] == ["input", "indicator", "members", "0"]


async def test_evaluating_without_a_prometheus_says_that_none_is_configured(api):
    slo = await created(api)
    answer = await api("mutation($id: ID!) { evaluateSlo(id: $id) { slo { id } } }", id=slo["id"])
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["TELEMETRY_NOT_CONFIGURED"]
