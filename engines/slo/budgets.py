"""From sums over windows to what people ask: what is left of the budget, how fast it burns, when it will be gone."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from domain.objectives import Alerting, BurnRateAlert, RollingWindow, Window
from domain.slos import BurnResponse, SLOStatus
from engines.slo.slices import Tally
from engines.slo.windows import bounds, usual_seconds

_PRESENT_SECONDS: Final = 3_600


@dataclass(frozen=True, slots=True)
class Promise:
    """What the arithmetic needs to know of an objective: its window and whom it alerts about which burns."""

    window: Window
    alerts: Sequence[BurnRateAlert]
    minimum_total_events: int = 0
    minimum_bad_events: int = 0

    @classmethod
    def of(cls, window: Window, alerting: Alerting, alerts: Sequence[BurnRateAlert]) -> "Promise":
        """The promise of a definition whose pairs of windows are `alerts`."""
        return cls(window, alerts, alerting.minimum_total_events, alerting.minimum_bad_events)


@dataclass(frozen=True, slots=True)
class Sums:
    """One row of a tally, in plain numbers. `burn` and `sli` are None where nothing happened."""

    sli: float | None
    burn: float | None
    good_events: float
    total_events: float
    bad_events: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Burn:
    """How fast a budget burns over a pair of windows; 1 spends it exactly in its period. None: nothing happened."""

    alert: BurnRateAlert
    long_rate: float | None
    short_rate: float | None
    is_breached: bool


@dataclass(frozen=True, slots=True)
class Measurement:
    """An objective at one moment. Without events in the window there is no SLI, and nothing is consumed."""

    measured_at: datetime
    sli: float | None
    good_events: float
    total_events: float
    consumed: float
    coverage: float
    burns: tuple[Burn, ...]
    status: SLOStatus
    exhausts_at: datetime | None

    @property
    def remaining(self) -> float:
        """What is left of the budget: 1 all, 0 nothing, negative overspent without limit."""
        return 1 - self.consumed

    @property
    def breached(self) -> tuple[BurnResponse, ...]:
        """What the burns ask for."""
        return tuple(dict.fromkeys(burn.alert.response for burn in self.burns if burn.is_breached))


def rows(tally: Tally) -> list[Sums]:
    """The rows of a tally in plain numbers."""
    columns = (tally.sli, tally.burn, tally.events - tally.events_bad, tally.events, tally.events_bad, tally.coverage)
    return [
        Sums(_known(sli), _known(burn), good, total, bad, coverage)
        for sli, burn, good, total, bad, coverage in zip(*(column.tolist() for column in columns), strict=True)
    ]


def measure(promise: Promise, at: datetime, period: Sums, recent: Mapping[int, Sums]) -> Measurement:
    """An objective at `at`, from the sums over its window and over every window of its alerts, by their seconds."""
    burns = tuple(_burn(alert, promise, recent) for alert in promise.alerts)
    consumed = period.burn if period.burn is not None else 0.0
    return Measurement(
        measured_at=at,
        sli=period.sli,
        good_events=period.good_events,
        total_events=period.total_events,
        consumed=consumed,
        coverage=period.coverage,
        burns=burns,
        status=_status(period, burns),
        exhausts_at=_exhausts_at(promise.window, at, consumed, _present_rate(burns)),
    )


def windows_of(promises: Iterable[Promise]) -> list[int]:
    """The windows, in seconds, that their alerts look back over."""
    alerts = [alert for promise in promises for alert in promise.alerts]
    return sorted({seconds for alert in alerts for seconds in (alert.long_window_seconds, alert.short_window_seconds)})


def burns_as_json(burns: Iterable[Burn]) -> list[dict[str, Any]]:
    """Burns as they are stored and read by clients."""
    return [
        {
            "name": burn.alert.name,
            "response": burn.alert.response.value,
            "long_window_seconds": burn.alert.long_window_seconds,
            "short_window_seconds": burn.alert.short_window_seconds,
            "long_rate": burn.long_rate,
            "short_rate": burn.short_rate,
            "threshold": float(burn.alert.factor),
            "breached": burn.is_breached,
        }
        for burn in burns
    ]


def _burn(alert: BurnRateAlert, promise: Promise, recent: Mapping[int, Sums]) -> Burn:
    long, short = recent[alert.long_window_seconds], recent[alert.short_window_seconds]
    factor = float(alert.factor)
    is_breached = all(
        sums.burn is not None
        and sums.burn > factor
        and sums.total_events >= promise.minimum_total_events
        and sums.bad_events >= promise.minimum_bad_events
        for sums in (long, short)
    )
    return Burn(alert, long.burn, short.burn, is_breached)


def _status(period: Sums, burns: Sequence[Burn]) -> SLOStatus:
    if period.burn is None:
        return SLOStatus.NO_DATA
    if period.burn >= 1:
        return SLOStatus.EXHAUSTED
    breached = {burn.alert.response for burn in burns if burn.is_breached}
    if BurnResponse.PAGE in breached:
        return SLOStatus.CRITICAL
    return SLOStatus.WARNING if BurnResponse.TICKET in breached else SLOStatus.HEALTHY


def _present_rate(burns: Sequence[Burn]) -> float:
    """The rate over the window that is nearest to an hour: long enough to be calm, short enough to be of now."""
    rates = [(burn.alert.long_window_seconds, burn.long_rate) for burn in burns if burn.long_rate is not None]
    return min(rates, key=lambda rate: abs(rate[0] - _PRESENT_SECONDS), default=(0, 0.0))[1]


def _exhausts_at(window: Window, at: datetime, consumed: float, rate: float) -> datetime | None:
    """When the budget will be gone at the present rate; None when that is not within this window.

    A rolling window that is not used up after one period at a steady rate never will be.
    """
    if consumed >= 1:
        return at
    if rate <= 0:
        return None
    period_seconds = usual_seconds(window)
    left_seconds = (1 - consumed) * period_seconds / rate
    limit_seconds = (
        period_seconds if isinstance(window, RollingWindow) else (bounds(window, at)[1] - at).total_seconds()
    )
    return at + timedelta(seconds=left_seconds) if left_seconds <= limit_seconds else None


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
