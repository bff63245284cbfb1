"""What Prometheus watches by itself: its alerts and rules."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from telemetry_clients.prometheus.samples import labels


@dataclass(frozen=True, slots=True)
class ActiveAlert:
    """An alert that is pending or firing. `value` is what the rule's expression gave, as text."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: str
    active_at: datetime
    value: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A recording or alerting rule. `health` is `ok`, `err` or `unknown`; `last_error` says what went wrong."""

    kind: Literal["alerting", "recording"]
    name: str
    query: str
    health: str
    last_error: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    for_seconds: float
    state: str | None
    alerts: tuple[ActiveAlert, ...]


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """Rules that are evaluated together, in this order."""

    name: str
    file: str
    interval_seconds: float
    rules: tuple[Rule, ...]


def active_alert(item: Any) -> ActiveAlert:
    """An alert as the API writes it. Raises KeyError, TypeError, ValueError for another shape."""
    return ActiveAlert(
        labels(item["labels"]),
        labels(item.get("annotations", {})),
        str(item["state"]),
        datetime.fromisoformat(item["activeAt"]),
        str(item["value"]),
    )


def rule_group(item: Any) -> RuleGroup:
    """A group of rules as the API writes it. Raises KeyError, TypeError, ValueError for another shape."""
    return RuleGroup(
        str(item["name"]), str(item["file"]), float(item.get("interval", 0)), tuple(map(_rule, item["rules"]))
    )


def _rule(item: Any) -> Rule:
    kind = item["type"]
    if kind not in ("alerting", "recording"):
        raise ValueError("a kind of rule that Prometheus does not have")
    return Rule(
        kind,
        str(item["name"]),
        str(item["query"]),
        str(item["health"]),
        str(item.get("lastError", "")),
        labels(item.get("labels", {})),
        labels(item.get("annotations", {})),
        float(item.get("duration", 0)),
        item.get("state"),
        tuple(map(active_alert, item.get("alerts", ()))),
    )
