"""Hypotheses: what may have caused an incident."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from actions.idempotency import first_answer
from actions.inputs import Checks, checked
from actions.recording import changes_of, record, scope_of
from actions.rows import lock, optional
from db.arrays import among
from db.correlation import correlations
from db.database import Transaction
from db.identifiers import new_id
from db.investigation import investigation_hypotheses
from db.services import services
from domain import narration, text
from domain.access import Actor
from domain.changes import Change
from domain.correlation import RootCauseKind
from domain.errors import ValidationFailed
from domain.feed import EventType
from domain.investigation import HypothesisStatus, confidence
from domain.limits import HYPOTHESIS_EVIDENCE
from domain.references import optional_id
from domain.timeline import TimelineEventType
from domain.unset import UNSET, Unset


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHypothesis:
    """What may have caused an incident. `confidence` is 0..1; `evidence_ids` are correlations of the same incident."""

    incident_id: UUID
    title: str | None
    description: str | None = None
    status: HypothesisStatus | str = HypothesisStatus.PROPOSED
    confidence: float = 0.5
    is_automatic: bool = False
    cause_kind: RootCauseKind | None = None
    service_id: UUID | str | None = None
    evidence_ids: Sequence[UUID | str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HypothesisChanges:
    """What shall be different about a hypothesis. Only what is set counts; None empties what can be empty."""

    title: str | Unset | None = UNSET
    description: str | Unset | None = UNSET
    status: HypothesisStatus | str | Unset | None = UNSET
    confidence: float | Unset | None = UNSET
    service_id: UUID | str | Unset | None = UNSET
    evidence_ids: Sequence[UUID | str] | Unset | None = UNSET


def _evidence_ids(value: Sequence[Any] | None) -> list[UUID]:
    if value is not None and len(value) > HYPOTHESIS_EVIDENCE:
        raise ValidationFailed(f"A hypothesis rests on {HYPOTHESIS_EVIDENCE} correlations at most", ("evidenceIds",))
    given = [optional_id(id, "correlation", "evidenceIds", str(place)) for place, id in enumerate(value or ())]
    return [*dict.fromkeys(id for id in given if id is not None)]


_CHECKS: Final[Checks] = {
    "title": lambda value: text.line(value, "Title", "title"),
    "description": lambda value: text.prose(value, "Description", "description"),
    "status": lambda value: text.choice(HypothesisStatus, value, "Status", "status"),
    "confidence": lambda value: confidence(value, "confidence"),
    "is_automatic": bool,
    "cause_kind": lambda value: value,
    "service_id": lambda value: optional_id(value, "service", "serviceId"),
    "evidence_ids": _evidence_ids,
}

_VERDICTS: Final = (HypothesisStatus.CONFIRMED, HypothesisStatus.REJECTED)


async def create(tx: Transaction, new: NewHypothesis, *, actor: Actor, idempotency_key: str | None = None) -> UUID:
    """Propose a cause. Raises NotFound, ValidationFailed, IdempotencyKeyReused."""
    values = {"incident_id": new.incident_id, **checked(new, _CHECKS)}
    id = new_id()
    answer = await first_answer(
        tx, idempotency_key, operation="createHypothesis", input=values, answer_id=id, actor=actor
    )
    if answer != id:
        return answer
    scope = await scope_of(tx, new.incident_id, "incidentId")
    await optional(tx, services, values["service_id"], "serviceId")
    await _require_evidence(tx, new.incident_id, values["evidence_ids"])
    judged_at = tx.now if values["status"] in _VERDICTS else None
    hypothesis = await tx.insert(investigation_hypotheses, id=id, judged_at=judged_at, **values)
    title, description = hypothesis["title"], hypothesis["description"]
    await record(
        tx,
        actor=actor,
        action="hypothesis.create",
        subject_id=id,
        changes=[Change("status", None, hypothesis["status"])],
        created={**hypothesis},
        scope=scope,
        event=EventType.HYPOTHESIS_CHANGED,
        entries=[narration.work_added(TimelineEventType.HYPOTHESIS, "Hypothesis", id, title, description)],
    )
    return id


async def update(tx: Transaction, hypothesis_id: UUID, wanted: HypothesisChanges, *, actor: Actor) -> UUID:
    """Change what is thought of a cause. What is as wanted already is left alone. Raises NotFound, ValidationFailed."""
    values = checked(wanted, _CHECKS)
    hypothesis = await lock(tx, investigation_hypotheses, hypothesis_id, "id")
    await optional(tx, services, values.get("service_id"), "serviceId")
    await _require_evidence(tx, hypothesis["incident_id"], values.get("evidence_ids", []))
    status = values.get("status", hypothesis["status"])
    if status is not hypothesis["status"]:
        # What people say of a cause is kept as the truth that analyses are measured by.
        values["judged_at"] = tx.now if status in _VERDICTS else None
    written = await tx.update(investigation_hypotheses, hypothesis, **values)
    changes = [change for change in changes_of(written) if change.column != "judged_at"]  # that the status tells
    if changes:
        title = values.get("title", hypothesis["title"])
        await record(
            tx,
            actor=actor,
            action="hypothesis.update",
            subject_id=hypothesis_id,
            changes=changes,
            scope=await scope_of(tx, hypothesis["incident_id"]),
            event=EventType.HYPOTHESIS_CHANGED,
            entries=[narration.work_changed(TimelineEventType.HYPOTHESIS, "Hypothesis", hypothesis_id, title, changes)],
        )
    return hypothesis_id


async def _require_evidence(tx: Transaction, incident_id: UUID, evidence_ids: Sequence[UUID]) -> None:
    if not evidence_ids:
        return
    found = select(correlations.c.id).where(among(correlations.c.id, evidence_ids))
    known = {*(await tx.execute(found.where(correlations.c.incident_id == incident_id))).scalars()}
    for place, id in enumerate(evidence_ids):
        if id not in known:
            raise ValidationFailed(f"This incident has no correlation {id}", ("evidenceIds", str(place)))
