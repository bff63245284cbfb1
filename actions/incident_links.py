"""Links between incidents, told from both ends: an analysis knows of the incident that it is about alone."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, select

from actions import analyses as runs
from actions.analyses import ENGINE, Run
from actions.findings import link_rows
from actions.recording import Happening, record_all, scope_of
from db.arrays import among
from db.correlation import analyses, correlations
from db.database import Transaction
from db.identifiers import new_id
from db.incidents import incidents
from domain.correlation import CorrelationKind
from domain.feed import EventType
from engines.correlation.findings import Analysis, IncidentLink

_MIRRORED: Final = {"isMirrored": True}


async def tell_from_the_other_end(tx: Transaction, run: Run, analysis: Analysis) -> None:
    """Add what links this incident to others to the analyses that they show, unless those say so themselves.

    What an earlier run of this incident has added there, and this one does not find, is taken back.
    """
    of_run = (correlations.c.related_incident_id == run.incident_id) & correlations.c.evidence.contains(_MIRRORED)
    await tx.execute(delete(correlations).where(of_run))
    links = {UUID(link.incident_id): link for link in analysis.incident_links}
    for other_id, analysis_id in sorted((await _silent(tx, run, links)).items()):
        row = _mirrored(links[other_id], run, incident_id=other_id, analysis_id=analysis_id)
        await runs.write_correlations(tx, [row])
        scope = await scope_of(tx, other_id)
        found = Happening(EventType.CORRELATION_FOUND, row["id"], scope)
        await record_all(tx, actor=ENGINE, happenings=[found], entries=())


async def _silent(tx: Transaction, run: Run, links: Mapping[UUID, IncidentLink]) -> dict[UUID, UUID]:
    """The shown analyses of the other incidents that do not link this one themselves, by their incidents."""
    said = select(correlations.c.analysis_id).where(
        correlations.c.kind == CorrelationKind.INCIDENT, correlations.c.related_incident_id == run.incident_id
    )
    statement = (
        select(analyses.c.incident_id, analyses.c.id)
        .join(incidents, incidents.c.id == analyses.c.incident_id)
        .where(among(analyses.c.incident_id, links), analyses.c.is_shown, analyses.c.id.not_in(said))
    )
    return {row.incident_id: row.id for row in await tx.execute(statement)}


def _mirrored(link: IncidentLink, run: Run, *, incident_id: UUID, analysis_id: UUID) -> dict[str, Any]:
    ids = {link.incident_id: new_id()}
    [row] = link_rows([link], ids, incident_id=incident_id, analysis_id=analysis_id)
    return {**row, "related_incident_id": run.incident_id, "evidence": {**row["evidence"], **_MIRRORED}}
