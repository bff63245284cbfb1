"""Deployments: changes of running things, told by whoever makes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from actions import recording
from actions.discovery import find_or_discover, reference
from actions.idempotency import first_answer
from actions.inputs import Checks, checked
from actions.recording import Scope, changes_of, incident_scopes, scopes_of
from actions.rows import get, lock
from db.database import Transaction
from db.deployments import deployments
from db.identifiers import new_id
from db.incidents import incidents, incidents_services
from db.services import services
from domain import narration, text
from domain.access import Actor
from domain.changes import Change
from domain.errors import ValidationFailed
from domain.feed import EventType
from domain.incidents import IncidentStatus
from domain.services import DEPLOYMENT_RELEVANCE, DeploymentOutcome, deployment_times


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDeployment:
    """A deployment of a service (by id, or by name, which may be new to the catalog).

    `started_at` None: now, or when it finished. `finished_at` None: now, unless it is still IN_PROGRESS.
    """

    service: UUID | str
    version: str | None
    environment: str | None = "production"
    commit: str | None = None
    description: str | None = None
    outcome: DeploymentOutcome | str | None = DeploymentOutcome.SUCCEEDED
    url: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


_CHECKS: Final[Checks] = {
    "version": lambda value: text.name(value, "Version", "version"),
    "environment": lambda value: text.name(value, "Environment", "environment"),
    "commit": lambda value: None if value is None else text.key(value, "Commit", "commit"),
    "description": lambda value: text.prose(value, "Description", "description"),
    "outcome": lambda value: text.choice(DeploymentOutcome, value, "Outcome", "outcome"),
    "url": lambda value: text.optional_url(value, "URL", "url"),
}


async def record(tx: Transaction, new: NewDeployment, *, actor: Actor, idempotency_key: str | None = None) -> UUID:
    """Tell of a deployment. It shows on the timelines of the incidents that hurt the service now.

    Raises ValidationFailed, IdempotencyKeyReused.
    """
    values = checked(new, _CHECKS)
    started_at, finished_at = deployment_times(
        values["outcome"], started_at=new.started_at, finished_at=new.finished_at, now=tx.now
    )
    wanted = reference(new.service, "service")
    asked = {**values, "service": wanted.value, "started_at": new.started_at, "finished_at": new.finished_at}
    id = new_id()
    answer = await first_answer(
        tx, idempotency_key, operation="recordDeployment", input=asked, answer_id=id, actor=actor
    )
    if answer != id:
        return answer
    [service] = await find_or_discover(tx, [wanted], actor=actor)
    values |= {"started_at": started_at, "finished_at": finished_at}
    deployment = await tx.insert(deployments, id=id, service_id=service["id"], **values)
    await recording.record(
        tx,
        actor=actor,
        action="deployment.record",
        subject_id=id,
        changes=[Change("outcome", None, deployment["outcome"])],
        created={**deployment},
        scope=Scope(service_ids=(service["id"],)),
        event=EventType.DEPLOYMENT_RECORDED,
        entries=[narration.deployed(service["name"], deployment, at=started_at)],
        timelines=await _incidents_under(tx, deployment),
    )
    return id


async def finish(
    tx: Transaction,
    deployment_id: UUID,
    outcome: DeploymentOutcome | str,
    *,
    finished_at: datetime | None = None,
    actor: Actor,
) -> UUID:
    """Say how a deployment ended, and when: now, or at the time known before. A later word (it was rolled back after
    all) replaces an earlier one, and what is as wanted already is left alone. Raises NotFound, ValidationFailed.
    """
    outcome = text.choice(DeploymentOutcome, outcome, "Outcome", "outcome")
    if outcome is DeploymentOutcome.IN_PROGRESS:
        raise ValidationFailed("Outcome must say how the deployment ended", ("outcome",))
    deployment = await lock(tx, deployments, deployment_id, "id")
    _, ended_at = deployment_times(
        outcome, started_at=deployment["started_at"], finished_at=finished_at or deployment["finished_at"], now=tx.now
    )
    changes = changes_of(await tx.update(deployments, deployment, outcome=outcome, finished_at=ended_at))
    if not changes:
        return deployment_id
    service = await get(tx, services, deployment["service_id"])
    finished = {**deployment, "outcome": outcome, "finished_at": ended_at}
    await recording.record(
        tx,
        actor=actor,
        action="deployment.finish",
        subject_id=deployment_id,
        changes=changes,
        scope=Scope(service_ids=(service["id"],)),
        event=EventType.DEPLOYMENT_RECORDED,
        entries=[narration.deployed(service["name"], finished, at=ended_at)],
        timelines=await _incidents_under(tx, deployment),
    )
    return deployment_id


async def _incidents_under(tx: Transaction, deployment: Mapping[Any, Any]) -> list[Scope]:
    """The incidents that hurt the service now and that a deployment of this age can have to do with."""
    hurt = select(incidents_services.c.incident_id).where(incidents_services.c.service_id == deployment["service_id"])
    return await scopes_of(
        tx,
        incident_scopes()
        .where(incidents.c.id.in_(hurt), incidents.c.status != IncidentStatus.RESOLVED)
        .where(incidents.c.started_at <= deployment["started_at"] + DEPLOYMENT_RELEVANCE)
        .order_by(incidents.c.id),
    )
