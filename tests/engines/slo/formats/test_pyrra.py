"""Objects of Pyrra."""

from decimal import Decimal

import pytest

from domain.objectives import AvailabilityIndicator, LatencyIndicator, RatioIndicator, RollingWindow
from engines.slo.formats.reader import read


def objective(
    indicator: str, *, target: str = '"99.5"', labels: str = "{pyrra.dev/team: money, release: x}", more: str = ""
) -> str:
    return (
        "apiVersion: pyrra.dev/v1alpha1\n"
        "kind: ServiceLevelObjective\n"
        f"metadata: {{name: errors, namespace: shop, labels: {labels}}}\n"
        f"spec:\n  target: {target}\n  window: 2w\n  description: It works.\n{more}"
        f"  indicator: {indicator}\n"
    )


@pytest.mark.parametrize(
    ("indicator", "expected"),
    [
        (
            """{ratio: {errors: {metric: 'r_total{job="api",code=~"5.."}'}, total: {metric: 'r_total{job="api"}'}}}""",
            RatioIndicator(bad='r_total{job="api",code=~"5.."}', total='r_total{job="api"}'),
        ),
        (
            """{latency: {success: {metric: 'd_seconds_bucket{job="api",le="0.5"}'},"""
            """ total: {metric: 'd_seconds_count{job="api"}'}}}""",
            LatencyIndicator('d_seconds{job="api"}', Decimal("0.5")),
        ),
        (
            """{latency: {success: {metric: 'd_seconds_bucket{le="1",code!~"5..",job="api"}'},"""
            """ total: {metric: 'd_seconds_count{job="api"}'}}}""",
            LatencyIndicator('d_seconds{code!~"5..",job="api"}', Decimal(1), total='d_seconds_count{job="api"}'),
        ),
        (
            """{latencyNative: {latency: 250ms, total: {metric: 'd_seconds{job="api"}'}}}""",
            LatencyIndicator('d_seconds{job="api"}', Decimal("0.25"), is_native=True),
        ),
        ("""{bool_gauge: {metric: 'up{job="api"}'}}""", AvailabilityIndicator('up{job="api"}')),
    ],
)
def test_every_indicator_is_read(indicator: str, expected: object):
    found = read(objective(indicator))
    assert found.problems == ()
    [definition] = found.definitions
    assert definition.indicator == expected
    assert (definition.service, definition.name, definition.objective) == ("api", "errors", Decimal("0.995"))
    assert (definition.window, definition.description) == (RollingWindow(14 * 86_400), "It works.")
    assert definition.labels == {"team": "money"}
    assert definition.alerting.name == "ErrorBudgetBurn"


RATIO = "{ratio: {errors: {metric: e_total}, total: {metric: t_total}, grouping: [team, path]}}"


def test_groups_services_and_alerting_are_read():
    severities = "{fastBurn: page, mediumBurn: page}"
    more = f"  alerting: {{name: ShopFails, burnrates: false, absent: false, severities: {severities}}}\n"
    [definition] = read(objective(RATIO, target="99", labels="{pyrra.dev/service: till}", more=more)).definitions
    assert (definition.service, definition.group_by) == ("till", ("path", "team"))
    assert definition.alerting.name == "ShopFails"
    assert (definition.alerting.page.is_enabled, definition.alerting.ticket.is_enabled) == (False, False)
    assert definition.alerting.page.labels == {"severity": "page"}
    assert definition.annotations == {"pyrra.dev/absent": "false"}
    assert read(objective(RATIO)).definitions[0].service == "shop"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (objective(RATIO, target='"100"'), "an objective of 100 % leaves no error budget at all"),
        (objective(RATIO, target="high"), 'must be a number, not "high"'),
        (objective("{}"), "one of ratio, latency, latencyNative, bool_gauge is required"),
        (
            objective("{ratio: {errors: {metric: 'rate(e[5m])'}, total: {metric: t}}}"),
            "must select series and nothing",
        ),
        (objective("{latency: {success: {metric: d_bucket}, total: {metric: d_count}}}"), "must select one bucket"),
        (objective("{ratio: {errors: {metric: t}, total: {metric: t}}}"), "selects the same as total"),
        (objective(RATIO.replace("path", "a-b")), '"a-b" is not a label name'),
        (objective(RATIO).replace("2w", "2 weeks"), "must be a duration in whole seconds"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str):
    [problem] = read(text).problems
    assert message in problem.message
