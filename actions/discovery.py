"""Services as people name them: by id, or by name, which may be new to the catalog."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import RowMapping, Text, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY, insert

from actions.recording import Scope, record
from db.arrays import among
from db.database import Transaction
from db.identifiers import new_id
from db.services import services
from domain.access import Actor
from domain.changes import Change
from domain.errors import Conflict, ValidationFailed
from domain.feed import EventType
from domain.references import parse_id
from domain.services import service_name

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class ServiceReference:
    """A service by its id or its name, and where the input says so."""

    value: UUID | str
    path: tuple[str, ...]


def reference(value: object, *path: str) -> ServiceReference:
    """The service that an input points at. Raises ValidationFailed for what can be neither an id nor a name."""
    return ServiceReference(parse_id(value) or service_name(value, *path), path)


def references(values: Iterable[object], *path: str) -> list[ServiceReference]:
    """The services that a list at `path` points at. Raises ValidationFailed as `reference` does."""
    return [reference(value, *path, str(position)) for position, value in enumerate(values)]


async def find_or_discover(tx: Transaction, wanted: Sequence[ServiceReference], *, actor: Actor) -> list[RowMapping]:
    """The services (`id`, `name`) that are meant, one for each reference, there until the transaction ends.

    A name that no service has, in any case, is added to the catalog; transactions that do so at the same time end up
    with the same service. Raises ValidationFailed for an id that no service has.
    """
    names = {reference.value for reference in wanted if isinstance(reference.value, str)}
    ids = {reference.value for reference in wanted if isinstance(reference.value, UUID)}
    found = await _with_ids(tx, ids)
    for reference in wanted:
        if reference.value in ids and reference.value not in found:
            raise ValidationFailed(f"There is no service {reference.value}", reference.path)
    found |= await _named(tx, names, actor)
    return [found[reference.value] for reference in wanted]


async def _with_ids(tx: Transaction, ids: Collection[UUID]) -> dict[UUID | str, RowMapping]:
    if not ids:
        return {}
    statement = select(services.c.id, services.c.name).where(among(services.c.id, ids)).order_by(services.c.id)
    rows = await tx.execute(statement.with_for_update(read=True, key_share=True))
    return {row["id"]: row for row in rows.mappings()}


async def _named(tx: Transaction, names: Collection[str], actor: Actor) -> dict[UUID | str, RowMapping]:
    if not names:
        return {}
    for _ in range(_ATTEMPTS):
        known = await _known(tx, names)
        unknown = [name for name in names if name not in known]
        if not unknown:
            return known
        await _add(tx, unknown, actor)
    raise Conflict("Services of this request were deleted at the same time, try again")


async def _known(tx: Transaction, names: Collection[str]) -> dict[UUID | str, RowMapping]:
    # Postgres decides which names are the same, here as in the unique index.
    given = func.unnest(bindparam("names", [*names], ARRAY(Text))).table_valued("name", name="given").render_derived()
    statement = (
        select(given.c.name.label("given"), services.c.id, services.c.name)
        .join(services, func.lower(services.c.name) == func.lower(given.c.name))
        .order_by(services.c.id)
        .with_for_update(read=True, key_share=True, of=services)
    )
    return {row["given"]: row for row in (await tx.execute(statement)).mappings()}


async def _add(tx: Transaction, names: Collection[str], actor: Actor) -> None:
    rows = [
        {
            "id": new_id(),
            "name": name,
            "display_name": name,
            "discovered_at": tx.now,
            "created_at": tx.now,
            "updated_at": tx.now,
        }
        # In one order everywhere, so that two transactions that add the same names never wait for each other.
        for name in sorted(names, key=lambda name: (name.lower(), name))
    ]
    statement = insert(services).values(rows).on_conflict_do_nothing()
    returning = statement.returning(services.c.id, services.c.name, services.c.status)
    for added in (await tx.execute(returning)).mappings().all():
        await record(
            tx,
            actor=actor,
            action="service.discover",
            subject_id=added["id"],
            changes=[Change("status", None, added["status"])],
            created={**added},
            scope=Scope(service_ids=(added["id"],)),
            event=EventType.SERVICE_CHANGED,
        )
