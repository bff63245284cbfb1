"""Who is hit: the cause's service and those that depend on it, by what they show themselves."""

from collections.abc import Sequence
from typing import Final

from domain.incidents import ImpactLevel
from engines.correlation.evidence import Evidence
from engines.correlation.findings import Finding, Impact, RootCause
from engines.correlation.propagation import Graph
from engines.correlation.scoring import symptoms_of
from engines.correlation.statistics import either

FAST_BURN: Final = 14.4
"""A budget that burns so fast is worth a page (SRE workbook, chapter 5)."""
SHOWS: Final = 0.25
"""Those that show less than a quarter are suspected."""


def impacts(
    evidence: Evidence, findings: Sequence[Finding], graph: Graph, causes: Sequence[RootCause]
) -> tuple[Impact, ...]:
    """PRIMARY: the services of the incident and of its probable cause that show symptoms or burn their budgets.
    SECONDARY: dependents of them that do. SUSPECTED: direct dependents that show nothing, and services that show
    something but depend on none of them. The highest score first.
    """
    first = {cause.service for cause in causes if cause.rank == 1 and cause.score > 0}
    centre = {*evidence.services, *first}
    dependents: dict[str, int] = {}
    for service in sorted(first or centre):
        for dependent, distance in graph.reached_by(service).items():
            dependents[dependent] = min(distance, dependents.get(dependent, distance))
    found = []
    burning = {burn.service for burn in evidence.burns if burn.burn_rate > 1}
    for service in sorted({*centre, *dependents, *burning, *(finding.service for finding in findings)}):
        impact = _impact(service, evidence, findings, service in centre, dependents.get(service))
        if impact is not None:
            found.append(impact)
    return tuple(sorted(found, key=lambda impact: (-impact.score, impact.service)))


def _impact(
    service: str, evidence: Evidence, findings: Sequence[Finding], is_centre: bool, distance: int | None
) -> Impact | None:
    own = [finding for finding in findings if finding.service == service]
    kinds = symptoms_of(own).findings.get(service, {})
    shown = either(
        [finding.strength for families in kinds.values() for found in families.values() for finding in found]
    )
    burn = max((burn.burn_rate for burn in evidence.burns if burn.service == service), default=0.0)
    score = round(either([shown, min(1.0, burn / FAST_BURN) * 0.9]), 6)
    ids = tuple(finding.id for finding in sorted(own, key=lambda finding: (-finding.strength, finding.id))[:5])
    shows = f"burns its error budget {burn:.1f} times too fast" if burn > 1 else "shows symptoms"
    if is_centre:
        return Impact(service, ImpactLevel.PRIMARY, score, f"{service} is where the incident is, and {shows}", ids)
    if distance is not None and score >= SHOWS:
        return Impact(service, ImpactLevel.SECONDARY, score, f"{service} depends on the cause and {shows}", ids)
    if distance == 1:
        return Impact(service, ImpactLevel.SUSPECTED, score, f"{service} calls the cause, but shows little", ids)
    if score >= SHOWS:
        return Impact(
            service, ImpactLevel.SUSPECTED, score, f"{service} {shows}, but is not known to depend on it", ids
        )
    return None
