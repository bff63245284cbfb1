"""What the engine found: anomalies, root causes made of them, and what each says. All of it can be written as JSON."""

from dataclasses import dataclass

from domain.correlation import CorrelationKind, RootCauseKind
from domain.incidents import ImpactLevel
from domain.json_values import JSON
from engines.correlation.evidence import NO_SOURCE, Gap, Source


@dataclass(frozen=True, slots=True)
class Finding:
    """Something out of the ordinary, and what it says.

    `strength` is from 0, nothing, to 1, beyond doubt. `onset` and `end` are seconds since 1970, None where they cannot
    be told. `cause` is the kind of root cause in its service that it speaks for; `severity` how many robust standard
    deviations from normal it is, where it is a number. `sample` is a bounded part of what was seen.
    """

    id: str
    kind: CorrelationKind
    service: str
    cause: RootCauseKind
    name: str
    summary: str
    strength: float
    severity: float | None = None
    onset: float | None = None
    end: float | None = None
    lag_seconds: float | None = None
    source: Source = NO_SOURCE
    sample: JSON = None


@dataclass(frozen=True, slots=True)
class ScoreComponent:
    """A part of a score: `weight * value`. `findings` are the ids of those that it rests on."""

    name: str
    weight: float
    value: float
    explanation: str
    findings: tuple[str, ...] = ()

    @property
    def contribution(self) -> float:
        """What it adds to the score."""
        return self.weight * self.value


@dataclass(frozen=True, slots=True)
class RootCause:
    """A service that may be where it began, and in what way. The components' contributions add up to the score."""

    rank: int
    service: str
    kind: RootCauseKind
    score: float
    confidence: float
    onset: float | None
    explanation: str
    components: tuple[ScoreComponent, ...]
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Impact:
    """A service that is hit, or seems to be."""

    service: str
    level: ImpactLevel
    score: float
    explanation: str
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IncidentLink:
    """Another incident that seems to have the same cause, or shares evidence. 0 to 1; the components add up to it."""

    incident_id: str
    score: float
    is_same_cause: bool
    explanation: str
    components: tuple[ScoreComponent, ...] = ()


@dataclass(frozen=True, slots=True)
class Analysis:
    """The answer. `causes` are ranked, the most probable first; one per service and kind, services once in `ranking`.

    `confidence` is that of the first cause: how often one with such a lead was right on the development cases.
    `why_not` says what the runner-up lacks.
    """

    engine_version: str
    causes: tuple[RootCause, ...]
    ranking: tuple[str, ...]
    findings: tuple[Finding, ...]
    impacts: tuple[Impact, ...]
    incident_links: tuple[IncidentLink, ...]
    confidence: float
    summary: str
    why_not: str
    gaps: tuple[Gap, ...] = ()
