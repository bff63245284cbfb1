"""What does not count: time that is excluded, events that are corrected."""

from datetime import UTC, datetime

import numpy as np
import pytest

from domain.errors import ValidationFailed
from domain.slos import AdjustmentKind
from engines.slo.adjustments import Adjustment, adjusted, intervals, recurrence
from engines.slo.slices import Slices


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def excluded(begins: str, ends: str, **more: object) -> Adjustment:
    return Adjustment(kind=AdjustmentKind.EXCLUSION, starts_at=at(begins), ends_at=at(ends), **more)


def begins(adjustment: Adjustment, since: str, until: str) -> list[str]:
    return [
        datetime.fromtimestamp(start, UTC).strftime("%m-%dT%H:%M")
        for start, _ in intervals(adjustment, at(since), at(until))
    ]


def test_what_recurs_keeps_to_the_clocks_of_its_time_zone():
    nightly = excluded("2026-03-27T01:00Z", "2026-03-27T02:00Z", recurrence="FREQ=DAILY", time_zone="Europe/Berlin")
    assert begins(nightly, "2026-03-28T00:00Z", "2026-03-31T00:00Z") == ["03-28T01:00", "03-29T01:00", "03-30T00:00"]


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("FREQ=WEEKLY;BYDAY=SU,WE", ["11-22T01:00", "11-25T01:00"]),
        ("RRULE:FREQ=DAILY;INTERVAL=2;COUNT=2", []),
        ("FREQ=DAILY;UNTIL=20261120T020000Z", ["11-20T01:00"]),
        ("FREQ=MONTHLY;BYMONTHDAY=21", ["11-21T01:00"]),
    ],
)
def test_rules_of_rfc_5545_say_when(rule, found):
    one = excluded("2026-11-01T01:00Z", "2026-11-01T02:00Z", recurrence=rule)
    assert begins(one, "2026-11-20T00:00Z", "2026-11-26T00:00Z") == found


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "every night",
        "FREQ=HOURLY",
        "FREQ=DAILY;BYDAY=XX",
        "FREQ=DAILY;COUNT=x",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
    ],
)
def test_what_is_no_rule_or_comes_too_often_is_refused(rule):
    with pytest.raises(ValidationFailed):
        recurrence(rule)


def slices(good: list[float], total: list[float]) -> Slices:
    return Slices(0, 300, np.array([good]), np.array([total]), np.zeros((1, len(good)), dtype=bool))


def test_an_exclusion_takes_out_every_slice_that_it_touches():
    one = excluded("1970-01-01T00:09:59Z", "1970-01-01T00:10:01Z")
    assert adjusted(slices([1] * 4, [1] * 4), 0, [one]).excluded.tolist() == [[False, True, True, False]]


def corrected(good: float, total: float) -> Adjustment:
    return Adjustment(
        kind=AdjustmentKind.CORRECTION,
        starts_at=at("1970-01-01T00:00Z"),
        ends_at=at("1970-01-01T00:15Z"),
        good_events=good,
        total_events=total,
    )


def test_events_that_are_given_back_were_bad_where_most_were():
    found = adjusted(slices([70, 90, 100], [100, 100, 100]), 0, [corrected(20, 0)])
    assert found.good.tolist() == [[85, 95, 100]]
    assert found.total.tolist() == [[100, 100, 100]]


def test_no_correction_makes_more_good_events_than_there_are_or_fewer_than_none():
    found = adjusted(slices([70, 90, 100], [100, 100, 100]), 0, [corrected(1000, 0)])
    assert found.good.tolist() == [[100, 100, 100]]
    gone = adjusted(slices([70, 90, 100], [100, 100, 100]), 0, [corrected(0, -1000)])
    assert gone.total.tolist() == [[0, 0, 0]]


def test_what_was_never_measured_can_be_told():
    found = adjusted(slices([np.nan] * 3, [np.nan] * 3), 0, [corrected(27, 30)])
    assert found.total.tolist() == [[10, 10, 10]]
    assert found.good.tolist() == [[9, 9, 9]]
