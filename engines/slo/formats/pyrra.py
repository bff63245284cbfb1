"""Pyrra: `ServiceLevelObjective` of `pyrra.dev/v1alpha1`.

Source: Pyrra's kubernetes/api/v1alpha1/servicelevelobjective_types.go. Pyrra knows no services: the label
`pyrra.dev/service` names it, or else the `job` that the metric is selected by, the namespace, or the objective itself.
"""

import re
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
from engines.slo.formats import durations, objectives
from engines.slo.formats.objectives import Collector
from engines.slo.formats.values import Members, Value

API_VERSION: Final = "pyrra.dev/v1alpha1"
KIND: Final = "ServiceLevelObjective"
PREFIX: Final = "pyrra.dev/"
"""Labels and annotations of this prefix are about the objective; all others are Kubernetes' own."""
ABSENT: Final = "pyrra.dev/absent"
"""The annotation that keeps whether Pyrra alerts on a missing metric."""

DEFAULT_ALERT: Final = "ErrorBudgetBurn"
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NOTHING: Final = RatioIndicator(bad="", total="")
_LE = re.compile(r'(?:,\s*)?\ble\s*=\s*"([^"]*)"(?:\s*,)?')
_JOB = re.compile(r'\bjob\s*=\s*"([^"]+)"')
_TIERS: Final = ("fastBurn", "mediumBurn", "slowBurn", "longTermBurn", "absent")


def read(root: Value, collector: Collector) -> None:
    """The one objective of a document."""
    mark = collector.report.mark()
    members = root.members(("apiVersion", "kind", "metadata", "spec", "status"))
    metadata, spec = members.require("metadata"), members.require("spec")
    if metadata is not None and spec is not None:
        collector.add(_objective(metadata.members(), spec), root, mark)


def _objective(metadata: Members, spec: Value) -> ObjectiveDefinition:
    members = spec.members(
        (
            "description",
            "target",
            "window",
            "indicator",
            "alerting",
            "partial_response_strategy",
            "performanceOverAccuracy",
            "ruleOutput",
        )
    )
    for left_out in ("partial_response_strategy", "performanceOverAccuracy", "ruleOutput"):
        option = members.get(left_out)
        if option is not None:
            option.notice("is left out: it changes how Pyrra writes its rules, not the objective")
    name, target = metadata.require("name"), members.require("target")
    window, indicator = members.require("window"), members.require("indicator")
    labels = {
        key.removeprefix(PREFIX): value for key, value in metadata.labels("labels").items() if key.startswith(PREFIX)
    }
    annotations = {key: value for key, value in metadata.labels("annotations").items() if key.startswith(PREFIX)}
    read_indicator, grouping = (_NOTHING, ()) if indicator is None else _indicator(indicator)
    alerting = members.get("alerting")
    if alerting is not None:
        annotations |= _absent(alerting.members())
    return ObjectiveDefinition(
        service=_service(metadata, labels, read_indicator),
        name="" if name is None else name.name(),
        description=members.text("description"),
        objective=Decimal("0.5") if target is None else _target(target),
        window=RollingWindow(
            objectives.DEFAULT_PERIOD_SECONDS if window is None else objectives.prometheus_seconds(window)
        ),
        indicator=read_indicator,
        group_by=grouping,
        alerting=Alerting(name=DEFAULT_ALERT) if alerting is None else _alerting(alerting),
        labels={key: value for key, value in labels.items() if key != "service"},
        annotations=annotations,
    )


def _target(target: Value) -> Decimal:
    ratio = objectives.ratio(target, percent=True, also_quoted=True)
    if ratio < Decimal("0.01"):
        target.notice(f"is a percentage: {ratio * 100:f} means {ratio * 100:f} %, not {ratio * 10_000:f} %")
    return ratio


def _service(metadata: Members, labels: dict[str, str], indicator: Indicator) -> str:
    said = metadata.owner
    if labels.get("service"):
        return objectives.service(metadata.given("labels").members().given(f"{PREFIX}service"))
    job = job_of(indicator)
    if job:
        said.notice(f'belongs to service "{job:.100}", the job of its metric: the label {PREFIX}service says otherwise')
        return job
    for place in ("namespace", "name"):
        value = metadata.get(place)
        if value is not None:
            service = objectives.service(value)
            said.notice(f'belongs to service "{service:.100}", its {place}: the label {PREFIX}service says otherwise')
            return service
    return ""


def job_of(indicator: Indicator) -> str:
    """The job that an indicator's events are selected by, empty where there is none."""
    match indicator:
        case (
            RatioIndicator(total=selected)
            | LatencyIndicator(histogram=selected)
            | AvailabilityIndicator(gauge=selected)
        ):
            found = _JOB.search(selected)
            return "" if found is None else found[1]
        case _:
            return ""


def _indicator(indicator: Value) -> tuple[Indicator, tuple[str, ...]]:
    given = indicator.members(("ratio", "latency", "latencyNative", "bool_gauge"))
    one = given.only_one_of("ratio", "latency", "latencyNative", "bool_gauge")
    if one is None:
        return _NOTHING, ()
    match one.path.rpartition(".")[2]:
        case "ratio":
            members = one.members(("errors", "total", "grouping"))
            return _ratio(members), _grouping(members)
        case "latency":
            members = one.members(("success", "total", "grouping"))
            return _latency(members), _grouping(members)
        case "latencyNative":
            members = one.members(("latency", "total", "grouping"))
            return _native(members), _grouping(members)
        case _:
            members = one.members(("metric", "grouping"))
            return AvailabilityIndicator(_selector(members.require("metric"))), _grouping(members)


def _ratio(members: Members) -> RatioIndicator:
    errors, total = _metric(members.require("errors")), _metric(members.require("total"))
    if errors and errors == total:
        members.given("errors").refuse("selects the same as total, so that every event would be an error")
    return RatioIndicator(bad=errors, total=total)


def _latency(members: Members) -> Indicator:
    success, total = _metric(members.require("success")), _metric(members.require("total"))
    if not success or not total:
        return _NOTHING
    indicator = latency_of(success, total)
    if indicator is None:
        members.given("success").refuse('must select one bucket by its bound, as in x_bucket{le="0.5"}')
    return indicator or _NOTHING


def latency_of(success: str, total: str) -> Indicator | None:
    """The indicator of one bucket and of all requests, None where no bucket is selected."""
    bound = _LE.search(success)
    threshold = None if bound is None else _seconds(bound[1])
    if threshold is None:
        return None
    name, _, _ = success.partition("{")
    if not name.strip().endswith("_bucket"):
        return RatioIndicator(good=success, total=total)
    histogram = _without_bound(success, name.strip().removesuffix("_bucket"))
    count = _without_bound(success, name.strip().removesuffix("_bucket") + "_count")
    return LatencyIndicator(histogram, threshold, total=None if _squeezed(total) == _squeezed(count) else total)


def _without_bound(success: str, name: str) -> str:
    _, brace, inside = success.partition("{")
    kept = _LE.sub(lambda match: "," if match[0].startswith(",") and match[0].endswith(",") else "", inside)
    return f"{name}{brace}{kept}" if kept.strip(" }") else name


def _squeezed(selector: str) -> str:
    """A selector without the spaces and commas that change nothing, its matchers in order."""
    name, _, inside = selector.partition("{")
    matchers = sorted(part.strip() for part in re.findall(r'[^,"]+"(?:\\.|[^"\\])*"', inside))
    return f"{name.strip()}{{{','.join(matchers)}}}"


def _seconds(bound: str) -> Decimal | None:
    try:
        threshold = Decimal(bound)
    except ArithmeticError:
        return None
    return objectives.plain(threshold) if threshold.is_finite() and 0 < threshold < 10**9 and len(bound) < 30 else None


def _native(members: Members) -> Indicator:
    total, latency = _metric(members.require("total")), members.require("latency")
    if latency is None or not total:
        return _NOTHING
    milliseconds = durations.prometheus_milliseconds(latency.text().strip())
    if milliseconds is None:
        latency.refuse('must be a duration, like "250ms" or "1s"')
        return _NOTHING
    return LatencyIndicator(total, objectives.plain(Decimal(milliseconds) / 1000), is_native=True)


def _metric(query: Value | None) -> str:
    return "" if query is None else _selector(query.members(("metric",)).require("metric"))


def _selector(metric: Value | None) -> str:
    if metric is None:
        return ""
    text = metric.query()
    if text and not promql.is_selector(text):
        metric.refuse('must select series and nothing more, as in http_requests_total{job="api"}')
        return ""
    return text


def _grouping(members: Members) -> tuple[str, ...]:
    grouping = members.get("grouping")
    names: list[str] = []
    for item in [] if grouping is None else grouping.items():
        name = item.text()
        if not _LABEL_NAME.fullmatch(name):
            item.refuse(f'"{name:.50}" is not a label name: letters, digits and _ only')
        elif name not in names:
            names.append(name)
    return tuple(sorted(names))


def _absent(members: Members) -> dict[str, str]:
    return {} if members.truth("absent", default=True) else {ABSENT: "false"}


def _alerting(alerting: Value) -> Alerting:
    members = alerting.members(("disabled", "burnrates", "absent", "name", "absentName", "severities"))
    is_enabled = members.truth("burnrates", default=True) and not members.truth("disabled", default=False)
    absent = members.get("absentName")
    if absent is not None:
        absent.notice("is left out: a metric that is missing shows as NO_DATA here")
    severities = members.get("severities")
    fast = slow = ""
    if severities is not None:
        words = severities.members(_TIERS)
        fast, slow = _severity(words, "fastBurn", "mediumBurn"), _severity(words, "slowBurn", "longTermBurn")
    return Alerting(
        name=members.text("name", DEFAULT_ALERT),
        page=AlertMessage(labels={"severity": fast} if fast else {}, is_enabled=is_enabled),
        ticket=AlertMessage(labels={"severity": slow} if slow else {}, is_enabled=is_enabled),
    )


def _severity(words: Members, first: str, second: str) -> str:
    severity, other = words.text(first), words.text(second)
    if severity and other and severity != other:
        words.given(second).notice(f'both {first} and {second} alert with the severity "{severity:.50}" here')
    return severity or other
