"""Counted events in slices of time, for many objectives at once, and what each slice says by its budgeting method."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from domain.slos import BudgetingMethod

Numbers: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

_ROUNDING: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Slices:
    """Good and all events, one row an objective and one column a slice of `seconds`.

    The first begins at `start` (seconds since 1970, a multiple of `seconds`). NaN says that nothing is known, 0 that
    nothing happened. What is excluded counts neither for nor against anybody.
    """

    start: int
    seconds: int
    good: Numbers
    total: Numbers
    excluded: Flags

    @property
    def end(self) -> int:
        """When the last slice is over, in seconds since 1970."""
        return self.start + self.seconds * int(self.total.shape[1])

    def column(self, at: float) -> int:
        """The number of slices that are over at `at`, from 0 to all."""
        return int(min(max((at - self.start) // self.seconds, 0), self.total.shape[1]))

    def between(self, start: float, end: float) -> "Slices":
        """The slices from `start` until `end`, as far as there are any."""
        first, last = self.column(start), self.column(end)
        last = max(first, last)
        return replace(
            self,
            start=self.start + first * self.seconds,
            good=self.good[:, first:last],
            total=self.total[:, first:last],
            excluded=self.excluded[:, first:last],
        )


def unknown(rows: int, start: int, end: int, seconds: int) -> Slices:
    """Slices from `start` until `end` of which nothing is known."""
    columns = max(0, (end - start) // seconds)
    nothing = np.full((rows, columns), np.nan)
    return Slices(start, seconds, nothing, nothing.copy(), np.zeros((rows, columns), dtype=bool))


def resampled(values: Numbers, seconds: int, wanted_seconds: int) -> Numbers:
    """One row of counts, a whole number of both lengths, in slices of another length.

    Shorter slices get equal parts, longer ones the sum of what is known of them.
    """
    if seconds == wanted_seconds:
        return values
    shortest = math.gcd(seconds, wanted_seconds)
    parts = np.repeat(values / (seconds // shortest), seconds // shortest)
    grouped = parts.reshape(-1, wanted_seconds // shortest)
    known = ~np.isnan(grouped)
    return np.where(known.any(axis=1), np.where(known, grouped, 0).sum(axis=1), np.nan)


@dataclass(frozen=True, slots=True)
class Judged:
    """What each slice spent and was allowed to spend, in the unit of its budgeting method: events or slices.

    `events_bad` and `events` are events whatever the method. `known` are slices with data, `expected` those that are
    not excluded.
    """

    start: int
    seconds: int
    bad: Numbers
    total: Numbers
    allowed: Numbers
    events_bad: Numbers
    events: Numbers
    known: Flags
    expected: Flags

    def column(self, at: float) -> int:
        """The number of slices that are over at `at`, from 0 to all."""
        return int(min(max((at - self.start) // self.seconds, 0), self.total.shape[1]))


def judged(
    slices: Slices,
    method: BudgetingMethod,
    *,
    budget: float | Numbers,
    slice_objective: float | Numbers,
    slices_per_judgement: int = 1,
) -> Judged:
    """Judge every slice on its own.

    `budget` (1 - objective) and `slice_objective` are one number, or one for each row or slice (broadcast). With
    several slices to a judgement, these are judged together and share the result equally.
    """
    known = ~(np.isnan(slices.total) | slices.excluded)
    events = np.where(known, slices.total, 0.0)
    events_bad = np.clip(events - np.where(known, np.nan_to_num(slices.good, nan=0.0), 0.0), 0.0, None)
    if method is BudgetingMethod.OCCURRENCES:
        bad, total = events_bad, events
    else:
        together = _together(slices, slices_per_judgement)
        all_events, all_bad = together(events), together(events_bad)
        happened = all_events > 0
        share = happened / slices_per_judgement if slices_per_judgement > 1 else happened.astype(float)
        if method is BudgetingMethod.TIMESLICES:
            good_enough = all_events - all_bad >= (slice_objective - _ROUNDING) * all_events
            bad = np.where(good_enough, 0.0, share)
        else:
            bad = np.divide(all_bad, all_events, out=np.zeros_like(all_bad), where=happened) * share
        total = share
    return Judged(
        slices.start,
        slices.seconds,
        bad=bad,
        total=total,
        allowed=total * budget,
        events_bad=events_bad,
        events=events,
        known=known,
        expected=~slices.excluded,
    )


def _together(slices: Slices, count: int) -> Callable[[Numbers], Numbers]:
    """A function that gives each slice the sum of the `count` slices that it is judged with."""
    if count == 1:
        return lambda values: values
    before = (slices.start // slices.seconds) % count
    columns = slices.total.shape[1]
    starts = np.maximum(np.arange(-before, columns, count), 0)
    lengths = np.diff(np.append(starts, columns))

    def together(values: Numbers) -> Numbers:
        if columns == 0:
            return values
        return np.repeat(np.add.reduceat(values, starts, axis=1), lengths, axis=1)

    return together


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over a stretch of time, one number a row: as `Judged` has them."""

    bad: Numbers
    total: Numbers
    allowed: Numbers
    events_bad: Numbers
    events: Numbers
    known: Numbers
    expected: Numbers

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.bad + other.bad,
            self.total + other.total,
            self.allowed + other.allowed,
            self.events_bad + other.events_bad,
            self.events + other.events,
            self.known + other.known,
            self.expected + other.expected,
        )

    @property
    def sli(self) -> Numbers:
        """Good of all, 0 to 1; NaN where there was nothing."""
        return 1 - _divided(self.bad, self.total)

    @property
    def burn(self) -> Numbers:
        """Spent of allowed: the part of a budget that is consumed, and the burn rate; NaN where there was nothing."""
        return _divided(self.bad, self.allowed)

    @property
    def coverage(self) -> Numbers:
        """How much of the time that counts is known, 0 to 1; 1 where all of it is excluded."""
        return np.where(self.expected > 0, _divided(self.known, self.expected), 1.0)


def tally(judged: Judged, first: int, last: int) -> Tally:
    """The sums over the columns from `first` until `last`."""
    return tallies(judged, [first], last)[0]


def tallies(judged: Judged, firsts: Sequence[int], last: int) -> list[Tally]:
    """The sums over the columns from each of `firsts` until `last`, in one pass."""
    edges = sorted({min(max(first, 0), last) for first in firsts})
    summed: dict[int, Numbers] = {}

    def sums(values: Numbers | Flags) -> Numbers:
        known = summed.get(id(values))
        if known is None:  # Methods that count events judge by the very events.
            parts = _parts(values[:, :last], edges)
            known = summed[id(values)] = np.cumsum(parts[:, ::-1], axis=1)[:, ::-1]
        return known

    columns = [
        sums(values)
        for values in (
            judged.bad,
            judged.total,
            judged.allowed,
            judged.events_bad,
            judged.events,
            judged.known,
            judged.expected,
        )
    ]
    places = [edges.index(min(max(first, 0), last)) for first in firsts]
    return [Tally(*(column[:, place] for column in columns)) for place in places]


def _parts(values: Numbers | Flags, edges: Sequence[int]) -> Numbers:
    """The sums from each edge until the next one, and from the last until the end."""
    ends = [*edges[1:], values.shape[1]]
    parts = [values[:, begin:end].sum(axis=1, dtype=float) for begin, end in zip(edges, ends, strict=True)]
    return np.stack(parts, axis=1)


def budget_of(objective: Decimal) -> float:
    """What an objective leaves to fail, exactly as far as a float can say it."""
    return float(1 - objective)


def per_slice(slices: Slices, changes: Sequence[tuple[float, float]]) -> Numbers:
    """One number a slice, from (since when, number) in the order of time; the first holds from the beginning."""
    begins = slices.start + slices.seconds * np.arange(slices.total.shape[1])
    values = np.full(len(begins), changes[0][1])
    for since, number in changes[1:]:
        values[begins >= since] = number
    return values


def _divided(part: Numbers, whole: Numbers) -> Numbers:
    divided: Numbers = np.divide(part, whole, out=np.full_like(whole, np.nan, dtype=float), where=whole > 0)
    return divided
