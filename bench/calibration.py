"""How sure answers may be: fitted to how often they were right, on recorded cases and on worsened copies of them.

The cases alone are nearly all answered rightly, which says nothing of harder ones. So each is also answered without one
of its signals, and among services that only make noise. Three numbers are chosen from a grid, so that there is little
to fit too closely, and each case is judged by what was chosen for the others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np

from engines.correlation.confidence import Sureness
from engines.correlation.findings import Analysis

FOLDS: Final = 11
GRID: Final = tuple(
    Sureness(*numbers) for numbers in product((0.1, 0.2, 0.3, 0.4, 0.5), (1.0, 2.0, 3.0), (1.0, 2.0, 4.0, 6.0, 8.0))
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The scores of an answer's service and of its best rival, how sure it was, and whether it was right.

    Copies of a case share its id.
    """

    case: str
    own: float
    rival: float
    confidence: float
    is_right: bool


def answer_of(case: str, analysis: Analysis, service: str) -> Answer | None:
    """The answer of an analysis, None where it names nobody."""
    first = analysis.causes[0]
    if not first.score:
        return None
    rival = max((cause.score for cause in analysis.causes if cause.service != first.service), default=0.0)
    return Answer(case, first.score, rival, analysis.confidence, first.service == service)


def fit(answers: Sequence[Answer]) -> Sureness:
    """What makes answers as sure as they are right, by the mean square of the difference (Brier, 1950)."""
    return min(GRID, key=lambda sureness: _brier([_judged(answer, sureness) for answer in answers]))


def cross_validated(answers: Sequence[Answer]) -> list[Answer]:
    """The answers, as sure as what was fitted to the other cases would make them."""
    cases = sorted({answer.case for answer in answers})
    folds: Mapping[str, int] = {case: place % FOLDS for place, case in enumerate(cases)}
    return [answer for fold in range(FOLDS) for answer in _fold(answers, folds, fold)]


def _fold(answers: Sequence[Answer], folds: Mapping[str, int], fold: int) -> Iterator[Answer]:
    sureness = fit([answer for answer in answers if folds[answer.case] != fold])
    return (_judged(answer, sureness) for answer in answers if folds[answer.case] == fold)


def _judged(answer: Answer, sureness: Sureness) -> Answer:
    return Answer(answer.case, answer.own, answer.rival, sureness.of(answer.own, answer.rival), answer.is_right)


def _brier(answers: Sequence[Answer]) -> float:
    return float(np.mean([(answer.confidence - answer.is_right) ** 2 for answer in answers]))


def print_reliability(title: str, answers: Sequence[Answer]) -> None:
    """How often answers of each confidence were right, and how far off they are: the mean square, and the mean gap."""
    print(f"\n{title:44} {'answers':>7} {'says':>7} {'right':>7}")
    gaps = 0.0
    for low in np.arange(0.0, 1.0, 0.2):
        within = [answer for answer in answers if low <= answer.confidence < low + 0.2 + 1e-9 * (low > 0.7)]
        if within:
            says = float(np.mean([answer.confidence for answer in within]))
            right = float(np.mean([answer.is_right for answer in within]))
            gaps += abs(says - right) * len(within) / len(answers)
            print(f"  {low:.1f} to {low + 0.2:.1f}{'':32} {len(within):7} {says:7.1%} {right:7.1%}")
    print(f"  Brier score {_brier(answers):.3f}, expected calibration error {gaps:.3f}")
