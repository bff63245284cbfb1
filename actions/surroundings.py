"""What the catalog and the records know around an incident: its services, their neighbours, and what happened there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.alerts import alerts
from db.arrays import among
from db.correlation import analyses, correlations, root_causes
from db.deployments import deployments
from db.incidents import incidents, incidents_services
from db.services import service_dependencies, services
from db.slos import slo_states, slos
from domain.correlation import CorrelationKind
from domain.errors import NotFound
from domain.incidents import IncidentStatus
from domain.services import DeploymentOutcome
from engines.correlation import evidence as told

HOPS: Final = 3
MOST_SERVICES: Final = 60
LOOKBACK: Final = timedelta(hours=1)
LOOK_AHEAD: Final = timedelta(minutes=30)
_AFTER_RESOLUTION: Final = timedelta(minutes=5)
_MOST_RECORDS: Final = 200
_BURN_FRESH: Final = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class NearService:
    """A service of the catalog, and how telemetry backends know it."""

    id: UUID
    name: str
    selectors: Mapping[str, Any] = field(default_factory=dict)
    instances: Mapping[str, str] = field(default_factory=dict)

    @property
    def traced_as(self) -> str:
        """The `service.name` of its spans."""
        return self.selectors.get("tempo") or self.name


@dataclass(frozen=True, slots=True)
class Surroundings:
    """All that Postgres knows around an incident. `affected` are its services, hurt directly first; `services` all."""

    incident: RowMapping
    start: datetime
    end: datetime
    affected: tuple[str, ...]
    services: tuple[NearService, ...]
    evidence: told.Evidence

    @property
    def noticed_at(self) -> datetime:
        """When users began to be hurt, as far as anybody knows."""
        started_at: datetime = self.incident["started_at"]
        return started_at

    def ids(self) -> dict[str, UUID]:
        """The services' ids by their names."""
        return {service.name: service.id for service in self.services}


async def survey(connection: AsyncConnection, incident_id: UUID, *, now: datetime) -> Surroundings:
    """What is known around an incident at this moment, in one snapshot. Raises NotFound."""
    incident = (await connection.execute(select(incidents).where(incidents.c.id == incident_id))).mappings().first()
    if incident is None:
        raise NotFound("incident", incident_id)
    start, end = _window(incident, now)
    affected = await _affected(connection, incident_id)
    near = await _neighbourhood(connection, affected)
    names = {service.id: service.name for service in near}
    known = told.Evidence(
        services=tuple(names[id] for id in affected),
        noticed_at=incident["started_at"].timestamp(),
        start=start.timestamp(),
        end=end.timestamp(),
        calls=await _calls(connection, names),
        deployments=await _deployments(connection, names, start, end),
        alerts=await _alerts(connection, names, start, end),
        incidents=await _other_incidents(connection, incident_id, start, end),
        burns=await _burns(connection, names, now),
    )
    return Surroundings(incident, start, end, known.services, near, known)


def _window(incident: RowMapping, now: datetime) -> tuple[datetime, datetime]:
    noticed_at = incident["started_at"]
    end = min(now, noticed_at + LOOK_AHEAD)
    if incident["resolved_at"] is not None:
        end = min(end, incident["resolved_at"] + _AFTER_RESOLUTION)
    return noticed_at - LOOKBACK, max(end, noticed_at + timedelta(seconds=1))


async def _affected(connection: AsyncConnection, incident_id: UUID) -> list[UUID]:
    """The services that somebody or something other than an analysis says are hurt, or else those of its alerts."""
    hurt = incidents_services.c
    statement = (
        select(hurt.service_id)
        .where(hurt.incident_id == incident_id, hurt.score.is_(None))
        .order_by(hurt.level, hurt.since, hurt.service_id)
    )
    said = [*(await connection.execute(statement)).scalars()]
    if said:
        return said
    fired = (
        select(alerts.c.service_id)
        .where(alerts.c.incident_id == incident_id, alerts.c.service_id.is_not(None))
        .group_by(alerts.c.service_id)
        .order_by(func.min(alerts.c.starts_at), alerts.c.service_id)
    )
    return [*(await connection.execute(fired)).scalars()]


async def _neighbourhood(connection: AsyncConnection, affected: Sequence[UUID]) -> tuple[NearService, ...]:
    """The services and what they depend on or what depends on them, up to HOPS away and MOST_SERVICES in all.

    The nearest come first; among those as near, what is depended on, since causes lie there.
    """
    found: dict[UUID, None] = dict.fromkeys(affected)
    edges = service_dependencies.c
    frontier: list[UUID] = [*affected]
    for _ in range(HOPS):
        if not frontier or len(found) >= MOST_SERVICES:
            break
        below = (
            select(edges.depends_on_id)
            .where(among(edges.service_id, frontier))
            .distinct()
            .order_by(edges.depends_on_id)
        )
        above = (
            select(edges.service_id).where(among(edges.depends_on_id, frontier)).distinct().order_by(edges.service_id)
        )
        reached = [*(await connection.execute(below)).scalars(), *(await connection.execute(above)).scalars()]
        frontier = [id for id in dict.fromkeys(reached) if id not in found]
        found |= dict.fromkeys(frontier)
    ids = [*found][: max(MOST_SERVICES, len(affected))]
    columns = services.c
    rows = await connection.execute(
        select(columns.id, columns.name, columns.selectors, columns.telemetry_instances).where(among(columns.id, ids))
    )
    by_id = {row.id: NearService(row.id, row.name, row.selectors, row.telemetry_instances) for row in rows}
    return tuple(by_id[id] for id in ids)


async def _calls(connection: AsyncConnection, names: Mapping[UUID, str]) -> tuple[told.Call, ...]:
    edges = service_dependencies.c
    statement = select(edges.service_id, edges.depends_on_id).where(
        among(edges.service_id, names), among(edges.depends_on_id, names)
    )
    found = {(names[row.service_id], names[row.depends_on_id]) for row in await connection.execute(statement)}
    return tuple(told.Call(caller, callee) for caller, callee in sorted(found))


async def _deployments(
    connection: AsyncConnection, names: Mapping[UUID, str], start: datetime, end: datetime
) -> tuple[told.Deployment, ...]:
    deployed = deployments.c
    earlier = deployments.alias("earlier")
    before = (
        select(earlier.c.version)
        .where(
            earlier.c.service_id == deployed.service_id,
            earlier.c.environment == deployed.environment,
            earlier.c.started_at < deployed.started_at,
            earlier.c.outcome == DeploymentOutcome.SUCCEEDED,
        )
        .order_by(earlier.c.started_at.desc(), earlier.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    statement = (
        select(deployed.id, deployed.service_id, deployed.started_at, deployed.version, before.label("previous"))
        .where(among(deployed.service_id, names), deployed.started_at.between(start, end))
        .order_by(deployed.started_at.desc(), deployed.id)
        .limit(_MOST_RECORDS)
    )
    rows = (await connection.execute(statement)).all()
    found = [
        told.Deployment(str(row.id), names[row.service_id], row.started_at.timestamp(), row.version, row.previous)
        for row in rows
    ]
    return tuple(sorted(found, key=lambda it: (it.at, it.id)))


async def _alerts(
    connection: AsyncConnection, names: Mapping[UUID, str], start: datetime, end: datetime
) -> tuple[told.Alert, ...]:
    fired = alerts.c
    statement = (
        select(fired.id, fired.service_id, fired.name, fired.starts_at, fired.ends_at, fired.severity)
        .where(among(fired.service_id, names), fired.starts_at <= end)
        .where(or_(fired.ends_at.is_(None), fired.ends_at >= start))
        .order_by(fired.starts_at.desc(), fired.id)
        .limit(_MOST_RECORDS)
    )
    found = [
        told.Alert(
            str(row.id),
            names[row.service_id],
            row.name,
            row.starts_at.timestamp(),
            None if row.ends_at is None else row.ends_at.timestamp(),
            row.severity,
        )
        for row in await connection.execute(statement)
    ]
    return tuple(sorted(found, key=lambda it: (it.started_at, it.id)))


async def _other_incidents(
    connection: AsyncConnection, incident_id: UUID, start: datetime, end: datetime
) -> tuple[told.OpenIncident, ...]:
    """Incidents that were open in the window, with the first cause and the log patterns of their shown analysis."""
    cause = root_causes.c
    causing = services.alias("causing")
    hurt = (
        select(func.coalesce(func.array_agg(services.c.name), text("'{}'::text[]")))
        .join_from(incidents_services, services)
        .where(incidents_services.c.incident_id == incidents.c.id, incidents_services.c.score.is_(None))
        .scalar_subquery()
    )
    patterns = (
        select(func.coalesce(func.array_agg(correlations.c.name), text("'{}'::text[]")))
        .where(correlations.c.analysis_id == analyses.c.id, correlations.c.kind == CorrelationKind.LOG)
        .where(correlations.c.name.is_not(None))
        .scalar_subquery()
    )
    statement = (
        select(
            incidents.c.id,
            incidents.c.title,
            incidents.c.started_at,
            hurt.label("services"),
            causing.c.name.label("cause_service"),
            cause.kind.label("cause_kind"),
            patterns.label("patterns"),
        )
        .outerjoin(analyses, (analyses.c.incident_id == incidents.c.id) & analyses.c.is_shown)
        .outerjoin(root_causes, (cause.analysis_id == analyses.c.id) & (cause.rank == 1))
        .outerjoin(causing, causing.c.id == cause.service_id)
        .where(incidents.c.id != incident_id, incidents.c.started_at.between(start, end))
        .where(or_(incidents.c.status != IncidentStatus.RESOLVED, incidents.c.resolved_at >= start))
        .order_by(incidents.c.started_at.desc(), incidents.c.id)
        .limit(_MOST_RECORDS)
    )
    found = [
        told.OpenIncident(
            str(row.id),
            row.title,
            row.started_at.timestamp(),
            tuple(sorted(row.services)),
            row.cause_service,
            row.cause_kind,
            tuple(sorted(row.patterns)),
        )
        for row in await connection.execute(statement)
    ]
    return tuple(sorted(found, key=lambda it: it.id))


async def _burns(connection: AsyncConnection, names: Mapping[UUID, str], now: datetime) -> tuple[told.BudgetBurn, ...]:
    """How fast budgets are spent, by the shortest window of each objective that was evaluated lately."""
    statement = (
        select(slos.c.id, slos.c.name, slos.c.service_id, slo_states.c.burn_rates)
        .join_from(slos, slo_states, slo_states.c.slo_id == slos.c.id)
        .where(among(slos.c.service_id, names), slo_states.c.measured_at >= now - _BURN_FRESH)
        .order_by(slos.c.id)
        .limit(_MOST_RECORDS)
    )
    burns = []
    for row in await connection.execute(statement):
        rates = [
            (rate["short_window_seconds"], rate["short_rate"])
            for rate in row.burn_rates
            if rate.get("short_rate") is not None
        ]
        if rates:
            burns.append(told.BudgetBurn(names[row.service_id], str(row.id), row.name, float(min(rates)[1])))
    return tuple(burns)
