"""Whole definitions of any kind, as hypothesis makes them up."""

from datetime import date
from decimal import Decimal

from hypothesis import strategies as st

from domain.objectives import (
    Alerting,
    AlertMessage,
    AvailabilityIndicator,
    Budgeting,
    BurnRateAlert,
    CalendarUnit,
    CalendarWindow,
    Comparison,
    Composite,
    CompositeRule,
    LatencyIndicator,
    Member,
    ObjectiveDefinition,
    RatioIndicator,
    RawRatioIndicator,
    RollingWindow,
    ThresholdIndicator,
)
from domain.slos import BudgetingMethod, BurnResponse

DAY = 86_400
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40)
words = st.text(st.characters(categories=("L", "N"), include_characters="-_. /:'\"#"), min_size=1, max_size=20).filter(
    lambda word: word.strip() == word and word.isprintable()
)
labels = st.dictionaries(words, texts, max_size=3)
ratios = st.decimals("0.000001", "0.999999", places=6).map(lambda ratio: Decimal(f"{ratio.normalize():f}"))
numbers = st.decimals("0.001", "100000", places=3).map(lambda number: Decimal(f"{number.normalize():f}"))
selectors = st.sampled_from(
    ("requests_total", 'requests_total{code=~"5.."}', "sum(rate(e[$window]))", "sum by (team) (rate(t[5m]))", "x + y")
)
plain_selectors = st.sampled_from(("up", 'probe_success{job="a, b"}', 'd_seconds{path="/x\\"y"}'))
pairs = st.tuples(selectors, selectors).filter(lambda pair: pair[0] != pair[1])
indicators = st.one_of(
    st.builds(lambda pair, gauge: RatioIndicator(good=pair[0], total=pair[1], is_gauge=gauge), pairs, st.booleans()),
    st.builds(lambda pair, gauge: RatioIndicator(bad=pair[0], total=pair[1], is_gauge=gauge), pairs, st.booleans()),
    st.builds(RawRatioIndicator, selectors, st.booleans()),
    st.builds(LatencyIndicator, plain_selectors, numbers, st.booleans(), st.none() | selectors),
    st.builds(AvailabilityIndicator, plain_selectors),
    st.builds(ThresholdIndicator, selectors, st.sampled_from(Comparison), numbers),
)
members = st.builds(Member, words, words, numbers)
composites = st.builds(
    Composite,
    st.sampled_from(CompositeRule),
    st.lists(members, min_size=2, max_size=4, unique_by=lambda one: (one.service.lower(), one.name.lower())).map(tuple),
)
windows = st.one_of(
    st.integers(3 * DAY, 366 * DAY).map(RollingWindow),
    st.integers(3, 52).map(lambda weeks: RollingWindow(weeks * 7 * DAY)),
    st.builds(
        CalendarWindow,
        st.sampled_from((CalendarUnit.WEEK, CalendarUnit.MONTH, CalendarUnit.QUARTER)),
        st.integers(1, 4),
        st.sampled_from(("UTC", "Europe/Berlin", "America/New_York")),
        st.none() | st.dates(date(2020, 1, 1), date(2026, 1, 1)).map(lambda day: day.replace(day=min(day.day, 28))),
    ),
)
budgetings = st.builds(
    Budgeting, st.sampled_from(BudgetingMethod), st.sampled_from((60, 300, 900, 3_600)), st.none() | ratios
)
messages = st.builds(AlertMessage, labels, labels, st.booleans())
burn_rates = st.builds(
    lambda name, response, long, part, factor: BurnRateAlert(name, response, long, max(long // part, 1), factor),
    words,
    st.sampled_from(BurnResponse),
    st.integers(60, 3 * DAY),
    st.integers(1, 12),
    numbers,
)
alertings = st.builds(
    Alerting,
    name=words,
    labels=labels,
    annotations=labels,
    page=messages,
    ticket=messages,
    burn_rates=st.lists(burn_rates, max_size=3, unique_by=lambda pair: pair.name).map(tuple),
    minimum_total_events=st.integers(0, 1_000),
    minimum_bad_events=st.integers(0, 10),
) | st.just(Alerting())


def definitions(indicators: st.SearchStrategy = indicators | composites) -> st.SearchStrategy[ObjectiveDefinition]:
    return st.builds(
        ObjectiveDefinition,
        service=words,
        name=words,
        display_name=words | st.just(""),
        description=texts,
        objective=ratios,
        window=windows,
        budgeting=budgetings | st.just(Budgeting()),
        indicator=indicators,
        alerting=alertings,
        labels=labels,
        annotations=labels,
    ).flatmap(
        lambda one: (
            st.just(one)
            if isinstance(one.indicator, Composite)
            else st.sampled_from(((), ("team",), ("path", "team"))).map(
                lambda groups: ObjectiveDefinition(
                    **{field: getattr(one, field) for field in one.__dataclass_fields__ if field != "group_by"},
                    group_by=groups,
                )
            )
        )
    )
