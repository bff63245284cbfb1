"""How sure an answer is: how often answers with such a lead were right on the recorded development cases."""

import math
from collections.abc import Sequence
from typing import Final

from engines.correlation.scoring import Candidate

LEAD_WEIGHT: Final = 8.0
HALF_SCORE: Final = 0.1
"""Both round, and chosen so that `bench/root_cause.py --calibration` finds answers right at least as often as they say:
systems that nobody has recorded are harder than those that somebody has.
"""


def confidences(ranked: Sequence[Candidate]) -> list[float]:
    """Of each candidate, from 0 to 1; those of one service share what there is for the service.

    What counts is the service's share of its own best score and that of its best rival, and that there is a score at
    all: the best of almost nothing is a guess.
    """
    best: dict[str, float] = {}
    for candidate in ranked:
        best.setdefault(candidate.service, candidate.score)
    found = []
    for candidate in ranked:
        rival = max((score for service, score in best.items() if service != candidate.service), default=0.0)
        own = best[candidate.service]
        share = own / (own + rival) if own + rival > 0 else 0.0
        part = candidate.score / own if own > 0 else 0.0
        found.append(part * _logistic(LEAD_WEIGHT * (share - 0.5)) * own / (own + HALF_SCORE))
    return found


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))
