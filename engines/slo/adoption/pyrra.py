"""Objectives that run under Pyrra's rules, or under our own of the same names."""

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from domain.objectives import (
    Alerting,
    AlertMessage,
    AvailabilityIndicator,
    Indicator,
    LatencyIndicator,
    ObjectiveDefinition,
    RatioIndicator,
    RollingWindow,
)
from engines.slo import promql
from engines.slo.adoption import expressions
from engines.slo.adoption.found import Found
from engines.slo.adoption.rules import RunningRule, RunningSeries
from engines.slo.formats import durations
from engines.slo.formats.pyrra import DEFAULT_ALERT, job_of, latency_of

OBJECTIVE: Final = "pyrra_objective"
WINDOW: Final = "pyrra_window"
METRICS: Final = (OBJECTIVE, WINDOW)

_BURN_RATE = re.compile(r".+:burnrate([0-9a-z]+)")
_PERIOD = re.compile(r".+:(?:increase|count|sum)([0-9a-z]+)")
_IN_ALERT = re.compile(r"1 ?- ?([0-9.]+)\)")
_FRACTION = re.compile(r"histogram_fraction\(\s*(?:0|-Inf)\s*,\s*([0-9.e-]+)\s*,", re.IGNORECASE)
_BOUND = re.compile(r'\ble=~?"([^"]*)"')
_BY = re.compile(r"\bby \(([^)]*)\)")
_MATCHER = re.compile(r'(\w+)="((?:\\.|[^"\\])*)"')
_SAID_BY_PYRRA: Final = frozenset(("slo", "le", "short", "long", "exhaustion", "severity"))


def adopted(rules: Iterable[RunningRule], series: Iterable[RunningSeries]) -> list[Found]:
    """Every objective that has burn rates under Pyrra's names, by the name of it."""
    rules_of: dict[str, list[RunningRule]] = {}
    for rule in rules:
        name = rule.labels.get("slo", "")
        if name and "sloth_id" not in rule.labels:
            rules_of.setdefault(name, []).append(rule)
    told = [one for one in series if one.name in METRICS]
    found = []
    for name, own in sorted(rules_of.items()):
        if any(_BURN_RATE.fullmatch(rule.name) for rule in own if not rule.is_alert):
            found.append(_found(name, own, [one for one in told if one.labels.get("slo") == name]))
    return found


def _found(name: str, rules: Sequence[RunningRule], series: Sequence[RunningSeries]) -> Found:
    burn_rates = [rule for rule in rules if _BURN_RATE.fullmatch(rule.name) and not rule.is_alert]
    if len({rule.name for rule in burn_rates}) < len(burn_rates):
        return Found("Pyrra", name, None, "several objectives run under this name")
    indicator = _indicator(burn_rates[0].query)
    objective = _objective(rules, series)
    if indicator is None:
        return Found("Pyrra", name, None, f"its expression is none of Pyrra's: {burn_rates[0].query:.300}")
    if objective is None or not 0 < objective < 1:
        return Found("Pyrra", name, None, f"neither {OBJECTIVE} nor an alert says its objective")
    labels, selected = burn_rates[0].labels, _selected(burn_rates[0].query)
    own = {
        key: value
        for key, value in sorted(labels.items())
        if key not in _SAID_BY_PYRRA and key != "service" and selected.get(key) != value
    }
    definition = ObjectiveDefinition(
        service=labels.get("service") or job_of(indicator) or name,
        name=name,
        objective=objective,
        window=RollingWindow(_period_seconds(rules, series)),
        indicator=indicator,
        group_by=_groups(burn_rates[0].query),
        alerting=_alerting([rule for rule in rules if rule.is_alert and _IN_ALERT.search(rule.query)]),
        labels=own,
    )
    return Found("Pyrra", name, definition)


def _indicator(query: str) -> Indicator | None:
    selected = [(one.function, query[one.start : one.end]) for one in promql.selectors(query)]
    functions = {function for function, _ in selected}
    queries = list(dict.fromkeys(text for _, text in selected))
    fraction = _FRACTION.search(query)
    if fraction is not None and queries:
        threshold = expressions.rounded(fraction[1])
        return None if threshold is None else LatencyIndicator(queries[0], threshold, is_native=True)
    if functions == {"count_over_time", "sum_over_time"} and len(queries) == 1:
        return AvailabilityIndicator(queries[0])
    if functions - {"rate", "increase"} or len(queries) != 2:
        return None
    bounded = [text for text in queries if _BOUND.search(text)]
    if len(bounded) == 1:
        [total] = [text for text in queries if text not in bounded]
        return latency_of(_BOUND.sub(_plain_bound, bounded[0]), total)
    part, total = queries
    return RatioIndicator(good=part, total=total) if query.startswith("1 - ") else RatioIndicator(bad=part, total=total)


def _plain_bound(found: re.Match[str]) -> str:
    """One bound of a bucket, where our own rules allow for several ways to write it (`le=~"1|1\\\\.0"`)."""
    return f'le="{found[1].split("|")[0].replace(chr(92), "")}"'


def _selected(query: str) -> dict[str, str]:
    return {
        name: value for one in promql.selectors(query) for name, value in _MATCHER.findall(query[one.start : one.end])
    }


def _groups(query: str) -> tuple[str, ...]:
    found = _BY.search(query)
    names = [] if found is None else [name.strip() for name in found[1].split(",")]
    return tuple(sorted(name for name in names if name))


def _objective(rules: Iterable[RunningRule], series: Iterable[RunningSeries]) -> Decimal | None:
    for rule in rules:
        if rule.name == OBJECTIVE:
            return expressions.number(rule.query)
    for one in series:
        if one.name == OBJECTIVE:
            return expressions.rounded(repr(one.value))
    told = [found[1] for rule in rules if rule.is_alert and (found := _IN_ALERT.search(rule.query))]
    return expressions.rounded(told[0]) if told else None


def _period_seconds(rules: Iterable[RunningRule], series: Iterable[RunningSeries]) -> int:
    seconds = next((expressions.number(rule.query) for rule in rules if rule.name == WINDOW), None)
    if seconds is None:
        seconds = next((expressions.rounded(repr(one.value)) for one in series if one.name == WINDOW), None)
    if seconds is None:
        names = [found[1] for rule in rules if not rule.is_alert and (found := _PERIOD.fullmatch(rule.name))]
        periods = [durations.prometheus_milliseconds(name) or 0 for name in names]
        seconds = Decimal(max(periods, default=0) // 1000)
    return int(seconds) or 28 * durations.DAY


def _alerting(alerts: Sequence[RunningRule]) -> Alerting:
    # Two tiers of two pairs each: the first burn fastest.
    by_factor = sorted(alerts, key=lambda alert: _factor(alert.query), reverse=True)
    pages, tickets = by_factor[:2], by_factor[2:]
    return Alerting(
        name=alerts[0].name if alerts else DEFAULT_ALERT,
        page=_message(pages, "critical"),
        ticket=_message(tickets, "warning"),
    )


def _factor(query: str) -> Decimal:
    found = re.search(r"> \(?([0-9.]+) \*", query)
    return Decimal(found[1]) if found else Decimal(0)


def _message(alerts: Sequence[RunningRule], usual: str) -> AlertMessage:
    if not alerts:
        return AlertMessage(is_enabled=False)
    severity = alerts[0].labels.get("severity", usual)
    labels: Mapping[str, str] = {} if severity == usual else {"severity": severity}
    return AlertMessage(labels=labels)
