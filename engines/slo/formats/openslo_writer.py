"""Objectives as OpenSLO v1, which reads back as the same objectives.

Whatever OpenSLO can say stands in its own words: the indicator as queries, each pair of burn-rate windows as a policy.
What it cannot say (groups, an alert's short window, the usual pairs as such, ...) stands in annotations: EXTRAS holds
those members of the definition that would otherwise read back differently.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final

import orjson

from domain.objectives import (
    AvailabilityIndicator,
    BurnRateAlert,
    CalendarUnit,
    CalendarWindow,
    Composite,
    Indicator,
    LatencyIndicator,
    ObjectiveDefinition,
    RatioIndicator,
    RawRatioIndicator,
    RollingWindow,
    ThresholdIndicator,
    Window,
)
from domain.slos import BudgetingMethod
from engines.slo import indicators, promql
from engines.slo.burn_rates import alerts_of
from engines.slo.definitions import definition_as_json
from engines.slo.formats import documents, durations, objectives, openslo
from engines.slo.formats.objectives import Collector
from engines.slo.formats.openslo import COMPOSITE, EXTRAS
from engines.slo.formats.openslo_alerts import SHORT_WINDOW
from engines.slo.formats.values import Report, Value
from engines.slo.yaml_text import ExactNumber, yaml_text

_DESCRIPTION_CHARACTERS: Final = 1_050
_PLACEHOLDER: Final = "{{.window}}"
# Stands for the window where queries are made for one, and is no window that anybody has.
_STAND_IN_SECONDS: Final = 424_243
_RFC_1123 = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_METHODS: Final = {
    BudgetingMethod.OCCURRENCES: "Occurrences",
    BudgetingMethod.TIMESLICES: "Timeslices",
    BudgetingMethod.RATIO_TIMESLICES: "RatioTimeslices",
}
_UNITS: Final = {
    CalendarUnit.DAY: "d",
    CalendarUnit.WEEK: "w",
    CalendarUnit.MONTH: "M",
    CalendarUnit.QUARTER: "Q",
    CalendarUnit.YEAR: "Y",
}
_FIRST_DAY: Final = date(1970, 1, 1)
_FIRST_MONDAY: Final = date(1970, 1, 5)


def text(definitions: Iterable[ObjectiveDefinition]) -> str:
    """Objectives as documents of one YAML text, by service and name."""
    ordered = sorted(definitions, key=lambda one: (one.service, one.name))
    return "---\n".join(yaml_text(document(definition)) for definition in ordered)


def document(definition: ObjectiveDefinition) -> dict[str, Any]:
    """One objective as an object of kind SLO."""
    plain = _plain_document(definition)
    understood = plainly_read(plain)
    told = definition_as_json(definition)
    extras = told if understood is None else _differences(told, definition_as_json(understood))
    if extras:
        annotations = plain["metadata"].setdefault("annotations", {})
        annotations[EXTRAS] = orjson.dumps(extras).decode()
    return plain


def plainly_read(told: Mapping[str, Any]) -> ObjectiveDefinition | None:
    """What a document says without what stands in EXTRAS; None when it does not read as one objective."""
    report = Report()
    [only] = documents.read(yaml_text(told))
    collector = Collector(report)
    openslo.Reader(collector, [Value(only.root, 1, "", report)]).read()
    if report.problems or len(collector.objectives) != 1:
        return None
    return collector.objectives[0].definition


def says(definition: ObjectiveDefinition, plain: ObjectiveDefinition) -> bool:
    """Whether a definition is written in the words that were read as `plain`."""
    return plainly_read(_plain_document(definition)) == plain


def _differences(told: dict[str, Any], understood: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if value != understood[name]}


def _plain_document(definition: ObjectiveDefinition) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": rfc_1123(definition.name)}
    annotations = {name: value for name, value in definition.annotations.items() if name not in (EXTRAS, COMPOSITE)}
    if isinstance(definition.indicator, Composite):
        annotations[COMPOSITE] = _composite_annotation(definition.indicator)
    described = {
        "displayName": definition.display_name,
        "labels": dict(definition.labels),
        "annotations": annotations,
    }
    metadata |= {name: value for name, value in described.items() if value}
    spec: dict[str, Any] = {}
    if definition.description:
        spec["description"] = definition.description[:_DESCRIPTION_CHARACTERS]
    spec["service"] = definition.service
    if not isinstance(definition.indicator, Composite):
        spec["indicator"] = {"metadata": {"name": rfc_1123(definition.name)}, "spec": _sli(definition.indicator)}
    spec |= {
        "timeWindow": [_window(definition.window)],
        "budgetingMethod": _METHODS[definition.budgeting.method],
        "objectives": _objectives(definition),
    }
    policies = [_policy(pair) for pair in alerts_of(definition.alerting, definition.window)]
    if policies:
        spec["alertPolicies"] = policies
    return {"apiVersion": openslo.API_VERSION, "kind": "SLO", "metadata": metadata, "spec": spec}


def _objectives(definition: ObjectiveDefinition) -> list[dict[str, Any]]:
    objective: dict[str, Any] = {"target": ExactNumber(definition.objective)}
    budgeting = definition.budgeting
    if isinstance(definition.indicator, ThresholdIndicator):
        comparison = {"op": definition.indicator.comparison.value, "value": ExactNumber(definition.indicator.threshold)}
        objective = {**comparison, **objective}
    if budgeting.method is not BudgetingMethod.OCCURRENCES:
        objective["timeSliceWindow"] = durations.written_shorthand(budgeting.slice_seconds)
    if budgeting.method is BudgetingMethod.TIMESLICES:
        objective["timeSliceTarget"] = ExactNumber(budgeting.slice_objective or definition.objective)
    if not isinstance(definition.indicator, Composite):
        return [objective]
    return [
        {
            "displayName": member.name,
            **objective,
            "indicatorRef": rfc_1123(member.name),
            "compositeWeight": ExactNumber(member.weight),
        }
        for member in definition.indicator.members
    ]


def _composite_annotation(composite: Composite) -> str:
    members = [{"service": member.service, "name": member.name} for member in composite.members]
    return orjson.dumps({"rule": composite.rule.value, "members": members}).decode()


def _sli(indicator: Indicator) -> dict[str, Any]:
    match indicator:
        case ThresholdIndicator(value=value):
            return {"thresholdMetric": _metric(value)}
        case RawRatioIndicator(ratio=ratio, is_good=is_good):
            return {"ratioMetric": {"rawType": "success" if is_good else "failure", "raw": _metric(ratio)}}
        case RatioIndicator(good=good, bad=bad, total=total, is_gauge=is_gauge):
            part = {"good": _metric(good)} if good is not None else {"bad": _metric(bad or "")}
            return {"ratioMetric": {"counter": not is_gauge, **part, "total": _metric(total)}}
        case LatencyIndicator() | AvailabilityIndicator():
            events = indicators.events(indicator, _STAND_IN_SECONDS, as_counts=False)
            part = {"good" if events.part_is_good else "bad": _metric(_with_placeholder(events.part))}
            return {"ratioMetric": {"counter": True, **part, "total": _metric(_with_placeholder(events.total))}}


def _with_placeholder(query: str) -> str:
    for seconds in (_STAND_IN_SECONDS, _STAND_IN_SECONDS - 1):
        query = query.replace(promql.duration(seconds), _PLACEHOLDER)
    return query


def _metric(query: str) -> dict[str, Any]:
    return {"metricSource": {"type": "Prometheus", "spec": {"query": promql.with_window(query, _PLACEHOLDER)}}}


def _window(window: Window) -> dict[str, Any]:
    if isinstance(window, RollingWindow):
        return {"duration": durations.written_shorthand(window.seconds), "isRolling": True}
    return {
        "duration": f"{window.count}{_UNITS[window.unit]}",
        "calendar": {"startTime": f"{_starts_on(window)} 00:00:00", "timeZone": window.time_zone},
        "isRolling": False,
    }


def _starts_on(window: CalendarWindow) -> date:
    return window.starts_on or (_FIRST_MONDAY if window.unit is CalendarUnit.WEEK else _FIRST_DAY)


def _policy(pair: BurnRateAlert) -> dict[str, Any]:
    response = pair.response.value.lower()
    return {
        "kind": "AlertPolicy",
        "metadata": {"name": pair.name},
        "spec": {
            "alertWhenBreaching": True,
            "conditions": [
                {
                    "kind": "AlertCondition",
                    "metadata": {
                        "name": pair.name,
                        "annotations": {SHORT_WINDOW: durations.prometheus_name(pair.short_window_seconds)},
                    },
                    "spec": {
                        "severity": response,
                        "condition": {
                            "kind": "burnrate",
                            "op": "gt",
                            "threshold": ExactNumber(objectives.plain(pair.factor)),
                            "lookbackWindow": durations.written_shorthand(pair.long_window_seconds),
                        },
                    },
                }
            ],
            "notificationTargets": [
                {"kind": "AlertNotificationTarget", "metadata": {"name": response}, "spec": {"target": response}}
            ],
        },
    }


def rfc_1123(name: str) -> str:
    """A name that every tool takes (RFC 1123)."""
    return name if _RFC_1123.fullmatch(name) else openslo.slug(name) or "slo"
