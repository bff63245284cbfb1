"""The last evaluation of each objective: written for many at once, and what follows from a status that changed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import select, text

from actions.recording import Scope, incident_scopes, record, scopes_of
from actions.slos.alerts import Alert, settle
from actions.slos.records import Kept
from db.arrays import among
from db.database import Transaction
from db.incidents import incidents, incidents_services
from db.slos import slo_states
from domain import narration
from domain.access import Actor, Role
from domain.changes import Change
from domain.feed import EventType
from domain.incidents import IncidentStatus, Severity
from domain.limits import TEXT_CHARACTERS
from domain.slos import BurnResponse, SLOStatus
from domain.text import clipped
from engines.slo.budgets import Measurement, burns_as_json

EVALUATION: Final = Actor(id=None, name="SLO evaluation", role=Role.RESPONDER)

_WRITE_STATES: Final = """
insert into {table} ({key}, status, measured_at, sli, good_events, total_events, error_budget_remaining,
    error_budget_consumed, coverage, burn_rates, budget_exhausts_at{last})
select {given}, status, measured_at, sli, good, total, remaining, consumed, coverage, burn_rates, exhausts_at{value}
from unnest({arrays} cast(:status as slo_status[]), cast(:measured_at as timestamptz[]),
    cast(:sli as double precision[]), cast(:good as double precision[]), cast(:total as double precision[]),
    cast(:remaining as double precision[]), cast(:consumed as double precision[]),
    cast(:coverage as double precision[]), cast(:burn_rates as jsonb[]), cast(:exhausts_at as timestamptz[]))
    new({columns}, status, measured_at, sli, good, total, remaining, consumed, coverage, burn_rates, exhausts_at)
on conflict ({conflict}) do update set status = excluded.status, measured_at = excluded.measured_at,
    sli = excluded.sli, good_events = excluded.good_events, total_events = excluded.total_events,
    error_budget_remaining = excluded.error_budget_remaining, error_budget_consumed = excluded.error_budget_consumed,
    coverage = excluded.coverage, burn_rates = excluded.burn_rates, budget_exhausts_at = excluded.budget_exhausts_at
    {update}
"""
_WRITE_ALL: Final = text(
    _WRITE_STATES.format(  # names of ours
        table="slo_states",
        key="slo_id",
        last=", last_error, evaluated_through",
        given="id",
        value=", null, measured_at",
        arrays="cast(:ids as uuid[]),",
        columns="id",
        conflict="slo_id",
        update=", last_error = null, evaluated_through = excluded.evaluated_through",
    )
)
_WRITE_GROUPS: Final = text(
    _WRITE_STATES.format(  # names of ours
        table="slo_group_states",
        key="slo_id, group_key, labels",
        last="",
        given="id, group_key, cast(group_key as jsonb)",
        value="",
        arrays="cast(:ids as uuid[]), cast(:groups as text[]),",
        columns="id, group_key",
        conflict="slo_id, group_key",
        update="",
    )
)
_WRITE_FAILURES: Final = text(
    "insert into slo_states (slo_id, status, measured_at, error_budget_remaining, error_budget_consumed, coverage,"
    " last_error) select id, 'ERROR', :now, 1, 0, 0, error"
    " from unnest(cast(:ids as uuid[]), cast(:errors as text[])) new(id, error)"
    " on conflict (slo_id) do update set status = 'ERROR', last_error = excluded.last_error"
)
_SEVERITIES: Final = {BurnResponse.PAGE: Severity.CRITICAL, BurnResponse.TICKET: Severity.MEDIUM}
_ACTIVE: Final = [status for status in IncidentStatus if status is not IncidentStatus.RESOLVED]
_UNREMARKABLE: Final = (SLOStatus.HEALTHY, SLOStatus.NO_DATA)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What an evaluation found: of all of an objective, and of each of its groups by key. A failure has its reason."""

    kept: Kept
    measurement: Measurement | None = None
    groups: Mapping[str, Measurement] | None = None
    failure: str | None = None

    @property
    def status(self) -> SLOStatus:
        """The worst of the whole and its groups."""
        if self.measurement is None:
            return SLOStatus.ERROR
        statuses = [self.measurement.status, *(one.status for one in (self.groups or {}).values())]
        return max(statuses, key=_SEVERITY.index)


_SEVERITY: Final = (
    SLOStatus.NO_DATA,
    SLOStatus.HEALTHY,
    SLOStatus.WARNING,
    SLOStatus.CRITICAL,
    SLOStatus.EXHAUSTED,
    SLOStatus.ERROR,
)


async def write_states(tx: Transaction, found: Sequence[Evaluated]) -> None:
    """Keep these evaluations, in one statement however many they are, and tell of every status that changed: an event,
    an entry on the timelines of the service's open incidents, and alerts.
    """
    if not found:
        return
    before = await _statuses(tx, [one.kept.id for one in found])
    measured = [(one, one.measurement) for one in found if one.measurement is not None]
    if measured:
        columns = _columns([measurement for _, measurement in measured])
        columns["status"] = [one.status for one, _ in measured]
        await tx.execute(_WRITE_ALL, {"ids": [one.kept.id for one, _ in measured], **columns})
    groups = [(one.kept.id, key, measurement) for one, _ in measured for key, measurement in (one.groups or {}).items()]
    if groups:
        keys = {"ids": [id for id, _, _ in groups], "groups": [key for _, key, _ in groups]}
        await tx.execute(_WRITE_GROUPS, {**keys, **_columns([measurement for _, _, measurement in groups])})
    failed = [one for one in found if one.measurement is None]
    if failed:
        errors = [clipped((one.failure or "").replace("\0", ""), TEXT_CHARACTERS) for one in failed]
        await tx.execute(_WRITE_FAILURES, {"ids": [one.kept.id for one in failed], "errors": errors, "now": tx.now})
    for one in found:
        if _is_news(before.get(one.kept.id), one.status):
            await _tell(tx, one, before.get(one.kept.id, SLOStatus.NO_DATA))
    await _settle_alerts(tx, [one for one, _ in measured])


async def write_absence(tx: Transaction, ids: Sequence[UUID], reason: str) -> None:
    """Say with these objectives that their Prometheus could not be asked. What was known of them stays as it is."""
    statement = text(
        "update slo_states set last_error = :reason where slo_id = any(cast(:ids as uuid[]))"
        " and last_error is distinct from :reason and status <> 'ERROR'"
    )
    await tx.execute(statement, {"ids": list(ids), "reason": clipped(reason, TEXT_CHARACTERS)})


async def write_broken(tx: Transaction, ids: Sequence[UUID]) -> None:
    """Say with these objectives that they cannot be evaluated, because they do not say how to be measured."""
    errors = ["It is not kept as a whole: say its indicator anew"] * len(ids)
    await tx.execute(_WRITE_FAILURES, {"ids": list(ids), "errors": errors, "now": tx.now})


async def _statuses(tx: Transaction, ids: Sequence[UUID]) -> dict[UUID, SLOStatus]:
    # Whoever else evaluates the same waits here, so that a change is told once.
    statement = select(slo_states.c.slo_id, slo_states.c.status).where(among(slo_states.c.slo_id, ids))
    rows = await tx.execute(statement.order_by(slo_states.c.slo_id).with_for_update())
    return {row.slo_id: row.status for row in rows}


def _columns(measurements: Sequence[Measurement]) -> dict[str, list[Any]]:
    return {
        "status": [one.status for one in measurements],
        "measured_at": [one.measured_at for one in measurements],
        "sli": [None if one.sli is None else min(max(one.sli, 0.0), 1.0) for one in measurements],
        "good": [one.good_events for one in measurements],
        "total": [one.total_events for one in measurements],
        "remaining": [one.remaining for one in measurements],
        "consumed": [one.consumed for one in measurements],
        "coverage": [min(max(one.coverage, 0.0), 1.0) for one in measurements],
        "burn_rates": [orjson.dumps(burns_as_json(one.burns)).decode() for one in measurements],
        "exhausts_at": [one.exhausts_at for one in measurements],
    }


def _is_news(before: SLOStatus | None, after: SLOStatus) -> bool:
    """Whether a status says something new: not that a first look finds nothing wrong."""
    return before is not after and not (before is None and after in _UNREMARKABLE)


async def _tell(tx: Transaction, one: Evaluated, before: SLOStatus) -> None:
    service_id = one.kept.service_id
    entry = narration.slo_changed(one.kept.definition, one.kept.id, before, one.status, _told(one))
    await record(
        tx,
        actor=EVALUATION,
        action="slo.evaluate",
        subject_id=one.kept.id,
        changes=[Change("status", before, one.status)],
        scope=Scope(service_ids=(service_id,)),
        event=EventType.SLO_STATUS_CHANGED,
        entries=[entry],
        timelines=await scopes_of(tx, _open_incidents(service_id)),
    )


def _open_incidents(service_id: UUID) -> Any:
    hurting = select(incidents_services.c.incident_id).where(incidents_services.c.service_id == service_id)
    return incident_scopes().where(incidents.c.id.in_(hurting), incidents.c.status.in_(_ACTIVE))


def _told(one: Evaluated) -> str:
    """What people want to read beside the new status."""
    if one.measurement is None:
        return one.failure or ""
    burning = [burn for burn in one.measurement.burns if burn.is_breached]
    left = f"{one.measurement.remaining:.2%} of the error budget is left"
    rates = ", ".join(f"{burn.long_rate or 0:.1f} times too fast over {burn.alert.name}" for burn in burning)
    return f"{left}; it burns {rates}" if rates else left


async def _settle_alerts(tx: Transaction, found: Iterable[Evaluated]) -> None:
    evaluated = list(found)
    about = [fingerprint for one in evaluated for fingerprint in _fingerprints(one.kept.id)]
    firing = [alert for one in evaluated for alert in _alerts(one, tx.now)]
    await settle(tx, firing, about=about, at=tx.now)


def _fingerprints(id: UUID) -> list[str]:
    return [f"slo:{id}:{word}" for word in ("page", "ticket", "exhausted")]


def _alerts(one: Evaluated, now: datetime) -> Iterable[Alert]:
    """What should be firing for an objective."""
    if one.measurement is None:
        return
    definition, alerting = one.kept.definition, one.kept.definition.alerting
    every = [one.measurement, *(one.groups or {}).values()]
    labels = {**definition.labels, **alerting.labels, "service": definition.service, "slo": definition.name}
    page, ticket, exhausted = _fingerprints(one.kept.id)
    for response, fingerprint, message in (
        (BurnResponse.PAGE, page, alerting.page),
        (BurnResponse.TICKET, ticket, alerting.ticket),
    ):
        if any(response in measurement.breached for measurement in every):
            yield Alert(
                fingerprint=fingerprint,
                name=alerting.name or f"{definition.name}: error budget burns too fast",
                severity=_SEVERITIES[response],
                starts_at=now,
                labels={**labels, "severity": response.lower(), **message.labels},
                annotations={"summary": _told(one), **alerting.annotations, **message.annotations},
            )
    if any(measurement.status is SLOStatus.EXHAUSTED for measurement in every):
        yield Alert(
            fingerprint=exhausted,
            name=f"{definition.name}: error budget is spent",
            severity=Severity.HIGH,
            starts_at=now,
            labels={**labels, "severity": "exhausted"},
            annotations={"summary": _told(one), **alerting.annotations},
        )
