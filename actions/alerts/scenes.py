"""What is known around a batch of alerts before they are folded into incidents: read once for all of them."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text

from actions.discovery import ServiceReference, find_or_discover
from actions.recording import Scope
from actions.service_status import lock_services
from db.alert_grouping import (
    CATALOG_SQL,
    EDGES_SQL,
    HURT_SQL,
    INCIDENTS_SQL,
    KEYS_SQL,
    PLACES_SQL,
    QUIETS_SQL,
    SERVICES_SQL,
)
from db.database import Transaction
from domain.access import Actor, Role
from domain.alert_history import AlertChange
from domain.errors import ValidationFailed
from domain.grouping import (
    HINTING_LABELS,
    SERVICE_LABELS,
    Dependencies,
    Firing,
    KnownService,
    OpenIncident,
    ServiceIndex,
)
from domain.incidents import ImpactLevel, IncidentSource, IncidentStatus, Severity
from domain.services import ServiceStatus, service_name
from domain.suppressions import LabelMatcher, Quiet, SuppressionKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A firing that was not known before. `is_firing`: it goes on; `is_newest`: nothing later is known of its alert."""

    alert_id: UUID
    source: str
    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    severity: Severity
    starts_at: datetime
    group_key: str | None
    is_firing: bool = True
    is_newest: bool = True
    is_known: bool = True
    is_synthesised: bool = False
    firings: int = 1
    told_at: tuple[UUID, int] | None = None


def told_by(changes: Sequence[AlertChange]) -> list[Told]:
    """The firings among what deliveries changed, as they are after all of it."""
    last = {(change.alert_id, change.occurrence.starts_at): change for change in changes}
    newest = {change.alert_id: change.state for change in changes}
    return [
        Told(
            alert_id=change.alert_id,
            source=change.source,
            name=change.state.name,
            labels=change.alert.labels,
            annotations=change.alert.annotations,
            severity=change.alert.severity,
            starts_at=change.occurrence.starts_at,
            group_key=change.alert.group_key,
            is_firing=not last[change.alert_id, change.occurrence.starts_at].occurrence.is_over,
            is_newest=newest[change.alert_id].newest.starts_at == change.occurrence.starts_at,
            is_known=not change.is_new,
            is_synthesised=change.is_synthesised,
            firings=change.state.occurrences,
            told_at=change.told_at,
        )
        for change in changes
        if change.has_fired
    ]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an alert belongs: the service and the incident, and what people said about that."""

    service_id: UUID | None = None
    incident_id: UUID | None = None
    is_pinned: bool = False
    apart_from: Sequence[UUID] = ()


NOWHERE: Final = Place()


@dataclass(slots=True)
class Scene:
    """Services, dependencies, active incidents and what suppresses alerts; kept up while alerts join incidents."""

    service_ids: dict[UUID, UUID | None]
    dependencies: Dependencies
    quiets: Sequence[Quiet]
    places: Mapping[UUID, Place]
    firings: list[tuple[Told, Firing]] = field(default_factory=list)
    incidents: dict[UUID, OpenIncident] = field(default_factory=dict)
    inhibited: list[tuple[UUID, Quiet]] = field(default_factory=list)
    _by_key: dict[str, list[OpenIncident]] = field(default_factory=lambda: defaultdict(list))
    _by_service: dict[UUID, list[OpenIncident]] = field(default_factory=lambda: defaultdict(list))

    def own(self, firing: Firing) -> list[OpenIncident]:
        """The incidents that a firing is part of, that are about the same, or that hurt its service."""
        found = [*self._by_key.get(firing.key, ())]
        if firing.incident_id in self.incidents:
            found.append(self.incidents[firing.incident_id])
        return found if firing.service_id is None else [*found, *self._by_service.get(firing.service_id, ())]

    def near(self, firing: Firing) -> list[OpenIncident]:
        """The incidents that hurt a service beside that of a firing, or itself."""
        id = firing.service_id
        if id is None:
            return []
        around = {id} | self.dependencies.needs(id) | self.dependencies.needed_by(id)
        found = {it.id: it for service_id in around for it in self._by_service.get(service_id, ())}
        return [*found.values()]

    def look_at(self, told: Sequence[Told]) -> None:
        """Look for the incidents of these firings, the earliest first."""
        self.firings = [(it, self._firing(it)) for it in sorted(told, key=lambda it: (it.starts_at, it.alert_id))]

    def add(self, incident: OpenIncident) -> None:
        """Know one more incident."""
        self.incidents[incident.id] = incident
        for key in incident.keys:
            self._by_key[key].append(incident)
        for service_id in incident.hurt:
            self._by_service[service_id].append(incident)

    def key(self, incident: OpenIncident, key: str) -> None:
        """An incident is about this too."""
        if key not in incident.keys:
            incident.keys.add(key)
            self._by_key[key].append(incident)

    def hurt(self, incident: OpenIncident, service_id: UUID, since: datetime) -> None:
        """An incident hurts this service too."""
        incident.hurt[service_id] = since
        self._by_service[service_id].append(incident)

    def merge(self, merged: OpenIncident, into: OpenIncident) -> None:
        """What one incident was about, another is about from now on."""
        for key in merged.keys:
            self.key(into, key)
        for service_id, since in merged.hurt.items():
            self._by_service[service_id].remove(merged)
            if service_id not in into.hurt:
                self.hurt(into, service_id, since)
        for key in merged.keys:
            self._by_key[key].remove(merged)

    def scope(self, incident_id: UUID) -> Scope:
        """The scope of what happens to an incident."""
        incident = self.incidents.get(incident_id)
        if incident is None:
            return Scope(incident_id)
        ordered = sorted(incident.hurt, key=lambda id: (id not in incident.primary, id))
        return Scope(incident_id, tuple(ordered), incident.severity)

    def _firing(self, told: Told) -> Firing:
        place = self.places[told.alert_id]
        return Firing(
            alert_id=told.alert_id,
            source=told.source,
            name=told.name,
            severity=told.severity,
            starts_at=told.starts_at,
            service_id=self.service_ids.get(told.alert_id),
            group_key=told.group_key,
            incident_id=place.incident_id,
            is_pinned=place.is_pinned,
            apart_from=frozenset(place.apart_from),
        )


async def places_of(tx: Transaction, alert_ids: Collection[UUID]) -> dict[UUID, Place]:
    """Where alerts belong."""
    rows = await tx.execute(text(PLACES_SQL), {"ids": [*alert_ids]})
    return {row.id: Place(row.service_id, row.incident_id, row.is_pinned, row.apart_from) for row in rows}


async def load_scene(
    tx: Transaction,
    told: Sequence[Told],
    labels: Mapping[UUID, Mapping[str, str]],
    places: Mapping[UUID, Place],
) -> Scene:
    """Everything that decides where these firings belong. `labels` and `places` are those of all alerts that something
    is told of, by id; services that they name for the first time are added to the catalog.
    """
    service_ids: dict[UUID, UUID | None] = {id: place.service_id for id, place in places.items()}
    service_ids |= await _services_of(tx, labels)
    ids = {id for id in service_ids.values() if id is not None}
    rows = (await tx.execute(text(EDGES_SQL), {"ids": [*ids]})).all()
    edges = [(row.service_id, row.depends_on_id) for row in rows]
    around = ids.union(*((row.service_id, row.depends_on_id) for row in rows if row.is_near))
    services = [*(await tx.execute(text(SERVICES_SQL), {"ids": [*around]}))]
    dependencies = Dependencies(
        edges,
        {row.id: row.name for row in services},
        [row.id for row in services if row.status == ServiceStatus.DOWN],
    )
    scene = Scene(service_ids, dependencies, await _quiets(tx) if told else (), places)
    scene.look_at(told)
    keys = {firing.key for _, firing in scene.firings}
    wanted = {place.incident_id for place in places.values() if place.incident_id is not None}
    found = await _incidents(tx, wanted, keys, around)
    for incident in found:
        scene.add(incident)
    # Incidents first, then services, each in the order of their ids, as everybody who changes both: nobody waits for
    # somebody who waits for them.
    await lock_services(tx, ids.union(*(incident.hurt for incident in found)))
    return scene


async def _services_of(tx: Transaction, labels: Mapping[UUID, Mapping[str, str]]) -> dict[UUID, UUID | None]:
    telling = (*SERVICE_LABELS, *HINTING_LABELS)
    names = {it[label].strip().lower() for it in labels.values() for label in telling if label in it}
    index = ServiceIndex(
        KnownService(row.id, row.name, tuple(it for it in (row.prometheus, row.loki) if it))
        for row in await tx.execute(text(CATALOG_SQL), {"names": [*names]})
    )
    found = {alert_id: index.find(it) for alert_id, it in labels.items()}
    new = {name for known, name in found.values() if known is None and name is not None and _is_name(name)}
    if new:
        wanted = [ServiceReference(name, ("labels",)) for name in sorted(new)]
        actor = Actor(id=None, name="alerts", role=Role.RESPONDER)
        for row in await find_or_discover(tx, wanted, actor=actor):
            index.add(KnownService(row["id"], row["name"]))
        found = {alert_id: index.find(it) for alert_id, it in labels.items()}
    return {alert_id: None if known is None else known.id for alert_id, (known, _) in found.items()}


def _is_name(value: str) -> bool:
    try:
        return service_name(value) == value
    except ValidationFailed:
        return False


async def _quiets(tx: Transaction) -> list[Quiet]:
    return [
        Quiet(
            kind=SuppressionKind(row.kind),
            by=row.by,
            reason=row.reason,
            starts_at=row.starts_at,
            ends_at=row.ends_at,
            service_id=row.service_id,
            matchers=tuple(map(LabelMatcher.from_json, row.matchers)),
        )
        for row in await tx.execute(text(QUIETS_SQL), {"now": tx.now})
    ]


async def _incidents(tx: Transaction, ids: set[UUID], keys: set[str], service_ids: set[UUID]) -> list[OpenIncident]:
    values = {"ids": [*ids], "keys": [*keys], "service_ids": [*service_ids]}
    found = {
        row.id: OpenIncident(
            id=row.id,
            number=row.number,
            title=row.title,
            status=IncidentStatus(row.status),
            source=IncidentSource(row.source),
            severity=Severity(row.severity),
            started_at=row.started_at,
            firing=int(row.fires),
            last_fired_at=row.last_fired_at,
        )
        for row in await tx.execute(text(INCIDENTS_SQL), values)
    }
    if found:
        for row in await tx.execute(text(HURT_SQL), {"ids": [*found]}):
            found[row.incident_id].hurt[row.service_id] = row.since
            if row.level == ImpactLevel.PRIMARY:
                found[row.incident_id].primary.add(row.service_id)
        for row in await tx.execute(text(KEYS_SQL), {"ids": [*found]}):
            found[row.incident_id].keys.add(row.key)
    return [*found.values()]
