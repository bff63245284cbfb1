"""What is written down of silences: they themselves are kept by Alertmanager."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from actions.idempotency import first_answer
from actions.recording import record, scope_of
from actions.rows import get
from db.alerts import alerts
from db.audit import audit_log
from db.database import Transaction
from db.incidents import incidents, incidents_services
from db.services import services
from domain import narration
from domain.access import Actor
from domain.alerts import AlertStatus
from domain.errors import ValidationFailed
from domain.limits import LABEL_VALUE_CHARACTERS
from domain.text import storable
from telemetry_clients.alertmanager import Matcher
from telemetry_clients.prometheus import promql
from telemetry_clients.prometheus.discovery import SERVICE_LABELS

_CREATED: Final = "silence.create"


@dataclass(frozen=True, slots=True)
class SilencePlan:
    """What a silence for an incident is to match, if nobody says more, and the Alertmanager that its services have."""

    incident_number: int
    matchers: tuple[Matcher, ...]
    instance: str | None


async def plan(tx: Transaction, incident_id: UUID) -> SilencePlan:
    """What an incident suggests: its unresolved alerts by name and service, or else all alerts of its services.

    Raises NotFound.
    """
    incident = await get(tx, incidents, incident_id, "incidentId")
    open_alerts = select(alerts.c.labels).where(
        alerts.c.incident_id == incident_id, alerts.c.status != AlertStatus.RESOLVED
    )
    found = [row.labels for row in await tx.execute(open_alerts)]
    hurt = (
        select(services.c.name, services.c.selectors, services.c.telemetry_instances)
        .join(incidents_services, incidents_services.c.service_id == services.c.id)
        .where(incidents_services.c.incident_id == incident_id)
        .order_by(services.c.name)
    )
    rows = (await tx.execute(hurt)).all()
    matchers = _of_alerts(found) or _of_services([(row.name, row.selectors.get("prometheus") or {}) for row in rows])
    instances = {row.telemetry_instances.get("alertmanager") for row in rows}
    return SilencePlan(incident["number"], matchers, instances.pop() if len(instances) == 1 else None)


def required_matchers(given: Sequence[Matcher], *path: str) -> tuple[Matcher, ...]:
    """Matchers that say what to silence. Raises ValidationFailed, as Alertmanager would, but with the place."""
    for position, matcher in enumerate(given):
        if not promql.is_label_name(matcher.name):
            raise ValidationFailed(f"{matcher.name!r:.100} is not the name of a label", (*path, str(position), "name"))
        storable(matcher.value, "Value", *path, str(position), "value", limit=LABEL_VALUE_CHARACTERS)
    if all(matcher.value == "" for matcher in given):
        raise ValidationFailed("Give a matcher whose value is not empty: this would silence everything", path)
    return tuple(given)


async def record_created(
    tx: Transaction,
    incident_id: UUID,
    silence_id: UUID,
    *,
    matchers: Sequence[Matcher],
    ends_at: datetime,
    comment: str,
    asked: Mapping[str, Any],
    idempotency_key: str | None,
    actor: Actor,
) -> UUID:
    """Write down that alerts are silenced, once Alertmanager has agreed, and return the silence's id.

    `asked` is what the request said, for its repetition to be known. Raises NotFound, IdempotencyKeyReused.
    """
    answer = await first_answer(
        tx, idempotency_key, operation="createSilence", input=asked, answer_id=silence_id, actor=actor
    )
    if answer != silence_id or await _is_recorded(tx, silence_id):
        return answer
    conditions = [str(matcher) for matcher in matchers]
    await record(
        tx,
        actor=actor,
        action=_CREATED,
        subject_id=silence_id,
        created={"incident_id": incident_id, "matchers": conditions, "ends_at": ends_at, "comment": comment},
        scope=await scope_of(tx, incident_id, "incidentId"),
        entries=[narration.silence_created(silence_id, conditions, ends_at=ends_at, comment=comment)],
    )
    return silence_id


async def record_expired(
    tx: Transaction, incident_id: UUID, silence_id: UUID, *, matchers: Sequence[Matcher], actor: Actor
) -> UUID:
    """Write down that a silence was ended. Raises NotFound."""
    conditions = [str(matcher) for matcher in matchers]
    await record(
        tx,
        actor=actor,
        action="silence.expire",
        subject_id=silence_id,
        deleted={"incident_id": incident_id, "matchers": conditions},
        scope=await scope_of(tx, incident_id, "incidentId"),
        entries=[narration.silence_expired(silence_id, conditions)],
    )
    return silence_id


async def _is_recorded(tx: Transaction, silence_id: UUID) -> bool:
    known = select(audit_log.c.id).where(audit_log.c.subject_id == silence_id, audit_log.c.action == _CREATED)
    return (await tx.execute(known.limit(1))).first() is not None


def _of_alerts(found: Sequence[Mapping[str, str]]) -> tuple[Matcher, ...]:
    """Labels that all of them have and that say what the alert is and whom it is about."""
    if not found:
        return ()
    shared = [label for label in ("alertname", *SERVICE_LABELS) if all(labels.get(label) for labels in found)]
    return tuple(_any_of(label, {labels[label] for labels in found}) for label in shared)


def _of_services(hurt: Sequence[tuple[str, Mapping[str, str]]]) -> tuple[Matcher, ...]:
    """Under the label that they all declare, or under the usual one."""
    if not hurt:
        return ()
    labels = {next(iter(selector)) if len(selector) == 1 else None for _, selector in hurt}
    [label] = labels if len(labels) == 1 else [None]
    values = {selector[label] if label else name for name, selector in hurt}
    return (_any_of(label or SERVICE_LABELS[0], values),)


def _any_of(label: str, values: set[str]) -> Matcher:
    if len(values) == 1:
        return Matcher(label, values.pop())
    return Matcher(label, promql.one_of(sorted(values)), is_regex=True)
