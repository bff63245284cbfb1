"""Why a budget is where it is: what a stretch of time spent, and which of its minutes spent most."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from domain.objectives import BurnRateAlert, RollingWindow
from engines.slo.budgets import Promise
from engines.slo.series import at_moments
from engines.slo.slices import Flags, Judged, Tally, tally
from engines.slo.windows import start

MOST_STRETCHES: Final = 10
_MOST_FIRINGS: Final = 100


@dataclass(frozen=True, slots=True)
class Burnt:
    """A stretch of bad slices and what it took of the whole window's budget, 0 nothing, 1 all of it."""

    starts_at: datetime
    ends_at: datetime
    bad_events: float
    total_events: float
    consumed: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """What happened from `starts_at` until `ends_at`, in events and in seconds.

    `consumed` is the part of the window's budget that this time took, as it is judged at its end; `left_window` what
    came back because it is no longer in the window.
    """

    starts_at: datetime
    ends_at: datetime
    good_events: float
    bad_events: float
    total_events: float
    excluded_seconds: float
    no_data_seconds: float
    consumed: float
    left_window: float
    worst: tuple[Burnt, ...]


@dataclass(frozen=True, slots=True)
class Firing:
    """A time in which an alert would have fired."""

    alert: BurnRateAlert
    starts_at: datetime
    ends_at: datetime | None


def explain(judged: Judged, promise: Promise, begins: datetime, ends: datetime) -> Explanation:
    """What one objective (one row) spent from `begins` until `ends`. The slices reach back over its window before."""
    first, last = judged.column(begins.timestamp()), judged.column(ends.timestamp())
    spent = tally(judged, first, last)
    allowed = _allowed(judged, promise, ends)
    gone_first = judged.column(start(promise.window, begins).timestamp())
    gone_last = min(judged.column(start(promise.window, ends).timestamp()), first)
    gone = tally(judged, gone_first, max(gone_first, gone_last))
    known, expected = float(spent.known[0]), float(spent.expected[0])
    return Explanation(
        begins,
        ends,
        good_events=float(spent.events[0] - spent.events_bad[0]),
        bad_events=float(spent.events_bad[0]),
        total_events=float(spent.events[0]),
        excluded_seconds=(last - first - expected) * judged.seconds,
        no_data_seconds=(expected - known) * judged.seconds,
        consumed=float(spent.bad[0]) / allowed if allowed else 0.0,
        left_window=float(gone.bad[0]) / allowed if allowed else 0.0,
        worst=_worst(judged, first, last, allowed),
    )


def consumed_between(judged: Judged, promise: Promise, begins: datetime, ends: datetime) -> float:
    """The part of the window's budget, as judged at `ends`, that the slices in between took."""
    spent = tally(judged, judged.column(begins.timestamp()), judged.column(ends.timestamp() + judged.seconds - 1e-6))
    allowed = _allowed(judged, promise, ends)
    return float(spent.bad[0]) / allowed if allowed else 0.0


def firings(judged: Judged, promise: Promise, begins: datetime, ends: datetime) -> list[Firing]:
    """When each alert would have fired, told at the end of each slice."""
    moments = np.arange(judged.column(begins.timestamp()), judged.column(ends.timestamp())) + 1
    times = [float(judged.start + moment * judged.seconds) for moment in moments]
    found = []
    for alert in promise.alerts:
        over = [_exceeds(judged, promise, alert, times, seconds) for seconds in _windows(alert)]
        firing = np.logical_and.reduce(over) if len(times) else np.zeros(0, dtype=bool)
        found += [
            Firing(alert, _moment(times[since]), None if until == len(times) else _moment(times[until]))
            for since, until in _runs(firing)
        ]
    return sorted(found, key=lambda one: one.starts_at)[:_MOST_FIRINGS]


def _exceeds(judged: Judged, promise: Promise, alert: BurnRateAlert, times: Sequence[float], seconds: int) -> Flags:
    sums = _trailing(judged, times, seconds)
    enough = (sums.events >= promise.minimum_total_events) & (sums.events_bad >= promise.minimum_bad_events)
    exceeds: Flags = (np.nan_to_num(sums.burn) > float(alert.factor)) & enough
    return exceeds


def _trailing(judged: Judged, times: Sequence[float], seconds: int) -> Tally:
    return at_moments(judged, RollingWindow(seconds), times)[1]


def _windows(alert: BurnRateAlert) -> tuple[int, int]:
    return alert.long_window_seconds, alert.short_window_seconds


def _allowed(judged: Judged, promise: Promise, at: datetime) -> float:
    """What the window that is judged at `at` allows to be spent."""
    window = tally(judged, judged.column(start(promise.window, at).timestamp()), judged.column(at.timestamp()))
    return float(window.allowed[0])


def _worst(judged: Judged, first: int, last: int, allowed: float) -> tuple[Burnt, ...]:
    """The stretches of bad slices that took most, the worst first."""
    bad = judged.bad[0, first:last]
    stretches = []
    for since, until in _runs(bad > 0):
        sums = tally(judged, first + since, first + until)
        stretches.append(
            Burnt(
                _moment(judged.start + (first + since) * judged.seconds),
                _moment(judged.start + (first + until) * judged.seconds),
                float(sums.events_bad[0]),
                float(sums.events[0]),
                float(sums.bad[0]) / allowed if allowed else 0.0,
            )
        )
    return tuple(sorted(stretches, key=lambda one: one.consumed, reverse=True)[:MOST_STRETCHES])


def _runs(flags: Flags) -> list[tuple[int, int]]:
    """Where flags are set: from which place until which, the end excluded."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
