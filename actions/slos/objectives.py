"""What people do with service level objectives."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, func, insert, select
from sqlalchemy import delete as delete_from
from sqlalchemy import update as update_of

from actions.discovery import find_or_discover, reference
from actions.idempotency import first_answer
from actions.recording import Scope, changes_of, record
from actions.rows import get, lock, require_version
from actions.slos.records import columns_of, definition_of
from actions.slos.slices import Stretch, read_slices, store
from db.database import Transaction
from db.identifiers import new_id
from db.services import services
from db.slos import slo_versions, slos
from domain import text
from domain.access import Actor
from domain.changes import Change
from domain.errors import Conflict, ValidationFailed
from domain.objectives import (
    SLICE_SECONDS,
    Alerting,
    Budgeting,
    Composite,
    Indicator,
    ObjectiveDefinition,
    Window,
)
from domain.references import parse_id
from domain.slos import SLOStatus
from domain.unset import UNSET, Unset
from engines.slo.checks import checked_definition
from engines.slo.definitions import definition_as_json
from engines.slo.windows import DAY_SECONDS

MOST_POLICY_RULES: Final = 20
_PROMISE: Final = ("objective", "window", "budgeting", "indicator", "group_by")


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """What a status of an SLO asks of people (an error budget policy, one rule of it)."""

    status: SLOStatus
    action: str
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SLOChanges:
    """What shall be different about an objective. Only what is set counts."""

    name: str | Unset = UNSET
    display_name: str | Unset = UNSET
    description: str | Unset = UNSET
    objective: Any = UNSET
    window: Window | Unset = UNSET
    budgeting: Budgeting | Unset = UNSET
    indicator: Indicator | Composite | Unset = UNSET
    group_by: tuple[str, ...] | Unset = UNSET
    alerting: Alerting | Unset = UNSET
    labels: Any = UNSET
    annotations: Any = UNSET
    policy: Sequence[PolicyRule] | Unset = UNSET

    def applied_to(self, definition: ObjectiveDefinition) -> ObjectiveDefinition:
        """The definition with the changes."""
        given = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "policy"}
        return replace(definition, **{name: value for name, value in given.items() if value is not UNSET})


async def create(
    tx: Transaction,
    given: ObjectiveDefinition,
    *,
    policy: Sequence[PolicyRule] = (),
    actor: Actor,
    idempotency_key: str | None = None,
) -> UUID:
    """Promise something. Its service may be new to the catalog.

    Raises ValidationFailed, IdempotencyKeyReused, and Conflict when the service has an objective of this name already.
    """
    wanted = reference(given.service, "service")
    promised = replace(checked_definition(named(given)), service=str(wanted.value))
    rules = _policy(policy)
    id = new_id()
    asked = {"definition": definition_as_json(promised), "policy": rules}
    answer = await first_answer(tx, idempotency_key, operation="createSlo", input=asked, answer_id=id, actor=actor)
    if answer != id:
        return answer
    [service] = await find_or_discover(tx, [wanted], actor=actor)
    promised = replace(promised, service=service["name"])
    await _require_members(tx, promised)
    await _require_free_name(tx, service, promised.name)
    values = columns_of(promised)
    slo = await tx.insert(slos, id=id, service_id=service["id"], error_budget_policy=rules, **values)
    await _keep_version(tx, id, slo["version"], promised, actor)
    await record(
        tx,
        actor=actor,
        action="slo.create",
        subject_id=id,
        created=_exact_row(slo),
        scope=Scope(service_ids=(service["id"],)),
    )
    return id


async def update(
    tx: Transaction, slo_id: UUID, wanted: SLOChanges, *, expected_version: int | None = None, actor: Actor
) -> UUID:
    """Change an objective. Slices from now on are judged by what is promised now, those before as they were.

    Raises NotFound, ValidationFailed, and Conflict when the service has another objective of the new name, or when the
    objective is not at `expected_version` any more.
    """
    slo = await lock(tx, slos, slo_id, "id")
    require_version(slo, expected_version, f"SLO {slo['name']}")
    service = await get(tx, services, slo["service_id"])
    before = definition_of({**slo, "service": service["name"]})
    promised = checked_definition(wanted.applied_to(before))
    await _require_members(tx, promised, but=slo_id)
    if promised.name.lower() != before.name.lower():
        await _require_free_name(tx, service, promised.name)
    values = columns_of(promised)
    if wanted.policy is not UNSET:
        values["error_budget_policy"] = _policy(wanted.policy)
    if promised.objective == before.objective:
        values.pop("objective")  # 0.990 and 0.99 are the same promise.
    changes = changes_of(await tx.update(slos, slo, **values))
    if not changes:
        return slo_id
    await touch(tx, slo_id)
    if any(getattr(promised, name) != getattr(before, name) for name in _PROMISE):
        await _keep_version(tx, slo_id, slo["version"] + 1, promised, actor)
    if promised.budgeting.slice_seconds != before.budgeting.slice_seconds:
        await _recut_today(tx, slo_id, promised)
    await record(
        tx,
        actor=actor,
        action="slo.update",
        subject_id=slo_id,
        changes=[_exact(change) for change in changes],
        scope=Scope(service_ids=(slo["service_id"],)),
    )
    return slo_id


async def delete(tx: Transaction, slo_id: UUID, *, actor: Actor) -> UUID:
    """Promise it no longer, and forget its slices. Raises NotFound, and Conflict when it is part of a composite."""
    slo = await lock(tx, slos, slo_id, "id")
    service = await get(tx, services, slo["service_id"])
    await _require_no_composite(tx, service["name"], slo["name"])
    await tx.execute(delete_from(slos).where(slos.c.id == slo_id))
    await record(
        tx,
        actor=actor,
        action="slo.delete",
        subject_id=slo_id,
        deleted=_exact_row(slo),
        scope=Scope(service_ids=(slo["service_id"],)),
    )
    return slo_id


def named(given: ObjectiveDefinition) -> ObjectiveDefinition:
    """The definition with some name for its service, where that is given by its id: for checking the rest."""
    return given if parse_id(given.service) is None else replace(given, service="by id")


async def definition(tx: Transaction, slo_id: UUID) -> ObjectiveDefinition:
    """What an objective promises now. Raises NotFound."""
    slo = await get(tx, slos, slo_id, "id")
    service = await get(tx, services, slo["service_id"])
    return definition_of({**slo, "service": service["name"]})


async def note_evaluation(tx: Transaction, slo_id: UUID, *, actor: Actor) -> UUID:
    """Write down that somebody had an objective evaluated between cycles, and return its id. Raises NotFound."""
    id: UUID = (await get(tx, slos, slo_id, "id"))["id"]
    await record(tx, actor=actor, action="slo.evaluate", subject_id=id)
    return id


async def touch(tx: Transaction, slo_id: UUID) -> None:
    """Let whoever holds the objective in memory read it again."""
    await tx.execute(update_of(slos).where(slos.c.id == slo_id).values(revision=slos.c.revision + 1))


async def _recut_today(tx: Transaction, slo_id: UUID, promised: ObjectiveDefinition) -> None:
    """Keep what is known of today in slices of the new length, so that the next one fits in."""
    seconds = min(promised.budgeting.slice_seconds, SLICE_SECONDS)
    today = int(tx.now.timestamp()) // DAY_SECONDS * DAY_SECONDS
    stretch = Stretch(slo_id, today - DAY_SECONDS, today + DAY_SECONDS, seconds)
    await store(tx.connection, await read_slices(tx.connection, [stretch]))


async def _keep_version(
    tx: Transaction, slo_id: UUID, version: int, definition: ObjectiveDefinition, actor: Actor
) -> None:
    await tx.execute(
        insert(slo_versions).values(
            slo_id=slo_id,
            version=version,
            definition=definition_as_json(definition),
            valid_from=tx.now,
            actor_id=actor.id,
            created_at=tx.now,
        )
    )


async def _require_free_name(tx: Transaction, service: RowMapping, name: str) -> None:
    statement = select(slos.c.id).where(slos.c.service_id == service["id"], func.lower(slos.c.name) == func.lower(name))
    if (await tx.execute(statement)).first() is not None:
        raise Conflict(f'{service["name"]} has an SLO called "{name}" already', path=("name",))


async def _require_members(tx: Transaction, definition: ObjectiveDefinition, but: UUID | None = None) -> None:
    """Members have to exist, and to be no composites themselves."""
    if not isinstance(definition.indicator, Composite):
        return
    for position, member in enumerate(definition.indicator.members):
        path = ("indicator", "members", str(position))
        statement = (
            select(slos.c.id, slos.c.indicator_kind, slos.c.slice_seconds)
            .join(services)
            .where(
                func.lower(services.c.name) == func.lower(member.service),
                func.lower(slos.c.name) == func.lower(member.name),
            )
        )
        row = (await tx.execute(statement)).first()
        if row is None or row.id == but:
            raise ValidationFailed(f'There is no SLO "{member.name}" of {member.service}', path)
        if row.indicator_kind == "COMPOSITE":
            raise ValidationFailed(f'"{member.name}" is a composite itself: name its members instead', path)


async def _require_no_composite(tx: Transaction, service: str, name: str) -> None:
    statement = select(slos.c.name, slos.c.indicator).where(slos.c.indicator_kind == "COMPOSITE")
    for composite in await tx.execute(statement):
        for member in composite.indicator["members"]:
            if (member["service"].lower(), member["name"].lower()) == (service.lower(), name.lower()):
                message = f'The SLO "{name}" is a member of "{composite.name}": change that one first'
                raise Conflict(message, path=("id",))


def _policy(rules: Sequence[PolicyRule]) -> list[dict[str, Any]]:
    if len(rules) > MOST_POLICY_RULES:
        raise ValidationFailed(f"An error budget policy has at most {MOST_POLICY_RULES} rules", ("errorBudgetPolicy",))
    return [
        {
            "status": text.choice(SLOStatus, rule.status, "Status", "errorBudgetPolicy", str(i), "status").value,
            "action": text.line(rule.action, "Action", "errorBudgetPolicy", str(i), "action"),
            "url": text.optional_url(rule.url, "URL", "errorBudgetPolicy", str(i), "url"),
        }
        for i, rule in enumerate(rules)
    ]


def _exact(change: Change) -> Change:
    """The change with ratios as texts, because JSON would round them."""
    if change.column not in ("objective", "slice_objective"):
        return change
    before, after = (None if value is None else f"{value:f}" for value in (change.before, change.after))
    return Change(change.column, before, after)


def _exact_row(row: RowMapping) -> dict[str, Any]:
    """The row with ratios as texts."""
    exact = [_exact(Change(column, None, value)) for column, value in row.items()]
    return {change.column: change.after for change in exact}
