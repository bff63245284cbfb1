"""Rules under Pyrra's names and labels, for dashboards made for Pyrra.

Source of the names: Pyrra, slo/rules.go. They are made from the names of metrics, so that only indicators which plainly
select counters, histograms or gauges of 0 and 1 can be said. Windows and factors are Pyrra's own unless the objective
has pairs of its own. Bad events that no series counts yet are zero here, and no events at all record nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

import promql_parser

from domain.objectives import (
    AvailabilityIndicator,
    Composite,
    Indicator,
    LatencyIndicator,
    ObjectiveDefinition,
    RatioIndicator,
)
from domain.slos import BudgetingMethod, BurnResponse
from engines.slo import indicators, promql
from engines.slo.formats.durations import prometheus_name
from engines.slo.formats.pyrra import ABSENT, DEFAULT_ALERT, PREFIX
from engines.slo.rules.groups import AlertingRule, RecordingRule, Rule, RuleGroup
from engines.slo.rules.names import NotExpressible, merged, number, quoted, templates
from engines.slo.windows import usual_seconds

ABSENT_ALERT: Final = "SLOMetricAbsent"
_MINUTE: Final = 60
_INTERVAL: Final = 30
_WEEK: Final = 7 * 86_400
_SUFFIX = re.compile(r"(_total|_count|_bucket)$")


@dataclass(frozen=True, slots=True)
class Burn:
    """A pair of windows that Pyrra watches, as parts of the period: each so many 28ths of a day's minutes."""

    severity: str
    for_seconds: int
    long_seconds: int
    short_seconds: int
    factor: Decimal


def burns(definition: ObjectiveDefinition) -> list[Burn]:
    """The pairs that watch an objective: its own, or Pyrra's for its period (1 h and 5 min of 28 days, and so on)."""
    alerting = definition.alerting
    own = [
        Burn(
            "critical" if pair.response is BurnResponse.PAGE else "warning",
            0,
            pair.long_window_seconds,
            pair.short_window_seconds,
            pair.factor,
        )
        for pair in alerting.burn_rates
    ]
    period = usual_seconds(definition.window)
    usual = [
        Burn(severity, _part(period, wait), _part(period, long), _part(period, short), Decimal(factor))
        for severity, wait, long, short, factor in (
            ("critical", 28 * 24 * 30, 28 * 24, 28 * 24 * 12, 14),
            ("critical", 28 * 24 * 4, 28 * 4, 28 * 24 * 2, 7),
            ("warning", 28 * 24, 28, 28 * 12, 2),
            ("warning", 28 * 8, 7, 28 * 4, 1),
        )
    ]
    enabled = {"critical": alerting.page.is_enabled, "warning": alerting.ticket.is_enabled}
    return [burn for burn in own or usual if enabled[burn.severity] and burn.short_seconds]


def groups(definition: ObjectiveDefinition) -> tuple[RuleGroup, ...]:
    """What is recorded of an objective, its alerts, and what is said about it. Raises NotExpressible."""
    parts = _parts(definition)
    increases = RuleGroup(
        f"{definition.name}-increase", tuple(_increases(definition, parts)), _increase_interval(definition)
    )
    found = (increases, RuleGroup(definition.name, tuple(_burn_rates(definition, parts)), _INTERVAL))
    if definition.group_by:
        return found  # Pyrra says nothing general of an objective with groups.
    return (*found, RuleGroup(f"{definition.name}-generic", tuple(_general(definition, parts)), _INTERVAL))


@dataclass(frozen=True, slots=True)
class _Metric:
    """A metric as it is selected."""

    name: str
    query: str
    matchers: Sequence[tuple[str, str, str]]
    """Label, operator and value."""

    @property
    def equal(self) -> dict[str, str]:
        """Labels that are selected by one value."""
        return {name: value for name, operator, value in self.matchers if operator == "=" and value}


@dataclass(frozen=True, slots=True)
class _Parts:
    """What an objective is made of: all events and, beside them, good or bad ones, unless one metric holds both."""

    indicator: Indicator
    total: _Metric
    part: _Metric


def _parts(definition: ObjectiveDefinition) -> _Parts:
    indicator = definition.indicator
    if definition.budgeting.method is not BudgetingMethod.OCCURRENCES:
        raise NotExpressible("Pyrra's rules know no time slices, only events")
    match indicator:
        case Composite():
            raise NotExpressible("a composite is judged from the slices of its members, which Prometheus does not have")
        case RatioIndicator(is_gauge=False, total=total, good=good, bad=bad):
            return _Parts(indicator, _metric(total), _metric(bad if bad is not None else good or ""))
        case LatencyIndicator(is_native=True, histogram=histogram):
            return _Parts(indicator, _metric(histogram), _metric(histogram))
        case LatencyIndicator(histogram=histogram, total=total):
            bucket = _metric(indicators.threshold_bucket(indicator))
            return _Parts(indicator, _metric(total or indicators.histogram_part(histogram, "_count")), bucket)
        case AvailabilityIndicator(gauge=gauge):
            return _Parts(indicator, _metric(gauge), _metric(gauge))
        case _:
            raise NotExpressible(
                "Pyrra's rules are named after metrics: queries must plainly select counters, histograms or gauges"
            )


def _metric(query: str) -> _Metric:
    query = promql.bare(query)
    try:
        selected = promql_parser.parse(query) if promql.is_selector(query) else None
    except ValueError as error:
        raise NotExpressible(f"{query} is no selector: {error}") from error
    if not isinstance(selected, promql_parser.VectorSelector) or not selected.name:
        raise NotExpressible(
            f"Pyrra's rules are named after metrics, and {query:.200} is not one plainly selected metric"
        )
    matchers = [(matcher.name, _operator(matcher), matcher.value) for matcher in selected.matchers.matchers]
    return _Metric(selected.name, query, matchers)


def _operator(matcher: promql_parser.Matcher) -> str:
    return {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}[str(matcher.op).rpartition(".")[2]]


def _part(period: int, parts: int) -> int:
    """A part of the period, to the nearest minute."""
    return (period * 2 + parts * _MINUTE) // (2 * parts * _MINUTE) * _MINUTE


def _common(definition: ObjectiveDefinition) -> dict[str, str]:
    return merged(definition.labels, {"slo": definition.name})


def _rule_labels(definition: ObjectiveDefinition, parts: _Parts, grouping: Sequence[str]) -> dict[str, str]:
    labels = merged(parts.total.equal, _common(definition))
    return {name: value for name, value in labels.items() if name not in grouping}


def _burn_name(parts: _Parts, seconds: int) -> str:
    return f"{re.sub('(_total|_count)$', '', parts.total.name)}:burnrate{prometheus_name(seconds)}"


def _burn_rates(definition: ObjectiveDefinition, parts: _Parts) -> list[Rule]:
    watched = burns(definition)
    labels = _rule_labels(definition, parts, definition.group_by)
    windows = sorted(
        {seconds for burn in _all_burns(definition) for seconds in (burn.long_seconds, burn.short_seconds)}
    )
    rules: list[Rule] = []
    for seconds in windows:
        events = indicators.events(parts.indicator, seconds, group_by=definition.group_by, as_counts=False)
        rules.append(RecordingRule(_burn_name(parts, seconds), events.error_ratio, labels))
    alerting = definition.alerting
    matchers = ",".join(
        f"{name}={quoted(value)}" for name, value in {**_equal(definition, parts), "slo": definition.name}.items()
    )
    budget = f"(1-{number(definition.objective)})"
    for burn in watched:
        message = alerting.page if burn.severity == "critical" else alerting.ticket
        conditions = (
            f"{_burn_name(parts, seconds)}{{{matchers}}} > ({number(burn.factor)} * {budget})"
            for seconds in (burn.short_seconds, burn.long_seconds)
        )
        said = {
            "short": prometheus_name(burn.short_seconds),
            "long": prometheus_name(burn.long_seconds),
            "severity": burn.severity,
            "exhaustion": prometheus_name(int(usual_seconds(definition.window) / burn.factor)),
        }
        rules.append(
            AlertingRule(
                alerting.name or DEFAULT_ALERT,
                " and ".join(conditions),
                templates(said, alerting.labels, message.labels, labels),
                _annotations(definition, message.annotations),
                burn.for_seconds,
            )
        )
    return rules


def _all_burns(definition: ObjectiveDefinition) -> list[Burn]:
    """Also those whose alerts are switched off: what they look at is recorded all the same."""
    return burns(definition) or burns(_with_alerts(definition))


def _with_alerts(definition: ObjectiveDefinition) -> ObjectiveDefinition:
    alerting = definition.alerting
    on = replace(
        alerting, page=replace(alerting.page, is_enabled=True), ticket=replace(alerting.ticket, is_enabled=True)
    )
    return replace(definition, alerting=on)


def _equal(definition: ObjectiveDefinition, parts: _Parts) -> dict[str, str]:
    return {name: value for name, value in sorted(parts.total.equal.items()) if name not in definition.group_by}


def _annotations(definition: ObjectiveDefinition, own: Mapping[str, str]) -> dict[str, str]:
    said = {
        name.removeprefix(PREFIX): value
        for name, value in definition.annotations.items()
        if name.startswith(PREFIX) and name != ABSENT
    }
    return templates(said, definition.alerting.annotations, own)


def _grouping(definition: ObjectiveDefinition, parts: _Parts) -> list[str]:
    """What increases are grouped by, beside the objective's own: whatever part and total select differently."""
    total = {name for name, _, _ in parts.total.matchers}
    grouping = {*definition.group_by}
    grouping |= {name for name, _, _ in parts.part.matchers} - total - {"le"}
    grouping |= {name for name, operator, _ in parts.total.matchers if operator in ("=~", "!~")}
    return sorted(grouping)


def _increase_name(metric: str, what: str, seconds: int) -> str:
    return f"{_SUFFIX.sub('', metric) if what == 'increase' else metric}:{what}{prometheus_name(seconds)}"


def _increases(definition: ObjectiveDefinition, parts: _Parts) -> list[Rule]:
    period = usual_seconds(definition.window)
    grouping = _grouping(definition, parts)
    window = promql.duration(period)
    labels = _rule_labels(definition, parts, grouping)
    by = f"sum by ({', '.join(grouping)}) " if grouping else "sum"

    def rule(metric: _Metric, function: str, what: str, *, le: str = "") -> RecordingRule:
        with_bound = merged(labels, {"le": le})
        return RecordingRule(
            _increase_name(metric.name, what, period), f"{by}({function}({metric.query}[{window}]))", with_bound
        )

    rules: list[Rule]
    match parts.indicator:
        case AvailabilityIndicator():
            rules = [rule(parts.total, "count_over_time", "count"), rule(parts.total, "sum_over_time", "sum")]
        case LatencyIndicator(is_native=True, threshold_seconds=threshold):
            events = indicators.events(parts.indicator, period, group_by=definition.group_by)
            name = _increase_name(parts.total.name, "increase", period)
            bound = merged(labels, {"le": promql.number(threshold)})
            rules = [RecordingRule(name, events.total, labels), RecordingRule(name, events.part, bound)]
        case LatencyIndicator(threshold_seconds=threshold):
            rules = [
                rule(parts.total, "increase", "increase"),
                rule(parts.part, "increase", "increase", le=promql.number(threshold)),
            ]
        case _:
            rules = [rule(parts.total, "increase", "increase")]
            if parts.part.name != parts.total.name:
                rules.append(rule(parts.part, "increase", "increase"))
    if definition.annotations.get(ABSENT) != "false":
        rules += _absent_alerts(definition, parts, labels)
    return rules


def _absent_alerts(definition: ObjectiveDefinition, parts: _Parts, labels: Mapping[str, str]) -> list[Rule]:
    """That a metric is not there at all, after as long as it would take to be paged for nothing but errors."""
    usual = _all_burns(definition)[0]
    seconds = int(usual.factor * (1 - definition.objective) * usual.long_seconds) + usual.for_seconds
    waiting = (seconds + _MINUTE // 2) // _MINUTE * _MINUTE
    metrics = [parts.total] + ([parts.part] if parts.part.name != parts.total.name else [])
    indicator = parts.indicator
    bound = promql.number(indicator.threshold_seconds) if isinstance(indicator, LatencyIndicator) else ""
    return [
        AlertingRule(
            ABSENT_ALERT,
            f"absent({metric.query}) == 1",
            merged(
                {"severity": "critical"},
                labels,
                {"le": bound} if metric is not parts.total else {},
            ),
            _annotations(definition, {}),
            waiting,
        )
        for metric in metrics
    ]


def _general(definition: ObjectiveDefinition, parts: _Parts) -> list[Rule]:
    labels = _common(definition)
    period = usual_seconds(definition.window)
    events = indicators.events(parts.indicator, 300, as_counts=False)
    return [
        RecordingRule("pyrra_objective", f"vector({number(definition.objective)})", labels),
        RecordingRule("pyrra_window", f"vector({period})", labels),
        RecordingRule("pyrra_availability", _availability(definition, parts, period), labels),
        RecordingRule("pyrra_requests:rate5m", events.total, labels),
        RecordingRule("pyrra_errors:rate5m", events.bad_or_zero, labels),
    ]


def _availability(definition: ObjectiveDefinition, parts: _Parts, period: int) -> str:
    def summed(metric: _Metric, what: str, *more: str) -> str:
        matchers = [f"{name}{operator}{quoted(value)}" for name, operator, value in metric.matchers if name != "le"]
        name = _increase_name(metric.name, what, period)
        return f"sum({name}{{{','.join([*matchers, *more, f'slo={quoted(definition.name)}'])}}})"

    match parts.indicator:
        case AvailabilityIndicator():
            return f"{summed(parts.total, 'sum')} / {summed(parts.total, 'count')}"
        case LatencyIndicator(threshold_seconds=threshold):
            good = summed(parts.part, "increase", f"le={quoted(promql.number(threshold))}")
            total = summed(parts.total, "increase", 'le=""')
        case RatioIndicator(good=None):
            total = summed(parts.total, "increase")
            return f"1 - ({summed(parts.part, 'increase')} or 0 * {total}) / ({total} > 0)"
        case _:
            good, total = summed(parts.part, "increase"), summed(parts.total, "increase")
    return f"({good} or 0 * {total}) / ({total} > 0)"


def _increase_interval(definition: ObjectiveDefinition) -> int:
    """The longer the period, the less often it is looked at: 30 s, and 30 more for each week, at most 4 minutes."""
    weeks = usual_seconds(definition.window) // _WEEK
    return 30 if weeks < 1 else min(30 * (weeks + 1), 240)
