"""From an indicator to the PromQL that counts its events over one window.

Counts are increases of counters over the window, or moments within it. Ratios are the same with rates left as rates,
so that rules read as people wrote them. Whatever is missing of good or bad events while there are events at all is
zero: an error series often appears with its first error only, and its first value counts in full.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from domain.objectives import (
    AvailabilityIndicator,
    Comparison,
    Indicator,
    LatencyIndicator,
    RatioIndicator,
    RawRatioIndicator,
    ThresholdIndicator,
)
from engines.slo import promql

_COMPARISONS: Final = {
    Comparison.LESS: "<",
    Comparison.LESS_OR_EQUAL: "<=",
    Comparison.GREATER: ">",
    Comparison.GREATER_OR_EQUAL: ">=",
}
_LONGEST_STEP_SECONDS: Final = 60
_STEPS_OF_A_WINDOW: Final = 5


@dataclass(frozen=True, slots=True)
class Events:
    """Expressions for good or bad events, one of them None, and for all events, over one window.

    Each gives one series a group, with the labels of the group and no others. `part_is_good` says which one is given.
    """

    total: str
    good: str | None = None
    bad: str | None = None
    recorded: str | None = None
    """The selector of a series that is the part already, where all is one event (a recorded ratio)."""

    @property
    def part(self) -> str:
        """The expression beside the total: of good events or of bad ones."""
        return self.good if self.good is not None else self.bad or ""

    @property
    def part_is_good(self) -> bool:
        """Whether `part` counts good events."""
        return self.good is not None

    @property
    def error_ratio(self) -> str:
        """Bad events of all events, 0 to 1; nothing where there were no events at all, rather than NaN."""
        zero = f"({self.part}) or 0 * ({self.total})"
        ratio = f"({zero}) / (({self.total}) > 0)"
        return f"1 - {ratio}" if self.part_is_good else ratio

    @property
    def bad_or_zero(self) -> str:
        """Bad events, 0 where there are only good ones."""
        if self.bad is not None:
            return f"({self.bad}) or 0 * ({self.total})"
        return f"({self.total}) - (({self.good}) or 0 * ({self.total}))"


def events(
    indicator: Indicator, window_seconds: float, *, group_by: Sequence[str] = (), as_counts: bool = True
) -> Events:
    """What counts the events of an indicator over the last `window_seconds`.

    With `as_counts` the values are numbers of events; without it rates stay rates (events per second), which is the
    same for a ratio. A raw ratio counts as one event a window, of which its ratio was bad.
    """
    window = promql.duration(window_seconds)
    indicator = _without_comments(indicator)
    match indicator:
        case RatioIndicator():
            return _ratio(indicator, window_seconds, group_by, as_counts)
        case RawRatioIndicator():
            ratio = _expression(promql.with_window(indicator.ratio, window), group_by)
            total = f"0 * ({ratio}) + 1"
            recorded = indicator.ratio if promql.is_selector(indicator.ratio) else None
            if indicator.is_good:
                return Events(total, good=ratio, recorded=recorded)
            return Events(total, bad=ratio, recorded=recorded)
        case LatencyIndicator():
            return _latency(indicator, window, group_by, as_counts)
        case AvailabilityIndicator():
            if promql.is_selector(indicator.gauge):
                up, seen = (
                    f"sum_over_time({indicator.gauge}[{window}])",
                    f"count_over_time({indicator.gauge}[{window}])",
                )
            else:
                range = _subquery(indicator.gauge, window_seconds)
                up, seen = f"sum_over_time({range})", f"count_over_time({range})"
            return Events(_summed(seen, group_by), good=_summed(up, group_by))
        case ThresholdIndicator():
            value = promql.with_window(indicator.value, window)
            comparison = f"{_COMPARISONS[indicator.comparison]} bool {promql.number(indicator.threshold)}"
            good = _subquery(f"({value}) {comparison}", window_seconds)
            seen = _subquery(value, window_seconds)
            return Events(
                _summed(f"count_over_time({seen})", group_by), good=_summed(f"sum_over_time({good})", group_by)
            )


def queries(indicator: Indicator) -> dict[str, str]:
    """The queries of an indicator as they were given, by the names of their fields."""
    match indicator:
        case RatioIndicator(good=good, bad=bad, total=total):
            given = {"good": good, "bad": bad, "total": total}
        case RawRatioIndicator(ratio=ratio):
            given = {"ratio": ratio}
        case LatencyIndicator(histogram=histogram, total=total):
            given = {"histogram": histogram, "total": total}
        case AvailabilityIndicator(gauge=gauge):
            given = {"gauge": gauge}
        case ThresholdIndicator(value=value):
            given = {"value": value}
    return {name: query for name, query in given.items() if query is not None}


def _without_comments(indicator: Indicator) -> Indicator:
    """The indicator with queries that can be put into others: behind a comment, nothing would count."""
    bare: dict[str, Any] = {name: promql.bare(query) for name, query in queries(indicator).items() if "#" in query}
    return replace(indicator, **bare) if bare else indicator


def bucket_bounds(threshold_seconds: Decimal) -> tuple[str, ...]:
    """How the label `le` may say a threshold: `1` and `1.0`, `0.00001` and `1e-05`."""
    plain = promql.number(threshold_seconds)
    spelled = [plain, repr(float(threshold_seconds)), f"{float(threshold_seconds):g}"]
    if "." not in plain:
        spelled.append(f"{plain}.0")
    return tuple(dict.fromkeys(spelled))


def histogram_part(histogram: str, suffix: str, *matchers: str) -> str:
    """The selector of one part of a classic histogram: `h{job="api"}` with `_bucket` and more matchers."""
    [selector] = promql.selectors(histogram)
    text = histogram[selector.start : selector.end]
    name, brace, inside = text.partition("{")
    conditions = [part for part in (inside.rpartition("}")[0].strip().rstrip(","), *matchers) if part]
    labels = f"{{{','.join(conditions)}}}" if conditions or brace else ""
    return f"{name.strip()}{suffix}{labels}"


def threshold_bucket(indicator: LatencyIndicator) -> str:
    """The selector of the bucket whose bound is the threshold, however its label says so."""
    bounds = bucket_bounds(indicator.threshold_seconds)
    alternatives = "|".join(bound.replace(".", "\\\\.").replace("+", "\\\\+") for bound in bounds)
    return histogram_part(indicator.histogram, "_bucket", f'le=~"{alternatives}"')


def _ratio(indicator: RatioIndicator, window_seconds: float, group_by: Sequence[str], as_counts: bool) -> Events:
    def counted(query: str) -> str:
        if indicator.is_gauge:
            return _gauge(query, window_seconds, group_by)
        return _counter(query, promql.duration(window_seconds), group_by, as_counts, witness)

    witness = next(iter(promql.counters(indicator.total)), None)
    total = counted(indicator.total)
    if indicator.good is not None:
        return Events(total, good=counted(indicator.good))
    return Events(total, bad=counted(indicator.bad or ""))


def _latency(indicator: LatencyIndicator, window: str, group_by: Sequence[str], as_counts: bool) -> Events:
    function = "increase" if as_counts else "rate"
    if indicator.is_native:
        histogram = _summed(f"{function}({indicator.histogram}[{window}])", group_by)
        total = f"histogram_count({histogram})"
        threshold = promql.number(indicator.threshold_seconds)
        fraction = f"histogram_fraction(-Inf, {threshold}, {histogram})"
        # The fraction of no events is NaN, of which nothing counts.
        return Events(total, good=f"({fraction} >= 0) * {total}")
    bucket = threshold_bucket(indicator)
    total_query = indicator.total or histogram_part(indicator.histogram, "_count")
    witness = next(iter(promql.counters(total_query)), None)
    good = promql.increase(bucket, window, witness) if as_counts and witness else f"{function}({bucket}[{window}])"
    return Events(_counter(total_query, window, group_by, as_counts, witness), good=_summed(good, group_by))


def _counter(query: str, window: str, group_by: Sequence[str], as_counts: bool, witness: str | None) -> str:
    if promql.is_selector(query):
        counted = promql.increase(query, window, witness or query) if as_counts else f"rate({query}[{window}])"
        return _summed(counted, group_by)
    return _expression(promql.over(query, window, as_counts=as_counts, witness=witness), group_by)


def _gauge(query: str, window_seconds: float, group_by: Sequence[str]) -> str:
    window = promql.duration(window_seconds)
    if promql.has_window(query):
        return _expression(promql.with_window(query, window), group_by)
    if promql.is_selector(query):
        return _summed(f"sum_over_time({query}[{window}])", group_by)
    return _expression(f"sum_over_time({_subquery(query, window_seconds)})", group_by)


def _subquery(expression: str, window_seconds: float) -> str:
    """The values of an expression within the window. One second shorter, so that both its ends do not count."""
    step_seconds = max(1, min(_LONGEST_STEP_SECONDS, int(window_seconds / _STEPS_OF_A_WINDOW)))
    range = promql.duration(max(window_seconds - 1, 1))
    return f"({expression})[{range}:{promql.duration(step_seconds)}]"


def _summed(expression: str, group_by: Sequence[str]) -> str:
    return f"sum by ({', '.join(group_by)}) ({expression})" if group_by else f"sum({expression})"


def _expression(expression: str, group_by: Sequence[str]) -> str:
    """What people wrote, as it is: how it is grouped is their choice, which is checked when it is saved."""
    return f"sum by ({', '.join(group_by)}) ({expression})" if group_by else expression
