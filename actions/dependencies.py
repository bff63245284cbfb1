"""What a service depends on, as people declare it."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import RowMapping, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from actions.discovery import ServiceReference, find_or_discover
from db.arrays import among
from db.database import Transaction
from db.services import service_dependencies, services
from domain.access import Actor
from domain.changes import Change
from domain.errors import ValidationFailed
from domain.limits import SERVICE_DEPENDENCIES
from domain.services import DependencySource


async def declare(
    tx: Transaction, service_id: UUID, wanted: Sequence[ServiceReference], *, actor: Actor
) -> Change | None:
    """Let the declared dependencies of a service, which the caller has locked, be those and no others; return what
    that changed, by their names. What traces have seen stays known. Raises ValidationFailed.
    """
    if len(wanted) > SERVICE_DEPENDENCIES:
        raise ValidationFailed(f"A service has {SERVICE_DEPENDENCIES} declared dependencies at most", ("dependsOn",))
    targets = await find_or_discover(tx, wanted, actor=actor)
    for reference, target in zip(wanted, targets, strict=True):
        if target["id"] == service_id:
            raise ValidationFailed("A service cannot depend on itself", reference.path)
    names = {target["id"]: target["name"] for target in targets}
    declared = {row["id"]: row["name"] for row in await _declared(tx, service_id)}
    if names.keys() == declared.keys():
        return None
    await _add(tx, service_id, names.keys() - declared.keys())
    await _remove(tx, service_id, declared.keys() - names.keys())
    return Change("dependencies", sorted(declared.values()), sorted(names.values()))


async def _declared(tx: Transaction, service_id: UUID) -> Sequence[RowMapping]:
    statement = (
        select(services.c.id, services.c.name)
        .join(service_dependencies, service_dependencies.c.depends_on_id == services.c.id)
        .where(service_dependencies.c.service_id == service_id)
        .where(service_dependencies.c.source == DependencySource.DECLARED)
    )
    return (await tx.execute(statement)).mappings().all()


async def _add(tx: Transaction, service_id: UUID, depends_on_ids: set[UUID]) -> None:
    if not depends_on_ids:
        return
    declaration = {"service_id": service_id, "source": DependencySource.DECLARED, "created_at": tx.now}
    rows = [{"depends_on_id": depends_on_id, **declaration} for depends_on_id in sorted(depends_on_ids)]
    statement = insert(service_dependencies).values(rows)
    # Seen in traces before: now it is declared as well.
    key = list(service_dependencies.primary_key)
    await tx.execute(statement.on_conflict_do_update(index_elements=key, set_={"source": DependencySource.DECLARED}))


async def _remove(tx: Transaction, service_id: UUID, depends_on_ids: set[UUID]) -> None:
    dependency = service_dependencies.c
    gone = (dependency.service_id == service_id) & among(dependency.depends_on_id, depends_on_ids)
    was_seen = dependency.last_seen_at.is_not(None)
    await tx.execute(update(service_dependencies).where(gone, was_seen).values(source=DependencySource.TRACES))
    await tx.execute(delete(service_dependencies).where(gone, ~was_seen))
