"""Rule groups as data, and as YAML: a rule file of Prometheus, or a PrometheusRule object of its operator."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

from engines.slo.yaml_text import yaml_text


class RuleFormat(StrEnum):
    """What Prometheus is given: a rule file, or an object that its operator finds in Kubernetes."""

    PLAIN = "PLAIN"
    PROMETHEUS_RULE = "PROMETHEUS_RULE"


@dataclass(frozen=True, slots=True)
class RecordingRule:
    """A series that Prometheus records under a name."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AlertingRule:
    """An alert that Prometheus fires while its expression has a result, `for_seconds` after it began to have one."""

    alert: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    for_seconds: int = 0


Rule: TypeAlias = RecordingRule | AlertingRule


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """Rules that are evaluated one after another, every `interval_seconds`; None is Prometheus' interval for all."""

    name: str
    rules: Sequence[Rule]
    interval_seconds: int | None = None


OBJECT_LABELS: Final = {"app.kubernetes.io/managed-by": "reliability-studio", "app.kubernetes.io/component": "SLO"}


def written(
    groups: Iterable[RuleGroup],
    format: RuleFormat = RuleFormat.PLAIN,
    *,
    name: str = "reliability-studio-slos",
    comments: Sequence[str] = (),
) -> str:
    """The groups as YAML: the same groups always give the same text. `name` is that of the PrometheusRule object."""
    content: dict[str, Any] = {"groups": [_group(group) for group in groups]}
    if format is RuleFormat.PROMETHEUS_RULE:
        content = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": name, "labels": dict(OBJECT_LABELS)},
            "spec": content,
        }
    head = "".join(f"# {line}\n" for comment in comments for line in comment.splitlines())
    return head + yaml_text(content)


def _group(group: RuleGroup) -> dict[str, Any]:
    told: dict[str, Any] = {"name": group.name}
    if group.interval_seconds is not None:
        told["interval"] = f"{group.interval_seconds}s"
    return {**told, "rules": [_rule(rule) for rule in group.rules]}


def _rule(rule: Rule) -> dict[str, Any]:
    if isinstance(rule, RecordingRule):
        told: dict[str, Any] = {"record": rule.record, "expr": rule.expr}
        return {**told, "labels": dict(rule.labels)} if rule.labels else told
    told = {"alert": rule.alert, "expr": rule.expr}
    if rule.for_seconds:
        told["for"] = f"{rule.for_seconds}s"
    return {**told, "labels": dict(rule.labels), "annotations": dict(rule.annotations)}
