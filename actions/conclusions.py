"""What an analysis concludes, in one transaction: causes, advice, impacts, hypotheses, and what is told of them."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, insert, select, text, update

from actions import analyses as runs
from actions.analyses import ENGINE, Run
from actions.discovery import find_or_discover, reference
from actions.findings import Sightings, correlation_rows, link_rows, moment, ratio
from actions.impacts import ComputedImpact, renew_computed_impacts
from actions.incident_links import tell_from_the_other_end
from actions.proposals import propose
from actions.recording import Happening, record_all, scope_of
from actions.surroundings import Surroundings
from db.analysis_reports import SIMILAR_INCIDENTS_SQL
from db.arrays import among
from db.correlation import analyses, analysis_records, recommendations, root_causes
from db.database import Transaction
from db.identifiers import new_id
from db.people import teams
from db.services import services
from db.timeline import timeline_events
from domain import narration
from domain.correlation import AnalysisStatus
from domain.errors import ValidationFailed
from domain.explore import Explore
from domain.feed import EventType
from domain.incidents import IncidentSource
from domain.limits import TEXT_CHARACTERS, TITLE_CHARACTERS
from domain.text import clipped
from domain.timeline import Entry, TimelineEventType
from engines.advice import PastIncident, ServiceFacts, advise
from engines.correlation import Analysis, Evidence
from engines.correlation.findings import Finding, RootCause
from engines.correlation.record import digest

MOST_CAUSES: Final = 10
MOST_FINDINGS: Final = 300

_KEPT_RECORDS: Final = 20
_TOLD_ANOMALIES: Final = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run was told and what it answered, both also word for word."""

    around: Surroundings
    evidence: Evidence
    analysis: Analysis
    written_evidence: bytes
    written_answer: bytes
    explore: Explore

    @property
    def status(self) -> AnalysisStatus:
        """Whether everybody answered."""
        return AnalysisStatus.PARTIAL if self.analysis.gaps else AnalysisStatus.COMPLETE

    @property
    def findings(self) -> Sequence[Finding]:
        """What is kept of what was found: all that causes and impacts rest on, and the strongest of the rest."""
        used = {id for cause in self.analysis.causes for id in cause.findings}
        used |= {id for impact in self.analysis.impacts for id in impact.findings}
        ordered = sorted(self.analysis.findings, key=lambda it: (it.id not in used, -it.strength, it.id))
        return ordered[:MOST_FINDINGS]


async def conclude(tx: Transaction, run: Run, outcome: Outcome) -> None:
    """End a run with what it found. It is shown from now on, and the one before is kept. Raises Conflict."""
    await runs.require_running(tx, run)
    services_by_name = await _services(tx, outcome)
    ids = await _write_correlations(tx, run, outcome, services_by_name)
    before = await _first_cause(tx, run)
    await _write_causes(tx, run, outcome, services_by_name, ids)
    await _show(tx, run, outcome, services_by_name)
    await _write_advice(tx, run, outcome, ids)
    await _write_record(tx, run, outcome)
    await renew_computed_impacts(tx, run.incident_id, _impacts(outcome, services_by_name), actor=ENGINE)
    await propose(
        tx,
        run.incident_id,
        outcome.analysis,
        outcome.evidence,
        services=services_by_name,
        correlation_ids=ids,
        actor=ENGINE,
    )
    await _tell(tx, run, outcome, services_by_name, ids, before)
    await tell_from_the_other_end(tx, run, outcome.analysis)


async def _services(tx: Transaction, outcome: Outcome) -> dict[str, UUID]:
    """The services that the answer names. Those that only traces knew are added to the catalog, as discovered."""
    known = outcome.around.ids()
    unknown = {cause.service for cause in outcome.analysis.causes[:MOST_CAUSES]} - known.keys()
    unknown |= {impact.service for impact in outcome.analysis.impacts} - known.keys()
    wanted = []
    for name in sorted(unknown):
        try:
            named = reference(name)
        except ValidationFailed:
            named = None
        if named is None or isinstance(named.value, UUID):
            # The catalog takes no such name: whatever is said of it stays in the record.
            unknown.discard(name)
        else:
            wanted.append(named)
    found = await find_or_discover(tx, wanted, actor=ENGINE)
    return known | {name: row["id"] for name, row in zip(sorted(unknown), found, strict=True)}


async def _write_correlations(
    tx: Transaction, run: Run, outcome: Outcome, services_by_name: Mapping[str, UUID]
) -> dict[str, UUID]:
    ids = {finding.id: run.correlation_ids.get(finding.id) or new_id() for finding in outcome.findings}
    links = outcome.analysis.incident_links
    link_ids = {link.incident_id: run.correlation_ids.get(link.incident_id) or new_id() for link in links}
    await runs.forget_findings(tx, run, [*ids.values(), *link_ids.values()])
    place = {"incident_id": run.incident_id, "analysis_id": run.id}
    rows = correlation_rows(
        outcome.findings,
        ids,
        **place,
        services=services_by_name,
        sightings=Sightings(outcome.evidence),
        explore=outcome.explore,
    )
    rows += link_rows(links, link_ids, **place)
    if rows:
        await runs.write_correlations(tx, rows)
    return ids | link_ids


async def _first_cause(tx: Transaction, run: Run) -> tuple[UUID, Any] | None:
    """The first cause that was last told of."""
    statement = (
        select(root_causes.c.service_id, root_causes.c.kind)
        .join(analyses, analyses.c.id == root_causes.c.analysis_id)
        .where(analyses.c.incident_id == run.incident_id, analyses.c.is_shown, root_causes.c.rank == 1)
    )
    row = (await tx.execute(statement)).first()
    return None if row is None else (row.service_id, row.kind)


async def _write_causes(
    tx: Transaction, run: Run, outcome: Outcome, services_by_name: Mapping[str, UUID], ids: Mapping[str, UUID]
) -> None:
    rows: list[Mapping[str, Any]] = [
        {
            "id": new_id(),
            "analysis_id": run.id,
            "rank": rank,
            "service_id": services_by_name[cause.service],
            "kind": cause.kind,
            "score": max(0.0, float(cause.score)),
            "score_components": [
                {
                    **asdict(component),
                    "evidence_ids": [str(ids[id]) for id in component.findings if id in ids],
                }
                for component in cause.components
            ],
            "started_at": moment(cause.onset),
            "confidence": ratio(cause.confidence),
            "explanation": clipped(cause.explanation, TEXT_CHARACTERS),
            "evidence_ids": [ids[id] for id in cause.findings if id in ids],
        }
        for rank, cause in enumerate(_named(outcome, services_by_name), 1)
    ]
    if rows:
        await tx.execute(insert(root_causes), rows)


def _named(outcome: Outcome, services_by_name: Mapping[str, UUID]) -> list[RootCause]:
    """The causes at services that the catalog has."""
    return [cause for cause in outcome.analysis.causes if cause.service in services_by_name][:MOST_CAUSES]


async def _show(tx: Transaction, run: Run, outcome: Outcome, services_by_name: Mapping[str, UUID]) -> None:
    await runs.hide(tx, run.incident_id)
    impacts = [
        {
            "incident_id": str(run.incident_id),
            "service_id": str(id),
            "level": impact.level,
            "source": IncidentSource.DETECTION,
            "score": impact.score,
            "since": impact.since.isoformat(),
        }
        for id, impact in sorted(_impacts(outcome, services_by_name).items())
    ]
    analysis = outcome.analysis
    await tx.execute(
        update(analyses)
        .where(analyses.c.id == run.id)
        .values(
            status=outcome.status,
            is_shown=True,
            completed_at=tx.now,
            confidence=ratio(analysis.confidence),
            summary=clipped(analysis.summary, TEXT_CHARACTERS),
            why_not=clipped(analysis.why_not, TEXT_CHARACTERS),
            impacts=impacts,
            gaps=[asdict(gap) for gap in analysis.gaps],
        )
    )


def _impacts(outcome: Outcome, services_by_name: Mapping[str, UUID]) -> dict[UUID, ComputedImpact]:
    onsets: dict[str, float] = {}
    for finding in outcome.analysis.findings:
        if finding.onset is not None:
            onsets[finding.service] = min(finding.onset, onsets.get(finding.service, finding.onset))
    noticed_at = outcome.around.noticed_at
    return {
        services_by_name[impact.service]: ComputedImpact(
            impact.level,
            ratio(impact.score),
            moment(onsets.get(impact.service, noticed_at.timestamp())) or noticed_at,
        )
        for impact in outcome.analysis.impacts
        if impact.service in services_by_name
    }


async def _write_advice(tx: Transaction, run: Run, outcome: Outcome, ids: Mapping[str, UUID]) -> None:
    facts = await _facts(tx, {cause.service for cause in outcome.analysis.causes})
    advice = advise(outcome.analysis, outcome.evidence, facts, await _past(tx, run.incident_id))
    rows: list[Mapping[str, Any]] = [
        {
            "id": new_id(),
            "analysis_id": run.id,
            "rank": rank,
            "kind": one.kind,
            "title": clipped(one.title, TITLE_CHARACTERS),
            "rationale": clipped(one.rationale, TEXT_CHARACTERS),
            "action": clipped(one.action, TEXT_CHARACTERS),
            "runbook_url": one.runbook_url,
            "evidence_ids": [ids[id] for id in one.findings if id in ids],
        }
        for rank, one in enumerate(advice, 1)
    ]
    if rows:
        await tx.execute(insert(recommendations), rows)


async def _facts(tx: Transaction, names: set[str]) -> dict[str, ServiceFacts]:
    columns = services.c
    statement = select(columns.name, columns.runbook_url, teams.c.name.label("team")).outerjoin(teams)
    rows = await tx.execute(statement.where(among(columns.name, names)))
    return {row.name: ServiceFacts(row.team, row.runbook_url) for row in rows}


async def _past(tx: Transaction, incident_id: UUID) -> list[PastIncident]:
    """Incidents of the past that were like this one, and what ended them, the most similar first."""
    similar = SIMILAR_INCIDENTS_SQL.replace("{incident}", "cast(:incident_id as uuid)")
    rows = await tx.execute(
        text(
            f"select past.number, past.title, past.resolution, alike.score from {similar} as alike"  # noqa: S608 # ours
            " join incidents past on past.id = alike.incident_id order by alike.score desc, past.id"
        ),
        {"incident_id": incident_id},
    )
    return [PastIncident(row.number, row.title, row.resolution or "", row.score) for row in rows]


async def _write_record(tx: Transaction, run: Run, outcome: Outcome) -> None:
    """Keep what was told and answered; of runs of long ago, only the answer that is shown."""
    await tx.execute(
        insert(analysis_records).values(
            analysis_id=run.id,
            evidence=zlib.compress(outcome.written_evidence),
            evidence_digest=digest(outcome.written_evidence),
            answer=zlib.compress(outcome.written_answer),
            answer_digest=digest(outcome.written_answer),
            created_at=tx.now,
        )
    )
    old = (
        select(analysis_records.c.analysis_id)
        .join(analyses, analyses.c.id == analysis_records.c.analysis_id)
        .where(analyses.c.incident_id == run.incident_id)
        .order_by(analyses.c.started_at.desc(), analyses.c.id.desc())
        .offset(_KEPT_RECORDS)
    )
    await tx.execute(delete(analysis_records).where(analysis_records.c.analysis_id.in_(old)))


async def _tell(
    tx: Transaction,
    run: Run,
    outcome: Outcome,
    services_by_name: Mapping[str, UUID],
    ids: Mapping[str, UUID],
    before: tuple[UUID, Any] | None,
) -> None:
    """Tell of what nobody has heard of yet, and that the run is over."""
    scope = await scope_of(tx, run.incident_id)
    told = {*run.correlation_ids.values()}
    happenings = [Happening(EventType.CORRELATION_FOUND, id, scope) for id in ids.values() if id not in told]
    happenings.append(Happening(EventType.ANALYSIS_COMPLETED, run.id, scope))
    entries = await _entries(tx, run, outcome, services_by_name, ids, before)
    await record_all(tx, actor=ENGINE, happenings=happenings, entries=[(scope, entry) for entry in entries])


async def _entries(
    tx: Transaction,
    run: Run,
    outcome: Outcome,
    services_by_name: Mapping[str, UUID],
    ids: Mapping[str, UUID],
    before: tuple[UUID, Any] | None,
) -> list[Entry]:
    """Lines for the timeline, none of which it has already: a first cause that is new, and what speaks for it."""
    causes = _named(outcome, services_by_name)
    if not causes:
        return []
    cause = causes[0]
    entries = []
    by_id = {finding.id: finding for finding in outcome.findings}
    speaking = [by_id[id] for id in cause.findings if id in by_id]
    # What is seen at the cause itself first, then what it does to others.
    speaking.sort(key=lambda it: (it.service != cause.service, -it.strength, it.id))
    known = await _told(tx, run.incident_id)
    for finding in speaking[:_TOLD_ANOMALIES]:
        signature = clipped(f"{finding.kind} {finding.service} {finding.name}", TITLE_CHARACTERS)
        if signature not in known:
            at = moment(finding.onset)
            entries.append(
                narration.anomaly_found(
                    finding.kind, finding.summary, correlation_id=ids[finding.id], signature=signature, at=at
                )
            )
    if before != (services_by_name[cause.service], cause.kind):
        entries.append(
            narration.cause_found(
                cause.service,
                cause.kind,
                confidence=cause.confidence,
                explanation=cause.explanation,
                analysis_id=run.id,
                at=None,
            )
        )
    return entries


async def _told(tx: Transaction, incident_id: UUID) -> set[str]:
    signature = timeline_events.c.metadata["signature"].astext
    statement = select(signature).where(
        timeline_events.c.incident_id == incident_id,
        timeline_events.c.type.in_(
            (
                TimelineEventType.METRIC_ANOMALY,
                TimelineEventType.LOG_ANOMALY,
                TimelineEventType.TRACE_ANOMALY,
                TimelineEventType.CORRELATION,
            )
        ),
        signature.is_not(None),
    )
    return {*(await tx.execute(statement)).scalars()}
