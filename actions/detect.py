"""What the built-in detection does: its rules' states move on, and what begins or ends to fire is told as an alert.

States are moved by one job of the fleet at a time, in one transaction a rule, together with the alerts that they make.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import RowMapping, delete, select, text, update

from actions.alerts import tell_internal
from actions.detection_questions import WatchedService
from actions.jobs import Job, hold
from db.arrays import among
from db.database import Transaction
from db.detection import detection_rules, detection_states
from db.services import services
from domain.alerts import AlertStatus, DetectionKind, DetectionStatus
from domain.detection import Rule, rule_of
from domain.detection_words import ending, summary
from domain.errors import ValidationFailed
from domain.incidents import Severity
from domain.limits import TEXT_CHARACTERS
from domain.text import clipped
from domain.webhooks.incoming import IncomingAlert
from engines.detection.lifecycle import Observation, State, Timing, Transition, advance, failed

SOURCE: Final = "detection"
"""The source of the alerts that detection makes."""

_BATCH_ROWS: Final = 2_000
_WRITE_STATES_SQL: Final = """
insert into detection_states
select * from jsonb_populate_recordset(null::detection_states, cast(:rows as jsonb))
on conflict (rule_id, service_id) do update set
    status = excluded.status, since = excluded.since, last_value = excluded.last_value,
    evaluated_at = excluded.evaluated_at, last_error = excluded.last_error, bad_since = excluded.bad_since,
    good_since = excluded.good_since, seen_at = excluded.seen_at, baseline_centre = excluded.baseline_centre,
    baseline_deviation = excluded.baseline_deviation
"""
_ORPHANS_SQL: Final = """
select alerts.name, fingerprint, severity, labels, annotations, starts_at
from alerts
where source = :source and status = 'FIRING' and updated_at < :before
    and not exists (
        select from detection_states states
        where states.status = 'FIRING' and states.rule_id || ':' || states.service_id = alerts.fingerprint)
limit 1000
"""


@dataclass(frozen=True, slots=True)
class StoredRule:
    """A rule as it is stored. `rule` is None where it makes no sense any more, for the reason of `problem`."""

    id: UUID
    name: str
    description: str
    severity: Severity
    labels: Mapping[str, str]
    service_id: UUID | None
    version: int
    rule: Rule | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a service, or why nothing could be. `detail` is what an alert says beside the value."""

    service: WatchedService
    observation: Observation | None
    error: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of an evaluation: how many services there is a state of, and what began and ended to fire."""

    services: int
    fired: int
    ended: int


async def enabled_rules(tx: Transaction) -> list[StoredRule]:
    """The rules that are to be evaluated."""
    statement = select(detection_rules).where(detection_rules.c.is_enabled).order_by(detection_rules.c.id)
    return [stored_rule(row) for row in (await tx.execute(statement)).mappings()]


def stored_rule(row: RowMapping) -> StoredRule:
    """A row of `detection_rules`."""
    rule, problem = None, None
    try:
        rule = rule_of({**row})
    except ValidationFailed as error:  # written by another version of this program
        problem = error.message
    return StoredRule(
        row["id"],
        row["name"],
        row["description"],
        row["severity"],
        row["labels"],
        row["service_id"],
        row["version"],
        rule,
        problem,
    )


async def states_of(tx: Transaction, rule_id: UUID) -> dict[UUID, State]:
    """The states of a rule, by service."""
    rows = await tx.execute(select(detection_states).where(detection_states.c.rule_id == rule_id))
    return {row["service_id"]: _state({**row}) for row in rows.mappings()}


async def record_evaluation(
    tx: Transaction, job: Job, stored: StoredRule, seen: Sequence[Seen], *, error: str | None = None
) -> Evaluation:
    """Move the states of a rule on by what was seen, and tell of what began or ended to fire.

    `error` says why the rule could not be evaluated, for some services or for all; those keep firing if they did. A
    rule that was changed, disabled or deleted since it was read is left alone. Raises Conflict when the job was lost.
    """
    await hold(tx, job)
    current = detection_rules.c
    locked = select(current.version, current.is_enabled, current.failing_since).where(current.id == stored.id)
    row = (await tx.execute(locked.with_for_update(key_share=True))).first()
    if row is None or not row.is_enabled or row.version != stored.version:
        return Evaluation(0, 0, 0)
    before = await states_of(tx, stored.id)
    there = await _still_there(tx, [each.service.id for each in seen])
    after: dict[UUID, tuple[State, str | None]] = {}
    gone: list[UUID] = []
    alerts: list[IncomingAlert] = []
    for each in seen:
        id = each.service.id
        if id not in there:
            continue
        state, transition = _moved(stored, before.get(id), each, tx.now)
        if state is None:
            continue
        if _is_forgotten(stored, state, tx.now, transition):
            gone.append(id)
        else:
            after[id] = (state, each.error)
        if transition is not None:
            alerts.append(_alert(stored, each, before.get(id), state, transition, tx.now))
    await _write(tx, stored.id, after)
    if gone:
        await tx.execute(
            delete(detection_states).where(
                detection_states.c.rule_id == stored.id, among(detection_states.c.service_id, gone)
            )
        )
    await tx.execute(
        update(detection_rules)
        .where(current.id == stored.id)
        .values(
            last_evaluated_at=tx.now,
            last_error=None if error is None else clipped(error, TEXT_CHARACTERS),
            failing_since=None if error is None else row.failing_since or tx.now,
        )
    )
    await tell_internal(tx, source=SOURCE, alerts=alerts)
    fired = sum(alert.status is AlertStatus.FIRING for alert in alerts)
    return Evaluation(len(after), fired, len(alerts) - fired)


async def end_firings(tx: Transaction, stored: StoredRule, reason: str) -> None:
    """Forget the states of a rule, and tell that what it says is firing has ended, for this reason."""
    columns = detection_states.c
    firing = (
        select(services.c.id, services.c.name, columns.bad_since, columns.since, columns.last_value)
        .join(services, services.c.id == columns.service_id)
        .where(columns.rule_id == stored.id, columns.status == DetectionStatus.FIRING)
    )
    alerts = [
        _incoming(
            stored,
            WatchedService(row.id, row.name),
            AlertStatus.RESOLVED,
            reason,
            starts_at=row.bad_since or row.since,
            ends_at=tx.now,
        )
        for row in await tx.execute(firing)
    ]
    await tx.execute(delete(detection_states).where(columns.rule_id == stored.id))
    await tell_internal(tx, source=SOURCE, alerts=alerts)


async def end_orphans(tx: Transaction, job: Job, *, before: datetime) -> int:
    """Tell that alerts have ended whose service is no longer in the catalog; return how many."""
    await hold(tx, job)
    rows = await tx.execute(text(_ORPHANS_SQL), {"source": SOURCE, "before": before})
    alerts = [
        IncomingAlert(
            name=row.name,
            fingerprint=row.fingerprint,
            status=AlertStatus.RESOLVED,
            severity=Severity(row.severity),
            labels=row.labels,
            annotations=row.annotations,
            starts_at=row.starts_at,
            ends_at=tx.now,
        )
        for row in rows
    ]
    await tell_internal(tx, source=SOURCE, alerts=alerts)
    return len(alerts)


def _moved(
    stored: StoredRule, before: State | None, seen: Seen, at: datetime
) -> tuple[State | None, Transition | None]:
    """The state after what was seen; None for a service of which nothing has ever been known."""
    if seen.observation is None or stored.rule is None:
        return (None if before is None else failed(before, at)), None
    if before is None and not _begins(stored, seen.observation):
        return None, None
    return advance(before, seen.observation, Timing.of(stored.rule), at)


def _begins(stored: StoredRule, seen: Observation) -> bool:
    """Whether there is anything to say of a service for the first time. What never was is not absent, unless it is the
    very service that is watched.
    """
    if stored.rule is not None and stored.rule.kind is DetectionKind.ABSENCE and stored.service_id is None:
        return not seen.is_bad
    return seen.is_known


def _is_forgotten(stored: StoredRule, state: State, at: datetime, transition: Transition | None) -> bool:
    """Whether a service has not been seen for so long that there is nothing to say of it any more."""
    if state.status is not DetectionStatus.OK or stored.rule is None:
        return False
    if transition is Transition.GIVEN_UP and stored.rule.kind is DetectionKind.ABSENCE:
        return stored.service_id is None
    return state.seen_at is not None and at - state.seen_at > Timing.of(stored.rule).forgets_after


async def _still_there(tx: Transaction, ids: Sequence[UUID]) -> set[UUID]:
    """Those of the services that are in the catalog, and stay there until this transaction ends."""
    locked = select(services.c.id).where(among(services.c.id, ids)).order_by(services.c.id)
    return {*(await tx.execute(locked.with_for_update(read=True, key_share=True))).scalars()}


async def _write(tx: Transaction, rule_id: UUID, states: Mapping[UUID, tuple[State, str | None]]) -> None:
    rows = [
        {"rule_id": rule_id, "service_id": service_id, **_row(state, error)}
        for service_id, (state, error) in states.items()
    ]
    for first in range(0, len(rows), _BATCH_ROWS):
        written = orjson.dumps(rows[first : first + _BATCH_ROWS], default=str).decode()
        await tx.execute(text(_WRITE_STATES_SQL), {"rows": written})


def _state(row: Mapping[str, Any]) -> State:
    centre, deviation = row["baseline_centre"], row["baseline_deviation"]
    return State(
        status=row["status"],
        since=row["since"],
        evaluated_at=row["evaluated_at"],
        bad_since=row["bad_since"],
        good_since=row["good_since"],
        seen_at=row["seen_at"],
        last_value=row["last_value"],
        baseline=None if centre is None or deviation is None else (centre, deviation),
    )


def _row(state: State, error: str | None) -> dict[str, Any]:
    centre, deviation = state.baseline or (None, None)
    return {
        "status": state.status,
        "since": state.since,
        "last_value": state.last_value,
        "evaluated_at": state.evaluated_at,
        "last_error": None if error is None else clipped(error, TEXT_CHARACTERS),
        "bad_since": state.bad_since,
        "good_since": state.good_since,
        "seen_at": state.seen_at,
        "baseline_centre": centre,
        "baseline_deviation": deviation,
    }


def _alert(
    stored: StoredRule, seen: Seen, before: State | None, after: State, transition: Transition, at: datetime
) -> IncomingAlert:
    if stored.rule is None or seen.observation is None:
        raise RuntimeError("a rule that was not evaluated has nothing to tell")
    if transition is Transition.FIRED:
        said = summary(stored.rule, seen.service.name, seen.observation.value, seen.observation.expected)
        if seen.detail is not None:
            said = clipped(f"{said}: {seen.detail}", TEXT_CHARACTERS)
        return _incoming(
            stored, seen.service, AlertStatus.FIRING, said, starts_at=after.bad_since or after.since, ends_at=None
        )
    if before is None:
        raise RuntimeError("what ends has begun")
    said = ending(stored.rule, seen.service.name, transition, seen.observation.value)
    return _incoming(
        stored, seen.service, AlertStatus.RESOLVED, said, starts_at=before.bad_since or before.since, ends_at=at
    )


def _incoming(
    stored: StoredRule,
    service: WatchedService,
    status: AlertStatus,
    said: str,
    *,
    starts_at: datetime,
    ends_at: datetime | None,
) -> IncomingAlert:
    annotations = {"summary": said}
    if stored.description:
        annotations["description"] = stored.description
    return IncomingAlert(
        name=stored.name,
        fingerprint=f"{stored.id}:{service.id}",
        status=status,
        severity=stored.severity,
        labels={**stored.labels, "alertname": stored.name, "service": service.name},
        annotations=annotations,
        starts_at=starts_at,
        ends_at=ends_at,
    )
