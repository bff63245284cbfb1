"""Folding alerts into incidents: what they do to incidents, the services that those hurt, and their timelines."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import text, update

from actions import incidents
from actions.alert_scenes import Scene, Told, load_scene, told_by
from actions.analyses import request_after_change
from actions.impacts import set_service_impact
from actions.incidents import AffectedService, IncidentChanges, NewIncident
from actions.recording import Happening, Scope, record_all
from db.alert_grouping import (
    FLAPPING_SQL,
    MOVE_STARTS_SQL,
    OCCURRENCE_INCIDENTS_SQL,
    PLACE_ALERTS_SQL,
    PLACE_OCCURRENCES_SQL,
    WRITE_GROUPS_SQL,
    WRITE_KEYS_SQL,
    WRITE_SUPPRESSIONS_SQL,
)
from db.alerts import alert_groups
from db.database import Transaction
from db.identifiers import new_id
from db.incidents import incidents as incidents_table
from domain import narration
from domain.access import Actor, Role
from domain.alert_history import AlertChange
from domain.alerts import AlertStatus
from domain.changes import Change
from domain.feed import EventType
from domain.grouping import Firing, GroupingRules, Joining, OpenIncident, choose, title_of
from domain.incidents import ImpactLevel, IncidentSource, IncidentStatus, Severity
from domain.limits import TITLE_CHARACTERS
from domain.suppressions import Quiet, SuppressionKind, quieting
from domain.text import clipped
from domain.timeline import Entry

DETECTION_SOURCE: Final = "detection"
_ALERTS_AT_A_TIME: Final = 100
_SEVERITIES: Final = tuple(Severity)


@dataclass(slots=True)
class _Work:
    """What a batch of alerts leads to, collected before it is written in bulk."""

    placed: list[tuple[Told, UUID]] = field(default_factory=list)
    suppressed: list[tuple[Told, Quiet]] = field(default_factory=list)
    joined: dict[tuple[UUID, str, UUID | None, str, bool], list[Told]] = field(
        default_factory=lambda: defaultdict(list)
    )
    severities: dict[UUID, Severity] = field(default_factory=dict)
    starts: dict[UUID, datetime] = field(default_factory=dict)
    hurt: dict[tuple[UUID, UUID], datetime] = field(default_factory=dict)
    happenings: list[Happening] = field(default_factory=list)
    entries: list[tuple[Scope, Entry]] = field(default_factory=list)


async def group(tx: Transaction, changes: Sequence[AlertChange], rules: GroupingRules) -> dict[tuple[UUID, int], str]:
    """Let what deliveries changed about alerts lead to incidents, in the transaction of the change.

    Returns why alerts were suppressed, by where they were told.
    """
    fired = told_by(changes)
    scene = await load_scene(tx, fired, {change.alert_id: change.state.labels for change in changes})
    work = await _place(tx, scene, fired, rules)
    ends = [it for it in changes if it.occurrence.has_fired and it.occurrence.is_over and (it.is_over or it.has_fired)]
    placed = {(told.alert_id, told.starts_at): incident_id for told, incident_id in work.placed}
    where = placed | await _incidents_of(tx, [it for it in changes if _place_of(it) not in placed])
    _tell_firings(scene, work, fired, where)
    _tell_ends(tx, scene, work, ends, where)
    actor = _actor(changes[0].source if len({change.source for change in changes}) == 1 else "alerts")
    await record_all(tx, actor=actor, happenings=work.happenings, entries=work.entries)
    await _watch_flapping(tx, scene, fired, rules, actor)
    await _act_on_words(tx, changes, where)
    return {told.told_at: _suppression(quiet) for told, quiet in work.suppressed if told.told_at is not None}


async def group_loose(tx: Transaction, loose: Sequence[Told], rules: GroupingRules) -> int:
    """Give alerts that fire and belong nowhere a place, unless they are still suppressed; return how many have one."""
    scene = await load_scene(tx, loose, {told.alert_id: told.labels for told in loose})
    work = await _place(tx, scene, loose, rules)
    placed = {(told.alert_id, told.starts_at): incident_id for told, incident_id in work.placed}
    _tell_joined(scene, work, placed)
    await record_all(tx, actor=_actor("alerts"), happenings=work.happenings, entries=work.entries)
    return len(work.placed)


async def _place(tx: Transaction, scene: Scene, fired: Sequence[Told], rules: GroupingRules) -> _Work:
    """Find each firing alert its incident, the earliest first, and write where all of them belong."""
    work = _Work()
    for count, told in enumerate(sorted(fired, key=lambda it: (it.starts_at, it.alert_id))):
        if count % _ALERTS_AT_A_TIME == 0:
            await asyncio.sleep(0)  # Whoever else waits for this thread has a turn.
        firing = scene.firing(told)
        quiet = None if firing.is_pinned else quieting(scene.quiets, firing.service_id, told.labels)
        if quiet is not None:
            work.suppressed.append((told, quiet))
            continue
        joining = choose(firing, scene.candidates(firing), scene.dependencies, rules)
        if joining is None:
            opened = await _open(tx, scene, told, firing)
            joining = Joining(opened, "no active incident is about this, so that it was opened")
        await _join(tx, scene, work, told, firing, joining)
    await _write(tx, scene, work)
    return work


async def _open(tx: Transaction, scene: Scene, told: Told, firing: Firing) -> OpenIncident:
    service = scene.dependencies.names.get(firing.service_id) if firing.service_id else None
    title = "".join(it for it in title_of(told.name, service, told.annotations) if it.isprintable())
    is_ours = told.source == DETECTION_SOURCE
    new = NewIncident(
        title=clipped(title.strip() or "Alert", TITLE_CHARACTERS),
        severity=told.severity,
        services=[] if firing.service_id is None else [AffectedService(service=firing.service_id)],
        source=IncidentSource.DETECTION if is_ours else IncidentSource.ALERT,
        started_at=min(told.starts_at, tx.now),
    )
    id = await incidents.create(tx, new, actor=_actor(told.source))
    row = await tx.get(incidents_table, id)
    if row is None:
        raise RuntimeError("an incident that was just opened is there")
    opened = OpenIncident(
        id=id,
        number=row["number"],
        title=row["title"],
        status=row["status"],
        source=row["source"],
        severity=row["severity"],
        started_at=row["started_at"],
    )
    if firing.service_id is not None:
        opened.hurt[firing.service_id] = row["started_at"]
        opened.primary.add(firing.service_id)
    scene.add(opened)
    return opened


async def _join(tx: Transaction, scene: Scene, work: _Work, told: Told, firing: Firing, joining: Joining) -> None:
    incident, because = joining.incident, joining.because
    if incident.status is IncidentStatus.MITIGATED and told.is_firing:
        reason = f"{told.name} fires again"
        await incidents.reopen(tx, incident.id, reason=reason, actor=_actor(told.source))
        incident.status = IncidentStatus.OPEN
    work.placed.append((told, incident.id))
    work.joined[incident.id, told.name, firing.service_id, because, told.is_synthesised].append(told)
    incident.firing += told.is_firing
    incident.last_fired_at = max(incident.last_fired_at or told.starts_at, told.starts_at)
    scene.key(incident, firing.key)
    if firing.service_id is not None and firing.service_id not in incident.hurt:
        scene.hurt(incident, firing.service_id, told.starts_at)
        work.hurt[incident.id, firing.service_id] = told.starts_at
    if _SEVERITIES.index(told.severity) > _SEVERITIES.index(incident.severity):
        incident.severity = work.severities[incident.id] = told.severity
    if told.starts_at < incident.started_at and incident.source in (IncidentSource.ALERT, IncidentSource.DETECTION):
        incident.started_at = work.starts[incident.id] = told.starts_at
    if joining.cause_id is not None:
        cause = scene.dependencies.names.get(joining.cause_id, "a dependency")
        known = f"{cause} is the cause that people know of already"
        quiet = Quiet(
            kind=SuppressionKind.INHIBITION, by=incident.name, reason=known, starts_at=told.starts_at, ends_at=None
        )
        scene.inhibited.append((told.alert_id, quiet))


async def _write(tx: Transaction, scene: Scene, work: _Work) -> None:
    alerts = [
        {"alert_id": told.alert_id, "service_id": scene.service_ids.get(told.alert_id), "incident_id": incident_id}
        for told, incident_id in {told.alert_id: (told, id) for told, id in work.placed if told.is_newest}.values()
    ]
    alerts += [
        {"alert_id": told.alert_id, "service_id": scene.service_ids.get(told.alert_id), "incident_id": None}
        for told, _ in work.suppressed
    ]
    known = {row["alert_id"] for row in alerts}
    alerts += [
        {"alert_id": id, "service_id": service_id, "incident_id": scene.places[id].incident_id}
        for id, service_id in scene.service_ids.items()
        if service_id != scene.places[id].service_id and id not in known
    ]
    occurrences = [
        {"alert_id": told.alert_id, "starts_at": told.starts_at, "incident_id": incident_id}
        for told, incident_id in work.placed
    ]
    joined = {incident_id: scene.incidents[incident_id] for _, incident_id in work.placed}
    groups = [{"incident_id": it.id, "last_fired_at": it.last_fired_at} for it in joined.values()]
    keys = [{"incident_id": it.id, "key": key} for it in joined.values() for key in it.keys]
    suppressions = [_suppression_row(told.alert_id, quiet) for told, quiet in work.suppressed]
    suppressions += [_suppression_row(alert_id, quiet) for alert_id, quiet in scene.inhibited]
    suppressions = [*{(row["alert_id"], row["kind"], row["by"]): row for row in suppressions}.values()]
    for sql, rows in (
        (PLACE_ALERTS_SQL, alerts),
        (PLACE_OCCURRENCES_SQL, occurrences),
        (WRITE_GROUPS_SQL, groups),
        (WRITE_KEYS_SQL, keys),
    ):
        if rows:
            await tx.execute(text(sql), {"rows": as_rows(rows)})
    if suppressions:
        await tx.execute(text(WRITE_SUPPRESSIONS_SQL), {"rows": as_rows(suppressions), "now": tx.now})
    actor = _actor("alerts")
    for incident_id, severity in work.severities.items():
        await incidents.update(tx, incident_id, IncidentChanges(severity=severity), actor=actor)
    await _move_starts(tx, scene, work)
    for (incident_id, service_id), since in work.hurt.items():
        await set_service_impact(
            tx, incident_id, service_id, ImpactLevel.SECONDARY, source=IncidentSource.ALERT, since=since, actor=actor
        )
    for incident_id in sorted(joined):
        await request_after_change(tx, incident_id)


async def _move_starts(tx: Transaction, scene: Scene, work: _Work) -> None:
    """Let incidents have started with the earliest of their alerts. That is no news for a timeline."""
    if not work.starts:
        return
    rows = [{"incident_id": incident_id, "started_at": start} for incident_id, start in work.starts.items()]
    for row in await tx.execute(text(MOVE_STARTS_SQL), {"rows": as_rows(rows), "now": tx.now}):
        change = Change("started_at", row.before, row.started_at)
        happening = Happening(EventType.INCIDENT_UPDATED, row.id, scene.scope(row.id), (change,))
        work.happenings.append(happening)


async def _incidents_of(tx: Transaction, changes: Sequence[AlertChange]) -> dict[tuple[UUID, datetime], UUID]:
    """The incidents that occurrences belong to already."""
    pairs = {_place_of(change) for change in changes}
    if not pairs:
        return {}
    values = {"alert_ids": [id for id, _ in pairs], "starts": [start for _, start in pairs]}
    rows = await tx.execute(text(OCCURRENCE_INCIDENTS_SQL), values)
    return {(row.alert_id, row.starts_at): row.incident_id for row in rows if row.incident_id is not None}


def _tell_firings(
    scene: Scene, work: _Work, fired: Sequence[Told], where: Mapping[tuple[UUID, datetime], UUID]
) -> None:
    for told in fired:
        change = Change("status", AlertStatus.RESOLVED if told.is_known else None, AlertStatus.FIRING)
        scope = _scope(scene, told.alert_id, where.get((told.alert_id, told.starts_at)), told.severity)
        work.happenings.append(Happening(EventType.ALERT_FIRED, told.alert_id, scope, (change,)))
    _tell_joined(scene, work, where)


def _tell_joined(scene: Scene, work: _Work, where: Mapping[tuple[UUID, datetime], UUID]) -> None:
    for (incident_id, name, service_id, because, is_synthesised), alerts in work.joined.items():
        entry = narration.alerts_fired(
            [name] * len(alerts),
            max((told.severity for told in alerts), key=_SEVERITIES.index),
            service=_named(scene, service_id),
            because=because,
            at=min(told.starts_at for told in alerts),
            alert_ids=[told.alert_id for told in alerts],
            is_synthesised=is_synthesised,
        )
        work.entries.append((scene.scope(incident_id), entry))


def _tell_ends(
    tx: Transaction,
    scene: Scene,
    work: _Work,
    ends: Sequence[AlertChange],
    where: Mapping[tuple[UUID, datetime], UUID],
) -> None:
    told: dict[tuple[UUID, str, UUID | None, bool], list[AlertChange]] = defaultdict(list)
    for change in ends:
        incident_id = where.get(_place_of(change))
        scope = _scope(scene, change.alert_id, incident_id, change.state.severity)
        changed = Change("status", AlertStatus.FIRING, AlertStatus.RESOLVED)
        work.happenings.append(Happening(EventType.ALERT_RESOLVED, change.alert_id, scope, (changed,)))
        if incident_id is not None:
            service_id = scene.service_ids.get(change.alert_id)
            told[incident_id, change.state.name, service_id, change.is_synthesised].append(change)
    for (incident_id, name, service_id, is_synthesised), changes in told.items():
        entry = narration.alerts_resolved(
            [name] * len(changes),
            service=_named(scene, service_id),
            at=min(tx.now, max(change.occurrence.ends_at or tx.now for change in changes)),
            alert_ids=[change.alert_id for change in changes],
            is_synthesised=is_synthesised,
        )
        work.entries.append((scene.scope(incident_id), entry))


async def _watch_flapping(
    tx: Transaction, scene: Scene, fired: Sequence[Told], rules: GroupingRules, actor: Actor
) -> None:
    """Say once that an alert flaps, which keeps its incident open for longer."""
    again = [told.alert_id for told in fired if told.firings >= rules.flapping_firings]
    if not again:
        return
    values = {"ids": again, "after": tx.now - rules.flapping_window, "firings": rules.flapping_firings}
    minutes = round(rules.flapping_window.total_seconds() / 60)
    found = {row.incident_id: row for row in await tx.execute(text(FLAPPING_SQL), values)}
    if not found:
        return
    flapping = update(alert_groups).where(alert_groups.c.incident_id.in_(found))
    await tx.execute(flapping.values(flapping_since=tx.now))
    entries = [
        (scene.scope(incident_id), narration.alert_flaps(row.name, row.firings, minutes))
        for incident_id, row in found.items()
    ]
    await record_all(tx, actor=actor, happenings=(), entries=entries)


async def _act_on_words(
    tx: Transaction, changes: Sequence[AlertChange], where: Mapping[tuple[UUID, datetime], UUID]
) -> None:
    """Acknowledge and resolve the incidents of which a source says so."""
    acknowledged = {where[_place_of(it)]: it for it in changes if it.alert.is_acknowledged and _place_of(it) in where}
    for incident_id, change in acknowledged.items():
        row = await tx.get(incidents_table, incident_id)
        if row is not None and row["status"] is IncidentStatus.OPEN:
            await incidents.acknowledge(tx, incident_id, actor=_actor(change.source))
    ended = {where[_place_of(it)]: it for it in changes if it.alert.ends_incident and _place_of(it) in where}
    for incident_id, change in ended.items():
        row = await tx.get(incidents_table, incident_id)
        if row is None or row["status"] is IncidentStatus.RESOLVED or await _fires(tx, incident_id):
            continue
        await incidents.resolve(
            tx, incident_id, resolution=f"{change.source} said that it is over.", actor=_actor(change.source)
        )


async def _fires(tx: Transaction, incident_id: UUID) -> bool:
    sql = "select exists (select 1 from alerts where incident_id = :id and status = 'FIRING')"
    return bool((await tx.execute(text(sql), {"id": incident_id})).scalar_one())


def as_rows(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as the JSON that `jsonb_to_recordset` reads."""
    return orjson.dumps([*rows], default=str).decode()  # The driver has a UUID of its own.


def _scope(scene: Scene, alert_id: UUID, incident_id: UUID | None, severity: Severity) -> Scope:
    service_id = scene.service_ids.get(alert_id)
    return Scope(incident_id, () if service_id is None else (service_id,), severity)


def _named(scene: Scene, service_id: UUID | None) -> str | None:
    return None if service_id is None else scene.dependencies.names.get(service_id)


def _place_of(change: AlertChange) -> tuple[UUID, datetime]:
    return change.alert_id, change.occurrence.starts_at


def _suppression(quiet: Quiet) -> str:
    until = f" until {quiet.ends_at:%Y-%m-%d %H:%M} UTC" if quiet.ends_at else ""
    return f"Nobody is told, because of {quiet.kind.lower()} {quiet.by}{until}: {quiet.reason}"


def _suppression_row(alert_id: UUID, quiet: Quiet) -> dict[str, Any]:
    return {
        "id": new_id(),
        "alert_id": alert_id,
        "kind": quiet.kind,
        "by": quiet.by,
        "reason": quiet.reason,
        "starts_at": quiet.starts_at,
        "ends_at": quiet.ends_at,
    }


def _actor(source: str) -> Actor:
    return Actor(id=None, name=source, role=Role.RESPONDER)
