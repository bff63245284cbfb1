"""Runs of the correlation engine, as they are asked for, begin, find something, and end: a transaction each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from actions import jobs
from actions.jobs import Job
from actions.recording import Happening, record, record_all, scope_of
from actions.rows import get
from db.arrays import among
from db.correlation import analyses, correlations
from db.database import Transaction
from db.incidents import incidents
from db.jobs import jobs as jobs_table
from domain.access import Actor, Role
from domain.correlation import AnalysisStatus, AnalysisTrigger
from domain.errors import Conflict
from domain.feed import EventType
from domain.incidents import IncidentStatus
from domain.jobs import JobStatus
from domain.limits import TEXT_CHARACTERS
from domain.text import clipped
from engines.correlation import ENGINE_VERSION

KIND: Final = "analyze"
DEBOUNCE_SECONDS: Final = 5.0
ENGINE: Final = Actor(id=None, name="correlation engine", role=Role.ADMIN)

_INTERRUPTED: Final = "It was interrupted, and began anew."
_SUPERSEDED: Final = "A newer run took its place before it ended."
_RAN: Final = (AnalysisStatus.COMPLETE, AnalysisStatus.PARTIAL)


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is under way. `correlation_ids` are the rows of what it has told of, by the engine's ids.

    A `patient` one took the place of another already, and only gives way to people.
    """

    id: UUID
    incident_id: UUID
    job: Job
    is_patient: bool = False
    correlation_ids: dict[str, UUID] = field(default_factory=dict)


async def request(
    tx: Transaction,
    incident_id: UUID,
    trigger: AnalysisTrigger = AnalysisTrigger.REQUESTED,
    *,
    after_seconds: float = 0,
) -> None:
    """Ask for an analysis of an incident, which takes the place of the one that runs, if any.

    Those that are asked for while one waits are one.
    """
    run_at = tx.now + timedelta(seconds=after_seconds)
    await jobs.enqueue(tx, KIND, str(incident_id), payload={"trigger": trigger}, run_at=run_at)


async def request_after_change(tx: Transaction, *incident_ids: UUID) -> None:
    """Ask for analyses because the alerts or services of incidents are others now, perhaps not the last time.

    One that waits already will see them.
    """
    subjects = [str(id) for id in incident_ids]
    waiting = select(jobs_table.c.subject).where(
        jobs_table.c.kind == KIND,
        among(jobs_table.c.subject, subjects),
        jobs_table.c.status == JobStatus.QUEUED,
    )
    known = {*(await tx.execute(waiting)).scalars()}
    for id in incident_ids:
        if str(id) not in known:
            await request(tx, id, AnalysisTrigger.INCIDENT_CHANGED, after_seconds=DEBOUNCE_SECONDS)


async def analyze(tx: Transaction, incident_id: UUID, *, actor: Actor) -> UUID:
    """Ask for an analysis of an incident, now, and return the incident's id. Raises NotFound."""
    await get(tx, incidents, incident_id, "id")
    await request(tx, incident_id)
    await record(tx, actor=actor, action="incident.analyze", subject_id=incident_id)
    return incident_id


async def begin(tx: Transaction, job: Job) -> Run | None:
    """A run begins, and what a server that died has left of earlier ones is closed.

    None where there is nothing to do: the incident is gone, or over, and nobody has asked.
    """
    await jobs.hold(tx, job)
    incident_id = UUID(job.subject)
    incident = await tx.get(incidents, incident_id)
    trigger = AnalysisTrigger(job.payload.get("trigger", AnalysisTrigger.REQUESTED))
    if incident is None or (incident["status"] is IncidentStatus.RESOLVED and trigger is not AnalysisTrigger.REQUESTED):
        return None
    await tx.execute(
        update(analyses)
        .where(analyses.c.incident_id == incident_id, analyses.c.status == AnalysisStatus.RUNNING)
        .values(status=AnalysisStatus.FAILED, completed_at=tx.now, summary=_INTERRUPTED)
    )
    latest = await _latest(tx.connection, incident_id)
    shown = await _shown(tx, incident_id)
    # Until it ends, the one before is worth more, unless it has nothing to say.
    is_shown = shown is None or shown["status"] not in _RAN
    if is_shown:
        await hide(tx, incident_id)
    row = await tx.insert(
        analyses,
        incident_id=incident_id,
        status=AnalysisStatus.RUNNING,
        trigger=trigger,
        is_shown=is_shown,
        engine_version=ENGINE_VERSION,
        started_at=tx.now,
        confidence=0.0,
        summary="",
    )
    return Run(row["id"], incident_id, job, is_patient=latest is not None and latest["is_superseded"])


async def is_superseded(connection: AsyncConnection, run: Run, now: Any) -> bool:
    """Whether somebody has asked anew since the run began. A patient one ends, unless a person has."""
    waiting = jobs_table.c
    statement = select(waiting.payload).where(
        waiting.kind == KIND,
        waiting.subject == run.job.subject,
        waiting.status == JobStatus.QUEUED,
        waiting.run_at <= now,
    )
    payload: Mapping[str, Any] | None = await connection.scalar(statement)
    if payload is None:
        return False
    return not run.is_patient or payload.get("trigger") == AnalysisTrigger.REQUESTED


async def tell(tx: Transaction, run: Run, rows: Sequence[Mapping[str, Any]]) -> None:
    """Tell of what was found, while the run goes on: rows of correlations that nobody has heard of."""
    await jobs.hold(tx, run.job)
    if not rows:
        return
    await write_correlations(tx, rows)
    scope = await scope_of(tx, run.incident_id)
    found = [Happening(EventType.CORRELATION_FOUND, row["id"], scope) for row in rows]
    await record_all(tx, actor=ENGINE, happenings=found, entries=())


async def write_correlations(tx: Transaction, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of correlations, instead of what was known of them."""
    statement = insert(correlations)
    kept = {"id", "created_at", "incident_id", "analysis_id"}
    changed = {column.name: statement.excluded[column.name] for column in correlations.c if column.name not in kept}
    await tx.execute(
        statement.on_conflict_do_update(index_elements=["id"], set_=changed),
        [{"created_at": tx.now, **row} for row in rows],
    )


async def give_way(tx: Transaction, run: Run) -> None:
    """End a run because a newer one is asked for. What it has found stays with it. Raises Conflict."""
    await _end(tx, run, _SUPERSEDED, is_superseded=True)


async def fail(tx: Transaction, run: Run, reason: str) -> None:
    """End a run that cannot go on. Raises Conflict."""
    await _end(tx, run, reason)
    scope = await scope_of(tx, run.incident_id)
    ended = Happening(EventType.ANALYSIS_COMPLETED, run.id, scope)
    await record_all(tx, actor=ENGINE, happenings=[ended], entries=())


async def _end(tx: Transaction, run: Run, summary: str, *, is_superseded: bool = False) -> None:
    await jobs.hold(tx, run.job)
    values = {"status": AnalysisStatus.FAILED, "completed_at": tx.now, "is_superseded": is_superseded}
    await tx.execute(
        update(analyses)
        .where(analyses.c.id == run.id, analyses.c.status == AnalysisStatus.RUNNING)
        .values(summary=clipped(summary, TEXT_CHARACTERS), **values)
    )


async def hide(tx: Transaction, incident_id: UUID) -> None:
    """Show none of the analyses of an incident."""
    shown = (analyses.c.incident_id == incident_id) & analyses.c.is_shown
    await tx.execute(update(analyses).where(shown).values(is_shown=False))


async def require_running(tx: Transaction, run: Run) -> RowMapping:
    """The row of a run that is still under way and ours. Raises Conflict."""
    await jobs.hold(tx, run.job)
    row = await tx.get(analyses, run.id)
    if row is None or row["status"] is not AnalysisStatus.RUNNING:
        raise Conflict("The analysis was ended by another")
    return row


async def forget_findings(tx: Transaction, run: Run, kept: Sequence[UUID]) -> None:
    """Delete what a run told of and took back, once all was known."""
    mine = correlations.c.analysis_id == run.id
    await tx.execute(delete(correlations).where(mine, ~among(correlations.c.id, kept)))


async def _latest(connection: AsyncConnection, incident_id: UUID) -> RowMapping | None:
    statement = select(analyses).where(analyses.c.incident_id == incident_id)
    rows = await connection.execute(statement.order_by(analyses.c.started_at.desc(), analyses.c.id.desc()).limit(1))
    return rows.mappings().first()


async def _shown(tx: Transaction, incident_id: UUID) -> RowMapping | None:
    statement = select(analyses).where(analyses.c.incident_id == incident_id, analyses.c.is_shown)
    return (await tx.execute(statement)).mappings().first()
