"""What people and their machines say: deployments shortly before, alerts, and other incidents."""

from typing import Final

from domain.correlation import CorrelationKind, RootCauseKind
from engines.correlation.evidence import Alert, Deployment, Evidence
from engines.correlation.findings import Finding

HALF_LIFE_SECONDS: Final = 900.0
"""A deployment a quarter of an hour before the onset is half as suspicious as one at the onset."""
TOLERANCE_SECONDS: Final = 120.0
"""Onsets are known to a minute or two: a deployment may seem to come so much after its own effect."""


def deployment_findings(evidence: Evidence, onsets: dict[str, float]) -> list[Finding]:
    """The deployments before the onset in their service, or before the incident was noticed where it has none."""
    found = []
    for deployment in evidence.deployments:
        onset = onsets.get(deployment.service, evidence.noticed_at)
        before = onset - deployment.at
        if -TOLERANCE_SECONDS <= before <= 8 * HALF_LIFE_SECONDS:
            found.append(_deployment(deployment, max(0.0, before), evidence))
    return sorted(found, key=lambda finding: finding.id)


def _deployment(deployment: Deployment, before: float, evidence: Evidence) -> Finding:
    version = f"version {deployment.version} " if deployment.version else ""
    return Finding(
        id=f"deployment/{deployment.id}",
        kind=CorrelationKind.DEPLOYMENT,
        service=deployment.service,
        cause=RootCauseKind.DEPLOYMENT,
        name="DEPLOYMENT",
        summary=f"{deployment.service}: {version}was deployed {before / 60:.0f} minutes before the onset",
        strength=2 ** (-before / HALF_LIFE_SECONDS),
        onset=deployment.at,
        lag_seconds=deployment.at - evidence.noticed_at,
        sample={"version": deployment.version, "previousVersion": deployment.previous_version},
    )


def alert_findings(evidence: Evidence) -> list[Finding]:
    """The alerts that were firing on services."""
    return sorted((_alert(alert, evidence) for alert in evidence.alerts), key=lambda finding: finding.id)


def _alert(alert: Alert, evidence: Evidence) -> Finding:
    return Finding(
        id=f"alert/{alert.id}",
        kind=CorrelationKind.ALERT,
        service=alert.service,
        cause=RootCauseKind.UNKNOWN if alert.signal is None else alert.signal.kind,
        name="ALERT",
        summary=f"{alert.name} fires on {alert.service}",
        strength=0.5,
        onset=alert.started_at,
        end=alert.ended_at,
        lag_seconds=alert.started_at - evidence.noticed_at,
        sample={"severity": alert.severity},
    )
