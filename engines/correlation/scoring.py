"""From findings to scores: what speaks for each service and kind, added up.

Every part of a score is a weight, fixed here, times a value that grows with the evidence for that service and kind and
never shrinks with more of it. What speaks for a service further down moves that one up instead, and takes from its
callers only what it explains of theirs.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from domain.correlation import CorrelationKind, RootCauseKind
from engines.correlation.changes import most_suspicious
from engines.correlation.evidence import Evidence
from engines.correlation.findings import Finding, ScoreComponent
from engines.correlation.propagation import Graph
from engines.correlation.statistics import either

FAMILY_WEIGHTS: Final = {
    "error lines": 2.0,  # the service says itself that it failed
    "missing lines": 1.0,
    "trace shape": 1.0,
    "trace time": 0.5,
    "resources": 1.0,
    "error ratio": 1.0,
    "latency": 0.5,  # of a service is also that of all it calls
    "traffic": 0.25,  # goes where callers send it
    "availability": 2.0,  # whoever does not answer cannot do anything
    "alerts": 0.5,  # somebody has thought about what to watch
    "incidents": 0.25,
}
"""How directly a family of signals speaks about the service it is measured at."""
SYMPTOMS_WEIGHT: Final = 0.1
ORIGIN_WEIGHT: Final = 1.0
EXPLAINS_WEIGHT: Final = 1.0
REACHES_WEIGHT: Final = 0.25
OTHER_KINDS_WEIGHT: Final = 0.5
DEPLOYMENT_WEIGHT: Final = 1.0
HALF_EXPLAINED: Final = 0.25
"""How much a callee has to show to explain half of what its callers show."""

_EXPLAINING: Final = {
    RootCauseKind.ERRORS: (RootCauseKind.ERRORS, RootCauseKind.RESOURCE),
    RootCauseKind.LATENCY: (RootCauseKind.LATENCY, RootCauseKind.RESOURCE),
    RootCauseKind.UNKNOWN: (
        RootCauseKind.ERRORS,
        RootCauseKind.LATENCY,
        RootCauseKind.RESOURCE,
        RootCauseKind.UNKNOWN,
    ),
}
"""What a callee must show to explain what its callers show. Their resources and their own traffic it never explains."""
_OWN_KINDS: Final = (
    RootCauseKind.ERRORS,
    RootCauseKind.LATENCY,
    RootCauseKind.RESOURCE,
    RootCauseKind.TRAFFIC,
    RootCauseKind.UNKNOWN,
)
_AVAILABILITY: Final = ("UP", "ABSENT")
_SYMPTOMS: Final = frozenset(CorrelationKind) - {CorrelationKind.DEPLOYMENT}


def family_of(finding: Finding) -> str:
    """Which family of signals a finding belongs to."""
    match finding.kind, finding.cause:
        case CorrelationKind.ALERT, _:
            return "alerts"
        case CorrelationKind.INCIDENT, _:
            return "incidents"
        case CorrelationKind.METRIC, RootCauseKind.ERRORS if finding.name in _AVAILABILITY:
            return "availability"
        case CorrelationKind.LOG, _:
            return "error lines" if finding.name.endswith("NEW") else "missing lines"
        case CorrelationKind.TRACE, RootCauseKind.LATENCY:
            return "trace time"
        case CorrelationKind.TRACE, _:
            return "trace shape"
        case _, RootCauseKind.RESOURCE:
            return "resources"
        case _, RootCauseKind.ERRORS:
            return "error ratio"
        case _, RootCauseKind.LATENCY:
            return "latency"
        case _:
            return "traffic"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A service and kind with what speaks for it."""

    service: str
    kind: RootCauseKind
    components: tuple[ScoreComponent, ...]

    @property
    def score(self) -> float:
        """The contributions of the components, added up."""
        return sum(component.contribution for component in self.components)


@dataclass(frozen=True, slots=True)
class Symptoms:
    """What each service shows, by kind of cause and family of signals."""

    findings: Mapping[str, Mapping[RootCauseKind, Mapping[str, Sequence[Finding]]]]

    def amount(self, service: str, *kinds: RootCauseKind) -> float:
        """How much a service shows of some kinds: its families' strengths by their weights."""
        of = self.findings.get(service, {})
        return sum(
            FAMILY_WEIGHTS[family] * either([finding.strength for finding in found])
            for kind in kinds
            for family, found in sorted(of.get(kind, {}).items())
        )

    def of(self, service: str, *kinds: RootCauseKind) -> tuple[str, ...]:
        """The ids of a service's findings of some kinds, the strongest first."""
        of = self.findings.get(service, {})
        found = [finding for kind in kinds for family in of.get(kind, {}).values() for finding in family]
        return tuple(finding.id for finding in sorted(found, key=lambda finding: (-finding.strength, finding.id)))


def symptoms_of(findings: Iterable[Finding]) -> Symptoms:
    """The findings that are symptoms: all but changes."""
    grouped: dict[str, dict[RootCauseKind, dict[str, list[Finding]]]] = {}
    for finding in findings:
        if finding.kind in _SYMPTOMS:
            of = grouped.setdefault(finding.service, {}).setdefault(finding.cause, defaultdict(list))
            of[family_of(finding)].append(finding)
    return Symptoms(grouped)


def candidates(evidence: Evidence, findings: Sequence[Finding], graph: Graph) -> list[Candidate]:
    """Every service and kind for which anything speaks, the highest score first."""
    symptoms = symptoms_of(findings)
    externals = externals_of(evidence)
    found = []
    for service in sorted(symptoms.findings):
        own = [_candidate(service, kind, symptoms, evidence, graph) for kind in symptoms.findings[service]]
        if service in externals:
            # Nobody but its callers knows what is wrong with it.
            best = max(own, key=lambda candidate: candidate.score)
            own = [Candidate(service, RootCauseKind.DEPENDENCY, best.components)]
        found += own
        found += _deployed(max(own, key=lambda candidate: candidate.score), findings)
    return sorted(found, key=lambda candidate: (-round(candidate.score, 9), candidate.service, candidate.kind))


def externals_of(evidence: Evidence) -> frozenset[str]:
    """What services depend on that says nothing of itself: databases, brokers, others' APIs."""
    if evidence.traces is None:
        return frozenset()
    speaking = {series.service for series in evidence.series} | {pattern.service for pattern in evidence.patterns}
    return frozenset(evidence.traces.externals) - speaking


def _candidate(
    service: str,
    kind: RootCauseKind,
    symptoms: Symptoms,
    evidence: Evidence,
    graph: Graph,
) -> Candidate:
    components = [
        ScoreComponent(
            family,
            SYMPTOMS_WEIGHT * FAMILY_WEIGHTS[family],
            either([finding.strength for finding in found]),
            f"What is out of the ordinary in its {family}",
            tuple(finding.id for finding in sorted(found, key=lambda finding: (-finding.strength, finding.id))),
        )
        for family, found in sorted(symptoms.findings[service][kind].items())
    ]
    components.append(_origin(service, kind, symptoms, graph))
    components += _explains(service, kind, symptoms, graph)
    alerting = [name for name in evidence.services if name in graph.reached_by(service)]
    if alerting and _may_cause(kind, alerting[0], symptoms):
        components.append(
            ScoreComponent(
                "reaches the alert",
                REACHES_WEIGHT,
                min(1.0, symptoms.amount(service, kind)),
                f"{alerting[0]} depends on it" if alerting[0] != service else "It is where the incident was noticed",
            )
        )
    others = [other for other in _OWN_KINDS if other is not kind and symptoms.amount(service, other) > 0]
    if others:
        components.append(
            ScoreComponent(
                "other symptoms",
                OTHER_KINDS_WEIGHT,
                sum(_origin(service, other, symptoms, graph).contribution for other in others),
                "What it shows of other kinds, as far as nothing that it calls explains it",
                symptoms.of(service, *others),
            )
        )
    return Candidate(service, kind, tuple(component for component in components if component.value > 0))


def _may_cause(kind: RootCauseKind, alerting: str, symptoms: Symptoms) -> bool:
    """Whether a kind of cause explains what the alerting service shows, if it shows anything."""
    shown = [theirs for theirs in _EXPLAINING if symptoms.amount(alerting, theirs) > 0]
    return not shown or any(kind is theirs or kind in _EXPLAINING[theirs] for theirs in shown)


def _origin(service: str, kind: RootCauseKind, symptoms: Symptoms, graph: Graph) -> ScoreComponent:
    """How much of what a service shows nothing that it calls explains."""
    amount = symptoms.amount(service, kind)
    explained, by = 0.0, ""
    for callee, distance in sorted(graph.reached_from(service).items()):
        if distance and kind in _EXPLAINING:
            share = _half(symptoms.amount(callee, *_EXPLAINING[kind]))
            if share > explained:
                explained, by = share, callee
    why = f"{explained:.0%} of what it shows is explained by {by}" if by else "Nothing that it calls explains it"
    return ScoreComponent("origin", ORIGIN_WEIGHT, amount * (1 - explained), why, symptoms.of(service, kind))


def _explains(service: str, kind: RootCauseKind, symptoms: Symptoms, graph: Graph) -> list[ScoreComponent]:
    """How much of what its callers show a service explains."""
    found = []
    for theirs, explaining in sorted(_EXPLAINING.items()):
        if kind not in explaining:
            continue
        able = symptoms.amount(service, *explaining)
        callers = [
            caller
            for caller, distance in sorted(graph.reached_by(service).items())
            if distance and symptoms.amount(caller, theirs) > 0
        ]
        value = either([min(1.0, symptoms.amount(caller, theirs)) * _half(able) for caller in callers]) * min(1.0, able)
        if value > 0:
            found.append(
                ScoreComponent(
                    f"explains {theirs.lower()} of callers",
                    EXPLAINS_WEIGHT,
                    value,
                    f"Depend on it and show symptoms: {', '.join(callers[:3])}{' ...' if len(callers) > 3 else ''}",
                    tuple(id for caller in callers for id in symptoms.of(caller, theirs)[:3]),
                )
            )
    return found


def _deployed(best: Candidate, findings: Sequence[Finding]) -> list[Candidate]:
    """The deployment of a service as a cause of what speaks for it most: that, and how shortly before it was."""
    found = [
        finding
        for finding in findings
        if finding.kind is CorrelationKind.DEPLOYMENT and finding.service == best.service
    ]
    if not found:
        return []
    latest = most_suspicious(found)
    component = ScoreComponent(
        "deployment",
        DEPLOYMENT_WEIGHT,
        latest.strength * _half(best.score),
        latest.summary,
        (latest.id,),
    )
    return [Candidate(best.service, RootCauseKind.DEPLOYMENT, (*best.components, component))]


def _half(amount: float) -> float:
    return amount / (amount + HALF_EXPLAINED)
