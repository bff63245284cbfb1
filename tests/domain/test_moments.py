"""What times are believed."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from domain.errors import ValidationFailed
from domain.moments import moment, past_moment

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_times_are_kept_in_utc():
    cet = timezone(timedelta(hours=1))
    kept = moment(datetime(2026, 3, 1, 13, 0, 0, 123456, tzinfo=cet), "Due at", "dueAt")
    assert kept == NOON.replace(microsecond=123456)
    assert kept.tzinfo is UTC


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "Due at is required"),
        ("2026-03-01", "Due at must be a time"),
        (datetime(2026, 3, 1), "Due at needs an offset from UTC"),  # noqa: DTZ001 # the missing offset is the point
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), "Due at lies outside the years 1 to 9999"),
        (datetime.min.replace(tzinfo=UTC), "Due at is too long ago or too far ahead"),
        (datetime.max.replace(tzinfo=UTC), "Due at is too long ago or too far ahead"),
    ],
)
def test_other_times_are_refused(given, message):
    with pytest.raises(ValidationFailed, match=message):
        moment(given, "Due at", "dueAt")


def test_the_past_reaches_one_minute_into_the_future_for_clocks_that_run_ahead():
    assert past_moment(NOON + timedelta(seconds=60), "Occurred at", "occurredAt", now=NOON)
    with pytest.raises(ValidationFailed, match="Occurred at lies in the future"):
        past_moment(NOON + timedelta(seconds=60, microseconds=1), "Occurred at", "occurredAt", now=NOON)
