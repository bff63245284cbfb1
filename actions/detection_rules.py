"""What people do with detection rules."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete as delete_from
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from actions.detect import end_firings, stored_rule
from actions.idempotency import first_answer
from actions.inputs import Checks, checked
from actions.log_baselines import forget_baselines
from actions.recording import changes_of, record
from actions.rows import get, lock, optional, require_version
from db.database import Transaction
from db.detection import detection_rules
from db.identifiers import new_id
from db.services import services
from domain import text
from domain.access import Actor
from domain.alerts import Comparison, DetectionKind
from domain.detection import for_seconds, given_parameters, query, rule_of, threshold
from domain.errors import Conflict, ValidationFailed
from domain.incidents import Severity
from domain.json_values import labels
from domain.references import optional_id
from domain.telemetry import GoldenSignal
from domain.unset import UNSET, Unset


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDetectionRule:
    """What shall be watched. `parameters` as domain.detection has them."""

    name: str | None
    kind: DetectionKind | str
    severity: Severity | str = Severity.MEDIUM
    description: str | None = None
    is_enabled: bool = True
    signal: GoldenSignal | str | None = None
    query: str | None = None
    comparison: Comparison | str | None = None
    threshold: float | None = None
    for_seconds: int | None = None
    service_id: UUID | str | None = None
    labels: Any = field(default_factory=dict)
    parameters: Any = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionRuleChanges:
    """What shall be different about a rule. Only what is set counts; None empties what can be empty."""

    name: str | Unset | None = UNSET
    kind: DetectionKind | str | Unset | None = UNSET
    severity: Severity | str | Unset | None = UNSET
    description: str | Unset | None = UNSET
    is_enabled: bool | Unset | None = UNSET
    signal: GoldenSignal | str | Unset | None = UNSET
    query: str | Unset | None = UNSET
    comparison: Comparison | str | Unset | None = UNSET
    threshold: float | Unset | None = UNSET
    for_seconds: int | Unset | None = UNSET
    service_id: UUID | str | Unset | None = UNSET
    labels: Any = UNSET
    parameters: Any = UNSET


def _is_enabled(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValidationFailed("A rule is enabled or not: true or false", ("isEnabled",))
    return value


_CHECKS: Final[Checks] = {
    "name": lambda value: text.name(value, "Name", "name"),
    "kind": lambda value: text.choice(DetectionKind, value, "Kind", "kind"),
    "severity": lambda value: text.choice(Severity, value, "Severity", "severity"),
    "description": lambda value: text.prose(value, "Description", "description"),
    "is_enabled": _is_enabled,
    "signal": lambda value: None if value is None else text.choice(GoldenSignal, value, "Signal", "signal"),
    "query": query,
    "comparison": lambda value: None if value is None else text.choice(Comparison, value, "Comparison", "comparison"),
    "threshold": threshold,
    "for_seconds": for_seconds,
    "service_id": lambda value: optional_id(value, "service", "serviceId"),
    "labels": lambda value: labels(value, "Labels", "labels"),
    "parameters": given_parameters,
}
_WATCHED: Final = ("kind", "signal", "query", "comparison", "service_id")
"""What makes it another thing that is watched, of which nothing that was seen before says anything."""


def checked_rule(new: NewDetectionRule) -> dict[str, Any]:
    """The columns of a new rule. Raises ValidationFailed for a rule that makes no sense."""
    values = checked(new, _CHECKS)
    rule_of(values)
    return values


async def changed_rule(tx: Transaction, rule_id: UUID, wanted: DetectionRuleChanges) -> Mapping[str, Any]:
    """The columns of a rule as they would be. Raises NotFound, and ValidationFailed when they would make no sense."""
    rule = await get(tx, detection_rules, rule_id, "id")
    columns = {**rule, **checked(wanted, _CHECKS)}
    rule_of(columns)
    return columns


async def create(tx: Transaction, new: NewDetectionRule, *, actor: Actor, idempotency_key: str | None = None) -> UUID:
    """Watch something. Raises ValidationFailed, IdempotencyKeyReused, and Conflict when a rule has this name already,
    in any case.
    """
    values = checked_rule(new)
    id = new_id()
    answer = await first_answer(
        tx, idempotency_key, operation="createDetectionRule", input=values, answer_id=id, actor=actor
    )
    if answer != id:
        return answer
    await optional(tx, services, values["service_id"], "serviceId")
    await _require_free_name(tx, values["name"])
    async with _one_of_each_name(values["name"]):
        rule = await tx.insert(detection_rules, id=id, **values)
    await record(tx, actor=actor, action="detection_rule.create", subject_id=id, created={**rule})
    return id


async def update(
    tx: Transaction,
    rule_id: UUID,
    wanted: DetectionRuleChanges,
    *,
    expected_version: int | None = None,
    actor: Actor,
) -> UUID:
    """Change a rule. What fires goes on firing unless the rule is disabled, or watches something else now.

    Raises NotFound, ValidationFailed, and Conflict when another rule has the new name already, or when the rule is not
    at `expected_version` any more.
    """
    values = checked(wanted, _CHECKS)
    rule = await lock(tx, detection_rules, rule_id, "id")
    require_version(rule, expected_version, f'Detection rule "{rule["name"]}"')
    wants = rule_of({**rule, **values})
    await optional(tx, services, values.get("service_id"), "serviceId")
    name = values.get("name", rule["name"])
    if name != rule["name"]:
        await _require_free_name(tx, name, but=rule_id)
    async with _one_of_each_name(name):
        changes = await tx.update(detection_rules, rule, **values)
    if not changes:
        return rule_id
    if "is_enabled" in changes and not values["is_enabled"]:
        await end_firings(tx, stored_rule(rule), "The detection rule was disabled")
    elif changes.keys() & {*_WATCHED}:
        await end_firings(tx, stored_rule(rule), "The detection rule watches something else now")
    was = stored_rule(rule).rule
    if was is None or {*was.parameters.levels} != {*wants.parameters.levels}:
        await forget_baselines(tx, rule_id)
    recorded = changes_of(changes)
    await record(tx, actor=actor, action="detection_rule.update", subject_id=rule_id, changes=recorded)
    return rule_id


async def delete(tx: Transaction, rule_id: UUID, *, actor: Actor) -> UUID:
    """Watch something no longer: what it says is firing ends. Raises NotFound."""
    rule = await lock(tx, detection_rules, rule_id, "id")
    await end_firings(tx, stored_rule(rule), "The detection rule was deleted")
    await tx.execute(delete_from(detection_rules).where(detection_rules.c.id == rule_id))
    await record(tx, actor=actor, action="detection_rule.delete", subject_id=rule_id, deleted={**rule})
    return rule_id


async def _require_free_name(tx: Transaction, name: str, *, but: UUID | None = None) -> None:
    same = func.lower(detection_rules.c.name) == func.lower(name)
    if but is not None:
        same &= detection_rules.c.id != but
    taken = (await tx.execute(select(detection_rules.c.name).where(same))).scalar_one_or_none()
    if taken is not None:
        raise Conflict(f'There is a detection rule named "{taken}" already', path=("name",))


@asynccontextmanager
async def _one_of_each_name(name: str) -> AsyncGenerator[None]:
    """Say so when another transaction has just given the name to another rule."""
    try:
        yield
    except IntegrityError as error:
        if "uq_detection_rules_name" not in str(error.orig):
            raise
        raise Conflict(f'There is a detection rule named "{name}" already', path=("name",)) from error
