"""When the window of an objective begins and ends."""

import math
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta

from domain.objectives import CalendarUnit, CalendarWindow, RollingWindow, Window

DAY_SECONDS: Final = 86_400
_USUAL_DAYS: Final = {
    CalendarUnit.DAY: 1,
    CalendarUnit.WEEK: 7,
    CalendarUnit.MONTH: 30,
    CalendarUnit.QUARTER: 90,
    CalendarUnit.YEAR: 365,
}
_MONTHS: Final = {CalendarUnit.MONTH: 1, CalendarUnit.QUARTER: 3, CalendarUnit.YEAR: 12}
_FIRST_DAY: Final = date(1970, 1, 1)
_FIRST_MONDAY: Final = date(1970, 1, 5)
_MOMENT: Final = timedelta(microseconds=1)


def usual_seconds(window: Window) -> int:
    """How long the window is; a month counts as 30 days, a quarter as 90 and a year as 365."""
    if isinstance(window, RollingWindow):
        return window.seconds
    return window.count * _USUAL_DAYS[window.unit] * DAY_SECONDS


def usual_days(window: Window) -> int:
    """How many days the window has, rounded up."""
    return math.ceil(usual_seconds(window) / DAY_SECONDS)


def bounds(window: Window, at: datetime) -> tuple[datetime, datetime]:
    """The start and end of the window that is judged at `at`, in UTC.

    A rolling window ends there. A calendar window contains the moment before: at midnight the day that is over is
    judged, not the one that has just begun.
    """
    if isinstance(window, RollingWindow):
        return at - timedelta(seconds=window.seconds), at
    zone = ZoneInfo(window.time_zone)
    begins = _first_day(window, (at - _MOMENT).astimezone(zone).date())
    return _midnight(begins, zone), _midnight(_later(window, begins, 1), zone)


def start(window: Window, at: datetime) -> datetime:
    """The start of the window that is judged at `at`, in UTC."""
    return bounds(window, at)[0]


def _first_day(window: CalendarWindow, day: date) -> date:
    """The first day of the window that `day` is in."""
    anchor = window.starts_on or (_FIRST_MONDAY if window.unit is CalendarUnit.WEEK else _FIRST_DAY)
    if window.unit in _MONTHS:
        months = (day.year - anchor.year) * 12 + day.month - anchor.month
        windows = months // (_MONTHS[window.unit] * window.count)
    else:
        windows = (day - anchor).days // (_USUAL_DAYS[window.unit] * window.count)
    begins = _later(window, anchor, windows)
    # The anchor's day of the month may come later in the month than the day in question.
    return begins if begins <= day else _later(window, anchor, windows - 1)


def _later(window: CalendarWindow, day: date, windows: int) -> date:
    if window.unit in _MONTHS:
        return day + relativedelta(months=windows * _MONTHS[window.unit] * window.count)
    return day + timedelta(days=windows * _USUAL_DAYS[window.unit] * window.count)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
