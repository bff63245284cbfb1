"""OpenSLO's SLIs as indicators: ratio metrics and threshold metrics whose source is Prometheus."""

from decimal import Decimal
from typing import Final

from domain.objectives import WINDOW, Comparison, Indicator, RatioIndicator, RawRatioIndicator, ThresholdIndicator
from engines.slo import promql
from engines.slo.formats import objectives
from engines.slo.formats.values import Members, Value

NOTHING: Final = RatioIndicator(bad="", total="")

OPERATORS: Final = tuple(comparison.value for comparison in Comparison)
_PROMETHEUS: Final = frozenset(
    ("prometheus", "prom", "promql", "mimir", "thanos", "cortex", "victoriametrics", "sloth")
)
_QUERY_NAMES: Final = ("query", "promql")
_COUNTING: Final = frozenset(("rate", "irate", "increase"))


class Sources:
    """The data sources that a text describes, by name; None for one whose type is not supported."""

    def __init__(self) -> None:
        self._types: dict[str, str] = {}

    def add(self, root: Value) -> None:
        """Know a DataSource. How to connect to it is configured in this server, never read from a specification."""
        members = root.members(("apiVersion", "kind", "metadata", "spec"))
        metadata, spec = members.require("metadata"), members.require("spec")
        name = None if metadata is None else metadata.members().require("name")
        if spec is None or name is None:
            return
        spec_members = spec.members(("description", "type", "connectionDetails"))
        kind = spec_members.require("type")
        details = spec_members.get("connectionDetails")
        if details is not None:
            details.notice("is left out: this server is told by its settings where its backends are")
        self._types[name.text()] = "" if kind is None else kind.text()

    def require_prometheus(self, source: Value, members: Members) -> None:
        """Refuse a metric source that is not Prometheus."""
        reference, kind = members.get("metricSourceRef"), members.get("type")
        type = kind.text() if kind is not None else self._types.get(reference.text(), "") if reference else ""
        if not type:
            if reference is not None:
                source.notice(
                    f'data source "{reference.text():.50}" is not part of this text: its queries are read as PromQL'
                )
            return
        if type.strip().lower().replace(" ", "") not in _PROMETHEUS:
            (kind or reference or source).refuse(f'metrics of "{type:.50}" are not supported, only those of Prometheus')


def indicator(spec: Members, objective: Members, sources: Sources) -> Indicator:
    """The indicator of an SLI's `spec`, judged by the `op` and `value` of an objective where it is a threshold."""
    given = spec.only_one_of("ratioMetric", "thresholdMetric")
    if given is None:
        return NOTHING
    if given.path.endswith(".thresholdMetric"):
        return threshold(_query(given, sources), objective)
    value = objective.get("value")
    if value is not None:
        value.notice("is left out: it counts only where a thresholdMetric is measured")
    return _ratio(given, sources)


def threshold(query: str, objective: Members) -> Indicator:
    """A measured value that an objective's `op` and `value` judge."""
    op, value = objective.require("op"), objective.require("value")
    operator = None if op is None else op.choice(OPERATORS)
    limit = None if value is None else value.number()
    if operator is None or limit is None or not query:
        return NOTHING
    return ThresholdIndicator(query, Comparison(operator), objectives.plain(limit))


def ratio(
    good: Value | None, bad: Value | None, total: Value | None, texts: "_Texts", *, counter: bool | None
) -> Indicator:
    """Good or bad events of all events."""
    part = good or bad
    if part is None or total is None:
        return NOTHING
    if texts[0] and texts[0] == texts[1]:
        part.refuse("is the same query as for all events")
    for place, query in ((part, texts[0]), (total, texts[1])):
        _say_how(place, query, counter)
    is_gauge = counter is False and not _is_made_of_counters(texts[0]) and not _is_made_of_counters(texts[1])
    if good is not None:
        return RatioIndicator(good=texts[0], total=texts[1], is_gauge=is_gauge)
    return RatioIndicator(bad=texts[0], total=texts[1], is_gauge=is_gauge)


_Texts = tuple[str, str]


def _ratio(metric: Value, sources: Sources) -> Indicator:
    members = metric.members(("counter", "good", "bad", "total", "raw", "rawType"))
    raw = members.get("raw")
    if raw is not None:
        for name in ("good", "bad", "total"):
            other = members.get(name)
            if other is not None:
                other.refuse(f"raw is the whole ratio already: {name} cannot be given beside it")
        return _raw(members, _query(raw, sources))
    part, total = members.only_one_of("good", "bad"), members.require("total")
    counter = None if members.get("counter") is None else members.truth("counter", default=True)
    texts = ("" if part is None else _query(part, sources), "" if total is None else _query(total, sources))
    is_good = part is not None and part.path.endswith(".good")
    return ratio(part if is_good else None, None if is_good else part, total, texts, counter=counter)


def _raw(members: Members, query: str) -> Indicator:
    kind = members.require("rawType")
    type = None if kind is None else kind.choice(("success", "failure"))
    return RawRatioIndicator(over_window(query), is_good=type == "success") if query else NOTHING


def over_window(query: str) -> str:
    """A ratio over WINDOW. One that never says a window is a ratio of rates, whose ranges then become the window, or
    else a value of which the mean is taken.
    """
    if promql.has_window(query):
        return query
    if promql.is_selector(query):
        return f"avg_over_time({query}[{WINDOW}])"
    if _is_made_of_counters(query):
        return promql.over(query, WINDOW, as_counts=False)
    return f"avg_over_time(({query})[{WINDOW}:1m])"


def _is_made_of_counters(query: str) -> bool:
    """Whether a query that never says its window takes rates or increases of all that it selects."""
    if promql.has_window(query):
        return True
    selected = promql.selectors(query)
    return bool(selected) and all(selector.function in _COUNTING for selector in selected)


def _say_how(place: Value, query: str, counter: bool | None) -> None:
    if promql.has_window(query) or not query:
        return
    if _is_made_of_counters(query):
        place.notice("has a range of its own, in whose place the window comes: {{.window}} would say so")
    elif counter is None:
        place.notice("is read as a counter that only grows, because counter does not say otherwise")


def _query(metric: Value, sources: Sources) -> str:
    source = metric.members(("metricSource",)).require("metricSource")
    if source is None:
        return ""
    members = source.members(("metricSourceRef", "type", "spec"))
    sources.require_prometheus(source, members)
    spec = members.require("spec")
    if spec is None:
        return ""
    fields = spec.members()
    for name, value in fields:
        if name not in _QUERY_NAMES and not (name == "queryType" and value.text().lower() == "promql"):
            value.notice("is left out: of a Prometheus source only the query is read")
    query = fields.get("promql") or fields.require("query")
    return "" if query is None else query.query()


def slice_target(value: Value) -> Decimal | None:
    """The ratio from which a slice is good, in (0, 1]."""
    number = value.number()
    if number is None:
        return None
    if not 0 < number <= 1:
        value.refuse(f"must be above 0 and at most 1, not {number}")
        return None
    return objectives.plain(number)
