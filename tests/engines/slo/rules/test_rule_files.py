"""Rules of several objectives in one file."""

from dataclasses import replace
from decimal import Decimal

import yaml

from domain.objectives import Alerting, AlertMessage, ObjectiveDefinition, RatioIndicator
from engines.slo.rules.files import rule_file

SHOP = ObjectiveDefinition(
    service="shop",
    name="checkout",
    objective=Decimal("0.99"),
    indicator=RatioIndicator(bad="errors_total", total="answers_total"),
    alerting=Alerting(name="ShopFails", labels={"team": "shop"}, page=AlertMessage(labels={"severity": "critical"})),
)


def alert_labels(*definitions: ObjectiveDefinition) -> list[dict[str, str]]:
    groups = yaml.safe_load(rule_file(definitions).text)["groups"]
    return [rule["labels"] for group in groups for rule in group["rules"] if "alert" in rule]


def test_alerts_have_the_labels_that_were_asked_for():
    assert alert_labels(SHOP) == [
        {"severity": "critical", "sloth_severity": "page", "team": "shop"},
        {"sloth_severity": "ticket", "team": "shop"},
    ]


def test_alerts_of_one_name_are_told_apart():
    labels = alert_labels(
        SHOP, replace(SHOP, name="search"), replace(SHOP, name="login", alerting=Alerting(name="Login"))
    )
    assert len({tuple(sorted(one.items())) for one in labels}) == len(labels) == 6
    assert [one["sloth_slo"] for one in labels if "sloth_slo" in one] == ["checkout", "checkout", "search", "search"]
