"""What people and their machines say: deployments shortly before, alerts, and other incidents."""

import re
from collections import defaultdict
from collections.abc import Sequence, Set
from typing import Final

from domain.correlation import CorrelationKind, RootCauseKind
from engines.correlation.evidence import Alert, Deployment, Evidence, OpenIncident
from engines.correlation.findings import Finding

HALF_LIFE_SECONDS: Final = 900.0
"""A deployment a quarter of an hour before the onset is half as suspicious as one at the onset."""
TOLERANCE_SECONDS: Final = 120.0
"""Onsets are known to a minute or two: a deployment may seem to come so much after its own effect."""
ALERT_STRENGTH: Final = 0.5
OUTAGE_STRENGTH: Final = 0.8
INCIDENT_STRENGTH: Final = 0.4
INCIDENT_HALF_LIFE_SECONDS: Final = 1_800.0

_DEPLOYMENT: Final = "deployment/"
_SECONDS_SAID: Final = 120.0  # Less is not said in minutes.
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+\w*")
_OUTAGE: Final = frozenset({"down", "absent", "unavailable", "unreachable", "dead", "outage", "missing"})
_KINDS: Final = {
    RootCauseKind.ERRORS: _OUTAGE
    | {"error", "errors", "failure", "failures", "failing", "failed", "5xx", "availability", "success", "exceptions"},
    RootCauseKind.LATENCY: frozenset({"latency", "slow", "slowness", "duration", "p95", "p99", "timeout", "timeouts"}),
    RootCauseKind.RESOURCE: frozenset(
        {
            "cpu",
            "memory",
            "oom",
            "disk",
            "throttling",
            "saturation",
            "restarts",
            "restarting",
            "crash",
            "looping",
            "full",
        }
    ),
    RootCauseKind.TRAFFIC: frozenset({"traffic", "requests", "throughput", "rps", "qps"}),
}


def deployment_findings(evidence: Evidence, onsets: dict[str, float]) -> list[Finding]:
    """The deployments before the onset in their service, or before the incident was noticed where it has none.

    What was deployed after it was noticed may be what was done about it: it counts only where nothing was before.
    """
    near: dict[str, list[tuple[Deployment, float]]] = defaultdict(list)
    for deployment in evidence.deployments:
        before = onsets.get(deployment.service, evidence.noticed_at) - deployment.at
        if -TOLERANCE_SECONDS <= before <= 8 * HALF_LIFE_SECONDS:
            near[deployment.service].append((deployment, max(0.0, before)))
    found = [
        _deployment(deployment, before, evidence)
        for some in near.values()
        for deployment, before in [it for it in some if it[0].at <= evidence.noticed_at] or some
    ]
    return sorted(found, key=lambda finding: finding.id)


def _deployment(deployment: Deployment, before: float, evidence: Evidence) -> Finding:
    version = f"version {deployment.version} " if deployment.version else ""
    return Finding(
        id=f"{_DEPLOYMENT}{deployment.id}",
        kind=CorrelationKind.DEPLOYMENT,
        service=deployment.service,
        cause=RootCauseKind.DEPLOYMENT,
        name="DEPLOYMENT",
        summary=f"{deployment.service}: {version}was deployed {_said(before)} before the onset",
        strength=2 ** (-before / HALF_LIFE_SECONDS),
        onset=deployment.at,
        lag_seconds=deployment.at - evidence.noticed_at,
        sample={"version": deployment.version, "previousVersion": deployment.previous_version},
    )


def most_suspicious(found: Sequence[Finding]) -> Finding:
    """Of deployments of one service, the one that was nearest before the onset."""
    return max(found, key=lambda finding: (finding.strength, finding.id))


def deployment_id_of(finding: Finding) -> str:
    """The id of the deployment that a finding is about."""
    return finding.id.removeprefix(_DEPLOYMENT)


def _said(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < _SECONDS_SAID else f"{seconds / 60:.0f} min"


def alert_findings(evidence: Evidence) -> list[Finding]:
    """The alerts that were firing on services."""
    return sorted((_alert(alert, evidence) for alert in evidence.alerts), key=lambda finding: finding.id)


def _alert(alert: Alert, evidence: Evidence) -> Finding:
    words = {word.lower() for word in _WORD.findall(alert.name)}
    is_outage = bool(words & _OUTAGE)
    return Finding(
        id=f"alert/{alert.id}",
        kind=CorrelationKind.ALERT,
        service=alert.service,
        cause=_kind_of(words) if alert.signal is None else alert.signal.kind,
        name="ALERT",
        summary=f"{alert.name} fires on {alert.service}",
        strength=OUTAGE_STRENGTH if is_outage else ALERT_STRENGTH,
        onset=alert.started_at,
        end=alert.ended_at,
        lag_seconds=alert.started_at - evidence.noticed_at,
        sample={"severity": alert.severity},
    )


def _kind_of(words: Set[str]) -> RootCauseKind:
    """What kind of cause an alert speaks for, by the words that people name alerts with."""
    return next((kind for kind, known in _KINDS.items() if words & known), RootCauseKind.UNKNOWN)


def incident_findings(evidence: Evidence) -> list[Finding]:
    """The other incidents that were open on services around here, the nearer in time the stronger."""
    near = {*evidence.services, *(name for call in evidence.calls for name in (call.caller, call.callee))}
    found = [
        _open_incident(incident, service, evidence)
        for incident in evidence.incidents
        for service in near & set(incident.services) - set(evidence.services)
    ]
    return sorted(found, key=lambda finding: finding.id)


def _open_incident(incident: OpenIncident, service: str, evidence: Evidence) -> Finding:
    apart = abs(incident.started_at - evidence.noticed_at)
    return Finding(
        id=f"incident/{incident.id}/{service}",
        kind=CorrelationKind.INCIDENT,
        service=service,
        cause=RootCauseKind.UNKNOWN,
        name="INCIDENT",
        summary=f'The incident "{incident.title}" was open on {service} at that time',
        strength=INCIDENT_STRENGTH * 2 ** (-apart / INCIDENT_HALF_LIFE_SECONDS),
        onset=incident.started_at,
        lag_seconds=incident.started_at - evidence.noticed_at,
        sample={"incidentId": incident.id},
    )
