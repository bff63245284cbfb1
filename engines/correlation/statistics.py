"""Tests that hold with few, noisy and missing numbers. All take and give plain floats and arrays."""

from typing import Final, TypeAlias

import numpy as np

from engines.correlation.evidence import Floats

Number: TypeAlias = float | Floats

ORDINARY: Final = 3.0
"""Robust standard deviations within which a value is ordinary: among a few hundred looked at, hardly one is beyond."""
HALF_STRENGTH: Final = 3.0
"""How many beyond ORDINARY it takes to be half convinced."""
MOST_SHARE: Final = 0.95
"""What always happened may be missing once in twenty: anything can get lost on its way to us."""
_MAD_TO_DEVIATION: Final = 1.4826  # of a normal distribution
_QUANTILE: Final = 0.95
_QUANTILE_TO_DEVIATION: Final = 1 / 1.645
_LEAST_RELATIVE_NOISE: Final = 0.1
_ALMOST_NOTHING: Final = 1e-9


def strength(deviations: float, ordinary: float = ORDINARY) -> float:
    """From deviations, of any size, to how much they convince: 0 within the ordinary, towards 1 beyond."""
    beyond = max(0.0, deviations - ordinary)
    return beyond / (beyond + HALF_STRENGTH)


def either(strengths: list[float], most: int = 3) -> float:
    """How convincing several findings are together, if each alone could do: never less with one more, and never 1.

    Only the `most` strongest count, so that many faint ones do not add up to a strong one.
    """
    doubt = 1.0
    for value in sorted(strengths, reverse=True)[:most]:
        doubt *= 1.0 - value
    return 1.0 - doubt


def centre_and_noise(values: Floats, least_noise: float) -> tuple[float, float]:
    """The median, and how far values stray from it: by their median deviation, or by that of the largest twentieth
    where that is more (values that are mostly the same have no median deviation), or a tenth, or `least_noise`.
    """
    centre = float(np.median(values))
    strayed = np.abs(values - centre)
    deviation = float(np.median(strayed)) * _MAD_TO_DEVIATION
    outer = float(np.quantile(strayed, _QUANTILE)) * _QUANTILE_TO_DEVIATION
    return centre, max(deviation, outer, _LEAST_RELATIVE_NOISE * abs(centre), least_noise)


def count_change(
    before: Number, after: Number, exposure_before: Number, exposure_after: Number, clumping: Number
) -> Floats:
    """How many deviations more (or, negative, fewer) events there were than before, per exposure; 0 without any.

    The signed root of the Poisson deviance against one rate for both, divided by what events that come in clumps of
    `clumping` add to the noise.
    """
    exposure = np.maximum(np.asarray(exposure_before, dtype=np.float64) + exposure_after, _ALMOST_NOTHING)
    rate = (np.asarray(before, dtype=np.float64) + after) / exposure
    deviance = _part(before, rate * exposure_before) + _part(after, rate * exposure_after)
    changed: Floats = np.sqrt(np.maximum(0.0, 2.0 * deviance) / np.maximum(1.0, clumping))
    return np.where(after > rate * exposure_after, changed, -changed) * (rate > 0)


def share_change(before: Number, after: Number, of_before: Number, of_after: Number, factor: Number) -> Floats:
    """How many deviations larger a share is than before, where `factor` times as much was to be expected.

    The signed root of the binomial deviance against one share for both; 0 where there is none.
    """
    of = np.maximum(np.asarray(of_before, dtype=np.float64) + np.asarray(factor) * of_after, _ALMOST_NOTHING)
    share = (np.asarray(before, dtype=np.float64) + after) / of
    expected_before = np.minimum(share, MOST_SHARE) * of_before
    expected_after = np.minimum(share * factor, MOST_SHARE) * of_after
    deviance = _part(before, expected_before) + _part(of_before - before, of_before - expected_before)
    deviance += _part(after, expected_after) + _part(of_after - after, of_after - expected_after)
    changed: Floats = np.sqrt(np.maximum(0.0, 2.0 * deviance))
    # More than the most that is expected on both sides is no difference between them.
    differs = (share > 0) & ((before > expected_before) != (after > expected_after))
    signed: Floats = np.where(after > expected_after, changed, -changed) * differs
    return signed


def _part(seen: Number, expected: Number) -> Floats:
    of = np.asarray(seen, dtype=np.float64)
    ratio = np.where(of > 0, of, 1.0) / np.maximum(expected, 0.5)
    part: Floats = np.where(of > 0, of * np.log(ratio), 0.0)
    return part


def rank_change(before: Floats, after: Floats) -> float:
    """How many deviations higher the values are than before, by their ranks alone (Mann and Whitney, 1947)."""
    n, m = len(before), len(after)
    if not n or not m:
        return 0.0
    values = np.concatenate([before, after])
    order = np.argsort(values, kind="stable")
    ranks = np.empty(n + m)
    ranks[order] = np.arange(1, n + m + 1)
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.bincount(group, ranks) / sizes)[group]
    surplus = float(ranks[n:].sum()) - m * (n + m + 1) / 2
    ties = float((sizes.astype(np.float64) ** 3 - sizes).sum()) / ((n + m) * max(1, n + m - 1))
    variance = n * m / 12 * (n + m + 1 - ties)
    return surplus / float(np.sqrt(variance)) if variance > 0 else 0.0
