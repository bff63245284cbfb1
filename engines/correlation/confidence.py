"""How sure an answer is: how often answers with such a score and such a lead were right on recorded cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engines.correlation.scoring import Candidate


@dataclass(frozen=True, slots=True)
class Sureness:
    """Half sure at `half_score`, the more suddenly the higher `score_power` (Hill, 1910); and of two services, as much
    surer of the one with the higher score as `lead_power` says.
    """

    half_score: float
    score_power: float
    lead_power: float

    def of(self, own: float, rival: float) -> float:
        """How sure it is of a service with a score, whose best rival has another, from 0 to 1."""
        if own <= 0:
            return 0.0
        height = own**self.score_power / (own**self.score_power + self.half_score**self.score_power)
        lead = own**self.lead_power / (own**self.lead_power + rival**self.lead_power)
        return float(height * lead)


SURENESS: Final = Sureness(half_score=0.3, score_power=3.0, lead_power=6.0)
"""Round, and near what `bench/root_cause.py --calibration` fits to recorded cases and to worsened copies of them."""


def confidences(ranked: Sequence[Candidate]) -> list[float]:
    """Of each candidate, from 0 to 1; those of one service share what there is for the service."""
    best: dict[str, float] = {}
    for candidate in ranked:
        best.setdefault(candidate.service, candidate.score)
    found = []
    for candidate in ranked:
        rival = max((score for service, score in best.items() if service != candidate.service), default=0.0)
        own = best[candidate.service]
        part = candidate.score / own if own > 0 else 0.0
        found.append(part * SURENESS.of(own, rival))
    return found
