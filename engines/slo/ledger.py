"""The latest slices of many objectives in memory, and the sums of their older days: what a cycle computes with.

A row is one objective (or one group of it) whose slices all have the same length and were all judged by the same
promise. Slices of recent days are kept one by one, because burn rates look back over them; of every older day only the
sums are, and the slices of the one day that a window begins in are handed in.

Recent slices are kept as bad and all events in single precision: 10 000 rows fit into 92 MB, and a count is off by no
more than a 16-millionth of itself.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from domain.slos import BudgetingMethod
from engines.slo import budgets
from engines.slo.budgets import Measurement, Promise
from engines.slo.slices import Flags, Judged, Numbers, Slices, Tally, budget_of, judged, tallies, tally
from engines.slo.windows import DAY_SECONDS, start

Key = TypeVar("Key", bound=Hashable)

EXCLUDED: Final = np.inf
_CHUNK_ROWS: Final = 256
_GROWTH_ROWS: Final = 256
_SUMS: Final = 7


@dataclass(frozen=True, slots=True)
class Plan:
    """How a row is judged and measured."""

    promise: Promise
    method: BudgetingMethod
    objective: Decimal
    slice_objective: Decimal


@dataclass(slots=True)
class _Row(Generic[Key]):
    key: Key
    plan: Plan
    older_since: int = 0
    older: Numbers = field(default_factory=lambda: np.zeros((0, _SUMS)))
    """The sums of each older day, the first of which begins at `older_since`."""

    def fold(self, day: int, sums: Numbers) -> None:
        """Add the sums of the next day."""
        if not len(self.older):
            self.older_since = day
        self.older = np.vstack([self.older, sums])

    def between(self, first: int, last: int, per_day: int) -> Numbers:
        """The sums over the days from `first` until `last`; of days before all that is known nothing is."""
        begins = (first - self.older_since) // DAY_SECONDS
        known: Numbers = self.older[max(begins, 0) : max((last - self.older_since) // DAY_SECONDS, 0)]
        sums: Numbers = known.sum(axis=0)
        sums[-1] += ((last - first) // DAY_SECONDS - len(known)) * per_day
        return sums


class Ledger(Generic[Key]):
    """Rows of slices of `seconds`, of which the last `recent_days` whole days and today are kept one by one."""

    def __init__(self, seconds: int, recent_days: int) -> None:
        self.seconds = seconds
        self._per_day = DAY_SECONDS // seconds
        self._columns = (recent_days + 1) * self._per_day
        self._start = 0
        self._rows: list[_Row[Key]] = []
        self._index: dict[Key, int] = {}
        self._bad = self._unknown(0)
        self._total = self._unknown(0)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: Key) -> bool:
        return key in self._index

    def load(self, key: Key, plan: Plan, slices: Slices) -> None:
        """Take a row in, or anew: everything that is known of it (one row, from the start of a day)."""
        if not self._rows:
            self._start = _day(slices.end) - self._columns * self.seconds + DAY_SECONDS
        while slices.end > self._start + self._columns * self.seconds:
            self._next_day()
        index = self._index.get(key)
        if index is None:
            index = self._index[key] = len(self._rows)
            self._rows.append(_Row(key, plan))
            self._grow()
        row = self._rows[index] = _Row(key, plan)
        recent = slices.between(self._start, self._start + self._columns * self.seconds)
        self._bad[index] = self._total[index] = np.nan
        first = (recent.start - self._start) // self.seconds
        stretch = slice(first, first + recent.total.shape[1])
        self._bad[index, stretch] = recent.total[0] - recent.good[0]
        self._total[index, stretch] = np.where(recent.excluded[0], EXCLUDED, recent.total[0])
        older = slices.between(slices.start, self._start)
        if older.total.shape[1]:
            self._fold_days(row, plan, older)

    def forget(self, key: Key) -> None:
        """Let a row go. The last one takes its place."""
        index = self._index.pop(key, None)
        if index is None:
            return
        last = self._rows.pop()
        if last.key != key:
            self._rows[index] = last
            self._index[last.key] = index
            self._bad[index], self._total[index] = self._bad[len(self._rows)], self._total[len(self._rows)]

    def append(self, keys: Sequence[Key], at: int, good: Numbers, total: Numbers) -> None:
        """The slice that begins at `at` of many rows at once; NaN where nothing is known, EXCLUDED in `total`."""
        while at >= self._start + self._columns * self.seconds:
            self._next_day()
        column = (at - self._start) // self.seconds
        if column < 0:
            raise ValueError("a slice that is older than what is kept: load its row anew")
        indices = [self._index[key] for key in keys]
        self._bad[indices, column] = np.where(np.isinf(total), 0.0, np.nan_to_num(total, posinf=0.0) - good)
        self._total[indices, column] = total

    def measure(self, keys: Sequence[Key], at: datetime, first_days: Mapping[Key, Slices]) -> dict[Key, Measurement]:
        """The rows at `at`, which ends a slice. `first_days` has the slices of the days that `first_days()` names."""
        found: dict[Key, Measurement] = {}
        for chunk in range(0, len(keys), _CHUNK_ROWS):
            found.update(self._measure_chunk(keys[chunk : chunk + _CHUNK_ROWS], at, first_days))
        return found

    def first_days(self, keys: Iterable[Key], at: datetime) -> list[tuple[Key, int]]:
        """The rows whose window begins in the middle of a day that is no longer kept, and the start of that day."""
        wanted = []
        for key in keys:
            begins = int(start(self._rows[self._index[key]].plan.promise.window, at).timestamp())
            if begins < self._start and begins != _day(begins):
                wanted.append((key, _day(begins)))
        return wanted

    def _measure_chunk(
        self, keys: Sequence[Key], at: datetime, first_days: Mapping[Key, Slices]
    ) -> dict[Key, Measurement]:
        rows = [self._rows[self._index[key]] for key in keys]
        recent = self._judged([self._index[key] for key in keys], rows)
        moment = int(at.timestamp())
        last = recent.column(moment)
        windows = budgets.windows_of(row.plan.promise for row in rows)
        sums = tallies(recent, [recent.column(moment - seconds) for seconds in windows], last)
        burns = dict(zip(windows, map(budgets.rows, sums), strict=True))
        begins = [int(start(row.plan.promise.window, at).timestamp()) for row in rows]
        periods = _periods(recent, last, begins)
        older = np.array([self._older(row, since) for row, since in zip(rows, begins, strict=True)])
        older += _cut([first_days.get(key) for key in keys], [row.plan for row in rows], begins, self._start)
        whole = budgets.rows(periods + Tally(*older.T))
        return {
            key: budgets.measure(row.plan.promise, at, period, {seconds: burn[i] for seconds, burn in burns.items()})
            for i, (key, row, period) in enumerate(zip(keys, rows, whole, strict=True))
        }

    def _judged(self, indices: Sequence[int], rows: Sequence[_Row[Key]]) -> Judged:
        slices = self._slices(self._start, self._bad[indices], self._total[indices])
        return _judged_rows(slices, [row.plan for row in rows])

    def _slices(self, start: int, bad: NDArray[np.float32], total: NDArray[np.float32]) -> Slices:
        events = total.astype(float)
        return Slices(start, self.seconds, events - bad, events, np.isinf(total))

    def _unknown(self, rows: int) -> NDArray[np.float32]:
        return np.full((rows, self._columns), np.nan, dtype=np.float32)

    def _next_day(self) -> None:
        """Move on by a day: fold the oldest into sums, and make room."""
        day = self._start
        for chunk in range(0, len(self._rows), _CHUNK_ROWS):
            rows = self._rows[chunk : chunk + _CHUNK_ROWS]
            stretch = slice(chunk, chunk + len(rows))
            oldest = self._bad[stretch, : self._per_day], self._total[stretch, : self._per_day]
            sums = _sums(_judged_rows(self._slices(day, *oldest), [row.plan for row in rows]), 0, self._per_day)
            for row, values in zip(rows, sums, strict=True):
                row.fold(day, values)
        for values in (self._bad, self._total):
            values[:, : -self._per_day] = values[:, self._per_day :]
            values[:, -self._per_day :] = np.nan
        self._start += DAY_SECONDS

    def _fold_days(self, row: _Row[Key], plan: Plan, older: Slices) -> None:
        days = older.total.shape[1] // self._per_day
        shape = (days, self._per_day)
        parts = (values.reshape(shape) for values in (older.good, older.total, older.excluded))
        sums = _sums(_judged_rows(Slices(older.start, self.seconds, *parts), [plan] * days), 0, self._per_day)
        row.older_since, row.older = older.start, sums

    def _older(self, row: _Row[Key], begins: int) -> Numbers:
        """The sums over the whole days that are older than the slices that are kept, from the start of the window."""
        if begins >= self._start:
            return np.zeros(_SUMS)
        return row.between(_next_midnight(begins), self._start, self._per_day)

    def _grow(self) -> None:
        if len(self._rows) > len(self._bad):
            more = max(_GROWTH_ROWS, len(self._bad) // 4)
            self._bad = np.concatenate([self._bad, self._unknown(more)])
            self._total = np.concatenate([self._total, self._unknown(more)])


def _judged_rows(slices: Slices, plans: Sequence[Plan]) -> Judged:
    """Rows of different promises, judged at once."""
    budget = np.array([[budget_of(plan.objective)] for plan in plans])
    good_enough = np.array([[float(plan.slice_objective)] for plan in plans])
    methods = {plan.method for plan in plans}
    if len(methods) == 1:
        return judged(slices, methods.pop(), budget=budget, slice_objective=good_enough)
    by_method = {method: judged(slices, method, budget=budget, slice_objective=good_enough) for method in methods}
    one = next(iter(by_method.values()))
    bad, total, allowed = np.empty_like(one.bad), np.empty_like(one.total), np.empty_like(one.allowed)
    for method, every in by_method.items():
        rows: Flags = np.array([plan.method is method for plan in plans])
        bad[rows], total[rows], allowed[rows] = every.bad[rows], every.total[rows], every.allowed[rows]
    return Judged(one.start, one.seconds, bad, total, allowed, one.events_bad, one.events, one.known, one.expected)


def _periods(recent: Judged, last: int, begins: Sequence[int]) -> Tally:
    """What the recent slices add to the window of each row."""
    columns = [recent.column(since) for since in begins]
    if len(set(columns)) == 1:
        return tally(recent, columns[0], last)
    parts = np.empty((len(begins), _SUMS))
    for column in set(columns):
        rows = [i for i, other in enumerate(columns) if other == column]
        parts[rows] = _sums(recent, column, last)[rows]
    return Tally(*parts.T)


def _cut(days: Sequence[Slices | None], plans: Sequence[Plan], begins: Sequence[int], kept_since: int) -> Numbers:
    """The sums of the day that each row's window begins in the middle of."""
    alike: dict[tuple[int, int, int], list[tuple[int, Slices]]] = defaultdict(list)
    for place, (day, since) in enumerate(zip(days, begins, strict=True)):
        if day is not None and since < kept_since:
            part = day.between(since, _next_midnight(since))
            alike[part.start, part.seconds, part.total.shape[1]].append((place, part))
    cut = np.zeros((len(days), _SUMS))
    for (start_, seconds, columns), parts in alike.items():
        places = [place for place, _ in parts]
        together = Slices(
            start_,
            seconds,
            np.vstack([part.good for _, part in parts]),
            np.vstack([part.total for _, part in parts]),
            np.vstack([part.excluded for _, part in parts]),
        )
        cut[places] = _sums(_judged_rows(together, [plans[place] for place in places]), 0, columns)
    return cut


def _sums(judged: Judged, first: int, last: int) -> Numbers:
    """A row of numbers for each row of the tally."""
    sums = tally(judged, first, last)
    return np.stack(
        [sums.bad, sums.total, sums.allowed, sums.events_bad, sums.events, sums.known, sums.expected], axis=1
    )


def _next_midnight(seconds: int) -> int:
    """The start of the next day, of a day itself when it is one."""
    return -(-seconds // DAY_SECONDS) * DAY_SECONDS


def _day(seconds: int) -> int:
    """The start of the day."""
    return seconds // DAY_SECONDS * DAY_SECONDS
