"""Hypotheses that are made of root causes, and the steps that would confirm or reject them."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, insert, select

from actions import hypotheses
from actions.hypotheses import NewHypothesis
from actions.recording import Happening, changes_of, record_all, scope_of
from db.database import Transaction
from db.identifiers import new_id
from db.investigation import investigation_hypotheses, investigation_steps
from domain.access import Actor
from domain.correlation import RootCauseKind
from domain.feed import EventType
from domain.investigation import HypothesisStatus
from domain.limits import HYPOTHESIS_EVIDENCE, TEXT_CHARACTERS, TITLE_CHARACTERS
from domain.text import clipped
from engines.advice import Step, steps_for
from engines.correlation.evidence import Evidence
from engines.correlation.findings import Analysis, RootCause

MOST_HYPOTHESES: Final = 3

_NOT_ANY_MORE: Final = "The latest analysis does not rank this among the most probable causes any more."
_OPEN: Final = (HypothesisStatus.PROPOSED, HypothesisStatus.INVESTIGATING)
_TITLES: Final[Mapping[RootCauseKind, str]] = {
    RootCauseKind.RESOURCE: "{service} is short of a resource",
    RootCauseKind.LATENCY: "{service} has become slow",
    RootCauseKind.ERRORS: "{service} fails",
    RootCauseKind.DEPLOYMENT: "A deployment of {service} broke it",
    RootCauseKind.DEPENDENCY: "{service}, which services depend on, is down or slow",
    RootCauseKind.TRAFFIC: "{service} gets traffic that is out of the ordinary",
    RootCauseKind.UNKNOWN: "Something is wrong with {service}",
}


async def propose(
    tx: Transaction,
    incident_id: UUID,
    analysis: Analysis,
    evidence: Evidence,
    *,
    services: Mapping[str, UUID],
    correlation_ids: Mapping[str, UUID],
    actor: Actor,
) -> None:
    """Propose the first causes as hypotheses. What people have judged stays as it is; what is open follows."""
    named = [cause for cause in analysis.causes if cause.service in services][:MOST_HYPOTHESES]
    known = await _automatic(tx, incident_id)
    for cause in named:
        key = services[cause.service], cause.kind
        speaking = [correlation_ids[id] for id in cause.findings if id in correlation_ids][:HYPOTHESIS_EVIDENCE]
        if key in known:
            await _follow(tx, known.pop(key), cause.explanation, cause.confidence, speaking, actor)
        else:
            await _add(tx, incident_id, cause, key[0], speaking, steps_for(cause, analysis, evidence), actor)
    for hypothesis in known.values():
        await _follow(tx, hypothesis, _NOT_ANY_MORE, 0.0, hypothesis["evidence_ids"], actor)


async def _automatic(tx: Transaction, incident_id: UUID) -> dict[tuple[UUID, RootCauseKind], RowMapping]:
    columns = investigation_hypotheses.c
    statement = (
        select(investigation_hypotheses)
        .where(columns.incident_id == incident_id, columns.is_automatic)
        .where(columns.cause_kind.is_not(None), columns.service_id.is_not(None))
        .order_by(columns.id)
        .with_for_update(key_share=True)
    )
    rows = (await tx.execute(statement)).mappings()
    return {(row["service_id"], row["cause_kind"]): row for row in rows}


async def _follow(
    tx: Transaction,
    hypothesis: RowMapping,
    description: str,
    confidence: float,
    evidence_ids: list[UUID],
    actor: Actor,
) -> None:
    if hypothesis["status"] not in _OPEN:
        return
    before = hypothesis["confidence"]
    values = {"description": clipped(description, TEXT_CHARACTERS), "confidence": confidence}
    written = await tx.update(investigation_hypotheses, hypothesis, evidence_ids=evidence_ids, **values)
    if before != confidence:
        changes = tuple(it for it in changes_of(written) if it.column != "evidence_ids")
        scope = await scope_of(tx, hypothesis["incident_id"])
        changed = Happening(EventType.HYPOTHESIS_CHANGED, hypothesis["id"], scope, changes)
        await record_all(tx, actor=actor, happenings=[changed], entries=())


async def _add(
    tx: Transaction,
    incident_id: UUID,
    cause: RootCause,
    service_id: UUID,
    evidence_ids: list[UUID],
    steps: tuple[Step, ...],
    actor: Actor,
) -> None:
    new = NewHypothesis(
        incident_id=incident_id,
        title=clipped(_TITLES[cause.kind].format(service=cause.service), TITLE_CHARACTERS),
        description=clipped(cause.explanation, TEXT_CHARACTERS),
        confidence=min(1.0, max(0.0, cause.confidence)),
        is_automatic=True,
        cause_kind=cause.kind,
        service_id=service_id,
        evidence_ids=evidence_ids,
    )
    hypothesis_id = await hypotheses.create(tx, new, actor=actor)
    rows: list[Mapping[str, Any]] = [
        {
            "id": new_id(),
            "incident_id": incident_id,
            "hypothesis_id": hypothesis_id,
            "title": clipped(step.title, TITLE_CHARACTERS),
            "description": clipped(step.description, TEXT_CHARACTERS),
            "action": clipped(step.action, TEXT_CHARACTERS),
            "created_at": tx.now,
            "updated_at": tx.now,
        }
        for step in steps
    ]
    await tx.execute(insert(investigation_steps), rows)
    scope = await scope_of(tx, incident_id)
    added = [Happening(EventType.STEP_CHANGED, row["id"], scope) for row in rows]
    # The timeline has the hypothesis; its steps would drown everything else.
    await record_all(tx, actor=actor, happenings=added, entries=())
