"""Which part of the lines was kept, visit by visit: collectors and queries sample, more at one time than at another.

Lines that are missing from the visits of one service speak of that service; lines that are missing from those of all
services alike speak of whoever collected them.
"""

from typing import Final

import numpy as np

from engines.correlation.evidence import Floats, Integers

SLICE_SECONDS: Final = 30.0
ROUNDS: Final = 3
OUTLYING: Final = 2.0
"""What is further than so many deviations from the rest of a slice has reasons of its own."""
PRIOR_LINES: Final = 2.0
"""So many lines as expected are taken for seen: few lines say little about a slice."""
LEAST_KEPT: Final = 0.05


def kept_lines(
    place: Integers, starts: Floats, since: float, visit: Integers, event: Integers, count: Integers
) -> Floats:
    """Of each visit, which part of its lines was kept, 1 on average.

    `place` and `starts` are of the visits, `visit`, `event` and `count` of the lines. In each slice of time, what lines
    there are of each place and event is held against what there usually are, leaving out those that differ most.
    """
    kept = np.ones(len(place))
    if not len(visit):
        return kept
    _, slice_of = np.unique(np.floor((starts - since) / SLICE_SECONDS).astype(np.int64), return_inverse=True)
    slices = int(slice_of.max()) + 1
    keys, row = np.unique(place[visit] * (int(event.max()) + 1) + event, return_inverse=True)
    place_of = keys // (int(event.max()) + 1)
    seen = np.bincount(row * slices + slice_of[visit], count, minlength=len(keys) * slices).reshape(-1, slices)
    places = int(place.max()) + 1
    visits = np.bincount(place * slices + slice_of, minlength=places * slices).reshape(-1, slices)[place_of]
    clumping = np.maximum(1.0, np.bincount(row, count) / np.bincount(row))[:, None]
    shares = np.ones(slices)
    for _ in range(ROUNDS):
        exposure = visits * shares
        rates = seen.sum(axis=1, keepdims=True) / np.maximum(exposure.sum(axis=1, keepdims=True), 1e-9)
        expected = rates * visits
        noise = np.sqrt(np.maximum(expected * shares * clumping, 1.0))
        usual = np.abs(seen - expected * shares) <= OUTLYING * noise
        shares = ((seen * usual).sum(axis=0) + PRIOR_LINES) / ((expected * usual).sum(axis=0) + PRIOR_LINES)
        shares = np.maximum(LEAST_KEPT, shares)
    return np.asarray(shares[slice_of], dtype=np.float64)
