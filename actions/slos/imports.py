"""Objectives that come from elsewhere, many at once: from the files of other tools, or from rules that run already."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Text, func, select

from actions.discovery import find_or_discover, reference
from actions.services import NewService
from actions.services import create as create_service
from actions.slos import objectives
from actions.slos.objectives import SLOChanges
from actions.slos.records import definition_of
from db.arrays import among
from db.database import Database, Transaction
from db.services import services
from db.slos import slos
from domain.access import Actor
from domain.errors import Conflict, NotFound, ValidationFailed
from domain.objectives import Composite, ObjectiveDefinition
from engines.slo.checks import checked_definition
from engines.slo.definitions import definition_as_json
from engines.slo.formats.specifications import Read, Remark, ServiceDescription, Specification


class SLOImportOutcomeKind(StrEnum):
    """What becomes of an objective that is imported."""

    CREATED = "CREATED"
    UPDATED = "UPDATED"
    UNCHANGED = "UNCHANGED"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True)
class Difference:
    """A member of a definition that is not as it was, as JSON."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one objective. `reason` says why it is refused."""

    kind: SLOImportOutcomeKind
    service: str
    name: str
    slo_id: UUID | None = None
    differences: Sequence[Difference] = ()
    reason: str = ""
    document: int = 1
    line: int = 1


@dataclass(frozen=True, slots=True)
class Import:
    """What became of everything. Nothing was written when anything is refused, or when nothing was meant to be."""

    outcomes: Sequence[Outcome]
    problems: Sequence[Remark] = ()
    notices: Sequence[Remark] = ()
    is_written: bool = False
    event_seq: int | None = None

    @property
    def is_refused(self) -> bool:
        """Whether anything stands in the way."""
        return bool(self.problems) or any(outcome.kind is SLOImportOutcomeKind.REFUSED for outcome in self.outcomes)


class _NothingWritten(Exception):
    """Ends the transaction without what was done in it."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        super().__init__()
        self.outcomes = outcomes


@dataclass(slots=True)
class _Known:
    """The objectives of some services, by service and name in small letters."""

    definitions: dict[tuple[str, str], tuple[UUID, ObjectiveDefinition]] = field(default_factory=dict)


async def import_specification(
    database: Database,
    specification: Specification,
    *,
    dry_run: bool,
    actor: Actor,
    now: Any,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> Import:
    """Make the objectives of a text what the text says, all of them or none. Whatever is there already stays as it is.

    A dry run does everything in a transaction that is then taken back, so that it says exactly what would happen.
    Services that the catalog lacks are added.
    """
    is_meant = not dry_run and not specification.problems

    async def work(tx: Transaction) -> tuple[list[Outcome], int | None]:
        await _add_services(tx, specification.services, actor)
        outcomes = await _import_all(tx, specification.objectives, actor, progress)
        if not is_meant or any(outcome.kind is SLOImportOutcomeKind.REFUSED for outcome in outcomes):
            raise _NothingWritten(outcomes)
        return outcomes, tx.last_event_seq

    try:
        outcomes, event_seq = await database.transact(work, now=now)
    except _NothingWritten as nothing:
        made = [
            replace(one, slo_id=None) if one.kind is SLOImportOutcomeKind.CREATED else one for one in nothing.outcomes
        ]
        return Import(made, specification.problems, specification.notices)
    return Import(outcomes, (), specification.notices, is_written=True, event_seq=event_seq)


async def _add_services(tx: Transaction, described: Iterable[ServiceDescription], actor: Actor) -> None:
    for service in described:
        same = func.lower(services.c.name) == func.lower(service.name)
        if (await tx.execute(select(services.c.id).where(same))).first() is None:
            await create_service(
                tx,
                NewService(
                    name=service.name,
                    display_name=service.display_name or None,
                    description=service.description,
                    labels=dict(service.labels),
                ),
                actor=actor,
            )


async def _import_all(
    tx: Transaction, wanted: Sequence[Read], actor: Actor, progress: Callable[[int, int, str], None]
) -> list[Outcome]:
    known = await _known(tx, {read.definition.service for read in wanted})
    # The services first, in one go; composites last, because their members have to be there.
    names = sorted({read.definition.service for read in wanted})
    await find_or_discover(tx, [reference(name, "service") for name in names], actor=actor)
    ordered = sorted(enumerate(wanted), key=lambda place: isinstance(place[1].definition.indicator, Composite))
    outcomes: dict[int, Outcome] = {}
    for done, (place, read) in enumerate(ordered, 1):
        outcome = await _import_one(tx, read.definition, known, actor)
        outcomes[place] = replace(outcome, document=read.document, line=read.line)
        progress(done, len(wanted), f"{read.definition.service}/{read.definition.name}")
    return [outcomes[place] for place in sorted(outcomes)]


async def _known(tx: Transaction, names: Iterable[str]) -> _Known:
    columns = [column for column in slos.c if column.computed is None]
    statement = select(*columns, services.c.name.label("service")).join(services)
    rows = await tx.execute(
        statement.where(among(func.lower(services.c.name, type_=Text), [name.lower() for name in names]))
    )
    known = _Known()
    for row in rows.mappings():
        definition = definition_of(row)
        known.definitions[definition.service.lower(), definition.name.lower()] = row["id"], definition
    return known


async def _import_one(tx: Transaction, given: ObjectiveDefinition, known: _Known, actor: Actor) -> Outcome:
    identity = given.service.lower(), given.name.lower()
    id, before = known.definitions.get(identity, (None, None))
    try:
        definition = checked_definition(given)
        if id is None or before is None:
            id = await objectives.create(tx, definition, actor=actor)
            return Outcome(SLOImportOutcomeKind.CREATED, given.service, given.name, id)
        differences = _differences(before, replace(definition, service=before.service))
        if not differences:
            return Outcome(SLOImportOutcomeKind.UNCHANGED, before.service, before.name, id)
        wanted = {one.name: getattr(definition, one.name) for one in fields(SLOChanges) if one.name != "policy"}
        await objectives.update(tx, id, SLOChanges(**wanted), actor=actor)
    except (ValidationFailed, Conflict, NotFound) as refusal:
        place = f" ({'.'.join(refusal.path)})" if refusal.path else ""
        return Outcome(SLOImportOutcomeKind.REFUSED, given.service, given.name, id, reason=f"{refusal.message}{place}")
    return Outcome(SLOImportOutcomeKind.UPDATED, before.service, given.name, id, differences)


def _differences(before: ObjectiveDefinition, after: ObjectiveDefinition) -> list[Difference]:
    """Members that differ, by the names that clients know."""
    old, new = (definition_as_json(one) for one in (before, after))
    changed = [name for name in new if getattr(before, name) != getattr(after, name)]
    return [Difference(_camel(name), old[name], new[name]) for name in changed]


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
