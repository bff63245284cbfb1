"""Other incidents that may be the same: a cause in common, services in common, the same lines, the same time."""

from collections.abc import Sequence
from typing import Final

from domain.correlation import CorrelationKind
from engines.correlation.evidence import Evidence, OpenIncident
from engines.correlation.findings import Finding, IncidentLink, RootCause, ScoreComponent

LEAST_SCORE: Final = 0.3
SAME_TIME_SECONDS: Final = 1_800.0

_MINUTE_SECONDS: Final = 60.0


def incident_links(
    evidence: Evidence, findings: Sequence[Finding], causes: Sequence[RootCause]
) -> tuple[IncidentLink, ...]:
    """The other open incidents that share a cause or evidence with this one, the most alike first."""
    links = [_link(incident, evidence, findings, causes[0]) for incident in evidence.incidents]
    alike = [link for link in links if link.score >= LEAST_SCORE]
    return tuple(sorted(alike, key=lambda link: (-link.score, link.incident_id)))


def _link(incident: OpenIncident, evidence: Evidence, findings: Sequence[Finding], cause: RootCause) -> IncidentLink:
    same_cause = bool(cause.score) and incident.cause_service == cause.service
    same_kind = same_cause and incident.cause_kind in (None, cause.kind)
    affected = {*evidence.services, *([cause.service] if cause.score else [])}
    shared = sorted(affected & set(incident.services))
    lines = {finding.id.rpartition("/")[2] for finding in findings if finding.kind is CorrelationKind.LOG}
    same_lines = sorted(lines & set(incident.pattern_ids))
    apart = abs(incident.started_at - evidence.noticed_at)
    how_far = f"{_counted(round(apart / 60), 'minute')} apart" if apart >= _MINUTE_SECONDS else "within a minute"
    parts = (
        ScoreComponent(
            "same cause", 0.5, 1.0 if same_kind else 0.5 if same_cause else 0.0, f"{cause.service} is to blame"
        ),
        ScoreComponent(
            "shared services", 0.25, len(shared) / max(1, len(affected)), f"Both affect {', '.join(shared) or 'none'}"
        ),
        ScoreComponent(
            "same lines", 0.15, 1.0 if same_lines else 0.0, f"{_counted(len(same_lines), 'pattern')} of lines in common"
        ),
        ScoreComponent(
            "same time",
            0.1,
            max(0.0, 1 - apart / SAME_TIME_SECONDS),
            f"They began {how_far}",
        ),
    )
    components = tuple(part for part in parts if part.value > 0)
    score = round(sum(part.contribution for part in components), 6)
    reasons = "; ".join(part.explanation for part in components) or "Nothing in common"
    return IncidentLink(incident.id, score, same_cause, reasons, components)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
