"""Which incident a firing alert belongs to, and why.

Alerts are folded by what they are about, close in time, along the dependencies of services; never because nothing is
known of them, and never against what a person said.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from domain.incidents import IncidentSource, IncidentStatus, Severity

SERVICE_LABELS: Final = ("service", "service_name")
"""Labels that name a service, which may be new to the catalog."""

HINTING_LABELS: Final = ("app", "app_kubernetes_io_name", "job", "component")
"""Labels that name a service where one of that name is known."""

_CAUSE, _SYMPTOM, _EXPLAINED = range(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupingRules:
    """How alerts are folded into incidents.

    `window` is how long after the last alert about the same thing an incident takes more, `dependency_window` how close
    a service and what it depends on must be hit, `hold` how long all alerts must be over before an incident counts as
    mitigated, and an alert flaps that fires `flapping_firings` times within `flapping_window`.
    """

    window: timedelta = timedelta(minutes=30)
    dependency_window: timedelta = timedelta(minutes=5)
    hold: timedelta = timedelta(seconds=120)
    flapping_firings: int = 3
    flapping_window: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class KnownService:
    """A service of the catalog, and the label matchers that it is declared with (none: found by its name)."""

    id: UUID
    name: str
    selectors: tuple[Mapping[str, str], ...] = ()


class ServiceIndex:
    """Finds the service that labels are about, among all of a catalog, without trying each."""

    def __init__(self, services: Iterable[KnownService]) -> None:
        self._by_name: dict[str, KnownService] = {}
        self._by_pair: dict[tuple[str, str], list[tuple[Mapping[str, str], KnownService]]] = {}
        for service in services:
            self._by_name[service.name.lower()] = service
            for selector in service.selectors:
                if selector:
                    self._by_pair.setdefault(min(selector.items()), []).append((selector, service))

    def add(self, service: KnownService) -> None:
        """Know one more service, by its name."""
        self._by_name[service.name.lower()] = service

    def find(self, labels: Mapping[str, str]) -> tuple[KnownService | None, str | None]:
        """The service, or the name of one that the catalog does not have yet, or neither.

        Of declared selectors, the one with the most matchers wins.
        """
        best: tuple[int, str] | None = None
        found: KnownService | None = None
        for pair in labels.items() if self._by_pair else ():
            for selector, service in self._by_pair.get(pair, ()):
                rank = (-len(selector), service.name)
                if (best is None or rank < best) and all(labels.get(name) == it for name, it in selector.items()):
                    best, found = rank, service
        if found is not None:
            return found, None
        for label in SERVICE_LABELS:
            if name := labels.get(label, "").strip():
                known = self._by_name.get(name.lower())
                return known, None if known else name
        for label in HINTING_LABELS:
            if known := self._by_name.get(labels.get(label, "").strip().lower()):
                return known, None
        return None, None


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """A firing alert that looks for its incident. `incident_id` is the one that it, or its last firing, belongs to."""

    alert_id: UUID
    source: str
    name: str
    severity: Severity
    starts_at: datetime
    service_id: UUID | None = None
    group_key: str | None = None
    incident_id: UUID | None = None
    is_pinned: bool = False
    apart_from: frozenset[UUID] = frozenset()

    @property
    def key(self) -> str:
        """What its incident is about: its service, else the group that its source put it in, else itself alone."""
        if self.service_id is not None and not self.apart_from:
            return f"service:{self.service_id}"
        # A group without labels, as in `{}:{}`, holds strangers.
        if self.group_key and not self.group_key.endswith(":{}") and not self.apart_from:
            return f"group:{self.source}:{self.group_key}"
        return f"alert:{self.alert_id}"


@dataclass(slots=True, kw_only=True)
class OpenIncident:
    """An incident that alerts may join. `hurt` says since when which services are hurt."""

    id: UUID
    number: int
    title: str
    status: IncidentStatus
    source: IncidentSource
    severity: Severity
    started_at: datetime
    hurt: dict[UUID, datetime] = field(default_factory=dict)
    primary: set[UUID] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    firing: int = 0
    last_fired_at: datetime | None = None

    @property
    def name(self) -> str:
        """As people say it."""
        return f"INC-{self.number}"

    @property
    def is_by_person(self) -> bool:
        """Whether a person opened it."""
        return self.source in (IncidentSource.MANUAL, IncidentSource.API)


@dataclass(frozen=True, slots=True)
class Joining:
    """Why an alert belongs to an incident, as a half-sentence. `cause_id`: the hurt dependency that explains it.

    `siblings` are other incidents, each with a half-sentence, that the service of the alert explains: they were opened
    because what depends on it alerted first.
    """

    incident: OpenIncident
    because: str
    cause_id: UUID | None = None
    siblings: tuple[tuple[OpenIncident, str], ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class _Neighbour:
    """An incident of a service beside that of an alert, the best one first: what the service depends on, then what
    depends on it and is not explained by another of its dependencies. Of these, where people are at work already, then
    the earliest.
    """

    rank: int
    is_unattended: bool
    apart: timedelta
    started_at: datetime
    incident_id: UUID
    joining: Joining = field(compare=False)


class Dependencies:
    """Who depends on whom, of the services around the alerts."""

    def __init__(self, edges: Iterable[tuple[UUID, UUID]], names: Mapping[UUID, str], down: Iterable[UUID]) -> None:
        self._needs: dict[UUID, set[UUID]] = {}
        self._needed_by: dict[UUID, set[UUID]] = {}
        for service_id, depends_on_id in edges:
            self._needs.setdefault(service_id, set()).add(depends_on_id)
            self._needed_by.setdefault(depends_on_id, set()).add(service_id)
        self.names = dict(names)
        self.down = frozenset(down)

    def needs(self, service_id: UUID) -> set[UUID]:
        """What a service depends on."""
        return self._needs.get(service_id, set())

    def needed_by(self, service_id: UUID) -> set[UUID]:
        """What depends on a service."""
        return self._needed_by.get(service_id, set())


def choose(
    firing: Firing,
    own: Iterable[OpenIncident],
    near: Callable[[], Iterable[OpenIncident]],
    dependencies: Dependencies,
    rules: GroupingRules,
) -> Joining | None:
    """The active incident that an alert joins, or None where it needs a new one.

    `own` are incidents that it is or was part of, or that are about the same or hurt its service; `near` gives those
    that hurt a service beside it.
    """
    allowed = [incident for incident in own if incident.id not in firing.apart_from]
    for incident in allowed:
        if incident.id == firing.incident_id:
            because = "a person said that it belongs here" if firing.is_pinned else "it was part of this before"
            return Joining(incident, because)
    if firing.apart_from:
        return None
    same = [incident for incident in allowed if _is_about_the_same(firing, incident, rules)]
    if same:
        return Joining(_latest(same), _same(firing, dependencies))
    return None if firing.service_id is None else _along(firing, firing.service_id, near(), dependencies, rules)


def _is_about_the_same(firing: Firing, incident: OpenIncident, rules: GroupingRules) -> bool:
    if firing.key in incident.keys:
        last = incident.last_fired_at
        return incident.firing > 0 or (last is not None and abs(firing.starts_at - last) <= rules.window)
    return (
        incident.is_by_person and firing.service_id in incident.hurt and incident.status is not IncidentStatus.MITIGATED
    )


def _same(firing: Firing, dependencies: Dependencies) -> str:
    if firing.service_id is not None:
        return f"it is about {dependencies.names.get(firing.service_id, 'the same service')} too"
    return "its source put it in the same group"


def _along(
    firing: Firing,
    service_id: UUID,
    incidents: Iterable[OpenIncident],
    dependencies: Dependencies,
    rules: GroupingRules,
) -> Joining | None:
    """The incident of a service beside it in the graph. Chains fold, because each service that joins is hurt too."""
    found = sorted(
        neighbour
        for incident in incidents
        if incident.status is not IncidentStatus.MITIGATED
        for other_id in (dependencies.needs(service_id) | dependencies.needed_by(service_id)) & incident.hurt.keys()
        if (neighbour := _neighbour(firing, service_id, incident, other_id, dependencies, rules)) is not None
    )
    if not found:
        return None
    best = found[0].joining
    siblings = {
        it.incident_id: (it.joining.incident, it.joining.because)
        for it in reversed(found)
        if it.rank == _SYMPTOM and it.joining.incident is not best.incident
    }
    return replace(best, siblings=tuple(siblings[id] for id in sorted(siblings)))


def _neighbour(
    firing: Firing,
    service_id: UUID,
    incident: OpenIncident,
    other_id: UUID,
    dependencies: Dependencies,
    rules: GroupingRules,
) -> _Neighbour | None:
    name = dependencies.names.get(service_id, "its service")
    other = dependencies.names.get(other_id, "another service")
    apart = abs(firing.starts_at - incident.hurt[other_id])
    is_cause = other_id in dependencies.needs(service_id)
    if is_cause and other_id in dependencies.down and other_id in incident.primary:
        because = f"{name} depends on {other}, which is down"
    elif apart <= rules.dependency_window:
        depends = f"{name} depends on {other}" if is_cause else f"{other} depends on {name}"
        because = f"{depends}, and both were hit within {_said(apart)}"
    else:
        return None
    is_explained = bool(dependencies.needs(other_id) & incident.hurt.keys())
    rank = _CAUSE if is_cause else _EXPLAINED if is_explained else _SYMPTOM
    return _Neighbour(
        rank=rank,
        is_unattended=rank == _SYMPTOM and incident.status is IncidentStatus.OPEN and not incident.is_by_person,
        # Of symptoms the earliest counts, else the closest.
        apart=timedelta() if rank == _SYMPTOM else apart,
        started_at=incident.started_at,
        incident_id=incident.id,
        joining=Joining(incident, because, other_id if is_cause else None),
    )


def _latest(incidents: Sequence[OpenIncident]) -> OpenIncident:
    return max(incidents, key=lambda it: (it.firing > 0, it.started_at, it.id))


def _said(duration: timedelta) -> str:
    seconds = round(duration.total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{round(seconds / 60)} min"


def title_of(name: str, service: str | None, annotations: Mapping[str, Any]) -> str:
    """What an incident that an alert opens is called."""
    summary = " ".join(str(annotations.get("summary") or "").split())
    name = " ".join(name.split()) or "Alert"
    where = f" on {service}" if service and service.lower() not in name.lower() else ""
    return f"{name}{where}" if not summary or summary == name else f"{name}{where}: {summary}"
