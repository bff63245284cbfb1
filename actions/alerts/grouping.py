"""Folding alerts into incidents: what they do to incidents, the services that those hurt, and their timelines."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from actions import incidents
from actions.alerts.placement import Placement, acting, place
from actions.alerts.scenes import Place, Told, load_scene, places_of, told_by
from actions.alerts.timelines import Story, tell_ends, tell_firings, tell_joined, watch_flapping
from actions.analyses import request_after_change
from actions.impacts import hurt_by_alerts
from actions.incidents import IncidentChanges
from actions.recording import Happening
from db.alert_grouping import (
    MERGE_SQL,
    MOVE_HURT_SQL,
    MOVE_STARTS_SQL,
    OCCURRENCE_INCIDENTS_SQL,
    PLACE_ALERTS_SQL,
    PLACE_OCCURRENCES_SQL,
    WRITE_GROUPS_SQL,
    WRITE_KEYS_SQL,
    WRITE_SUPPRESSIONS_SQL,
)
from db.alert_suppressions import END_OF_OVER_SQL, END_OF_PLACED_SQL
from db.database import Transaction
from db.identifiers import new_id
from db.incidents import incidents as incidents_table
from db.recordsets import as_rows
from domain.alert_history import AlertChange
from domain.changes import Change
from domain.feed import EventType
from domain.grouping import GroupingRules
from domain.incidents import MERGED_INTO, IncidentSource, IncidentStatus
from domain.suppressions import Quiet


async def group(
    tx: Transaction, changes: Sequence[AlertChange], places: Mapping[UUID, Place], rules: GroupingRules
) -> Placement:
    """Let what deliveries changed about alerts lead to incidents, in the transaction of the change.

    Returns where the alerts belong, for whoever writes them down. `tell` comes after that.
    """
    labels = {change.alert_id: change.state.labels for change in changes}
    placement = await place(tx, await load_scene(tx, told_by(changes), labels, places), rules)
    known = await _incidents_of(tx, [it for it in changes if _place_of(it) not in placement.occurrences])
    await _merge(tx, placement)
    placement.occurrences |= {place: id for place, it in known.items() if (id := placement.at_last(it)) is not None}
    return placement


async def tell(
    tx: Transaction, placement: Placement, changes: Sequence[AlertChange], rules: GroupingRules
) -> dict[tuple[UUID, int], str]:
    """Write what the alerts of deliveries, which are written down now, mean for their incidents.

    Returns why alerts were suppressed, by where they were told.
    """
    fired = [told for told, _ in placement.scene.firings]
    actor = acting(changes[0].source if len({change.source for change in changes}) == 1 else "alerts")
    story = Story()
    await _write(tx, placement, story)
    tell_firings(story, placement, fired)
    tell_joined(story, placement)
    ends = [it for it in changes if it.occurrence.has_fired and it.occurrence.is_over and (it.is_over or it.has_fired)]
    tell_ends(tx, story, placement, ends)
    if over := [*{it.alert_id for it in changes if it.is_over}]:
        await tx.execute(text(END_OF_OVER_SQL), {"alert_ids": over})
    await story.write(tx, actor)
    await watch_flapping(tx, placement, fired, rules, actor)
    await _act_on_words(tx, changes, placement.occurrences)
    return {told.told_at: _suppression(quiet) for told, quiet in placement.suppressed if told.told_at is not None}


async def group_loose(tx: Transaction, loose: Sequence[Told], rules: GroupingRules) -> int:
    """Give alerts that fire and belong nowhere a place, unless they are still suppressed; return how many have one."""
    alert_ids = [told.alert_id for told in loose]
    places = await places_of(tx, alert_ids)
    scene = await load_scene(tx, loose, {told.alert_id: told.labels for told in loose}, places)
    placement = await place(tx, scene, rules)
    await _merge(tx, placement)
    story = Story()
    alerts = [{"alert_id": id, **_where(placement.of(id))} for id in alert_ids]
    occurrences = [
        {"alert_id": alert_id, "starts_at": starts_at, "incident_id": incident_id}
        for (alert_id, starts_at), incident_id in placement.occurrences.items()
    ]
    await tx.execute(text(PLACE_ALERTS_SQL), {"rows": as_rows(alerts)})
    await tx.execute(text(PLACE_OCCURRENCES_SQL), {"rows": as_rows(occurrences)})
    await _write(tx, placement, story)
    if placed := [told.alert_id for told, _ in placement.placed]:
        await tx.execute(text(END_OF_PLACED_SQL), {"alert_ids": placed, "now": tx.now})
    tell_joined(story, placement)
    await story.write(tx, acting("alerts"))
    return len(placement.placed)


async def _merge(tx: Transaction, placement: Placement) -> None:
    for it in placement.siblings:
        if it.is_merged:
            await tx.execute(text(MERGE_SQL), {"merged": it.incident.id, "into": it.into.id})


async def _write(tx: Transaction, placement: Placement, story: Story) -> None:
    joined = placement.incidents()
    groups = [{"incident_id": it.id, "last_fired_at": it.last_fired_at} for it in joined]
    keys = [{"incident_id": it.id, "key": key} for it in joined for key in it.keys]
    for sql, rows in ((WRITE_GROUPS_SQL, groups), (WRITE_KEYS_SQL, keys)):
        if rows:
            await tx.execute(text(sql), {"rows": as_rows(rows)})
    suppressions = [_suppression_row(told.alert_id, quiet) for told, quiet in placement.suppressed]
    suppressions += [_suppression_row(alert_id, quiet) for alert_id, quiet in placement.inhibited]
    suppressions = [*{(row["alert_id"], row["kind"], row["by"]): row for row in suppressions}.values()]
    if suppressions:
        await tx.execute(text(WRITE_SUPPRESSIONS_SQL), {"rows": as_rows(suppressions), "now": tx.now})
    actor = acting("alerts")
    for incident_id, severity in placement.severities.items():
        await incidents.update(tx, incident_id, IncidentChanges(severity=severity), actor=actor)
    await _move_starts(tx, placement, story)
    await hurt_by_alerts(tx, placement.hurt, source=IncidentSource.ALERT, actor=actor)
    for it in placement.siblings:
        if it.is_merged:
            resolution = f"{MERGED_INTO} {it.into.name}, because {it.because}."
            await incidents.resolve(tx, it.incident.id, resolution=resolution, actor=actor)
    await request_after_change(tx, *(it.id for it in joined))


async def _move_starts(tx: Transaction, placement: Placement, story: Story) -> None:
    """Let incidents have started with the earliest of their alerts. That is no news for a timeline."""
    if placement.starts:
        rows = [{"incident_id": id, "started_at": start} for id, start in placement.starts.items()]
        for row in await tx.execute(text(MOVE_STARTS_SQL), {"rows": as_rows(rows), "now": tx.now}):
            change = Change("started_at", row.before, row.started_at)
            scope = placement.scene.scope(row.id)
            story.happenings.append(Happening(EventType.INCIDENT_UPDATED, row.id, scope, (change,)))
    if placement.hurt_earlier:
        earlier = [
            {"incident_id": incident_id, "service_id": service_id, "since": since}
            for (incident_id, service_id), since in placement.hurt_earlier.items()
        ]
        await tx.execute(text(MOVE_HURT_SQL), {"rows": as_rows(earlier)})


async def _incidents_of(tx: Transaction, changes: Sequence[AlertChange]) -> dict[tuple[UUID, datetime], UUID]:
    """The incidents that occurrences belong to already."""
    pairs = {_place_of(change) for change in changes}
    if not pairs:
        return {}
    values = {"alert_ids": [id for id, _ in pairs], "starts": [start for _, start in pairs]}
    rows = await tx.execute(text(OCCURRENCE_INCIDENTS_SQL), values)
    return {(row.alert_id, row.starts_at): row.incident_id for row in rows if row.incident_id is not None}


async def _act_on_words(
    tx: Transaction, changes: Sequence[AlertChange], where: Mapping[tuple[UUID, datetime], UUID]
) -> None:
    """Acknowledge and resolve the incidents of which a source says so."""
    acknowledged = {where[_place_of(it)]: it for it in changes if it.alert.is_acknowledged and _place_of(it) in where}
    for incident_id, change in acknowledged.items():
        row = await tx.get(incidents_table, incident_id)
        if row is not None and row["status"] is IncidentStatus.OPEN:
            await incidents.acknowledge(tx, incident_id, actor=acting(change.source))
    ended = {where[_place_of(it)]: it for it in changes if it.alert.ends_incident and _place_of(it) in where}
    for incident_id, change in ended.items():
        row = await tx.get(incidents_table, incident_id)
        if row is None or row["status"] is IncidentStatus.RESOLVED or await _fires(tx, incident_id):
            continue
        await incidents.resolve(
            tx, incident_id, resolution=f"{change.source} said that it is over.", actor=acting(change.source)
        )


async def _fires(tx: Transaction, incident_id: UUID) -> bool:
    sql = "select exists (select 1 from alerts where incident_id = :id and status = 'FIRING')"
    return bool((await tx.execute(text(sql), {"id": incident_id})).scalar_one())


def _place_of(change: AlertChange) -> tuple[UUID, datetime]:
    return change.alert_id, change.occurrence.starts_at


def _where(place: Place) -> dict[str, Any]:
    return {"service_id": place.service_id, "incident_id": place.incident_id}


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
