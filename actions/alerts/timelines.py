"""What timelines and listeners are told of alerts and of the incidents that they lead to."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from sqlalchemy import text, update

from actions.alerts.placement import SEVERITIES, Placement
from actions.alerts.scenes import Told
from actions.recording import Happening, Scope, record_all
from db.alert_grouping import FLAPPING_SQL
from db.alerts import alert_groups
from db.arrays import among
from db.database import Transaction
from domain import narration
from domain.access import Actor
from domain.alert_history import AlertChange
from domain.alerts import AlertStatus
from domain.changes import Change
from domain.feed import EventType
from domain.grouping import GroupingRules
from domain.incidents import Severity
from domain.timeline import Entry

_FIRST: Final = (Change("status", None, AlertStatus.FIRING),)
_AGAIN: Final = (Change("status", AlertStatus.RESOLVED, AlertStatus.FIRING),)
_OVER: Final = (Change("status", AlertStatus.FIRING, AlertStatus.RESOLVED),)


@dataclass(slots=True)
class Story:
    """Events and entries of timelines, collected before they are written in bulk."""

    happenings: list[Happening] = field(default_factory=list)
    entries: list[tuple[Scope, Entry]] = field(default_factory=list)

    async def write(self, tx: Transaction, actor: Actor) -> None:
        """Write all of it down."""
        await record_all(tx, actor=actor, happenings=self.happenings, entries=self.entries)


def tell_firings(story: Story, placement: Placement, fired: Sequence[Told]) -> None:
    """An event for each firing."""
    for told in fired:
        incident_id = placement.occurrences.get((told.alert_id, told.starts_at))
        scope = _scope(placement, told.alert_id, incident_id, told.severity)
        changes = _AGAIN if told.is_known else _FIRST
        story.happenings.append(Happening(EventType.ALERT_FIRED, told.alert_id, scope, changes))


def tell_joined(story: Story, placement: Placement) -> None:
    """An entry for all alerts that joined an incident for the same reason, and one for incidents that are one."""
    scene = placement.scene
    for joined, alerts in placement.joined.items():
        entry = narration.alerts_fired(
            joined.name,
            max((told.severity for told in alerts), key=SEVERITIES.index),
            service=_named(placement, joined.service_id),
            because=joined.because,
            at=min(told.starts_at for told in alerts),
            alert_ids=[told.alert_id for told in alerts],
            is_synthesised=joined.is_synthesised,
        )
        story.entries.append((scene.scope(joined.incident_id), entry))
    for it in placement.siblings:
        here = narration.siblings_found(it.incident.name, it.because, it.incident.id, is_merged=it.is_merged)
        story.entries.append((scene.scope(it.into.id), here))
        if not it.is_merged:
            there = narration.siblings_found(it.into.name, it.because, it.into.id, is_merged=False)
            story.entries.append((scene.scope(it.incident.id), there))


def tell_ends(tx: Transaction, story: Story, placement: Placement, ends: Sequence[AlertChange]) -> None:
    """An event for each end, and an entry for all that ended in an incident."""
    told: dict[tuple[UUID, str, UUID | None, bool], list[AlertChange]] = defaultdict(list)
    for change in ends:
        incident_id = placement.occurrences.get((change.alert_id, change.occurrence.starts_at))
        scope = _scope(placement, change.alert_id, incident_id, change.state.severity)
        story.happenings.append(Happening(EventType.ALERT_RESOLVED, change.alert_id, scope, _OVER))
        if incident_id is not None:
            service_id = placement.scene.service_ids.get(change.alert_id)
            told[incident_id, change.state.name, service_id, change.is_synthesised].append(change)
    for (incident_id, name, service_id, is_synthesised), changes in told.items():
        entry = narration.alerts_resolved(
            name,
            service=_named(placement, service_id),
            at=min(tx.now, max(change.occurrence.ends_at or tx.now for change in changes)),
            alert_ids=[change.alert_id for change in changes],
            is_synthesised=is_synthesised,
        )
        story.entries.append((placement.scene.scope(incident_id), entry))


async def watch_flapping(
    tx: Transaction, placement: Placement, fired: Sequence[Told], rules: GroupingRules, actor: Actor
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
    flapping = update(alert_groups).where(among(alert_groups.c.incident_id, found))
    await tx.execute(flapping.values(flapping_since=tx.now))
    entries = [
        (placement.scene.scope(incident_id), narration.alert_flaps(row.name, row.firings, minutes))
        for incident_id, row in found.items()
    ]
    await record_all(tx, actor=actor, happenings=(), entries=entries)


def _scope(placement: Placement, alert_id: UUID, incident_id: UUID | None, severity: Severity) -> Scope:
    service_id = placement.scene.service_ids.get(alert_id)
    return Scope(incident_id, () if service_id is None else (service_id,), severity)


def _named(placement: Placement, service_id: UUID | None) -> str | None:
    return None if service_id is None else placement.scene.dependencies.names.get(service_id)
