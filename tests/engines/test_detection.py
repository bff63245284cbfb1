"""What is bad, and when that fires: as pure arithmetic."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.alerts import Comparison, DetectionKind, DetectionStatus
from domain.detection import Parameters, Rule
from domain.telemetry import GoldenSignal
from engines.detection.judging import Frame, judge
from engines.detection.lifecycle import (
    LONGEST_GAP,
    MOST_FIRING,
    Observation,
    State,
    Timing,
    Transition,
    advance,
    failed,
)
from engines.detection.replay import Grid, replay
from engines.detection.statistics import medians, step_deviations, wilson_bounds

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BAD = Observation(is_known=True, is_bad=True, value=2.0)
BETWEEN = Observation(is_known=True, value=1.0)
GOOD = Observation(is_known=True, is_good=True, value=0.0)
UNKNOWN = Observation(is_known=False)
NAN = float("nan")
PENDING, FIRING, OK, ERROR = (
    DetectionStatus.PENDING,
    DetectionStatus.FIRING,
    DetectionStatus.OK,
    DetectionStatus.ERROR,
)


def timing(**seconds: float) -> Timing:
    given = {"fires_after": 60.0, "resolves_after": 60.0, "forgets_after": 3600.0, **seconds}
    return Timing(**{name: timedelta(seconds=value) for name, value in given.items()})


def told(seen: list[Observation], *, every: float = 30, **seconds: float) -> list[tuple[str, str | None]]:
    """The status after each of some observations, and what there was to tell."""
    state: State | None = None
    history: list[tuple[str, str | None]] = []
    for number, each in enumerate(seen):
        state, transition = advance(state, each, timing(**seconds), NOON + timedelta(seconds=number * every))
        history.append((str(state.status), None if transition is None else str(transition)))
    return history


def test_what_is_bad_for_long_enough_fires_and_what_is_good_for_long_enough_is_over():
    assert told([GOOD, BAD, BAD, BAD, BAD, GOOD, GOOD, GOOD]) == [
        ("OK", None),
        ("PENDING", None),
        ("PENDING", None),
        ("FIRING", "FIRED"),
        ("FIRING", None),
        ("FIRING", None),
        ("FIRING", None),
        ("OK", "RECOVERED"),
    ]


def test_without_a_duration_it_fires_at_once():
    assert told([BAD, GOOD], fires_after=0, resolves_after=0) == [("FIRING", "FIRED"), ("OK", "RECOVERED")]


def test_a_moment_of_good_ends_a_suspicion_and_a_moment_of_bad_an_all_clear():
    assert [status for status, _ in told([BAD, BAD, GOOD, BAD, BAD])] == [
        "PENDING",
        "PENDING",
        "OK",
        "PENDING",
        "PENDING",
    ]
    assert told([BAD, BAD, BAD, GOOD, GOOD, BAD, GOOD, GOOD])[-1] == ("FIRING", None)


def test_between_bad_and_good_nothing_begins_and_nothing_ends():
    assert {status for status, _ in told([BETWEEN] * 10)} == {"OK"}
    assert told([BAD, BAD, BAD, *[BETWEEN] * 50])[-1] == ("FIRING", None)


def test_what_is_not_known_for_a_while_changes_nothing():
    assert [status for status, _ in told([BAD, BAD, UNKNOWN, UNKNOWN, BAD])] == ["PENDING"] * 4 + ["FIRING"]
    assert told([BAD, BAD, BAD, *[UNKNOWN] * 100])[-1] == ("FIRING", None)


def test_what_is_not_known_for_long_makes_a_suspicion_begin_anew_and_ends_a_firing():
    gap = int(LONGEST_GAP.total_seconds() // 30) + 1
    assert told([BAD, BAD, *[UNKNOWN] * gap, BAD])[-1] == ("PENDING", None)
    assert told([BAD, BAD, BAD, *[UNKNOWN] * 121])[-1] == ("OK", "LOST")


def test_a_suspicion_from_before_a_long_downtime_begins_anew():
    state, _ = advance(None, BAD, timing(), NOON)
    later = NOON + timedelta(hours=1)
    state, transition = advance(state, BAD, timing(), later)
    assert (state.status, state.bad_since, transition) == (PENDING, later, None)


def test_what_is_unusual_for_a_day_is_usual():
    usual = timing(fires_after=0, gives_up_after=MOST_FIRING.total_seconds())
    state, _ = advance(None, BAD, usual, NOON)
    state, transition = advance(state, BAD, usual, NOON + MOST_FIRING)
    assert (state.status, transition) == (OK, Transition.GIVEN_UP)


def test_a_rule_that_cannot_be_evaluated_keeps_what_fires_and_clears_nothing():
    later = NOON + timedelta(seconds=30)
    for status, expected in ((OK, ERROR), (PENDING, PENDING), (FIRING, FIRING), (ERROR, ERROR)):
        state = State(status=status, since=NOON, evaluated_at=NOON, bad_since=NOON)
        assert failed(state, later).status is expected
    state, transition = advance(failed(advance(None, GOOD, timing(), NOON)[0], later), BETWEEN, timing(), later)
    assert (state.status, transition) == (OK, None)


@given(st.lists(st.tuples(st.sampled_from([BAD, BETWEEN, GOOD, UNKNOWN]), st.integers(-60, 1_200)), max_size=60))
def test_firings_begin_and_end_in_turn_whatever_is_seen_and_whenever(seen):
    state: State | None = None
    at, is_firing = NOON, False
    for observation, seconds in seen:
        at += timedelta(seconds=seconds)
        before = state
        state, transition = advance(state, observation, timing(), at)
        if transition is not None:
            assert is_firing is (transition is not Transition.FIRED)
            is_firing = not is_firing
        assert is_firing is (state.status is FIRING)
        assert (state.bad_since is not None) is (state.status in (PENDING, FIRING))
        again, nothing = advance(state, observation, timing(), state.evaluated_at)
        assert (again, nothing) == (state, None), "the same moment twice changes nothing"
        if before is not None and at <= before.evaluated_at:
            assert state == before


def threshold(**changes: Any) -> Rule:
    given: dict[str, Any] = {
        "kind": DetectionKind.THRESHOLD,
        "signal": GoldenSignal.ERROR_RATIO,
        "threshold": 0.05,
        **changes,
    }
    return Rule(**given)


def test_a_threshold_leaves_a_gap_between_bad_and_good():
    rule = threshold(parameters=Parameters(recovery_threshold=0.03))
    said = judge(rule, Frame(np.array([0.06, 0.04, 0.03, NAN])))
    assert said.bad.tolist() == [True, False, False, False]
    assert said.good.tolist() == [False, False, True, False]
    assert said.known.tolist() == [True, True, True, False]


def test_below_a_threshold_is_bad_where_less_is_worse():
    rule = threshold(signal=GoldenSignal.REQUEST_RATE, comparison=Comparison.BELOW, threshold=1.0)
    assert judge(rule, Frame(np.array([0.5, 1.0, 2.0]))).bad.tolist() == [True, False, False]


def test_one_failure_of_a_few_requests_is_no_high_error_ratio():
    rule = threshold(parameters=Parameters(confidence=0.99))
    frame = Frame(np.array([0.5, 0.5, 0.06, 0.06]), np.array([2.0, 200.0, 200.0, 20_000.0]))
    assert judge(rule, frame).bad.tolist() == [False, True, False, True]


def test_too_few_requests_say_nothing():
    rule = threshold(parameters=Parameters(minimum_requests=20))
    said = judge(rule, Frame(np.array([0.5, 0.5]), np.array([19.0, 20.0])))
    assert (said.known.tolist(), said.bad.tolist()) == ([False, True], [False, True])


def test_a_change_is_measured_against_what_was():
    rule = Rule(
        kind=DetectionKind.RATE_OF_CHANGE,
        query="x",
        threshold=0.5,
        parameters=Parameters(minimum_value=10),
    )
    recent = np.array([[100.0, 100.0, 100.0, 120.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0], [NAN] * 4])
    said = judge(rule, Frame(np.array([160.0, 2.0, 0.0, 5.0]), recent=recent))
    assert said.bad.tolist() == [True, False, False, False]
    assert said.known.tolist() == [True, True, True, False]


def seasonal(**changes: Any) -> Rule:
    given: dict[str, Any] = {
        "kind": DetectionKind.SEASONAL,
        "signal": GoldenSignal.LATENCY_P95,
        "threshold": 4.0,
        **changes,
    }
    return Rule(**given)


def frame(value: float, *, recent: list[float], earlier: list[list[float]], kept: Any = None) -> Frame:
    return Frame(
        np.array([value]),
        recent=np.array([recent]),
        earlier=np.array([earlier]),
        kept=None if kept is None else np.array([kept]),
    )


HOUR = [1.0, 1.1, 0.9] * 10
DAYS = [[1.0, 1.05, 0.95, 1.0] for _ in range(7)]


@pytest.mark.parametrize(
    ("value", "recent", "earlier", "expected"),
    [
        (3.0, HOUR, DAYS, (True, True)),
        (1.2, HOUR, DAYS, (True, False)),
        (3.0, HOUR, [[3.0, 2.9, 3.1, 3.0]] * 7, (True, False)),
        (2.0, [2.0, 1.9, 2.1] * 10, DAYS, (True, False)),
        (3.0, [1.0] * 30, [[1.0] * 4] * 7, (True, True)),
        (1.0, [1.0] * 30, [[1.0] * 4] * 7, (True, False)),
        (3.0, HOUR, [[NAN] * 4] * 7, (True, True)),
        (3.0, HOUR, [*DAYS[:2], *[[NAN] * 4] * 5], (True, True)),
        (3.0, [NAN] * 25 + HOUR[:5], [[NAN] * 4] * 7, (False, False)),
        (NAN, HOUR, DAYS, (False, False)),
        (1.0, HOUR, [[1.0, 1.0, 1.0, 1.0], *[[9.0, 9.0, 1.0, 1.0]] * 2, *DAYS[:4]], (True, False)),
    ],
    ids=[
        "a jump",
        "a little more",
        "usual at this hour",
        "as in the last hour",
        "a jump from a flat line",
        "a flat line",
        "a new service",
        "too few days",
        "too little known",
        "nothing measured",
        "an incident of another day",
    ],
)
def test_unusual_is_what_is_unlike_this_hour_of_other_days_and_unlike_the_last_hour(value, recent, earlier, expected):
    said = judge(seasonal(), frame(value, recent=recent, earlier=earlier))
    assert (bool(said.known[0]), bool(said.bad[0])) == expected


def test_while_it_is_bad_the_hour_before_is_what_it_is_held_against():
    bad_hour = [3.0] * 30
    kept = judge(seasonal(), frame(2.5, recent=bad_hour, earlier=[[NAN] * 4] * 7, kept=[1.0, 0.1]))
    forgotten = judge(seasonal(), frame(2.5, recent=bad_hour, earlier=[[NAN] * 4] * 7))
    assert (bool(kept.bad[0]), bool(forgotten.bad[0])) == (True, False)


def test_little_traffic_cannot_drop():
    rule = seasonal(
        signal=GoldenSignal.REQUEST_RATE, comparison=Comparison.BELOW, parameters=Parameters(minimum_requests=100)
    )
    for level, expected in ((10.0, True), (0.1, False)):
        usual = [level] * 30
        assert bool(judge(rule, frame(0.0, recent=usual, earlier=[usual[:4]] * 7)).bad[0]) is expected


@given(
    st.lists(st.lists(st.one_of(st.just(NAN), st.floats(-1e6, 1e6)), min_size=5, max_size=5), min_size=1, max_size=6)
)
def test_medians_are_those_of_what_is_there(rows):
    found = medians(np.array(rows))
    for row, median in zip(rows, found, strict=True):
        there = [value for value in row if not np.isnan(value)]
        assert np.isnan(median) if not there else median == pytest.approx(float(np.median(there)))


@given(st.integers(1, 10_000), st.data())
def test_the_true_ratio_lies_around_the_one_that_was_seen(trials, data):
    ratio = data.draw(st.integers(0, trials)) / trials
    lower, upper = wilson_bounds(np.array([ratio]), np.array([float(trials)]), 2.0)
    assert -1e-9 <= lower[0] <= ratio + 1e-9
    assert ratio - 1e-9 <= upper[0] <= 1 + 1e-9


def test_a_slope_is_no_noise():
    slope = np.linspace(0, 100, 30)
    assert step_deviations(slope[np.newaxis])[0] < 0.2 * np.std(slope)


@given(st.lists(st.one_of(st.just(NAN), st.floats(0, 1e12)), min_size=60, max_size=60), st.sampled_from(DetectionKind))
def test_every_rule_bears_every_series(values, kind):
    rule = Rule(kind=kind, signal=GoldenSignal.REQUEST_RATE, comparison=Comparison.BELOW, threshold=1.0)
    grid = Grid(NOON.timestamp(), 300, 60)
    with np.errstate(all="raise", under="ignore", divide="ignore", invalid="ignore", over="ignore"):
        for firing in replay(rule, grid, np.array([values])):
            assert firing.began_at <= firing.fired_at
            assert firing.ended_at is None or firing.fired_at < firing.ended_at
