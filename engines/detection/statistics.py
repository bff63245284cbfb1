"""Statistics that outliers and missing values do not move."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

MAD_TO_DEVIATION = 1.4826
"""What makes the median absolute deviation of a normal distribution its standard deviation (Rousseeuw, Croux 1993)."""


def medians(values: Floats) -> Floats:
    """The median of each row, over what is no NaN; NaN where there is nothing. Rows may have any leading axes."""
    count = np.sum(~np.isnan(values), axis=-1)
    ordered = np.sort(values, axis=-1)  # NaN last
    if ordered.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)
    lower = np.maximum(count - 1, 0) // 2
    upper = np.minimum(count // 2, ordered.shape[-1] - 1)
    middle = np.stack([lower, upper], axis=-1)
    found: Floats = np.take_along_axis(ordered, middle, axis=-1).mean(axis=-1)
    return found


def deviations(values: Floats, centres: Floats) -> Floats:
    """How far the values of each row usually lie from its centre: 0 for a flat row, NaN for an empty one."""
    return MAD_TO_DEVIATION * medians(np.abs(values - centres[..., np.newaxis]))


def step_deviations(values: Floats) -> Floats:
    """How far the values of each row deviate from one to the next: their noise, whatever slope they lie on.

    The difference of two independent values deviates by a root of two more than each of them.
    """
    steps = np.diff(values, axis=-1)
    found: Floats = MAD_TO_DEVIATION * medians(np.abs(steps)) / np.sqrt(2)
    return found


def wilson_bounds(ratios: Floats, counts: Floats, z: float) -> tuple[Floats, Floats]:
    """Between what the true ratio lies when `ratios` of `counts` trials were seen, `z` deviations to either side.

    Wilson's score interval with continuity correction (Newcombe, 1998), which holds for few trials and for ratios near
    0 and 1, unlike the normal approximation. NaN without trials.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        trials = np.where(counts > 0, counts, np.nan)
        hits, misses = ratios, 1 - ratios
        base = hits + z * z / (2 * trials)
        below = np.sqrt(np.maximum(z * z - 2 - 1 / trials + 4 * hits * (trials * misses + 1), 0))
        above = np.sqrt(np.maximum(z * z + 2 - 1 / trials + 4 * hits * (trials * misses - 1), 0))
        scale = 1 + z * z / trials
        half = 1 / (2 * trials)
        lower = np.where(ratios <= 0, 0.0, (base - half * (1 + z * below)) / scale)
        upper = np.where(ratios >= 1, 1.0, (base + half * (1 + z * above)) / scale)
    return np.where(np.isnan(trials), np.nan, lower), np.where(np.isnan(trials), np.nan, upper)
