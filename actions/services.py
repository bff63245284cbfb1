"""What people do with the catalog of services."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, func, select
from sqlalchemy import delete as delete_from
from sqlalchemy import update as update_of
from sqlalchemy.exc import IntegrityError

from actions.dependencies import declare
from actions.discovery import references
from actions.idempotency import first_answer
from actions.inputs import Checks, checked
from actions.recording import Scope, changes_of, record
from actions.rows import lock, optional, require_version
from db.database import Transaction
from db.identifiers import new_id
from db.incidents import incidents_services
from db.people import teams
from db.services import services
from db.slos import slos
from domain import text
from domain.access import Actor
from domain.changes import Change
from domain.errors import Conflict, NotFound
from domain.feed import EventType
from domain.json_values import labels
from domain.references import optional_id
from domain.services import selectors, service_name, telemetry_instances, tier
from domain.unset import UNSET, Unset


@dataclass(frozen=True, slots=True, kw_only=True)
class NewService:
    """What somebody declares of a service. `depends_on` holds ids or names; `selectors` as domain.services has them."""

    name: str | None
    display_name: str | None = None
    description: str | None = None
    tier: int | None = None
    team_id: UUID | str | None = None
    repository_url: str | None = None
    documentation_url: str | None = None
    runbook_url: str | None = None
    labels: Any = field(default_factory=dict)
    selectors: Any = field(default_factory=dict)
    telemetry_instances: Any = field(default_factory=dict)
    depends_on: Sequence[UUID | str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChanges:
    """What shall be different about a service. Only what is set counts; None empties what can be empty."""

    name: str | Unset | None = UNSET
    display_name: str | Unset | None = UNSET
    description: str | Unset | None = UNSET
    tier: int | Unset | None = UNSET
    team_id: UUID | str | Unset | None = UNSET
    repository_url: str | Unset | None = UNSET
    documentation_url: str | Unset | None = UNSET
    runbook_url: str | Unset | None = UNSET
    labels: Any = UNSET
    selectors: Any = UNSET
    telemetry_instances: Any = UNSET
    depends_on: Sequence[UUID | str] | Unset | None = UNSET


_CHECKS: Final[Checks] = {
    "name": lambda value: service_name(value, "name"),
    "display_name": lambda value: None if value is None else text.name(value, "Display name", "displayName"),
    "description": lambda value: text.prose(value, "Description", "description"),
    "tier": lambda value: tier(value, "tier"),
    "team_id": lambda value: optional_id(value, "team", "teamId"),
    "repository_url": lambda value: text.optional_url(value, "Repository URL", "repositoryUrl"),
    "documentation_url": lambda value: text.optional_url(value, "Documentation URL", "documentationUrl"),
    "runbook_url": lambda value: text.optional_url(value, "Runbook URL", "runbookUrl"),
    "labels": lambda value: labels(value, "Labels", "labels"),
    "selectors": lambda value: selectors(value, "selectors"),
    "telemetry_instances": lambda value: telemetry_instances(value, "telemetryInstances"),
}


async def create(tx: Transaction, new: NewService, *, actor: Actor, idempotency_key: str | None = None) -> UUID:
    """Declare a service. Names of dependencies that were never seen before are added to the catalog.

    Raises ValidationFailed, IdempotencyKeyReused, and Conflict when a service has this name already, in any case.
    """
    values = checked(new, _CHECKS)
    values["display_name"] = values["display_name"] or values["name"]
    depends_on = references(new.depends_on, "dependsOn")
    asked = {**values, "depends_on": [reference.value for reference in depends_on]}
    id = new_id()
    answer = await first_answer(tx, idempotency_key, operation="createService", input=asked, answer_id=id, actor=actor)
    if answer != id:
        return answer
    await optional(tx, teams, values["team_id"], "teamId")
    await _require_free_name(tx, values["name"])
    async with _one_of_each_name(values["name"]):
        service = await tx.insert(services, id=id, **values)
    dependencies = await declare(tx, id, depends_on, actor=actor)
    await record(
        tx,
        actor=actor,
        action="service.create",
        subject_id=id,
        changes=[Change("status", None, service["status"])],
        created={**service, "dependencies": dependencies.after if dependencies else []},
        scope=Scope(service_ids=(id,)),
        event=EventType.SERVICE_CHANGED,
    )
    return id


async def update(
    tx: Transaction, service_id: UUID, wanted: ServiceChanges, *, expected_version: int | None = None, actor: Actor
) -> UUID:
    """Change what is declared of a service. What is as wanted already is left alone.

    Raises NotFound, ValidationFailed, and Conflict when another service has the new name already, or when the service
    is not at `expected_version` any more.
    """
    values = checked(wanted, _CHECKS)
    depends_on = None if wanted.depends_on is UNSET else references(wanted.depends_on or (), "dependsOn")
    service = await lock(tx, services, service_id, "id")
    require_version(service, expected_version, f"Service {service['name']}")
    await optional(tx, teams, values.get("team_id"), "teamId")
    values |= _display_name(service, values)
    name = values.get("name", service["name"])
    if name != service["name"]:
        await _require_free_name(tx, name, but=service_id)
    dependencies = None if depends_on is None else await declare(tx, service_id, depends_on, actor=actor)
    if dependencies is None and all(service[column] == value for column, value in values.items()):
        return service_id
    # Whoever edits a service that was only heard of declares it by that.
    async with _one_of_each_name(name):
        changes = changes_of(await tx.update(services, service, **values, discovered_at=None))
    if not changes:
        bump = {"version": service["version"] + 1, "updated_at": tx.now}
        await tx.execute(update_of(services).where(services.c.id == service_id).values(bump))
    await record(
        tx,
        actor=actor,
        action="service.update",
        subject_id=service_id,
        changes=[*changes, dependencies] if dependencies else changes,
        scope=Scope(service_ids=(service_id,)),
        event=EventType.SERVICE_CHANGED,
    )
    return service_id


async def delete(tx: Transaction, service_id: UUID, *, actor: Actor) -> UUID:
    """Take a service out of the catalog, with its dependencies and deployments.

    Raises NotFound, and Conflict when incidents or SLOs need it.
    """
    # Unlike a lock for a change, this one also waits for those who are about to point at the service.
    statement = select(services.c.id).where(services.c.id == service_id).with_for_update()
    if (await tx.execute(statement)).first() is None:
        raise NotFound("service", service_id, ("id",))
    service = await lock(tx, services, service_id, "id")
    await _require_unused(tx, service)
    await tx.execute(delete_from(services).where(services.c.id == service_id))
    await record(
        tx,
        actor=actor,
        action="service.delete",
        subject_id=service_id,
        changes=[Change("name", service["name"], None)],
        deleted={**service},
        scope=Scope(service_ids=(service_id,)),
        event=EventType.SERVICE_CHANGED,
    )
    return service_id


def _display_name(service: RowMapping, values: Mapping[str, Any]) -> dict[str, str]:
    """The display name is the name until somebody gives another, and again when that is taken away."""
    name = values.get("name", service["name"])
    given = values.get("display_name", None if service["display_name"] == service["name"] else service["display_name"])
    return {"display_name": given or name}


async def _require_free_name(tx: Transaction, name: str, *, but: UUID | None = None) -> None:
    same = func.lower(services.c.name) == func.lower(name)
    if but is not None:
        same &= services.c.id != but
    taken = (await tx.execute(select(services.c.name).where(same))).scalar_one_or_none()
    if taken is not None:
        raise Conflict(f'There is a service named "{taken}" already', path=("name",))


@asynccontextmanager
async def _one_of_each_name(name: str) -> AsyncGenerator[None]:
    """Say so when another transaction has just given the name to another service."""
    try:
        yield
    except IntegrityError as error:
        if "uq_services_name" not in str(error.orig):
            raise
        raise Conflict(f'There is a service named "{name}" already', path=("name",)) from error


async def _require_unused(tx: Transaction, service: RowMapping) -> None:
    for table, noun, advice in (
        (incidents_services, "incident", "whose history needs it: set its impact on them to none first"),
        (slos, "SLO", "which would measure nothing: delete them first"),
    ):
        users = (await tx.execute(select(func.count()).where(table.c.service_id == service["id"]))).scalar_one()
        if users:
            needed = f"{users} {noun}{'' if users == 1 else 's'}"
            raise Conflict(f'Service "{service["name"]}" belongs to {needed}, {advice}', service["version"], ("id",))
