"""Windows of the calendar, right across the change of clocks."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.objectives import CalendarUnit, CalendarWindow, RollingWindow
from engines.slo.windows import bounds, usual_days


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("window", "moment", "begins", "ends"),
    [
        (RollingWindow(3600), "2026-03-01T12:00Z", "2026-03-01T11:00Z", "2026-03-01T12:00Z"),
        (CalendarWindow(CalendarUnit.DAY), "2026-03-01T12:00Z", "2026-03-01T00:00Z", "2026-03-02T00:00Z"),
        (CalendarWindow(CalendarUnit.DAY), "2026-03-01T00:00Z", "2026-02-28T00:00Z", "2026-03-01T00:00Z"),
        (CalendarWindow(CalendarUnit.WEEK), "2026-11-25T12:00Z", "2026-11-23T00:00Z", "2026-11-30T00:00Z"),
        (
            CalendarWindow(CalendarUnit.WEEK, starts_on=date(2026, 1, 4)),
            "2026-11-25T12:00Z",
            "2026-11-22T00:00Z",
            "2026-11-29T00:00Z",
        ),
        (CalendarWindow(CalendarUnit.MONTH), "2024-02-29T12:00Z", "2024-02-01T00:00Z", "2024-03-01T00:00Z"),
        (
            CalendarWindow(CalendarUnit.MONTH, starts_on=date(2020, 1, 15)),
            "2026-03-03T12:00Z",
            "2026-02-15T00:00Z",
            "2026-03-15T00:00Z",
        ),
        (CalendarWindow(CalendarUnit.QUARTER), "2026-05-05T00:00Z", "2026-04-01T00:00Z", "2026-07-01T00:00Z"),
        (CalendarWindow(CalendarUnit.YEAR), "2026-05-05T00:00Z", "2026-01-01T00:00Z", "2027-01-01T00:00Z"),
        (
            CalendarWindow(CalendarUnit.DAY, time_zone="Europe/Berlin"),  # 23 hours: the clocks go forward
            "2026-03-29T12:00Z",
            "2026-03-28T23:00Z",
            "2026-03-29T22:00Z",
        ),
        (
            CalendarWindow(CalendarUnit.MONTH, time_zone="America/New_York"),  # and back in November
            "2026-11-25T12:00Z",
            "2026-11-01T04:00Z",
            "2026-12-01T05:00Z",
        ),
        (
            CalendarWindow(CalendarUnit.DAY, time_zone="Asia/Kathmandu"),
            "2026-11-25T18:20Z",
            "2026-11-25T18:15Z",
            "2026-11-26T18:15Z",
        ),
    ],
)
def test_a_window_begins_and_ends_where_its_calendar_says(window, moment, begins, ends):
    assert bounds(window, at(moment)) == (at(begins), at(ends))


@given(
    moment=st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001  # made aware below
    unit=st.sampled_from(list(CalendarUnit)),
    count=st.integers(1, 5),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia"]),
)
def test_windows_of_a_calendar_follow_each_other_without_gap_or_overlap(moment, unit, count, zone):
    window = CalendarWindow(unit, count, zone)
    now = moment.replace(tzinfo=UTC)
    begins, ends = bounds(window, now)
    assert begins < now <= ends
    assert bounds(window, ends) == (begins, ends)
    assert bounds(window, ends + timedelta(seconds=1))[0] == ends


@pytest.mark.parametrize(
    ("window", "days"),
    [(RollingWindow(60), 1), (RollingWindow(30 * 86_400), 30), (CalendarWindow(CalendarUnit.QUARTER), 90)],
)
def test_the_days_of_a_window_are_rounded_up(window, days):
    assert usual_days(window) == days
