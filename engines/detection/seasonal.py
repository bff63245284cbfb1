"""Whether a value is unusual: against the same hour of earlier days, and against the last hour.

Both must say so, where both are known: what is usual at this hour is no anomaly, however sudden, and a weekend that is
unlike the working days before it is none either, because its last hour was as quiet. The distance is a robust z-score,
with medians for means and the median absolute deviation for the standard deviation (Iglewicz and Hoaglin, 1993), so
that an incident of yesterday does not become what is usual. How far the last hour deviates is measured from one moment
to the next, so that a slope does not hide what it leads to. A flat series has a deviation of 0, for which a share of
its level stands in.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from engines.detection.statistics import Flags, Floats, deviations, medians, step_deviations

LEAST_DAYS: Final = 3
LEAST_RECENT_POINTS: Final = 10
_LEAST_SHARE_OF_A_DAY: Final = 0.5
_FLOOR_OF_LEVEL: Final = 0.05
_TINY: Final = 1e-12
_HYSTERESIS: Final = 0.75


@dataclass(frozen=True, slots=True)
class Usual:
    """Centre and deviation over each past; NaN where that past is not known well enough."""

    earlier_centre: Floats
    earlier_deviation: Floats
    recent_centre: Floats
    recent_deviation: Floats

    @classmethod
    def of(cls, recent: Floats, earlier: Floats, kept: Floats | None) -> Self:
        """From (services, points) and (services, days, points). `kept`, where it is no NaN, replaces the last hour."""
        services, days, points = earlier.shape
        present = ~np.isnan(earlier)
        whole_days = (present.sum(axis=2) >= max(1.0, _LEAST_SHARE_OF_A_DAY * points)).sum(axis=1)
        pooled = earlier.reshape(services, days * points)
        centre = np.where(whole_days >= LEAST_DAYS, medians(pooled), np.nan)
        deviation = deviations(pooled, centre)
        enough = (~np.isnan(recent)).sum(axis=1) >= LEAST_RECENT_POINTS
        recent_centre = np.where(enough, medians(recent), np.nan)
        recent_deviation = np.where(enough, step_deviations(recent), np.nan)
        if kept is not None:
            is_kept = ~np.isnan(kept[:, 0])
            recent_centre = np.where(is_kept, kept[:, 0], recent_centre)
            recent_deviation = np.where(is_kept, kept[:, 1], recent_deviation)
        return cls(centre, deviation, recent_centre, recent_deviation)

    @property
    def known(self) -> Flags:
        """Where at least one past is known."""
        return ~(np.isnan(self.earlier_centre) & np.isnan(self.recent_centre))

    @property
    def recent_baseline(self) -> Floats:
        """What to keep of the last hour while a service is bad: (services, 2)."""
        return np.stack([self.recent_centre, self.recent_deviation], axis=1)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is too much: `direction` 1 above and -1 below what is usual, `z` deviations, and `change` of the level.

    `noise` is the least deviation that the nature of the numbers allows.
    """

    direction: float
    z: float
    change: float
    noise: Floats


def compare(value: Floats, usual: Usual, limits: Limits) -> tuple[Flags, Flags, Floats]:
    """Where values are bad, where they are good, and what would be usual. Unknown pasts have no say."""
    earlier = _excess(value, usual.earlier_centre, usual.earlier_deviation, limits)
    recent = _excess(value, usual.recent_centre, usual.recent_deviation, limits)
    excess = np.fmin(earlier, recent)
    known = ~np.isnan(excess)
    expected = np.where(np.isnan(usual.earlier_centre), usual.recent_centre, usual.earlier_centre)
    return known & (excess >= 1.0), known & (excess < _HYSTERESIS), expected


def _excess(value: Floats, centre: Floats, deviation: Floats, limits: Limits) -> Floats:
    """How much of what is too much the distance from the centre is; NaN where the centre is not known."""
    level = np.abs(centre)
    scale = np.fmax(np.fmax(deviation, _FLOOR_OF_LEVEL * level), np.fmax(limits.noise, _TINY))
    distance = limits.direction * (value - centre)
    by_deviation = distance / (limits.z * scale)
    if limits.change == 0:
        return by_deviation
    by_level: Floats = distance / (limits.change * np.maximum(level, _TINY))
    excess: Floats = np.minimum(by_deviation, by_level)
    return excess
