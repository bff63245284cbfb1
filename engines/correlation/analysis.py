"""From evidence to an answer: each stage a pure function, in the order in which a person would go about it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from domain.correlation import CorrelationKind, RootCauseKind
from engines.correlation.absence import absence_findings
from engines.correlation.changes import alert_findings, deployment_findings, incident_findings
from engines.correlation.confidence import confidences
from engines.correlation.evidence import Evidence
from engines.correlation.findings import Analysis, Finding, RootCause, ScoreComponent
from engines.correlation.impact import impacts
from engines.correlation.log_novelty import log_findings
from engines.correlation.metric_anomalies import metric_findings
from engines.correlation.neighbours import incident_links
from engines.correlation.propagation import Graph, graph_of
from engines.correlation.scoring import Candidate, candidates
from engines.correlation.trace_shapes import change_findings
from engines.correlation.trace_times import time_findings
from engines.correlation.visits import Visits

ENGINE_VERSION: Final = "1.1.2"
"""Which engine answered: changes whenever the same evidence may get another answer."""

_LACKS: Final = {
    "origin": "less begins there that nothing further down explains",
    "reaches the alert": "less of what was noticed depends on it",
    "other symptoms": "it shows less of other kinds",
    "deployment": "nothing was deployed there just before",
}
"""What the runner-up lacks, by the name of the component in which it loses most."""
_TOLD: Final = (CorrelationKind.ALERT, CorrelationKind.INCIDENT)
MOST_CAUSES: Final = 20
UNCONFIRMED: Final = 0.25
DIGITS: Final = 6
"""Numbers of the answer are rounded, so that a sum in another order is the same answer."""


def analyse(evidence: Evidence) -> Analysis:
    """The probable root causes of an incident, the best first, with all that speaks for them.

    The same evidence gives the same answer, byte for byte, whatever the order of its parts.
    """
    graph = graph_of(evidence)
    found = findings(evidence, graph)
    ranked = candidates(evidence, found, graph)
    causes = _causes(evidence, ranked, found)
    return Analysis(
        engine_version=ENGINE_VERSION,
        causes=causes,
        ranking=tuple(dict.fromkeys(cause.service for cause in causes)),
        findings=tuple(found),
        impacts=impacts(evidence, found, graph, causes),
        incident_links=incident_links(evidence, found, causes),
        confidence=causes[0].confidence,
        summary=_summary(causes[0]),
        why_not=_why_not(causes),
        gaps=evidence.gaps,
    )


def findings(evidence: Evidence, graph: Graph) -> list[Finding]:
    """Everything out of the ordinary, in the order of ids."""
    traced = _trace_findings(evidence)
    measured = [*_against_traces(metric_findings(evidence, graph), traced, evidence), *absence_findings(evidence)]
    symptoms = [*measured, *log_findings(evidence), *traced]
    onsets: dict[str, float] = {}
    for finding in symptoms:
        if finding.onset is not None:
            onsets[finding.service] = min(finding.onset, onsets.get(finding.service, finding.onset))
    told = [*deployment_findings(evidence, onsets), *alert_findings(evidence), *incident_findings(evidence)]
    every = [*symptoms, *told]
    return sorted(every, key=lambda finding: finding.id)


def _trace_findings(evidence: Evidence) -> list[Finding]:
    """Everything that changed in visits; nothing where there are no traces."""
    if evidence.traces is None or not len(evidence.traces.visit_entry):
        return []
    visits = Visits(evidence, evidence.traces)
    return [*change_findings(visits), *time_findings(visits)]


def _against_traces(metrics: list[Finding], traced: list[Finding], evidence: Evidence) -> list[Finding]:
    """Latencies count half where there are traces of the service that show no time lost in it or on the way to it:
    then it waits for others.
    """
    seen = {entry.service for entry in evidence.traces.entries} if evidence.traces is not None else set()
    slow = {finding.service for finding in traced if finding.cause is RootCauseKind.LATENCY}
    return [
        replace(finding, strength=finding.strength * UNCONFIRMED)
        if finding.cause is RootCauseKind.LATENCY and finding.service in seen - slow
        else finding
        for finding in metrics
    ]


def _causes(evidence: Evidence, ranked: Sequence[Candidate], found: Sequence[Finding]) -> tuple[RootCause, ...]:
    if not ranked:
        return (_unknown(evidence),)
    by_id = {finding.id: finding for finding in found}
    sure = confidences(ranked)
    causes = []
    for rank, candidate in enumerate(ranked[:MOST_CAUSES], start=1):
        components = tuple(_rounded(component) for component in candidate.components)
        ids = tuple(dict.fromkeys(id for component in components for id in component.findings))
        own = [by_id[id] for id in ids if by_id[id].service == candidate.service]
        causes.append(
            RootCause(
                rank=rank,
                service=candidate.service,
                kind=candidate.kind,
                score=round(sum(component.contribution for component in components), DIGITS),
                confidence=round(sure[rank - 1], DIGITS),
                onset=_onset(candidate, own),
                explanation=_explanation(candidate, own),
                components=components,
                findings=ids,
            )
        )
    return tuple(causes)


def _unknown(evidence: Evidence) -> RootCause:
    service = evidence.services[0]
    return RootCause(
        1, service, RootCauseKind.UNKNOWN, 0.0, 0.0, None, f"Nothing out of the ordinary was seen at {service}", (), ()
    )


def _rounded(component: ScoreComponent) -> ScoreComponent:
    return ScoreComponent(
        component.name,
        round(component.weight, DIGITS),
        round(component.value, DIGITS),
        component.explanation,
        component.findings,
    )


def _onset(candidate: Candidate, own: Sequence[Finding]) -> float | None:
    """When it began: by what speaks for its kind, and by alerts and incidents only where nothing else tells.

    Those may be of earlier trouble.
    """
    known = [finding for finding in own if finding.onset is not None]
    seen = [finding for finding in known if finding.kind not in _TOLD] or known
    speaking = [finding for finding in seen if finding.cause is candidate.kind] or seen
    return min((finding.onset for finding in speaking if finding.onset is not None), default=None)


def _explanation(candidate: Candidate, own: Sequence[Finding]) -> str:
    """The strongest findings at the service, those that speak for this kind of cause before others."""
    strongest = sorted(own, key=lambda it: (it.cause is not candidate.kind, -it.strength, it.id))[:2]
    return ". ".join(finding.summary for finding in strongest) or f"Services that call {candidate.service} suffer"


def _summary(cause: RootCause) -> str:
    if not cause.score:
        return cause.explanation
    if cause.kind is RootCauseKind.UNKNOWN:
        return f"Probably something at {cause.service}: {cause.explanation}"
    return f"Probably {cause.kind.lower()} at {cause.service}: {cause.explanation}"


def _why_not(causes: Sequence[RootCause]) -> str:
    """What the first of another service lacks against the first of all."""
    first = causes[0]
    second = next((cause for cause in causes if cause.service != first.service), None)
    if second is None:
        return "There is no other candidate"
    theirs = {component.name: component.contribution for component in second.components}
    lead = max(
        first.components,
        key=lambda component: (component.contribution - theirs.get(component.name, 0.0), component.name),
    )
    origin = next((part.explanation for part in second.components if part.name == "origin"), "")
    lacks = _LACKS.get(lead.name, "it explains less of what its callers show" if "callers" in lead.name else "")
    lacks = lacks or f"less is out of the ordinary in its {lead.name}"
    return (
        f"{second.service} ({second.kind.lower()}) scores {second.score:.2f} against {first.score:.2f}. {origin}."
        f" Above all, {lacks}: {theirs.get(lead.name, 0.0):.2f} of its score against {lead.contribution:.2f}."
    )
