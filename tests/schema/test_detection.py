"""Detection rules as people make, change and delete them, and what is said about those that make no sense."""

from typing import Any

import pytest

from tests.app.detection_backend import QUERY, GaugeBackend, telemetry_of
from tests.schema.conftest import Api

FIELDS = """detectionRule {
  id name description kind isEnabled signal query comparison threshold forSeconds severity service { name } labels
  parameters version
}"""
ERRORS = {"name": "Errors", "kind": "THRESHOLD", "signal": "ERROR_RATIO", "threshold": 0.1}


async def refusal(api: Api, **input: Any) -> tuple[str, list[str]]:
    error = await api.refused("createDetectionRule", "detectionRule { id }", input={**ERRORS, **input})
    assert (error["__typename"], error["code"]) == ("ValidationError", "BAD_USER_INPUT")
    return error["message"], error["path"]


async def test_a_rule_is_made_changed_and_deleted(api: Api) -> None:
    service = await api.changed("createService", "service { id }", input={"name": "checkout"})
    made = await api.changed(
        "createDetectionRule",
        FIELDS,
        input={**ERRORS, "serviceId": service["id"], "labels": {"team": "shop"}, "parameters": {"confidence": 0.9}},
    )
    expected = {
        "id": made["id"],
        "name": "Errors",
        "description": "",
        "kind": "THRESHOLD",
        "isEnabled": True,
        "signal": "ERROR_RATIO",
        "query": None,
        "comparison": None,
        "threshold": 0.1,
        "forSeconds": 0,
        "severity": "MEDIUM",
        "service": {"name": "checkout"},
        "labels": {"team": "shop"},
        "parameters": {"confidence": 0.9},
        "version": 1,
    }
    assert made == expected

    changes = {"threshold": 0.2, "serviceId": None, "parameters": None, "severity": "CRITICAL", "forSeconds": 300}
    changed = await api.changed(
        "updateDetectionRule", FIELDS, input={"id": made["id"], "expectedVersion": 1, **changes}
    )
    assert changed == {
        **expected,
        "threshold": 0.2,
        "forSeconds": 300,
        "severity": "CRITICAL",
        "service": None,
        "parameters": {},
        "version": 2,
    }
    late = await api.refused(
        "updateDetectionRule", "detectionRule { id }", input={"id": made["id"], "expectedVersion": 1, "name": "Late"}
    )
    assert (late["code"], late["path"], late["currentVersion"]) == ("CONFLICT", ["input", "expectedVersion"], 2)

    assert await api.changed("deleteDetectionRule", "deletedId", id=made["id"]) == made["id"]
    gone = await api.refused("deleteDetectionRule", "deletedId", id=made["id"])
    assert (gone["code"], gone["message"]) == ("NOT_FOUND", f"There is no detection rule {made['id']}")


async def test_a_repeated_request_makes_one_rule_and_a_name_is_taken_once(api: Api) -> None:
    first = await api.changed("createDetectionRule", FIELDS, input={**ERRORS, "idempotencyKey": "1"})
    assert await api.changed("createDetectionRule", FIELDS, input={**ERRORS, "idempotencyKey": "1"}) == first
    taken = await api.refused("createDetectionRule", "detectionRule { id }", input={**ERRORS, "name": "ERRORS"})
    assert (taken["code"], taken["path"]) == ("CONFLICT", ["input", "name"])
    assert taken["message"] == 'There is a detection rule named "Errors" already'


@pytest.mark.parametrize(
    ("input", "complaint", "place"),
    [
        ({"name": " "}, "Name is required", "name"),
        ({"signal": None}, "Say what is watched: a signal, or a query", "signal"),
        ({"query": "up"}, "A rule watches a signal or a query, not both", "query"),
        ({"signal": None, "query": "sum by (service) ("}, "The query is no PromQL", "query"),
        ({"signal": None, "query": "up{job=$job}"}, "The query may hold $window and $services", "query"),
        ({"threshold": None}, "Threshold is required", "threshold"),
        ({"forSeconds": 86_401}, "It must be bad for 0 to 86400 seconds", "forSeconds"),
        ({"serviceId": "018f0000-0000-7000-8000-000000000000"}, "There is no service", "serviceId"),
        ({"kind": "SEASONAL", "threshold": -1.0}, "counts deviations", "threshold"),
        ({"kind": "SLO_BURN", "comparison": "BELOW"}, "A budget burns ABOVE a rate", "comparison"),
        ({"kind": "SLO_BURN", "signal": "REQUEST_RATE"}, "A budget is burnt by errors", "signal"),
        ({"kind": "LOG_NOVELTY"}, "New kinds of log lines are no signal", "signal"),
        ({"parameters": {"confidence": 2}}, "confidence must be a number from 0 to 0.9999", "parameters.confidence"),
        ({"parameters": {"sureness": 1}}, "'sureness' is none of the parameters", "parameters.sureness"),
        ({"parameters": {"earlierDays": 7}}, "means nothing to a rule of kind THRESHOLD", "parameters.earlierDays"),
        ({"parameters": {"recoveryThreshold": 0.2}}, "has not recovered", "parameters.recoveryThreshold"),
        (
            {"kind": "SEASONAL", "parameters": {"earlierDays": 3.5}},
            "earlierDays must be a whole number",
            "parameters.earlierDays",
        ),
        (
            {"signal": "REQUEST_RATE", "parameters": {"confidence": 0.9}},
            "Only of an ERROR_RATIO",
            "parameters.confidence",
        ),
        (
            {"kind": "SLO_BURN", "parameters": {"shortWindowSeconds": 7200}},
            "The short window must be the shorter one",
            "parameters.shortWindowSeconds",
        ),
    ],
)
async def test_what_makes_no_sense_is_refused_with_the_place(
    api: Api, input: dict[str, Any], complaint: str, place: str
) -> None:
    message, path = await refusal(api, **input)
    assert complaint in message
    assert path == ["input", *place.split(".")]


async def test_a_change_must_make_sense_with_what_stays(api: Api) -> None:
    made = await api.changed("createDetectionRule", FIELDS, input={**ERRORS, "parameters": {"confidence": 0.9}})
    error = await api.refused(
        "updateDetectionRule", "detectionRule { id }", input={"id": made["id"], "signal": "REQUEST_RATE"}
    )
    assert error["path"] == ["input", "parameters", "confidence"]


async def test_prometheus_has_its_say_about_a_query_before_it_is_kept(api: Api) -> None:
    backend = GaugeBackend({"checkout": 1.0}, refused="broken")
    async with telemetry_of(backend) as telemetry:
        api.telemetry = telemetry
        message, path = await refusal(api, signal=None, query="sum by (service) (broken)")
        assert "multiple matches for labels" in message
        assert path == ["input", "query"]
        made = await api.changed("createDetectionRule", FIELDS, input={**ERRORS, "signal": None, "query": QUERY})
        broken = {"id": made["id"], "query": "sum by (service) (broken)"}
        error = await api.refused("updateDetectionRule", "detectionRule { id }", input=broken)
        assert error["path"] == ["input", "query"]

        backend.status = 500
        away = {**ERRORS, "name": "Kept", "signal": None, "query": QUERY}
        await api.changed("createDetectionRule", FIELDS, input=away)


@pytest.mark.parametrize(
    ("input", "range", "complaint"),
    [
        ({"threshold": None}, ("11:00", "12:00"), "Threshold is required"),
        ({}, ("12:00", "11:00"), "must lie before"),
        ({"kind": "LOG_NOVELTY", "signal": None}, ("11:00", "12:00"), "cannot be tried on the past"),
    ],
)
async def test_what_cannot_be_tried_says_why(api: Api, input: Any, range: tuple[str, str], complaint: str) -> None:
    document = """query($input: CreateDetectionRuleInput!, $range: TimeRange!) {
      testDetectionRule(input: $input, range: $range) { stepSeconds }
    }"""
    moments = [f"2026-03-01T{time}:00Z" for time in range]
    answer = await api(document, input={**ERRORS, **input}, range=dict(zip(("from", "to"), moments, strict=True)))
    [error] = answer["errors"]
    assert complaint in error["message"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


async def test_without_prometheus_a_trial_says_so(api: Api) -> None:
    document = """query($input: CreateDetectionRuleInput!) {
      testDetectionRule(input: $input, range: { from: "2026-03-01T11:00:00Z", to: "2026-03-01T12:00:00Z" }) {
        stepSeconds
      }
    }"""
    answer = await api(document, input=ERRORS)
    assert answer["data"] == {"testDetectionRule": None}
    assert answer["errors"][0]["extensions"]["code"] == "TELEMETRY_NOT_CONFIGURED"
