"""Objectives that run in a Prometheus under other tools' rules, recovered from what it says of them."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.objectives import (
    Alerting,
    AlertMessage,
    AvailabilityIndicator,
    BurnRateAlert,
    Indicator,
    LatencyIndicator,
    ObjectiveDefinition,
    RatioIndicator,
    RawRatioIndicator,
    RollingWindow,
)
from domain.slos import BurnResponse
from engines.slo.adoption.adopting import adopted
from engines.slo.adoption.rules import RunningSeries
from engines.slo.rules import pyrra, sloth
from engines.slo.rules.groups import AlertingRule, RecordingRule, RuleGroup
from tests.engines.slo.prometheus_rules import running_rules

SHOP = ObjectiveDefinition(
    service="shop",
    name="checkout",
    objective=Decimal("0.9995"),
    window=RollingWindow(28 * 86_400),
    indicator=RatioIndicator(bad='sum(rate(r{code=~"5.."}[$window]))', total="sum(rate(r[$window]))"),
    alerting=Alerting(
        name="CheckoutFails",
        labels={"category": "money"},
        annotations={"runbook": "https://wiki.example.org"},
        page=AlertMessage(labels={"severity": "critical"}),
        ticket=AlertMessage(labels={"severity": "warning"}),
    ),
    labels={"team": "payments"},
)


def told(groups: tuple[RuleGroup, ...]) -> dict[str, Any]:
    """Rule groups as Prometheus tells of them at /api/v1/rules."""

    def rule(one: RecordingRule | AlertingRule) -> dict[str, Any]:
        if isinstance(one, RecordingRule):
            return {"type": "recording", "name": one.record, "query": one.expr, "labels": dict(one.labels)}
        said = {"type": "alerting", "name": one.alert, "query": one.expr, "duration": one.for_seconds}
        return {**said, "labels": dict(one.labels), "annotations": dict(one.annotations), "alerts": []}

    return {"groups": [{"name": group.name, "rules": [rule(one) for one in group.rules]} for group in groups]}


def only(data: object) -> ObjectiveDefinition:
    [found] = adopted(running_rules(data))
    assert found.definition is not None, found.reason
    return found.definition


@pytest.mark.parametrize(
    "indicator",
    [
        SHOP.indicator,
        RatioIndicator(good="sum(rate(ok[$window]))", total="sum(rate(all[$window]))"),
        RawRatioIndicator("1 - avg_over_time(ok_ratio[$window])"),
    ],
)
def test_what_runs_under_sloths_names_is_recovered(indicator: Indicator):
    definition = replace(SHOP, indicator=indicator)
    assert only(told(sloth.groups(definition))) == definition


def test_pairs_of_ones_own_are_recovered():
    pairs = (
        BurnRateAlert("page-2h", BurnResponse.PAGE, 7_200, 600, Decimal("9.5")),
        BurnRateAlert("ticket-2d", BurnResponse.TICKET, 172_800, 3_600, Decimal(2)),
    )
    definition = replace(SHOP, alerting=replace(SHOP.alerting, burn_rates=pairs))
    assert only(told(sloth.groups(definition))) == definition


@pytest.mark.parametrize(
    ("indicator", "groups"),
    [
        (RatioIndicator(bad='r_total{code=~"5..",job="shop"}', total='r_total{job="shop"}'), ("path",)),
        (LatencyIndicator('d_seconds{job="shop"}', Decimal("0.5")), ()),
        (LatencyIndicator('d_seconds{job="shop"}', Decimal("0.25"), is_native=True), ()),
        (AvailabilityIndicator('up{job="shop"}'), ()),
    ],
)
def test_what_runs_under_pyrras_names_is_recovered(indicator: Indicator, groups: tuple[str, ...]):
    definition = replace(SHOP, indicator=indicator, group_by=groups, alerting=Alerting(name="ErrorBudgetBurn"))
    assert only(told(pyrra.groups(definition))) == definition


SLOTH_QUERY = '(sum(rate(r{{code=~"5.."}}[{0}]))) / (sum(rate(r[{0}])))'


def running_sloth(query: str = SLOTH_QUERY) -> dict[str, Any]:
    """As Prometheus tells of the rules that Sloth itself writes."""
    ids = {"sloth_id": "shop-checkout", "sloth_service": "shop", "sloth_slo": "checkout"}
    rules = [
        {
            "type": "recording",
            "name": f"slo:sli_error:ratio_rate{window}",
            "query": query.format(window),
            "labels": {**ids, "sloth_window": window},
        }
        for window in ("5m", "30m", "1h", "30d")
    ]
    facts = [
        {"type": "recording", "name": name, "query": f"vector({value})", "labels": ids}
        for name, value in (("slo:objective:ratio", "0.9990000000000001"), ("slo:time_period:days", "30"))
    ]
    info = {
        "type": "recording",
        "name": "sloth_slo_info",
        "query": "vector(1)",
        "labels": {**ids, "sloth_objective": "99.9", "sloth_mode": "cli-gen-prom", "sloth_version": "v0.12.0"},
    }
    selected = '{sloth_id="shop-checkout",sloth_service="shop",sloth_slo="checkout"}'
    pairs = (("5m", "1h", "14.4"), ("30m", "6h", "6"))
    page = " or ".join(
        f"(max without (sloth_window) (slo:sli_error:ratio_rate{short}{selected} > ({factor} * 0.000999999999)) "
        f"and max without (sloth_window) (slo:sli_error:ratio_rate{long}{selected} > ({factor} * 0.000999999999)))"
        for short, long, factor in pairs
    )
    alert = {
        "type": "alerting",
        "name": "CheckoutFails",
        "query": page,
        "labels": {"sloth_severity": "page", "severity": "critical"},
        "annotations": {
            "title": "(page) {{$labels.sloth_service}} {{$labels.sloth_slo}} SLO error budget burn rate is too fast.",
            "runbook": "https://wiki.example.org",
        },
    }
    return {"groups": [{"name": "sloth", "rules": [*rules, *facts, info, alert]}]}


def test_sloths_own_rules_are_understood():
    definition = only(running_sloth())
    assert definition.indicator == SHOP.indicator
    assert (definition.objective, definition.window) == (Decimal("0.999"), RollingWindow(30 * 86_400))
    assert definition.alerting == Alerting(
        name="CheckoutFails",
        labels={"severity": "critical"},
        annotations={"runbook": "https://wiki.example.org"},
        ticket=AlertMessage(is_enabled=False),
    )


def test_an_expression_of_another_make_is_read_from_what_it_records():
    definition = only(running_sloth("my:errors{{window='{0}'}} / 2 + scalar(x{0})"))
    assert definition.indicator == RawRatioIndicator(
        'avg_over_time(slo:sli_error:ratio_rate5m{sloth_id="shop-checkout"}[$window])'
    )


def test_series_are_enough_where_the_rules_run_elsewhere():
    ids = {"sloth_id": "shop-checkout", "sloth_service": "shop", "sloth_slo": "checkout", "team": "payments"}
    series = [
        RunningSeries({"__name__": "slo:objective:ratio", **ids}, 0.9990000000000001),
        RunningSeries({"__name__": "slo:time_period:days", **ids}, 28.0),
    ]
    [found] = adopted([], series)
    assert found.definition is not None
    assert (found.definition.objective, found.definition.window) == (Decimal("0.999"), RollingWindow(28 * 86_400))
    assert found.definition.labels == {"team": "payments"}


def test_what_cannot_be_understood_is_named():
    rule = {"type": "recording", "name": "x:burnrate5m", "query": "vector(1)", "labels": {"slo": "odd"}}
    [found] = adopted(running_rules({"groups": [{"name": "odd", "rules": [rule]}]}))
    assert (found.definition, found.id) == (None, "odd")
    assert "its expression is none of Pyrra's: vector(1)" in found.reason


KEYS = st.sampled_from(("groups", "rules", "name", "query"))
values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("groups", "rules", "name", "query")), inner)
    ),
)


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(values, st.text(st.sampled_from('()[]{}/*-+1or >"$window5m'), max_size=40))
def test_no_answer_makes_adopting_fail(data: object, query: str):
    adopted(running_rules(data))
    adopted(running_rules(running_sloth(query.replace("{", "{{").replace("}", "}}") + "{0}")))
