"""What does not count against a budget: stretches of time that are excluded, and events that are given back."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from dateutil.parser import isoparse
from dateutil.rrule import rrulestr

from domain.errors import ValidationFailed
from domain.slos import AdjustmentKind
from engines.slo.slices import Flags, Numbers, Slices

MOST_OCCURRENCES: Final = 5_000
"""Of one recurring adjustment within the time that is looked at."""

_FREQUENCIES: Final = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_NEAR_THE_END_OF_TIME: Final = datetime(9987, 1, 1, tzinfo=UTC)
"""dateutil looks for a day that a rule means until the year 9999: from here that is soon, and a leap year comes."""
_LONGEST_RULE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """From `starts_at` until `ends_at`, and again by an RRULE (RFC 5545) in the wall-clock time of a time zone.

    An exclusion makes every slice that it touches count for nothing. A correction adds to the good and to all events of
    its time; negative numbers take away. More bad events fall on slices in proportion to their events, fewer in
    proportion to their bad events, and none goes below zero.
    """

    kind: AdjustmentKind
    starts_at: datetime
    ends_at: datetime
    recurrence: str | None = None
    time_zone: str = "UTC"
    good_events: float = 0.0
    total_events: float = 0.0


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A rule that comes true, and where it ends."""

    rule: str
    until: datetime | None
    count: int | None

    def moments(self, starts_at: datetime, end: datetime) -> Iterator[datetime]:
        """When it comes true from `starts_at` until `end`."""
        until = end if self.until is None else min(self.until, end)
        ended = f"{self.rule};UNTIL={until.astimezone(UTC):%Y%m%dT%H%M%SZ}"
        return islice(rrulestr(ended, dtstart=starts_at), self.count)


def recurrence(text: str, *path: str) -> Recurrence:
    """The recurrence that a text says. Raises ValidationFailed for what is none, or comes more often than daily."""
    line = text.strip().upper().removeprefix("RRULE:")
    parts = dict(part.partition("=")[::2] for part in line.split(";"))
    if parts.get("FREQ") not in _FREQUENCIES or len(line) > _LONGEST_RULE:
        allowed = ", ".join(_FREQUENCIES)
        raise ValidationFailed(f"Recurrence must be one RRULE with FREQ={allowed}, as in FREQ=WEEKLY;BYDAY=SU", path)
    try:
        until = isoparse(parts.pop("UNTIL")) if "UNTIL" in parts else None
        count = int(parts.pop("COUNT")) if "COUNT" in parts else None
        rule = ";".join(f"{name}={value}" for name, value in parts.items())
        comes_true = next(iter(rrulestr(rule, dtstart=_NEAR_THE_END_OF_TIME)), None) is not None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValidationFailed(f"Recurrence is not an RRULE: {error}", path) from error
    if not comes_true:
        raise ValidationFailed("Recurrence never comes true: no day is as it says", path)
    if until is not None and until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return Recurrence(rule, until, count)


def intervals(adjustment: Adjustment, start: datetime, end: datetime) -> list[tuple[float, float]]:
    """When the adjustment holds between `start` and `end`, in seconds since 1970, each occurrence whole."""
    lasts = adjustment.ends_at - adjustment.starts_at
    begins: Iterable[datetime] = [adjustment.starts_at]
    if adjustment.recurrence is not None:
        local = adjustment.starts_at.astimezone(ZoneInfo(adjustment.time_zone))
        begins = recurrence(adjustment.recurrence).moments(local, end)
    held = ((moment.astimezone(UTC), moment.astimezone(UTC) + lasts) for moment in begins)
    touching = ((since, until) for since, until in held if since < end and until > start)
    return [(since.timestamp(), until.timestamp()) for since, until in islice(touching, MOST_OCCURRENCES)]


def adjusted(slices: Slices, row: int, adjustments: Sequence[Adjustment]) -> Slices:
    """The slices with one row adjusted."""
    if not adjustments or slices.total.shape[1] == 0:
        return slices
    start, end = datetime.fromtimestamp(slices.start, UTC), datetime.fromtimestamp(slices.end, UTC)
    good, total, excluded = slices.good.copy(), slices.total.copy(), slices.excluded.copy()
    for adjustment in adjustments:
        for since, until in intervals(adjustment, start, end):
            stretch = _touched(slices, since, until)
            if adjustment.kind is AdjustmentKind.EXCLUSION:
                excluded[row, stretch] = True
            else:
                good[row, stretch], total[row, stretch] = _corrected(
                    good[row, stretch], total[row, stretch], adjustment.good_events, adjustment.total_events
                )
    return replace(slices, good=good, total=total, excluded=excluded)


def exclusions(slices: Slices, adjustments: Sequence[Adjustment]) -> Flags:
    """Which slices the exclusions among the adjustments touch."""
    marked = replace(slices, excluded=np.zeros((1, slices.total.shape[1]), dtype=bool))
    only = [adjustment for adjustment in adjustments if adjustment.kind is AdjustmentKind.EXCLUSION]
    flags: Flags = adjusted(marked, 0, only).excluded[0]
    return flags


def _touched(slices: Slices, since: float, until: float) -> slice:
    first = slices.column(since)
    last = slices.column(until + slices.seconds - 1e-6)
    return slice(first, max(first, last))


def _corrected(good: Numbers, total: Numbers, more_good: float, more_total: float) -> tuple[Numbers, Numbers]:
    """Slices with events added or taken away. Slices of which nothing is known get some only when all are unknown."""
    if good.size == 0:
        return good, total
    known = ~np.isnan(total)
    events = np.where(known, total, 0.0)
    bad = np.clip(events - np.where(known, np.nan_to_num(good), 0.0), 0.0, None)
    if not known.any():
        known = np.ones_like(known)
    more_bad = more_total - more_good
    new_total = np.clip(events + more_total * _shares(events, known), 0.0, None)
    new_bad = np.clip(bad + more_bad * _shares(bad if more_bad < 0 else events, known), 0.0, new_total)
    return np.where(known, new_total - new_bad, np.nan), np.where(known, new_total, np.nan)


def _shares(weights: Numbers, known: Flags) -> Numbers:
    whole = weights.sum()
    shares: Numbers = weights / whole if whole > 0 else known / known.sum()
    return shares
