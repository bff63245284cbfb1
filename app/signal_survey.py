"""Which golden signals are found for which service: what `reliability-studio check` says of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select

from app.clock import now
from db.database import Database
from db.services import services
from domain.telemetry import GoldenSignal
from domain.time import Deadline
from telemetry_clients.errors import TelemetryError
from telemetry_clients.instances import Telemetry
from telemetry_clients.prometheus.discovery import Place
from telemetry_clients.services import Service

MOST_SERVICES: Final = 50
_TIMEOUT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A service of the catalog, its Prometheus (None: the default one), and the signals that have PromQL given."""

    service: Service
    instance: str | None
    given: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Catalog:
    """The services to look for, the most important first, and how many there are besides."""

    services: tuple[Surveyed, ...] = ()
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class SignalFinding:
    """What was found of one service: for each signal, the metric and the labels, or "" where it has none."""

    service: str
    found: Mapping[GoldenSignal, str]
    problem: str = ""


async def catalog(database: Database) -> Catalog:
    """The services to look for. Raises DatabaseUnavailable."""
    columns = select(services.c.name, services.c.selectors, services.c.telemetry_instances)
    important = columns.order_by(func.coalesce(services.c.tier, 6), services.c.name).limit(MOST_SERVICES)
    async with database.reading() as connection:
        total = (await connection.execute(select(func.count()).select_from(services))).scalar_one()
        found = tuple(
            Surveyed(
                Service(row.name, tuple(sorted((row.selectors.get("prometheus") or {}).items()))),
                row.telemetry_instances.get("prometheus"),
                tuple(row.selectors.get("signals") or {}),
            )
            for row in await connection.execute(important)
        )
    return Catalog(found, total - len(found))


async def survey(telemetry: Telemetry, known: Catalog) -> list[SignalFinding]:
    """Ask each Prometheus once for the services that it has."""
    by_instance: dict[str | None, list[Surveyed]] = {}
    for surveyed in known.services:
        by_instance.setdefault(surveyed.instance, []).append(surveyed)
    findings: dict[str, SignalFinding] = {}
    for instance, some in by_instance.items():
        findings |= await _survey(telemetry, instance, some)
    return [findings[surveyed.service.name] for surveyed in known.services]


async def _survey(telemetry: Telemetry, instance: str | None, some: Sequence[Surveyed]) -> dict[str, SignalFinding]:
    try:
        places = await telemetry.discovery(instance).places(
            [surveyed.service for surveyed in some], at=now(), deadline=Deadline.after(_TIMEOUT_SECONDS)
        )
    except TelemetryError as error:
        return {surveyed.service.name: SignalFinding(surveyed.service.name, {}, error.message) for surveyed in some}
    return {
        surveyed.service.name: SignalFinding(
            surveyed.service.name,
            {
                signal: "given" if signal in surveyed.given else _described(places[surveyed.service].get(signal))
                for signal in GoldenSignal
            },
        )
        for surveyed in some
    }


def _described(place: Place | None) -> str:
    if place is None:
        return ""
    sources = place.sources
    metrics = [source.metric.name for source in sources.requests]
    metrics += [*sources.cpu_seconds, *dict.fromkeys(metric.used for metric in sources.memory)]
    return f"{', '.join(metrics)} by {', '.join(place.labels)}"
