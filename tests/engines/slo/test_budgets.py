"""Budgets against exact fractions: a slow and obvious oracle, and the cases that averages of ratios get wrong."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.objectives import (
    Alerting,
    Budgeting,
    BurnRateAlert,
    ObjectiveDefinition,
    RatioIndicator,
    RollingWindow,
)
from domain.slos import BudgetingMethod, BurnResponse, SLOStatus
from engines.slo.batches import Counted, Question, good_events
from engines.slo.indicators import events
from engines.slo.ledger import EXCLUDED, Ledger, Plan
from engines.slo.series import Record, Version, at_moments, judge, measure
from engines.slo.slices import Slices
from engines.slo.windows import DAY_SECONDS

MIDNIGHT = 1_772_323_200
MINUTES = 300
RATIO = RatioIndicator(good="good_total", total="all_total")
OBJECTIVES = st.sampled_from([Decimal("0.9"), Decimal("0.95"), Decimal("0.99"), Decimal("0.999"), Decimal("0.9995")])
COUNTS = st.one_of(
    st.none(),
    st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)).map(lambda pair: (min(pair), max(pair))),
)
METHODS = st.sampled_from(list(BudgetingMethod))


def objective(**more: object) -> ObjectiveDefinition:
    known = {"objective": Decimal("0.99"), "window": RollingWindow(DAY_SECONDS), "alerting": Alerting()}
    return ObjectiveDefinition(service="shop", name="availability", indicator=RATIO, **(known | more))


def slices(counts: list[tuple[int, int] | None], excluded: list[bool] | None = None, start: int = MIDNIGHT) -> Slices:
    good = np.array([[np.nan if pair is None else float(pair[0]) for pair in counts]])
    total = np.array([[np.nan if pair is None else float(pair[1]) for pair in counts]])
    flags = np.array([excluded or [False] * len(counts)], dtype=bool)
    return Slices(start, MINUTES, good.reshape(1, -1), total.reshape(1, -1), flags.reshape(1, -1))


def moment(columns: int) -> datetime:
    return datetime.fromtimestamp(MIDNIGHT + columns * MINUTES, UTC)


def oracle(
    counts: list[tuple[int, int] | None],
    excluded: list[bool],
    method: BudgetingMethod,
    budgets: list[Fraction],
    slice_objective: Fraction,
) -> tuple[Fraction | None, Fraction | None]:
    """SLI and consumed budget, a slice at a time, in fractions."""
    bad = total = allowed = Fraction(0)
    for pair, is_excluded, budget in zip(counts, excluded, budgets, strict=True):
        if pair is None or is_excluded or pair[1] == 0:
            continue
        good, every = pair
        match method:
            case BudgetingMethod.OCCURRENCES:
                spent, counted = Fraction(every - good), Fraction(every)
            case BudgetingMethod.TIMESLICES:
                spent, counted = Fraction(Fraction(good, every) < slice_objective), Fraction(1)
            case BudgetingMethod.RATIO_TIMESLICES:
                spent, counted = Fraction(every - good, every), Fraction(1)
        bad, total, allowed = bad + spent, total + counted, allowed + counted * budget
    return (None, None) if total == 0 else (1 - bad / total, bad / allowed)


@given(
    rows=st.lists(st.tuples(COUNTS, st.booleans()), min_size=1, max_size=40),
    method=METHODS,
    promised=OBJECTIVES,
    window=st.integers(1, 45),
)
def test_sli_and_budget_are_those_of_exact_fractions(rows, method, promised, window):
    counts, excluded = [pair for pair, _ in rows], [flag and at % 3 == 0 for at, (_, flag) in enumerate(rows)]
    definition = objective(
        objective=promised, window=RollingWindow(window * MINUTES), budgeting=Budgeting(method), alerting=Alerting()
    )
    record = Record.alone(definition)
    measured = measure(judge(slices(counts, excluded), record), record.promise, moment(len(counts)))
    budget = 1 - Fraction(promised)
    last = slice(max(len(counts) - window, 0), None)
    kept = counts[last]
    sli, consumed = oracle(kept, excluded[last], method, [budget] * len(kept), Fraction(promised))
    if sli is None or consumed is None:
        assert (measured.sli, measured.status, measured.consumed) == (None, SLOStatus.NO_DATA, 0)
    else:
        assert measured.sli == pytest.approx(float(sli), abs=1e-12)
        assert measured.consumed == pytest.approx(float(consumed), rel=1e-9, abs=1e-12)
        assert measured.remaining == 1 - measured.consumed
    gone = sum(excluded[last])
    known = sum(pair is not None and not flag for pair, flag in zip(kept, excluded[last], strict=True))
    assert measured.coverage == pytest.approx(known / (window - gone) if window > gone else 1)


@given(
    counts=st.lists(COUNTS, min_size=2, max_size=30),
    method=METHODS,
    promised=st.lists(OBJECTIVES, min_size=2, max_size=2),
    changed_at=st.integers(1, 29),
)
def test_each_slice_is_judged_by_the_version_in_force(counts, method, promised, changed_at):
    budgeting = Budgeting(method, slice_objective=Decimal("0.9"))
    definition = objective(objective=promised[1], budgeting=budgeting)
    since = MIDNIGHT + changed_at * MINUTES
    versions = [Version(0, promised[0], Decimal("0.9")), Version(since, promised[1], Decimal("0.9"))]
    measured = measure(
        judge(slices(counts), Record(definition, versions)), Record.alone(definition).promise, moment(len(counts))
    )
    budgets = [1 - Fraction(promised[at >= changed_at]) for at in range(len(counts))]
    _, consumed = oracle(counts, [False] * len(counts), method, budgets, Fraction(9, 10))
    assert measured.consumed == pytest.approx(float(consumed or 0), rel=1e-9, abs=1e-12)


@given(
    counts=st.lists(COUNTS, min_size=1, max_size=60),
    long=st.integers(1, 40),
    short=st.integers(1, 12),
    factor=st.sampled_from(["0.5", "1", "2", "14.4"]),
    minimum=st.sampled_from([0, 1, 10**5]),
)
def test_burn_rates_and_their_alerts_are_those_of_exact_fractions(counts, long, short, factor, minimum):
    short = min(short, long)
    pair = BurnRateAlert("pair", BurnResponse.PAGE, long * MINUTES, short * MINUTES, Decimal(factor))
    definition = objective(alerting=Alerting(burn_rates=(pair,), minimum_total_events=minimum))
    record = Record.alone(definition)
    [burn] = measure(judge(slices(counts), record), record.promise, moment(len(counts))).burns
    breached = True
    for window, rate in ((long, burn.long_rate), (short, burn.short_rate)):
        kept = counts[max(len(counts) - window, 0) :]
        exact = oracle(
            kept, [False] * len(kept), BudgetingMethod.OCCURRENCES, [Fraction(1, 100)] * len(kept), Fraction(1)
        )
        assert (rate is None) == (exact[1] is None)
        assert rate is None or rate == pytest.approx(float(exact[1] or 0), rel=1e-9, abs=1e-12)
        total = sum(pair[1] for pair in kept if pair is not None)
        breached &= exact[1] is not None and exact[1] > Fraction(factor) and total >= minimum
    assert burn.is_breached == breached


@given(
    counts=st.lists(COUNTS, min_size=1, max_size=50), window=st.integers(1, 60), step=st.integers(1, 7), method=METHODS
)
def test_a_history_has_at_every_moment_what_was_measured_then(counts, window, step, method):
    definition = objective(window=RollingWindow(window * MINUTES), budgeting=Budgeting(method))
    record = Record.alone(definition)
    judged = judge(slices(counts), record)
    times = [MIDNIGHT + column * MINUTES for column in range(1, len(counts) + 1, step)]
    moments, sums = at_moments(judged, definition.window, times)
    for at, sli, burn in zip(moments, sums.sli, sums.burn, strict=True):
        then = measure(judged, record.promise, datetime.fromtimestamp(at, UTC))
        assert then.sli is None if np.isnan(sli) else then.sli == pytest.approx(sli, abs=1e-9)
        assert then.consumed == pytest.approx(0 if np.isnan(burn) else burn, rel=1e-6, abs=1e-6)


@given(
    counts=st.lists(COUNTS, min_size=2, max_size=12),
    more=st.lists(COUNTS, min_size=1, max_size=12),
    window=st.integers(1, 9),
    methods=st.lists(METHODS, min_size=2, max_size=2),
)
def test_what_is_kept_in_memory_says_the_same_as_all_of_the_slices(counts, more, window, methods):
    """Slices of four hours, so that a window spans days that are kept, folded and cut into."""
    seconds = 14_400
    counts = (counts * 12)[: 6 * 9]
    definitions = [
        objective(
            window=RollingWindow(window * DAY_SECONDS - seconds * at), budgeting=Budgeting(method), alerting=alerting
        )
        for at, method in enumerate(methods)
        for alerting in (
            Alerting(burn_rates=(BurnRateAlert("p", BurnResponse.PAGE, 2 * seconds, seconds, Decimal(1)),)),
        )
    ]
    ledger: Ledger[int] = Ledger(seconds, 1)
    every = [*counts, *more]

    def until(column: int) -> Slices:
        known = slices(every[:column])
        return Slices(MIDNIGHT, seconds, known.good, known.total, known.excluded)

    records = [Record.alone(definition) for definition in definitions]
    for key, record in enumerate(records):
        definition = record.definition
        plan = Plan(record.promise, definition.budgeting.method, definition.objective, definition.objective)
        ledger.load(key, plan, until(len(counts)))
    for column in range(len(counts), len(every)):
        pair = every[column]
        good, total = (np.nan, np.nan) if pair is None else pair
        ledger.append([0, 1], MIDNIGHT + column * seconds, np.array([good] * 2, float), np.array([total] * 2, float))
        at = datetime.fromtimestamp(MIDNIGHT + (column + 1) * seconds, UTC)
        whole = until(column + 1)
        cut = {key: whole.between(day, day + DAY_SECONDS) for key, day in ledger.first_days([0, 1], at)}
        found = ledger.measure([0, 1], at, cut)
        for key, record in enumerate(records):
            expected = measure(judge(whole, record), record.promise, at)
            assert found[key].consumed == pytest.approx(expected.consumed, rel=1e-5, abs=1e-5)
            assert found[key].status is expected.status or expected.consumed == pytest.approx(1, rel=1e-4)
            for one, other in zip(found[key].burns, expected.burns, strict=True):
                assert (one.long_rate is None) == (other.long_rate is None)


def test_an_excluded_slice_counts_for_nothing_in_memory_either():
    record = Record.alone(objective())
    ledger: Ledger[str] = Ledger(MINUTES, 1)
    ledger.load(
        "a", Plan(record.promise, BudgetingMethod.OCCURRENCES, Decimal("0.99"), Decimal("0.99")), slices([(9, 10)])
    )
    ledger.append(["a"], MIDNIGHT + MINUTES, np.array([EXCLUDED]), np.array([EXCLUDED]))
    found = ledger.measure(["a"], moment(2), {})["a"]
    assert (found.total_events, found.sli) == (10, pytest.approx(0.9))
    assert found.coverage == pytest.approx(1 / 287)


def naive(counts: list[tuple[int, int] | None], budget: float) -> float:
    """What is left of a budget by the mean of the slices' error ratios, as recording rules average them."""
    ratios = [(total - good) / total if total else float("nan") for good, total in filter(None, counts)]
    return 1 - float(np.mean(ratios)) / budget


def month(counts: list[tuple[int, int] | None], promised: str = "0.999"):
    definition = objective(objective=Decimal(promised), window=RollingWindow(30 * DAY_SECONDS))
    record = Record.alone(definition)
    return measure(judge(slices(counts), record), record.promise, moment(len(counts)))


def test_one_empty_window_spoils_nothing():
    counts = [(1000, 1000)] * 8639
    measured = month([*counts[:4000], (0, 0), *counts[4000:]])
    assert np.isnan(naive([*counts[:4000], (0, 0), *counts[4000:]], 0.001))
    assert (measured.sli, measured.remaining, measured.status) == (1, 1, SLOStatus.HEALTHY)


def test_errors_of_a_quiet_night_weigh_as_much_as_their_events():
    night, day = 48, 240
    counts = ([(10 - 1, 10)] * night + [(1000, 1000)] * day) * 30
    measured = month(counts)
    assert naive(counts, 0.001) == pytest.approx(-15.67, abs=0.01)
    exact = 1 - Fraction(night * 1, night * 10 + day * 1000) * 1000
    assert measured.remaining == pytest.approx(float(exact))
    assert measured.remaining > 0.8


def test_an_error_series_that_appears_late_was_zero_before():
    question = Question(0, events(RatioIndicator(bad="errors_total", total="all_total"), MINUTES))
    times = [float(MIDNIGHT + at * MINUTES) for at in range(1, 101)]
    late = {at: 6.0 for at in times[60:]}
    good = good_events(question, Counted({(): late}, {(): dict.fromkeys(times, 100.0)}))
    counts = [(int(good[()][at]), 100) for at in times]
    measured = month(counts, "0.99")
    present = [pair for pair, at in zip(counts, times, strict=True) if at in late]
    assert naive(present, 0.01) == pytest.approx(-5), "what averages over the series' own life say"
    assert measured.remaining == pytest.approx(1 - 40 * 6 / (100 * 100) / 0.01) == pytest.approx(-1.4)


def test_no_traffic_burns_nothing_and_says_that_there_is_no_data():
    measured = month([(0, 0)] * 100)
    assert (measured.status, measured.sli, measured.consumed, measured.exhausts_at) == (
        SLOStatus.NO_DATA,
        None,
        0,
        None,
    )
    assert measured.coverage == pytest.approx(100 / 8640)


def test_an_overspent_budget_is_a_number_however_low():
    assert month([(0, 100)] * 300).remaining == pytest.approx(-999)


def test_time_to_exhaustion_follows_from_the_present_rate():
    counts = [(1000, 1000)] * (8640 - 12) + [(990, 1000)] * 12
    measured = month(counts)
    left = 1 - 12 * 10 / (8640 * 1000) / 0.001
    assert measured.burns[0].long_rate == pytest.approx(10)
    assert measured.exhausts_at is not None
    assert (measured.exhausts_at - measured.measured_at).total_seconds() == pytest.approx(left * 30 * DAY_SECONDS / 10)


def test_several_slices_that_are_judged_together_are_one():
    budgeting = Budgeting(BudgetingMethod.TIMESLICES, 3 * MINUTES, Decimal("0.9"))
    record = Record.alone(objective(budgeting=budgeting))
    judged = judge(slices([(0, 1), (10, 10), (10, 10), (0, 5), (1, 1), (1, 1)]), record)
    groups = [
        sum(share for share, _ in rows)
        for _, rows in groupby(zip(judged.bad[0], "aaabbb", strict=True), lambda r: r[1])
    ]
    assert groups == [0, 1], "20 of 21 are good enough, 2 of 7 are not"
    assert judged.total.sum() == pytest.approx(2)
