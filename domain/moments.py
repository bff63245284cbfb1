"""Times that clients give: kept to the microsecond, when they can be true."""

from datetime import UTC, datetime, timedelta

from domain.errors import ValidationFailed

# A client's clock may run ahead of ours by this much before its "now" counts as the future.
ALLOWED_CLOCK_SKEW = timedelta(seconds=60)
# The driver writes the first and the last moment that Python knows as Postgres' -infinity and infinity.
_INFINITE = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def moment(value: object, label: str, *path: str) -> datetime:
    """A point in time, in UTC. Raises ValidationFailed when it has no offset."""
    if value is None:
        raise ValidationFailed(f"{label} is required", path)
    if not isinstance(value, datetime):
        raise ValidationFailed(f"{label} must be a time", path)
    if value.tzinfo is None:
        raise ValidationFailed(f"{label} needs an offset from UTC, for example a Z at its end", path)
    try:
        given = value.astimezone(UTC)
    except OverflowError as overflow:
        raise ValidationFailed(f"{label} lies outside the years 1 to 9999", path) from overflow
    if given in _INFINITE:
        raise ValidationFailed(f"{label} is too long ago or too far ahead", path)
    return given


def past_moment(value: object, label: str, *path: str, now: datetime) -> datetime:
    """A point in time that has come, but for ALLOWED_CLOCK_SKEW. Raises ValidationFailed."""
    given = moment(value, label, *path)
    if given > now + ALLOWED_CLOCK_SKEW:
        raise ValidationFailed(f"{label} lies in the future", path)
    return given
