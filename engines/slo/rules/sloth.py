"""Rules under Sloth's names and labels, so that dashboards and routes made for Sloth work with them.

Source of the names: Sloth 0.16, pkg/common/conventions. What they hold is counted differently in three ways:

- The period's error ratio is bad events of all events (`slo:sli_bad:events5m` and `slo:sli_total:events5m`, summed),
  not the mean of five-minute ratios, in which four quiet hours weigh as much as four busy ones.
- Where nothing happened nothing is recorded, instead of a NaN that stays in the period for as long as it lasts.
- Bad events that no series counts yet are zero, instead of nothing.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from domain.objectives import (
    BurnRateAlert,
    CalendarWindow,
    Composite,
    Indicator,
    ObjectiveDefinition,
    RawRatioIndicator,
)
from domain.slos import BudgetingMethod, BurnResponse
from engines.slo import indicators, promql
from engines.slo.burn_rates import alerts_of, usual_alerts
from engines.slo.formats.durations import prometheus_name
from engines.slo.rules.groups import AlertingRule, RecordingRule, Rule, RuleGroup
from engines.slo.rules.names import NotExpressible, label_name, merged, number, selector, templates
from engines.slo.windows import usual_seconds

WINDOWS: Final = (300, 1_800, 3_600, 7_200, 21_600, 86_400, 259_200)
"""The windows that are recorded of every objective whose own is longer."""

ERROR_RATIO: Final = "slo:sli_error:ratio_rate"
BAD_EVENTS: Final = "slo:sli_bad:events5m"
TOTAL_EVENTS: Final = "slo:sli_total:events5m"
SLICE_ERROR_RATIO: Final = "slo:sli_slice:error_ratio"
DEFAULT_ALERT: Final = "ErrorBudgetBurn"

_BASE_SECONDS: Final = 300
_SECONDS_A_DAY: Final = 86_400
_ROUNDED_TO: Final = "0.000000001"
_VERSION: Final = "reliability-studio"


def id_labels(definition: ObjectiveDefinition) -> dict[str, str]:
    """The labels by which the series of an objective are found."""
    return {
        "sloth_id": f"{definition.service}-{definition.name}",
        "sloth_service": definition.service,
        "sloth_slo": definition.name,
    }


def alert_name(definition: ObjectiveDefinition) -> str:
    """What the alerts of an objective are called."""
    return definition.alerting.name or DEFAULT_ALERT


def groups(definition: ObjectiveDefinition, *, shares_alert_names: bool = False) -> tuple[RuleGroup, ...]:
    """What is recorded of an objective, what is said about it, and its alerts. Raises NotExpressible.

    Alerts have the labels that find their objective from what they look at. Where other objectives alert under the same
    name their rules say these labels too, so that Prometheus does not take them for duplicates.
    """
    indicator = definition.indicator
    if isinstance(indicator, Composite):
        raise NotExpressible("a composite is judged from the slices of its members, which Prometheus does not have")
    id = id_labels(definition)["sloth_id"]
    alerts = tuple(_alerts(definition, indicator, id_labels(definition) if shares_alert_names else {}))
    found = [
        RuleGroup(f"sloth-slo-sli-recordings-{id}", tuple(_recordings(definition, indicator))),
        RuleGroup(f"sloth-slo-meta-recordings-{id}", tuple(_metadata(definition))),
    ]
    return (*found, RuleGroup(f"sloth-slo-alerts-{id}", alerts)) if alerts else tuple(found)


def remarks(definition: ObjectiveDefinition) -> list[str]:
    """What the rules of an objective say less exactly than this server."""
    if isinstance(definition.window, CalendarWindow):
        days = usual_seconds(definition.window) // _SECONDS_A_DAY
        return [
            f"{id_labels(definition)['sloth_id']}: Prometheus knows no calendar, its period is the last {days} days."
        ]
    return []


def _labels(definition: ObjectiveDefinition) -> dict[str, str]:
    own = {name: value for name, value in definition.labels.items() if label_name(name) not in definition.group_by}
    return merged(own, id_labels(definition))


def _windows(definition: ObjectiveDefinition) -> list[int]:
    period = usual_seconds(definition.window)
    pairs = definition.alerting.burn_rates or usual_alerts(definition.window)
    watched = {seconds for pair in pairs for seconds in (pair.long_window_seconds, pair.short_window_seconds)}
    return sorted({seconds for seconds in WINDOWS if seconds < period} | watched - {period})


def _recordings(definition: ObjectiveDefinition, indicator: Indicator) -> list[RecordingRule]:
    labels = _labels(definition)
    period = usual_seconds(definition.window)

    def recorded(expression: str, seconds: int) -> RecordingRule:
        name = prometheus_name(seconds)
        return RecordingRule(f"{ERROR_RATIO}{name}", expression, merged(labels, {"sloth_window": name}))

    if definition.budgeting.method is not BudgetingMethod.OCCURRENCES:
        slice_seconds = definition.budgeting.slice_seconds
        ratio = _error_ratio(indicator, slice_seconds, definition.group_by)
        rules = [RecordingRule(SLICE_ERROR_RATIO, ratio, labels)]
        return rules + [
            recorded(_of_slices(definition, seconds), seconds) for seconds in [*_windows(definition), period]
        ]
    ratios = [
        recorded(_error_ratio(indicator, seconds, definition.group_by), seconds) for seconds in _windows(definition)
    ]
    if isinstance(indicator, RawRatioIndicator):  # How its windows are weighed is said by the query itself.
        return [*ratios, recorded(_error_ratio(indicator, period, definition.group_by), period)]
    events = indicators.events(indicator, _BASE_SECONDS, group_by=definition.group_by)
    return [
        RecordingRule(BAD_EVENTS, f"clamp_min({events.bad_or_zero}, 0) >= 0", labels),
        RecordingRule(TOTAL_EVENTS, f"({events.total}) >= 0", labels),
        *ratios,
        recorded(_of_events(definition, period), period),
    ]


def _error_ratio(indicator: Indicator, seconds: int, group_by: Sequence[str]) -> str:
    events = indicators.events(indicator, seconds, group_by=group_by, as_counts=False)
    if isinstance(indicator, RawRatioIndicator):  # NaN is nothing; a rounding below zero is zero, not nothing.
        part = f"clamp_min({events.part}, 0) >= 0"
        return f"1 - ({part})" if events.part_is_good else part
    return events.error_ratio


def _of_events(definition: ObjectiveDefinition, seconds: int) -> str:
    window = promql.duration(seconds)
    bad, total = (selector(metric, id_labels(definition)) for metric in (BAD_EVENTS, TOTAL_EVENTS))
    return f"sum_over_time({bad}[{window}])\n/\n(sum_over_time({total}[{window}]) > 0)\n"


def _of_slices(definition: ObjectiveDefinition, seconds: int) -> str:
    budgeting = definition.budgeting
    step = budgeting.slice_seconds
    # One second less than the window, so that the slice which ended when the window began is not in it.
    window = promql.duration(max(seconds, step) - 1)
    slices = selector(SLICE_ERROR_RATIO, id_labels(definition))
    if budgeting.method is BudgetingMethod.TIMESLICES:
        allowed = 1 - (definition.objective if budgeting.slice_objective is None else budgeting.slice_objective)
        # Rounded, because 1 - 0.95 is not quite 0.05 to a float, and a slice that just meets its objective is good.
        slices = f"(round({slices}, {_ROUNDED_TO}) > bool {number(allowed)})"
    return f"avg_over_time({slices}[{window}:{promql.duration(step)}])"


def _metadata(definition: ObjectiveDefinition) -> list[RecordingRule]:
    labels, ids = _labels(definition), id_labels(definition)
    period = usual_seconds(definition.window)
    shortest = min([*_windows(definition), period])

    def burn(seconds: int) -> str:
        return (
            f"{selector(ERROR_RATIO + prometheus_name(seconds), ids)}\n"
            f"/ on(sloth_id, sloth_slo, sloth_service) group_left\n"
            f"{selector('slo:error_budget:ratio', ids)}\n"
        )

    info = {
        "sloth_version": _VERSION,
        "sloth_mode": _VERSION,
        "sloth_spec": "prometheus/v1",
        "sloth_objective": number(definition.objective * 100),
    }
    days = Decimal(period) / _SECONDS_A_DAY
    return [
        RecordingRule("slo:objective:ratio", f"vector({number(definition.objective)})", labels),
        RecordingRule("slo:error_budget:ratio", f"vector({number(1 - definition.objective)})", labels),
        RecordingRule("slo:time_period:days", f"vector({number(days)})", labels),
        RecordingRule("slo:current_burn_rate:ratio", burn(shortest), labels),
        RecordingRule("slo:period_burn_rate:ratio", burn(period), labels),
        RecordingRule(
            "slo:period_error_budget_remaining:ratio", f"1 - {selector('slo:period_burn_rate:ratio', ids)}", labels
        ),
        RecordingRule("sloth_slo_info", "vector(1)", merged(labels, info)),
    ]


def _alerts(definition: ObjectiveDefinition, indicator: Indicator, ids: Mapping[str, str]) -> list[Rule]:
    alerting = definition.alerting
    pairs = alerts_of(alerting, definition.window)
    rules: list[Rule] = []
    for response, message in ((BurnResponse.PAGE, alerting.page), (BurnResponse.TICKET, alerting.ticket)):
        watching = [pair for pair in pairs if pair.response is response]
        if not watching:
            continue
        severity = response.value.lower()
        rules.append(
            AlertingRule(
                alert_name(definition),
                "or\n".join(_condition(definition, indicator, pair) for pair in watching),
                templates(alerting.labels, message.labels, ids, {"sloth_severity": severity}),
                _annotations(severity, alerting.annotations, message.annotations),
            )
        )
    return rules


def _condition(definition: ObjectiveDefinition, indicator: Indicator, pair: BurnRateAlert) -> str:
    ids = id_labels(definition)
    threshold = f"({number(pair.factor)} * {number(1 - definition.objective)})"
    windows = list(dict.fromkeys((pair.short_window_seconds, pair.long_window_seconds)))
    burning = [
        f"max({selector(ERROR_RATIO + prometheus_name(seconds), ids)} > {threshold}) without (sloth_window)"
        for seconds in windows
    ]
    enough = [condition for seconds in windows for condition in _enough(definition, indicator, seconds)]
    conditions = "\n    and\n    ".join(burning)
    return "(\n    " + "".join([conditions, *(f"\n    {condition}" for condition in enough)]) + "\n)\n"


def _enough(definition: ObjectiveDefinition, indicator: Indicator, seconds: int) -> list[str]:
    """That a window has the events below which it alerts nobody."""
    alerting = definition.alerting
    if not alerting.minimum_total_events and not alerting.minimum_bad_events:
        return []
    events = indicators.events(indicator, seconds, group_by=definition.group_by)
    on = f"and on({', '.join(definition.group_by)})"
    minima = ((events.total, alerting.minimum_total_events), (events.bad_or_zero, alerting.minimum_bad_events))
    return [f"{on} (({counted}) >= {minimum})" for counted, minimum in minima if minimum]


def _annotations(severity: str, *own: Mapping[str, str]) -> dict[str, str]:
    subject = "{{$labels.sloth_service}} {{$labels.sloth_slo}}"
    said = {
        "title": f"({severity}) {subject}: the error budget burns too fast",
        "summary": f"{subject} spends its error budget faster than its objective allows.",
    }
    return templates(said, *own)
