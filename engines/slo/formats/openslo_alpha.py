"""OpenSLO v1alpha: SLO and Service, in which every objective carries its own metrics.

Source: OpenSLO's v1alpha, as its Go SDK has it, and as Sloth reads it (`{{.window}}` in queries).
"""

from dataclasses import replace
from decimal import Decimal
from typing import Final

from domain.objectives import Budgeting, CalendarUnit, Indicator, ObjectiveDefinition, Window
from domain.slos import BudgetingMethod
from engines.slo.formats import durations, objectives, openslo_indicators, openslo_windows
from engines.slo.formats.objectives import Collector
from engines.slo.formats.openslo import slug, unique_names
from engines.slo.formats.specifications import ServiceDescription
from engines.slo.formats.values import Members, Value

API_VERSION: Final = "openslo/v1alpha"
KINDS: Final = ("SLO", "Service")

_METADATA: Final = ("name", "displayName")
_METHODS: Final = {"Occurrences": BudgetingMethod.OCCURRENCES, "Timeslices": BudgetingMethod.TIMESLICES}
_CALENDAR_UNITS: Final = {
    "Day": CalendarUnit.DAY,
    "Week": CalendarUnit.WEEK,
    "Month": CalendarUnit.MONTH,
    "Quarter": CalendarUnit.QUARTER,
    "Year": CalendarUnit.YEAR,
}
_UNIT_SECONDS: Final = {
    "Second": 1,
    "Minute": durations.MINUTE,
    "Hour": durations.HOUR,
    "Day": durations.DAY,
    "Week": 7 * durations.DAY,
    "Month": 30 * durations.DAY,
    "Quarter": 90 * durations.DAY,
    "Year": 365 * durations.DAY,
}
_SOURCES: Final = frozenset(("prometheus", "sloth"))


def read(root: Value, collector: Collector) -> None:
    """An SLO or a Service."""
    members = root.members(("apiVersion", "kind", "metadata", "spec"))
    kind = members.require("kind")
    word = None if kind is None else kind.choice(KINDS)
    metadata = members.require("metadata")
    name = None if metadata is None else metadata.members(_METADATA).require("name")
    if metadata is None or name is None or word is None:
        return
    spec = members.get("spec")
    if word == "Service":
        _read_service(metadata.members(), spec, name, collector)
    elif spec is None:
        members.require("spec")
    else:
        _read_slo(root, metadata.members(), spec, collector)


def _read_service(metadata: Members, spec: Value | None, name: Value, collector: Collector) -> None:
    mark = collector.report.mark()
    described = ServiceDescription(
        objectives.service(name),
        metadata.text("displayName"),
        "" if spec is None else spec.members(("description",)).text("description"),
    )
    if collector.report.is_clean_since(mark):
        collector.services.setdefault(described.name, described)


def _read_slo(root: Value, metadata: Members, spec: Value, collector: Collector) -> None:
    mark = collector.report.mark()
    fields = spec.members(("timeWindows", "budgetingMethod", "description", "indicator", "service", "objectives"))
    service, given = fields.require("service"), fields.require("objectives")
    method = fields.get("budgetingMethod")
    common = ObjectiveDefinition(
        service="" if service is None else objectives.service(service),
        name=metadata.text("name"),
        display_name=metadata.text("displayName"),
        description=fields.text("description"),
        objective=Decimal("0.5"),
        window=_window(fields.get("timeWindows"), spec),
        budgeting=Budgeting(
            BudgetingMethod.OCCURRENCES
            if method is None
            else _METHODS[method.choice(tuple(_METHODS), any_case=True) or "Occurrences"]
        ),
        indicator=openslo_indicators.NOTHING,
    )
    items = [] if given is None else given.items()
    if given is not None and not items:
        given.refuse("at least one objective is required")
    each = [item.members(("displayName", "value", "op", "ratioMetrics", "target", "timeSliceTarget")) for item in items]
    names = unique_names([slug(one.text("displayName")) for one in each])
    for one, name in zip(each, names, strict=True):
        definition = _objective(common, fields, one)
        if len(each) > 1:
            definition = replace(definition, name=f"{common.name}-{name}")
        display = one.text("displayName")
        if display and len(each) > 1:
            definition = replace(
                definition, display_name=f"{common.display_name}: {display}" if common.display_name else display
            )
        collector.add(definition, root if len(each) == 1 else one.owner, mark)


def _objective(common: ObjectiveDefinition, fields: Members, one: Members) -> ObjectiveDefinition:
    target = one.require("target")
    budgeting = common.budgeting
    if budgeting.method is BudgetingMethod.TIMESLICES:
        slice_target = one.require("timeSliceTarget")
        budgeting = replace(
            budgeting,
            slice_objective=None if slice_target is None else openslo_indicators.slice_target(slice_target),
        )
    return replace(
        common,
        objective=Decimal("0.5") if target is None else objectives.ratio(target, percent=False),
        budgeting=budgeting,
        indicator=_indicator(fields, one),
    )


def _indicator(fields: Members, one: Members) -> Indicator:
    shared, own = fields.get("indicator"), one.get("ratioMetrics")
    if own is not None:
        if shared is not None:
            own.refuse("cannot be given beside spec.indicator")
        members = own.members(("good", "total", "incremental", "counter"))
        good, total = members.require("good"), members.require("total")
        said = members.get("incremental") or members.get("counter")
        texts = ("" if good is None else _query(good), "" if total is None else _query(total))
        return openslo_indicators.ratio(good, None, total, texts, counter=None if said is None else said.truth())
    if shared is None:
        one.owner.refuse("one of ratioMetrics and spec.indicator is required")
        return openslo_indicators.NOTHING
    metric = shared.members(("thresholdMetric",)).require("thresholdMetric")
    return openslo_indicators.NOTHING if metric is None else openslo_indicators.threshold(_query(metric), one)


def _query(metric: Value) -> str:
    members = metric.members(("source", "queryType", "query", "metadata"))
    source, kind, query = members.get("source"), members.get("queryType"), members.require("query")
    if source is not None and source.text().lower() not in _SOURCES:
        source.refuse(f'metrics of "{source.text():.50}" are not supported, only those of Prometheus')
    if kind is not None:
        kind.choice(("promql",), any_case=True)
    return "" if query is None else query.query()


def _window(given: Value | None, spec: Value) -> Window:
    item = openslo_windows.only(given, spec)
    if item is None:
        return openslo_windows.window(None, spec)
    members = item.members(("unit", "count", "isRolling", "calendar"))
    unit, count, calendar = members.require("unit"), members.require("count"), members.get("calendar")
    word = None if unit is None else unit.choice(tuple(_UNIT_SECONDS), any_case=True)
    number = None if count is None else count.number()
    if count is not None and number is not None and not (0 < number < 10**9 and number == int(number)):
        count.refuse("must be a whole number above 0")
        number = None
    if unit is None or count is None or word is None or number is None:
        return openslo_windows.rolling(item, objectives.DEFAULT_PERIOD_SECONDS)
    if openslo_windows.is_rolling(members, calendar) or calendar is None:
        return openslo_windows.rolling(count, int(number) * _UNIT_SECONDS[word])
    if word not in _CALENDAR_UNITS:
        unit.refuse("a calendar window is as long as days, weeks, months, quarters or years")
        return openslo_windows.rolling(item, objectives.DEFAULT_PERIOD_SECONDS)
    return openslo_windows.by_calendar(count, calendar, int(number), _CALENDAR_UNITS[word])
