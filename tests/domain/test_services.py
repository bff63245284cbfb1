"""What services may be called, and how they do under incidents."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.errors import ValidationFailed
from domain.incidents import ImpactLevel, Severity
from domain.services import (
    ActiveImpact,
    DeploymentOutcome,
    ServiceStatus,
    deployment_times,
    selectors,
    service_name,
    status_under,
    telemetry_instances,
    tier,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PRIMARY, SECONDARY, SUSPECTED = ImpactLevel
LOW, MEDIUM, HIGH, CRITICAL = Severity


@pytest.mark.parametrize(
    ("current", "active", "was_hurt", "expected"),
    [
        (ServiceStatus.UNKNOWN, [], False, ServiceStatus.UNKNOWN),
        (ServiceStatus.HEALTHY, [], False, ServiceStatus.HEALTHY),
        (ServiceStatus.UNKNOWN, [(PRIMARY, CRITICAL)], False, ServiceStatus.DOWN),
        (ServiceStatus.UNKNOWN, [(SECONDARY, CRITICAL)], False, ServiceStatus.DEGRADED),
        (ServiceStatus.HEALTHY, [(PRIMARY, HIGH)], False, ServiceStatus.DEGRADED),
        (ServiceStatus.DEGRADED, [(SECONDARY, LOW), (PRIMARY, CRITICAL)], False, ServiceStatus.DOWN),
        (ServiceStatus.DOWN, [(SECONDARY, LOW)], True, ServiceStatus.DEGRADED),
        (ServiceStatus.DOWN, [], True, ServiceStatus.HEALTHY),
        (ServiceStatus.DOWN, [], False, ServiceStatus.HEALTHY),
        (ServiceStatus.UNKNOWN, [], True, ServiceStatus.HEALTHY),
        (ServiceStatus.UNKNOWN, [(SUSPECTED, CRITICAL)], False, ServiceStatus.UNKNOWN),
        (ServiceStatus.DEGRADED, [(SUSPECTED, CRITICAL)], False, ServiceStatus.HEALTHY),
    ],
)
def test_a_service_is_as_well_as_the_incidents_let_it(current, active, was_hurt, expected):
    impacts = [ActiveImpact(level, severity) for level, severity in active]
    assert status_under(current, impacts, was_hurt=was_hurt) is expected


@pytest.mark.parametrize("given", ["checkout", "Заказы", "payments / eu-west", 'the "odd" one', "日本"])
def test_any_printable_line_names_a_service(given):
    assert service_name(f" {given} ", "name") == given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "Name is required"),
        ("a\u200bb", "Name holds a character that cannot be printed"),
        ("x" * 201, "Name is longer than 200 characters"),
        ("0190b0a0-0000-7000-8000-000000000000", "Name must not look like an id"),
    ],
)
def test_other_names_are_refused(given, message):
    with pytest.raises(ValidationFailed) as refusal:
        service_name(given, "name")
    assert (refusal.value.message, refusal.value.path) == (message, ("name",))


@pytest.mark.parametrize("given", [0, 6, True, 2.0, "1"])
def test_a_tier_is_a_number_from_one_to_five(given):
    assert (tier(1), tier(5), tier(None)) == (1, 5, None)
    with pytest.raises(ValidationFailed, match="Tier must be a number from 1 to 5"):
        tier(given, "tier")


def test_selectors_are_kept_per_backend_and_label_values_may_hold_anything():
    given = {
        "prometheus": {"job": 'a"b\\c'},
        "loki": {"app": "checkout"},
        "tempo": "checkout",
    }
    assert selectors(given, "selectors") == given
    assert selectors({"prometheus": {"job": "a"}, "tempo": None}, "selectors") == {"prometheus": {"job": "a"}}


def test_telemetry_instances_are_kept_per_backend():
    given = {"prometheus": "eu", "loki": "eu-1", "tempo": None}
    assert telemetry_instances(given, "telemetryInstances") == {"prometheus": "eu", "loki": "eu-1"}
    assert telemetry_instances(None, "telemetryInstances") == {}


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("eu", ("telemetryInstances",)),
        ({"graphite": "eu"}, ("telemetryInstances",)),
        ({"prometheus": ["eu"]}, ("telemetryInstances", "prometheus")),
        ({"loki": "EU West"}, ("telemetryInstances", "loki")),
        ({"tempo": "a" * 64}, ("telemetryInstances", "tempo")),
    ],
)
def test_instances_that_nobody_could_configure_are_refused(given, path):
    with pytest.raises(ValidationFailed) as refusal:
        telemetry_instances(given, "telemetryInstances")
    assert refusal.value.path == path


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ([], ("selectors",)),
        ({"graphite": {}}, ("selectors",)),
        ({"prometheus": "job"}, ("selectors", "prometheus")),
        ({"loki": {'app="x"} or {y': "z"}}, ("selectors", "loki")),
        ({"prometheus": {"job": 1}}, ("selectors", "prometheus", "job")),
        ({"tempo": {}}, ("selectors", "tempo")),
    ],
)
def test_selectors_that_no_backend_understands_are_refused_with_the_way_to_them(given, path):
    with pytest.raises(ValidationFailed) as refusal:
        selectors(given, "selectors")
    assert refusal.value.path == path


def test_a_deployment_that_is_over_finished_now_unless_somebody_knows_better():
    started, finished = NOON - timedelta(minutes=5), NOON - timedelta(minutes=1)
    over, running = DeploymentOutcome.SUCCEEDED, DeploymentOutcome.IN_PROGRESS
    assert deployment_times(over, started_at=started, finished_at=None, now=NOON) == (started, NOON)
    assert deployment_times(over, started_at=started, finished_at=finished, now=NOON) == (started, finished)
    assert deployment_times(running, started_at=None, finished_at=None, now=NOON) == (NOON, None)


@pytest.mark.parametrize(
    ("outcome", "started", "finished", "message"),
    [
        ("SUCCEEDED", 0, -1, "Finished at lies before the deployment started"),
        ("SUCCEEDED", 2, None, "Started at lies in the future"),
        ("FAILED", None, 2, "Finished at lies in the future"),
        ("IN_PROGRESS", None, 0, "Finished at cannot be given while the deployment is in progress"),
    ],
)
def test_deployment_times_that_cannot_be_are_refused(outcome, started, finished, message):
    started_at, finished_at = (
        None if minutes is None else NOON + timedelta(minutes=minutes) for minutes in (started, finished)
    )
    with pytest.raises(ValidationFailed, match=message):
        deployment_times(DeploymentOutcome(outcome), started_at=started_at, finished_at=finished_at, now=NOON)
