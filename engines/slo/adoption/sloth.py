"""Objectives that run under Sloth's rules, or under our own of the same names."""

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from domain.objectives import (
    Alerting,
    AlertMessage,
    BurnRateAlert,
    Indicator,
    ObjectiveDefinition,
    RatioIndicator,
    RawRatioIndicator,
    RollingWindow,
)
from domain.slos import BurnResponse
from engines.slo.adoption import expressions
from engines.slo.adoption.found import Found
from engines.slo.adoption.rules import RunningRule, RunningSeries
from engines.slo.burn_rates import usual_alerts
from engines.slo.formats import durations
from engines.slo.formats.objectives import plain
from engines.slo.rules.names import quoted
from engines.slo.rules.sloth import ERROR_RATIO

INFO: Final = "sloth_slo_info"
OBJECTIVE: Final = "slo:objective:ratio"
PERIOD: Final = "slo:time_period:days"
METRICS: Final = (INFO, OBJECTIVE, PERIOD)

_DAY: Final = 86_400
_OWN_LABELS: Final = frozenset(
    f"sloth_{name}" for name in ("id", "service", "slo", "window", "severity", "version", "mode", "spec", "objective")
)
_PAIR = re.compile(rf"{ERROR_RATIO}(\w+)\{{[^}}]*\}} > \(?([0-9.e+-]+) \* ")
_OURS = re.compile(r"clamp_min\((.*), 0\) >= 0", re.DOTALL)
_USUAL_WORDS = re.compile(r"\{\{\s*\$labels\.sloth_service\s*\}\}.*(burn rate|burns|spends its error budget)")


def adopted(rules: Iterable[RunningRule], series: Iterable[RunningSeries]) -> list[Found]:
    """Every objective that has rules or series under Sloth's names, by its id."""
    rules_of: dict[str, list[RunningRule]] = {}
    series_of: dict[str, list[RunningSeries]] = {}
    for rule in rules:
        id = rule.labels.get("sloth_id") or _id_in(rule)
        if id:
            rules_of.setdefault(id, []).append(rule)
    for one in series:
        if one.name in METRICS and "sloth_id" in one.labels:
            series_of.setdefault(one.labels["sloth_id"], []).append(one)
    return [
        _found(id, rules_of.get(id, []), series_of.get(id, [])) for id in sorted(rules_of.keys() | series_of.keys())
    ]


def _found(id: str, rules: Sequence[RunningRule], series: Sequence[RunningSeries]) -> Found:
    labels = next((rule.labels for rule in rules if not rule.is_alert and "sloth_slo" in rule.labels), {})
    labels = labels or next((one.labels for one in series), {})
    service, name = labels.get("sloth_service", ""), labels.get("sloth_slo", "")
    objective, period = _objective(rules, series), _period_seconds(rules, series)
    if not service or not name or objective is None or not 0 < objective < 1:
        missing = "sloth_service and sloth_slo" if not service or not name else f"an objective in {OBJECTIVE} or {INFO}"
        return Found("Sloth", id, None, f"its rules and series do not say {missing}")
    window = RollingWindow(period)
    definition = ObjectiveDefinition(
        service=service,
        name=name,
        objective=objective,
        window=window,
        indicator=_indicator(id, rules, period),
        alerting=_alerting([rule for rule in rules if rule.is_alert], window) if rules else Alerting(),
        labels={key: value for key, value in sorted(labels.items()) if key not in _OWN_LABELS and key != "__name__"},
    )
    return Found("Sloth", id, definition)


def _id_in(rule: RunningRule) -> str:
    """The id of the objective that an alert watches; the labels of alerts of Sloth do not tell it."""
    found = re.search(r'sloth_id="((?:\\.|[^"\\])*)"', rule.query) if rule.is_alert else None
    return found[1] if found and ERROR_RATIO in rule.query else ""


def _objective(rules: Iterable[RunningRule], series: Sequence[RunningSeries]) -> Decimal | None:
    told = [rule.labels for rule in rules if rule.name == INFO] + [one.labels for one in series if one.name == INFO]
    for labels in told:
        percent = expressions.rounded(labels.get("sloth_objective", ""))
        if percent is not None:
            return plain(percent / 100)
    for rule in rules:
        if rule.name == OBJECTIVE:
            return expressions.number(rule.query)
    return next((expressions.rounded(repr(one.value)) for one in series if one.name == OBJECTIVE), None)


def _period_seconds(rules: Iterable[RunningRule], series: Iterable[RunningSeries]) -> int:
    days = next((expressions.number(rule.query) for rule in rules if rule.name == PERIOD), None)
    if days is None:
        days = next((expressions.rounded(repr(one.value)) for one in series if one.name == PERIOD), None)
    return int(days * _DAY) if days is not None and 0 < days < 3_660 else 30 * _DAY


def _indicator(id: str, rules: Iterable[RunningRule], period: int) -> Indicator:
    windows: dict[int, tuple[str, str]] = {}
    for rule in rules:
        told = rule.name.removeprefix(ERROR_RATIO) if rule.name.startswith(ERROR_RATIO) else ""
        milliseconds = durations.prometheus_milliseconds(told)
        if milliseconds and milliseconds // 1000 != period:
            windows[milliseconds // 1000] = told, rule.query
    queries: Mapping[str, str] = {told: query for _, (told, query) in sorted(windows.items())}
    whole = expressions.over_window(queries) if queries else None
    recorded = f"{ERROR_RATIO}{next(iter(queries), '5m')}{{sloth_id={quoted(id)}}}"
    if whole is None:  # Somebody else's way to record a ratio: what is recorded is what can be read.
        return RawRatioIndicator(f"avg_over_time({recorded}[$window])")
    return _taken_apart(whole)


def _taken_apart(query: str) -> Indicator:
    query = expressions.bare(query)
    is_good = query.startswith("1 - ")
    parts = expressions.divided(query.removeprefix("1 - ") if is_good else query)
    if parts is None:
        ours = _OURS.fullmatch(query.strip())
        return RawRatioIndicator(ours[1] if ours else query)
    part, total = parts
    # Our own rules: `((part) or 0 * (total)) / ((total) > 0)`.
    if total.endswith(" > 0"):
        total = expressions.bare(total.removesuffix(" > 0"))
        part, _, zero = part.rpartition(" or 0 * ")
        if expressions.bare(zero) != total:
            return RawRatioIndicator(query)
        part = expressions.bare(part)
    elif is_good:
        return RawRatioIndicator(query)
    return RatioIndicator(good=part, total=total) if is_good else RatioIndicator(bad=part, total=total)


def _alerting(alerts: Sequence[RunningRule], window: RollingWindow) -> Alerting:
    by_response = {
        response: next((one for one in alerts if one.labels.get("sloth_severity") == response.value.lower()), None)
        for response in BurnResponse
    }
    page, ticket = by_response[BurnResponse.PAGE], by_response[BurnResponse.TICKET]
    shared = [one for one in (page, ticket) if one is not None]
    labels = _shared([_labels(one) for one in shared])
    annotations = _shared([_annotations(one) for one in shared])
    pairs = tuple(pair for response, alert in by_response.items() if alert for pair in _pairs(alert, response))
    usual = [pair for pair in usual_alerts(window) if by_response[pair.response] is not None]
    return Alerting(
        name=shared[0].name if shared else "",
        labels=labels,
        annotations=annotations,
        page=_message(page, labels, annotations),
        ticket=_message(ticket, labels, annotations),
        burn_rates=() if _are_alike(pairs, usual) else pairs,
    )


def _message(alert: RunningRule | None, labels: Mapping[str, str], annotations: Mapping[str, str]) -> AlertMessage:
    if alert is None:
        return AlertMessage(is_enabled=False)
    own_labels = {name: value for name, value in _labels(alert).items() if labels.get(name) != value}
    own = {name: value for name, value in _annotations(alert).items() if annotations.get(name) != value}
    return AlertMessage(own_labels, own)


def _labels(alert: RunningRule) -> dict[str, str]:
    return {name: value for name, value in sorted(alert.labels.items()) if name not in _OWN_LABELS}


def _annotations(alert: RunningRule) -> dict[str, str]:
    """The annotations that somebody wrote, without the two that Sloth makes."""
    return {
        name: value
        for name, value in sorted(alert.annotations.items())
        if name not in ("title", "summary") or not _USUAL_WORDS.search(value)
    }


def _shared(told: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What all of these say alike."""
    if not told:
        return {}
    first, *others = told
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}


def _pairs(alert: RunningRule, response: BurnResponse) -> list[BurnRateAlert]:
    """The pairs in an alert's expression, which names the short window of each before the long one."""
    found = [
        ((durations.prometheus_milliseconds(window) or 0) // 1000, expressions.rounded(factor))
        for window, factor in _PAIR.findall(alert.query)
    ]
    pairs = []
    for (one, factor), (other, _) in zip(found[::2], found[1::2], strict=False):
        short, long = sorted((one, other))
        if short and factor is not None:
            name = f"{response.value.lower()}-{durations.prometheus_name(long)}"
            pairs.append(BurnRateAlert(name, response, long, short, factor))
    return pairs


def _are_alike(pairs: Sequence[BurnRateAlert], usual: Sequence[BurnRateAlert]) -> bool:
    """Whether pairs are the usual ones, but for the digits that a factor was written with."""
    if len(pairs) != len(usual):
        return not pairs
    return all(
        (one.long_window_seconds, one.short_window_seconds) == (other.long_window_seconds, other.short_window_seconds)
        and abs(one.factor - other.factor) < Decimal("0.001")
        for one, other in zip(pairs, usual, strict=True)
    )
