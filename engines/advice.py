"""What to do next about probable root causes, and what to look at to be sure of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from domain.correlation import CorrelationKind, RecommendationKind, RootCauseKind
from domain.incidents import is_remedy
from engines.correlation.changes import deployment_id_of, most_suspicious
from engines.correlation.evidence import Deployment, Evidence, Signal
from engines.correlation.findings import Analysis, RootCause

MOST_ADVICE: Final = 8
MOST_STEPS: Final = 4

_WORTH_ADVICE: Final = 0.5
_LIKE_ENOUGH: Final = 0.4
"""As alike as an incident is by the same cause alone."""


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What the catalog says of a service that helps to act on it."""

    team: str | None = None
    runbook_url: str | None = None


@dataclass(frozen=True, slots=True)
class PastIncident:
    """A resolved incident that was like this one, and what ended it."""

    number: int
    title: str
    resolution: str
    score: float


@dataclass(frozen=True, slots=True)
class Advice:
    """Something to do. `findings` are the ids of those that it rests on."""

    kind: RecommendationKind
    title: str
    rationale: str
    action: str
    runbook_url: str | None = None
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """Something to look at. `action` is the query, ready to be run, where there is one."""

    title: str
    description: str
    action: str


def advise(
    analysis: Analysis, evidence: Evidence, facts: Mapping[str, ServiceFacts], past: Sequence[PastIncident] = ()
) -> tuple[Advice, ...]:
    """What to do about the first cause, and about others that are about as probable, the most urgent first."""
    if not analysis.causes:
        return ()
    likely = [it for it in analysis.causes if it.score >= _WORTH_ADVICE * analysis.causes[0].score][:2]
    found: dict[tuple[RecommendationKind, str], Advice] = {}
    for cause in likely:
        for advice in (*_acts(cause, analysis, evidence), *_people(cause, facts)):
            found.setdefault((advice.kind, cause.service), advice)
    advices = [*found.values(), *_past(past, analysis.causes[0])]
    order = [*RecommendationKind]
    advices.sort(key=lambda it: order.index(it.kind))
    return tuple(advices[:MOST_ADVICE])


def preceding_deployment(cause: RootCause, analysis: Analysis, evidence: Evidence) -> Deployment | None:
    """The deployment of the service that the analysis has found before the fault; of several, the most suspicious."""
    found = [it for it in analysis.findings if it.kind is CorrelationKind.DEPLOYMENT and it.service == cause.service]
    if not found:
        return None
    id = deployment_id_of(most_suspicious(found))
    return next((it for it in evidence.deployments if it.id == id), None)


def steps_for(cause: RootCause, analysis: Analysis, evidence: Evidence) -> tuple[Step, ...]:
    """What to look at to confirm or reject a cause, what speaks for its kind first, each with its query."""
    own = [
        it for it in analysis.findings if it.id in cause.findings and it.service == cause.service and it.source.query
    ]
    own.sort(key=lambda it: (it.cause is not cause.kind, -it.strength, it.id))
    steps: list[Step] = []
    for kind in (CorrelationKind.METRIC, CorrelationKind.LOG, CorrelationKind.TRACE):
        strongest = next((finding for finding in own if finding.kind is kind), None)
        if strongest is not None:
            title = _LOOKS[kind].format(service=cause.service, name=strongest.name)
            steps.append(Step(title, strongest.summary, strongest.source.query))
    deployment = preceding_deployment(cause, analysis, evidence)
    if deployment is not None:
        versions = _versions(deployment)
        steps.insert(
            0,
            Step(
                f"Read what changed in {cause.service} {versions}",
                "It was deployed just before the fault showed.",
                f"Compare {versions} of {cause.service}: code, configuration, migrations.",
            ),
        )
    question, action = _QUESTIONS[cause.kind]
    steps.append(Step(question.format(service=cause.service), cause.explanation, action.format(service=cause.service)))
    return tuple(steps[:MOST_STEPS])


_LOOKS: Final = {
    CorrelationKind.METRIC: "See how {name} of {service} moved",
    CorrelationKind.LOG: "Read the lines that {service} began to write",
    CorrelationKind.TRACE: "Open the traces that fail or wait in {service}",
}
_QUESTIONS: Final[Mapping[RootCauseKind, tuple[str, str]]] = {
    RootCauseKind.RESOURCE: (
        "Is {service} short of a resource?",
        "Compare the processor, memory and disk of {service} with their limits, and its instances with each other.",
    ),
    RootCauseKind.LATENCY: (
        "Is {service} slow by itself, or does it wait?",
        "Compare self time with the time in which {service} waits, in its slowest traces.",
    ),
    RootCauseKind.ERRORS: (
        "Do errors begin in {service}?",
        "Find the first failing span of some traces: is it one of {service}?",
    ),
    RootCauseKind.DEPLOYMENT: (
        "Do only instances of the new version fail?",
        "Group the errors of {service} by version.",
    ),
    RootCauseKind.DEPENDENCY: (
        "Is {service} down or slow for others too?",
        "Try {service} by hand from where its callers run, and look at its status page, quotas and connections.",
    ),
    RootCauseKind.TRAFFIC: (
        "Who sends {service} the traffic?",
        "Group the requests of {service} by caller and route.",
    ),
    RootCauseKind.UNKNOWN: (
        "What else changed at {service}?",
        "Look for changes of configuration, certificates, quotas and infrastructure of {service}.",
    ),
}


def _acts(cause: RootCause, analysis: Analysis, evidence: Evidence) -> Iterable[Advice]:
    deployment = preceding_deployment(cause, analysis, evidence)
    if deployment is not None:
        back = f" to {deployment.previous_version}" if deployment.previous_version else ""
        yield Advice(
            RecommendationKind.ROLL_BACK,
            f"Roll back {cause.service} from {deployment.version or 'its latest version'}{back}",
            f"{cause.service} {_versions(deployment)} was deployed just before the fault showed in it.",
            f"Deploy {deployment.previous_version or 'the version before'} of {cause.service} again.",
            findings=cause.findings,
        )
    for kind in _REMEDIES[cause.kind]:
        yield _REMEDY[kind](cause, evidence)
    if cause.kind is RootCauseKind.RESOURCE and _leaks(cause, analysis):
        yield _restart(cause, evidence)


def _people(cause: RootCause, facts: Mapping[str, ServiceFacts]) -> Iterable[Advice]:
    known = facts.get(cause.service, ServiceFacts())
    if known.runbook_url is not None:
        yield Advice(
            RecommendationKind.FOLLOW_RUNBOOK,
            f"Follow the runbook of {cause.service}",
            cause.explanation,
            f"Go through the runbook of {cause.service}.",
            known.runbook_url,
            cause.findings,
        )
    if known.team is not None:
        yield Advice(
            RecommendationKind.CONTACT_OWNER,
            f"Call in {known.team}, who own {cause.service}",
            cause.explanation,
            f"Page the team {known.team}.",
            findings=cause.findings,
        )


def _past(past: Sequence[PastIncident], cause: RootCause) -> Iterable[Advice]:
    for incident in past:
        if incident.score >= _LIKE_ENOUGH and is_remedy(incident.resolution):
            yield Advice(
                RecommendationKind.REPEAT_RESOLUTION,
                f"Try what ended INC-{incident.number}",
                f"INC-{incident.number} ({incident.title}) was like this one.",
                incident.resolution,
                findings=cause.findings,
            )
            return


def _scale(cause: RootCause, _evidence: Evidence) -> Advice:
    why = "It gets more traffic than before." if cause.kind is RootCauseKind.TRAFFIC else "It is short of a resource."
    return Advice(
        RecommendationKind.SCALE,
        f"Scale {cause.service} out",
        f"{why} {cause.explanation}",
        f"Add instances of {cause.service}, or raise the limits of those that there are.",
        findings=cause.findings,
    )


def _restart(cause: RootCause, _evidence: Evidence) -> Advice:
    return Advice(
        RecommendationKind.RESTART,
        f"Restart {cause.service}, one instance after the other",
        f"A restart frees what was leaked or is stuck. {cause.explanation}",
        f"Restart the instances of {cause.service} in turn, and watch whether the signals recover.",
        findings=cause.findings,
    )


def _open_circuit(cause: RootCause, evidence: Evidence) -> Advice:
    called = {(call.caller, call.callee) for call in evidence.calls}
    if evidence.traces is not None:
        called |= {(entry.caller, entry.service) for entry in evidence.traces.entries if entry.caller is not None}
    callers = sorted(caller for caller, callee in called if callee == cause.service)
    who = ", ".join(callers[:5]) if callers else "its callers"
    return Advice(
        RecommendationKind.OPEN_CIRCUIT,
        f"Let {who} do without {cause.service}",
        f"Calls of {cause.service} fail or wait, and take their callers along. {cause.explanation}",
        f"Open the circuit from {who} to {cause.service}, or shorten the timeout, so that callers fail fast.",
        findings=cause.findings,
    )


def _look_closer(cause: RootCause, _evidence: Evidence) -> Advice:
    return Advice(
        RecommendationKind.LOOK_CLOSER,
        f"Look closer at {cause.service}",
        cause.explanation,
        f"Nothing that was asked tells what is wrong: look at the host, network and configuration of {cause.service}.",
        findings=cause.findings,
    )


_REMEDY: Final[Mapping[RecommendationKind, Callable[[RootCause, Evidence], Advice]]] = {
    RecommendationKind.SCALE: _scale,
    RecommendationKind.RESTART: _restart,
    RecommendationKind.OPEN_CIRCUIT: _open_circuit,
    RecommendationKind.LOOK_CLOSER: _look_closer,
}
_REMEDIES: Final[Mapping[RootCauseKind, tuple[RecommendationKind, ...]]] = {
    RootCauseKind.RESOURCE: (RecommendationKind.SCALE,),
    RootCauseKind.LATENCY: (RecommendationKind.OPEN_CIRCUIT,),
    RootCauseKind.ERRORS: (RecommendationKind.OPEN_CIRCUIT, RecommendationKind.RESTART),
    RootCauseKind.DEPLOYMENT: (),
    RootCauseKind.DEPENDENCY: (RecommendationKind.OPEN_CIRCUIT,),
    RootCauseKind.TRAFFIC: (RecommendationKind.SCALE,),
    RootCauseKind.UNKNOWN: (RecommendationKind.LOOK_CLOSER,),
}


def _leaks(cause: RootCause, analysis: Analysis) -> bool:
    """Whether it runs out of memory, or starts anew by itself."""
    signs = {Signal.MEMORY.value, Signal.RESTARTS.value}
    return any(finding.name in signs for finding in analysis.findings if finding.id in cause.findings)


def _versions(deployment: Deployment) -> str:
    if deployment.previous_version:
        return f"{deployment.version} (after {deployment.previous_version})"
    return deployment.version or "its latest version"
