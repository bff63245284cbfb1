"""Durations as the formats write them: OpenSLO's shorthand, and those of Prometheus."""

import re
from typing import Final

from engines.slo.formats.limits import LONGEST_SECONDS

MINUTE: Final = 60
HOUR: Final = 3_600
DAY: Final = 86_400

_SHORTHAND = re.compile(r"([0-9]{1,9})([mhdwMQY])")
_SHORTHAND_SECONDS: Final = {
    "m": MINUTE,
    "h": HOUR,
    "d": DAY,
    "w": 7 * DAY,
    "M": 30 * DAY,
    "Q": 90 * DAY,
    "Y": 365 * DAY,
}
_PROMETHEUS = re.compile(
    r"(?:([0-9]+)y)?(?:([0-9]+)w)?(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?(?:([0-9]+)ms)?"
)
_PROMETHEUS_MILLISECONDS: Final = (365 * DAY * 1000, 7 * DAY * 1000, DAY * 1000, HOUR * 1000, MINUTE * 1000, 1000, 1)


def shorthand(text: str) -> tuple[int, str] | None:
    """Count and unit of an OpenSLO duration (`4w`, `1M`), None for what is none."""
    match = _SHORTHAND.fullmatch(text)
    if match is None or int(match[1]) == 0:
        return None
    return int(match[1]), match[2]


def shorthand_seconds(count: int, unit: str) -> int:
    """How long `count` units are where no calendar counts: a month 30, a quarter 90, a year 365 days."""
    return count * _SHORTHAND_SECONDS[unit]


def written_shorthand(seconds: int) -> str:
    """A duration in OpenSLO's shorthand, in its largest whole unit up to days; parts of a minute count as one."""
    for unit, length in (("d", DAY), ("h", HOUR)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{-(-seconds // MINUTE)}m"


def prometheus_milliseconds(text: str) -> int | None:
    """How long a duration of Prometheus is (`4w`, `1d12h`, `100ms`), None for what is none or far too long."""
    match = _PROMETHEUS.fullmatch(text)
    if match is None or not text or len(text) > 40:
        return None
    total = sum(
        int(count) * unit for count, unit in zip(match.groups(), _PROMETHEUS_MILLISECONDS, strict=True) if count
    )
    return total if 0 < total <= LONGEST_SECONDS * 1000 else None


def prometheus_name(seconds: int) -> str:
    """A duration as Prometheus prints it, and as the names of recorded series carry it: 28 days are `4w`, 30 are `30d`.

    Years and weeks are used only where nothing is left over.
    """
    for unit, length in (("y", 365 * DAY), ("w", 7 * DAY)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    parts = []
    for unit, length in (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
