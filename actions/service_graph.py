"""What services are seen to depend on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import delete, literal_column, select
from sqlalchemy.dialects.postgresql import insert

from actions.discovery import ServiceReference, find_or_discover
from actions.recording import Scope, record
from db.arrays import among
from db.database import Transaction
from db.services import service_dependencies, services
from domain.access import Actor
from domain.changes import Change
from domain.errors import ValidationFailed
from domain.feed import EventType
from domain.service_graph import ServiceCall
from domain.services import DependencySource, service_name
from engines.service_graph import merged_calls

_BATCH_ROWS: Final = 1_000
_SEEN: Final = ("last_seen_at", "request_rate", "error_ratio", "latency_p95_seconds")

Pair = tuple[UUID, UUID]


@dataclass(frozen=True, slots=True)
class Renewal:
    """What became of a service graph: how many dependencies were seen, are new, and were forgotten."""

    seen: int
    added: int
    forgotten: int
    unnamed: int
    """How many calls are between services whose names the catalog does not take."""


async def renew(tx: Transaction, calls: Sequence[ServiceCall], *, forget_before: datetime, actor: Actor) -> Renewal:
    """Write down which services were just seen to call which, and forget what was last seen too long ago.

    Services that nobody knew are added to the catalog, as discovered. What people declared stays declared. A service
    whose traced dependencies change has that recorded, and an event of it.
    """
    ids = await _ids(tx, {name for call in calls for name in (call.caller, call.callee)}, actor)
    named = [
        replace(call, caller=str(ids[call.caller]), callee=str(ids[call.callee]))
        for call in calls
        if call.caller in ids and call.callee in ids
    ]
    # Names of one service that differ in their case, or in what people call it, were several callers so far.
    seen = [call for call in merged_calls(named) if call.caller != call.callee]
    added = await _write_seen(tx, seen)
    forgotten = await _forget(tx, forget_before)
    await _record_changes(tx, added, forgotten, actor)
    return Renewal(len(seen), len(added), len(forgotten), len(calls) - len(named))


async def _ids(tx: Transaction, names: Collection[str], actor: Actor) -> dict[str, UUID]:
    """The services with these `service.name`s, by their selectors or else by their names; not those without a name."""
    selector = services.c.selectors["tempo"].astext
    statement = select(selector.label("name"), services.c.id).where(among(selector, sorted(names)))
    locked = statement.order_by(services.c.id).with_for_update(read=True, key_share=True)
    ids: dict[str, UUID] = {}
    for row in await tx.execute(locked):
        ids.setdefault(row.name, row.id)
    unknown = sorted(name for name in names if name not in ids and _is_a_name(name))
    discovered = await find_or_discover(tx, [ServiceReference(name, ()) for name in unknown], actor=actor)
    return ids | {name: service["id"] for name, service in zip(unknown, discovered, strict=True)}


async def _write_seen(tx: Transaction, seen: Sequence[ServiceCall]) -> set[Pair]:
    """Write down what was seen; return which pairs nobody knew of."""
    if not seen:
        return set()
    rows = [
        {
            "service_id": UUID(call.caller),
            "depends_on_id": UUID(call.callee),
            "source": DependencySource.TRACES,
            "created_at": tx.now,
            "last_seen_at": tx.now,
            "request_rate": call.request_rate,
            "error_ratio": call.error_ratio,
            "latency_p95_seconds": call.latency_p95_seconds,
        }
        for call in seen  # in one order everywhere, so that two transactions never wait for each other
    ]
    added: set[Pair] = set()
    for first in range(0, len(rows), _BATCH_ROWS):
        statement = insert(service_dependencies).values(rows[first : first + _BATCH_ROWS])
        written = statement.on_conflict_do_update(
            index_elements=[*service_dependencies.primary_key],
            set_={column: statement.excluded[column] for column in _SEEN},
        ).returning(
            service_dependencies.c.service_id,
            service_dependencies.c.depends_on_id,
            literal_column("xmax = 0").label("is_new"),
        )
        added |= {(row.service_id, row.depends_on_id) for row in await tx.execute(written) if row.is_new}
    return added


async def _forget(tx: Transaction, before: datetime) -> set[Pair]:
    dependency = service_dependencies.c
    old = (dependency.source == DependencySource.TRACES) & (dependency.last_seen_at < before)
    gone = delete(service_dependencies).where(old).returning(dependency.service_id, dependency.depends_on_id)
    return {(row.service_id, row.depends_on_id) for row in await tx.execute(gone)}


async def _record_changes(tx: Transaction, added: set[Pair], forgotten: set[Pair], actor: Actor) -> None:
    """Tell of the services whose traced dependencies are others now, with the names of all of them."""
    if not added and not forgotten:
        return
    names = await _names(tx, {depends_on_id for _, depends_on_id in added | forgotten})
    new, old = _by_service(added, names), _by_service(forgotten, names)
    changed = sorted(new.keys() | old.keys())
    dependency = service_dependencies.c
    traced = (
        select(dependency.service_id, services.c.name)
        .join(services, services.c.id == dependency.depends_on_id)
        .where(among(dependency.service_id, changed))
        .where(dependency.source == DependencySource.TRACES)
    )
    after: dict[UUID, set[str]] = {service_id: set() for service_id in changed}
    for row in await tx.execute(traced):
        after[row.service_id].add(row.name)
    for service_id in changed:
        before = (after[service_id] - new.get(service_id, set())) | old.get(service_id, set())
        await record(
            tx,
            actor=actor,
            action="service.trace",
            subject_id=service_id,
            changes=[Change("traced_dependencies", sorted(before), sorted(after[service_id]))],
            scope=Scope(service_ids=(service_id,)),
            event=EventType.SERVICE_CHANGED,
        )


def _by_service(pairs: set[Pair], names: Mapping[UUID, str]) -> dict[UUID, set[str]]:
    """The names of what each service depends on."""
    by_service: dict[UUID, set[str]] = {}
    for service_id, depends_on_id in pairs:
        by_service.setdefault(service_id, set()).add(names[depends_on_id])
    return by_service


async def _names(tx: Transaction, ids: Collection[UUID]) -> Mapping[UUID, str]:
    statement = select(services.c.id, services.c.name).where(among(services.c.id, sorted(ids)))
    return {row.id: row.name for row in await tx.execute(statement)}


def _is_a_name(name: str) -> bool:
    try:
        return service_name(name) == name
    except ValidationFailed:
        return False
