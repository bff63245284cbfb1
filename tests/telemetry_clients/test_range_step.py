"""How a range is divided into steps."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry_clients.errors import TelemetryBadQuery
from telemetry_clients.prometheus import MAX_POINTS, range_step_seconds

START = datetime(2026, 11, 23, tzinfo=UTC)
SPANS = st.floats(min_value=0, max_value=100 * 365 * 86400)


def step_of(span_seconds: float, wanted_seconds: int | None = None) -> int:
    return range_step_seconds(START, START + timedelta(seconds=span_seconds), wanted_seconds)


@given(SPANS, st.none() | st.integers(min_value=1, max_value=10**6))
def test_no_range_has_more_points_than_prometheus_gives(span_seconds, wanted_seconds):
    assert span_seconds // step_of(span_seconds, wanted_seconds) + 1 <= MAX_POINTS


@given(SPANS, st.integers(min_value=1, max_value=10**6))
def test_a_wanted_step_is_only_ever_made_longer_and_no_longer_than_needed(span_seconds, wanted_seconds):
    step = step_of(span_seconds, wanted_seconds)
    assert step >= wanted_seconds
    assert step == wanted_seconds or span_seconds // (step - 1) + 1 > MAX_POINTS


@pytest.mark.parametrize(
    ("span_seconds", "step_seconds"),
    [(0, 1), (60, 1), (300, 2), (3600, 15), (6 * 3600, 120), (86400, 600), (7 * 86400, 3600), (365 * 86400, 2 * 86400)],
)
def test_without_a_wish_the_step_is_round_and_gives_a_graph_of_about_240_points(span_seconds, step_seconds):
    assert step_of(span_seconds) == step_seconds


@pytest.mark.parametrize("wanted_seconds", [0, -15])
def test_a_step_that_is_not_positive_is_a_bad_query(wanted_seconds):
    with pytest.raises(TelemetryBadQuery, match="not positive"):
        step_of(3600, wanted_seconds)


def test_a_range_that_ends_before_it_starts_is_a_bad_query():
    with pytest.raises(TelemetryBadQuery, match="ends before it starts"):
        step_of(-1)
