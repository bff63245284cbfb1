"""Finding alerts their incidents: which they join, which are opened for them, and which turn out to be one."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from actions import incidents
from actions.alerts.scenes import NOWHERE, Place, Scene, Told
from actions.incidents import AffectedService, NewIncident
from db.alert_grouping import UNTOUCHED_SQL
from db.database import Transaction
from db.incidents import incidents as incidents_table
from domain.access import Actor, Role
from domain.grouping import Firing, GroupingRules, Joining, OpenIncident, choose, title_of
from domain.incidents import IncidentSource, IncidentStatus, Severity
from domain.limits import TITLE_CHARACTERS
from domain.suppressions import Quiet, SuppressionKind, quieting
from domain.text import clipped

DETECTION_SOURCE: Final = "detection"
SEVERITIES: Final = tuple(Severity)
_ALERTS_AT_A_TIME: Final = 100
_BY_ALERTS: Final = (IncidentSource.ALERT, IncidentSource.DETECTION)


class Joined(NamedTuple):
    """What alerts have in common that a timeline tells of at once."""

    incident_id: UUID
    name: str
    service_id: UUID | None
    because: str
    is_synthesised: bool


@dataclass(frozen=True, slots=True)
class Sibling:
    """An incident that is the same trouble as another, and why. One that people work on is not merged."""

    incident: OpenIncident
    into: OpenIncident
    because: str
    is_merged: bool


@dataclass(slots=True)
class Placement:
    """Where the alerts of a batch belong, and what that means for incidents, before it is written in bulk."""

    scene: Scene
    placed: list[tuple[Told, UUID]] = field(default_factory=list)
    suppressed: list[tuple[Told, Quiet]] = field(default_factory=list)
    inhibited: list[tuple[UUID, Quiet]] = field(default_factory=list)
    joined: dict[Joined, list[Told]] = field(default_factory=lambda: defaultdict(list))
    severities: dict[UUID, Severity] = field(default_factory=dict)
    starts: dict[UUID, datetime] = field(default_factory=dict)
    hurt: dict[tuple[UUID, UUID], datetime] = field(default_factory=dict)
    hurt_earlier: dict[tuple[UUID, UUID], datetime] = field(default_factory=dict)
    siblings: list[Sibling] = field(default_factory=list)
    occurrences: dict[tuple[UUID, datetime], UUID] = field(default_factory=dict)
    """The incidents of the occurrences that were placed."""
    _places: dict[UUID, UUID | None] = field(default_factory=dict)
    _merged: dict[UUID, OpenIncident] = field(default_factory=dict)

    def of(self, alert_id: UUID) -> Place:
        """Where an alert belongs now."""
        before = self.scene.places.get(alert_id, NOWHERE)
        incident_id = self.at_last(self._places.get(alert_id, before.incident_id))
        service_id = self.scene.service_ids.get(alert_id) or before.service_id
        return Place(service_id, incident_id, before.is_pinned, before.apart_from)

    def at_last(self, incident_id: UUID | None) -> UUID | None:
        """The incident that another was merged into, or itself."""
        while incident_id in self._merged:
            incident_id = self._merged[incident_id].id
        return incident_id

    def incidents(self) -> list[OpenIncident]:
        """Those that alerts have joined, without those that were merged into others."""
        ids = {self.at_last(id) for _, id in self.placed}
        return [self.scene.incidents[id] for id in sorted(id for id in ids if id is not None)]

    def put(self, told: Told, incident: OpenIncident) -> None:
        """A firing belongs to an incident."""
        self.placed.append((told, incident.id))
        self.occurrences[told.alert_id, told.starts_at] = incident.id
        if told.is_newest:
            self._places[told.alert_id] = incident.id

    def suppress(self, told: Told, quiet: Quiet) -> None:
        """A firing belongs nowhere for now."""
        self.suppressed.append((told, quiet))
        if told.is_newest:
            self._places[told.alert_id] = None

    def hurt_service(self, incident: OpenIncident, service_id: UUID, since: datetime) -> None:
        """An incident hurts a service, not later than since then."""
        if service_id not in incident.hurt:
            self.scene.hurt(incident, service_id, since)
            self.hurt[incident.id, service_id] = since
        elif since < incident.hurt[service_id] and incident.source in _BY_ALERTS:
            incident.hurt[service_id] = self.hurt_earlier[incident.id, service_id] = since

    def raise_severity(self, incident: OpenIncident, severity: Severity) -> None:
        """An incident is as severe as this at least."""
        if SEVERITIES.index(severity) > SEVERITIES.index(incident.severity):
            incident.severity = self.severities[incident.id] = severity

    def move_start(self, incident: OpenIncident, start: datetime) -> None:
        """An incident that alerts opened has not begun later than they have."""
        if start < incident.started_at and incident.source in _BY_ALERTS:
            incident.started_at = self.starts[incident.id] = start

    def merge(self, merged: OpenIncident, into: OpenIncident) -> None:
        """All that belongs to one incident belongs to another from now on."""
        self._merged[merged.id] = into
        self.hurt |= {(into.id, id): since for id, since in merged.hurt.items() if id not in into.hurt}
        self.scene.merge(merged, into)
        into.firing += merged.firing
        into.last_fired_at = max(filter(None, (into.last_fired_at, merged.last_fired_at)), default=None)
        self.raise_severity(into, merged.severity)
        self.move_start(into, merged.started_at)
        for place, incident_id in self.occurrences.items():
            if incident_id == merged.id:
                self.occurrences[place] = into.id


async def place(tx: Transaction, scene: Scene, rules: GroupingRules) -> Placement:
    """Find each firing of a scene its incident. Incidents are opened and reopened as it goes."""
    placement = Placement(scene)
    for count, (told, firing) in enumerate(scene.firings):
        if count % _ALERTS_AT_A_TIME == 0:
            await asyncio.sleep(0)  # Whoever else waits for this thread has a turn.
        quiet = None if firing.is_pinned else quieting(scene.quiets, firing.service_id, told.labels)
        if quiet is not None:
            placement.suppress(told, quiet)
            continue
        joining = choose(firing, scene.own(firing), partial(scene.near, firing), scene.dependencies, rules)
        if joining is None:
            opened = await _open(tx, scene, told, firing)
            joining = Joining(opened, "no active incident is about this, so that it was opened")
        await _join(tx, placement, told, firing, joining)
        if joining.siblings:
            await _unite(tx, placement, joining)
    return placement


def acting(source: str) -> Actor:
    """A source of alerts, as the one who does something."""
    return Actor(id=None, name=source, role=Role.RESPONDER)


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
    id = await incidents.create(tx, new, actor=acting(told.source))
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


async def _join(tx: Transaction, placement: Placement, told: Told, firing: Firing, joining: Joining) -> None:
    incident, because, scene = joining.incident, joining.because, placement.scene
    if incident.status is IncidentStatus.MITIGATED and told.is_firing:
        reason = f"{told.name} fires again"
        await incidents.reopen(tx, incident.id, reason=reason, actor=acting(told.source))
        incident.status = IncidentStatus.OPEN
    placement.put(told, incident)
    joined = Joined(incident.id, told.name, firing.service_id, because, told.is_synthesised)
    placement.joined[joined].append(told)
    incident.firing += told.is_firing
    incident.last_fired_at = max(incident.last_fired_at or told.starts_at, told.starts_at)
    scene.key(incident, firing.key)
    if firing.service_id is not None:
        placement.hurt_service(incident, firing.service_id, told.starts_at)
    placement.raise_severity(incident, told.severity)
    placement.move_start(incident, told.starts_at)
    if joining.cause_id is not None:
        cause = scene.dependencies.names.get(joining.cause_id, "a dependency")
        known = f"{cause} is the cause that people know of already"
        quiet = Quiet(
            kind=SuppressionKind.INHIBITION, by=incident.name, reason=known, starts_at=told.starts_at, ends_at=None
        )
        placement.inhibited.append((told.alert_id, quiet))


async def _unite(tx: Transaction, placement: Placement, joining: Joining) -> None:
    """Merge the incidents of what depends on the service that is hurt now, unless a person had a hand in them."""
    ids = [incident.id for incident, _ in joining.siblings]
    untouched = {*(await tx.execute(text(UNTOUCHED_SQL), {"ids": ids})).scalars()}
    for incident, because in joining.siblings:
        is_merged = incident.id in untouched
        placement.siblings.append(Sibling(incident, joining.incident, because, is_merged))
        if is_merged:
            placement.merge(incident, joining.incident)
