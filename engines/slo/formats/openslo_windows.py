"""OpenSLO's time windows: rolling, or by the calendar of a time zone."""

from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from domain.objectives import CalendarUnit, CalendarWindow, RollingWindow, Window
from engines.slo.formats import durations, objectives
from engines.slo.formats.limits import LONGEST_SECONDS
from engines.slo.formats.values import Members, Value

UNITS: Final = {
    "d": CalendarUnit.DAY,
    "w": CalendarUnit.WEEK,
    "M": CalendarUnit.MONTH,
    "Q": CalendarUnit.QUARTER,
    "Y": CalendarUnit.YEAR,
}
_DEFAULT: Final = RollingWindow(objectives.DEFAULT_PERIOD_SECONDS)
_START_FORMATS: Final = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_MOST_UNITS: Final = 4_000


def window(given: Value | None, spec: Value) -> Window:
    """The one window of an SLO; 30 days, rolling, where none is given."""
    item = only(given, spec)
    if item is None:
        return _DEFAULT
    members = item.members(("duration", "isRolling", "calendar"))
    duration, calendar = members.require("duration"), members.get("calendar")
    found = None if duration is None else durations.shorthand(duration.text().strip())
    if duration is None:
        return _DEFAULT
    if found is None:
        duration.refuse('must be a number and one of m h d w M Q Y, like "30d", "4w" or "1M"')
        return _DEFAULT
    count, unit = found
    if is_rolling(members, calendar):
        return rolling(duration, durations.shorthand_seconds(count, unit))
    if calendar is None:
        return _DEFAULT
    if unit not in UNITS:
        hint = ": 1M is a month, 1m a minute" if unit == "m" else ""
        duration.refuse(f"a calendar window is as long as days, weeks, months, quarters or years{hint}")
        return _DEFAULT
    return by_calendar(duration, calendar, count, UNITS[unit])


def only(given: Value | None, spec: Value) -> Value | None:
    """The one item of a list of windows."""
    items = [] if given is None else given.items()
    if not items:
        spec.notice("no time window is given: it is the last 30 days")
        return None
    if len(items) > 1 and given is not None:
        given.refuse("must hold exactly one window")
    return items[0]


def is_rolling(members: Members, calendar: Value | None) -> bool:
    """Whether the window moves with time. Refused where the answers contradict each other."""
    said = members.get("isRolling")
    if said is None:
        return calendar is None
    rolls = said.truth()
    if rolls and calendar is not None:
        calendar.refuse("cannot be given for a window that is rolling")
    if not rolls and calendar is None:
        said.refuse("a window that is not rolling needs a calendar with startTime and timeZone")
    return rolls


def rolling(place: Value, seconds: int) -> Window:
    """The last `seconds`."""
    if seconds > LONGEST_SECONDS:
        place.refuse("is longer than ten years")
        return _DEFAULT
    return RollingWindow(seconds)


def by_calendar(place: Value, calendar: Value, count: int, unit: CalendarUnit) -> Window:
    """`count` units of a calendar."""
    members = calendar.members(("startTime", "timeZone"))
    start, zone = members.require("startTime"), members.require("timeZone")
    if count > _MOST_UNITS:
        place.refuse("is longer than ten years")
        return _DEFAULT
    return CalendarWindow(
        unit,
        count,
        time_zone="UTC" if zone is None else _zone(zone),
        starts_on=None if start is None else _day(start),
    )


def _zone(zone: Value) -> str:
    name = zone.text().strip()
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        zone.refuse(f'"{name:.50}" is no time zone of the IANA database, like "Europe/Paris" or "UTC"')
        return "UTC"
    return name


def _day(start: Value) -> date | None:
    text = start.text().strip()
    for form in _START_FORMATS:
        try:
            moment = datetime.strptime(text, form)  # noqa: DTZ007  # the zone stands beside it
        except ValueError:
            continue
        if moment.time() != datetime.min.time():
            start.notice("the time of day is left out: windows begin at midnight of their time zone")
        return moment.date()
    start.refuse('must be a date with time, like "2026-01-01 00:00:00"')
    return None
