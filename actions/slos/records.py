"""Objectives as the database keeps them, read back as definitions with their versions and adjustments."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.arrays import among
from db.services import services
from db.slos import slo_adjustments, slo_versions, slos
from domain.objectives import (
    SLICE_SECONDS,
    Budgeting,
    CalendarWindow,
    ObjectiveDefinition,
    RollingWindow,
    Window,
)
from domain.slos import WindowKind
from engines.slo.adjustments import Adjustment
from engines.slo.definitions import (
    KINDS,
    alerting_from_json,
    as_json,
    definition_from_json,
    indicator_as_json,
    indicator_from_json,
)
from engines.slo.series import Record, Version
from engines.slo.windows import usual_days, usual_seconds

PROMETHEUS_INSTANCE: Final = services.c.telemetry_instances["prometheus"].astext
"""The name of the Prometheus that sees a service."""

_WRITTEN: Final = [column for column in slos.c if column.computed is None]


@dataclass(frozen=True, slots=True)
class Kept:
    """An objective with everything that its slices are judged by. `revision` counts whatever changes that."""

    id: UUID
    service_id: UUID
    revision: int
    record: Record
    instance: str | None = None
    """The Prometheus that sees its service, the default one where it is None."""

    @property
    def definition(self) -> ObjectiveDefinition:
        """What is promised now."""
        return self.record.definition

    @property
    def slice_seconds(self) -> int:
        """How long the slices are that are stored of it."""
        return min(self.definition.budgeting.slice_seconds, SLICE_SECONDS)


async def read_all(connection: AsyncConnection, ids: Iterable[UUID]) -> list[Kept]:
    """These objectives, in three statements however many they are.

    Left out are those that no longer exist, and those that were written by hand and say no indicator to measure by.
    """
    wanted = list(ids)
    columns = (*_WRITTEN, services.c.name.label("service"), PROMETHEUS_INSTANCE.label("instance"))
    statement = select(*columns).join(services).where(among(slos.c.id, wanted))
    rows = (await connection.execute(statement)).mappings().all()
    versions = await _versions(connection, wanted)
    adjustments = await read_adjustments(connection, wanted)
    found = (_kept(row, versions[row["id"]], adjustments[row["id"]]) for row in rows)
    return [kept for kept in found if kept is not None]


async def read_adjustments(connection: AsyncConnection, ids: Iterable[UUID]) -> dict[UUID, list[Adjustment]]:
    """What does not count for these objectives."""
    found: dict[UUID, list[Adjustment]] = defaultdict(list)
    statement = select(slo_adjustments).where(among(slo_adjustments.c.slo_id, ids))
    for row in (await connection.execute(statement.order_by(slo_adjustments.c.id))).mappings():
        found[row["slo_id"]].append(adjustment_of(row))
    return found


def adjustment_of(row: RowMapping) -> Adjustment:
    """An adjustment as the arithmetic takes it."""
    return Adjustment(
        kind=row["kind"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        recurrence=row["recurrence"],
        time_zone=row["time_zone"] or "UTC",
        good_events=row["good_events"] or 0.0,
        total_events=row["total_events"] or 0.0,
    )


def definition_of(row: Mapping[Any, Any]) -> ObjectiveDefinition:
    """The definition that a row of `slos` holds, with the name of its `service`."""
    return ObjectiveDefinition(
        service=row["service"],
        name=row["name"],
        display_name=row["display_name"] or "",
        description=row["description"],
        objective=row["objective"].normalize(),
        window=_window(row),
        budgeting=Budgeting(row["budgeting_method"], row["slice_seconds"], _normalized(row["slice_objective"])),
        indicator=indicator_from_json({"kind": row["indicator_kind"], **row["indicator"]}),
        group_by=tuple(row["group_by"]),
        alerting=alerting_from_json(row["alerting"]),
        labels=row["labels"],
        annotations=row["annotations"],
    )


def columns_of(definition: ObjectiveDefinition) -> dict[str, Any]:
    """A definition as the columns of `slos`, without its service."""
    window = definition.window
    calendar = window if isinstance(window, CalendarWindow) else None
    return {
        "name": definition.name,
        "display_name": definition.display_name or None,
        "description": definition.description,
        "objective": definition.objective,
        "window_days": usual_days(window),
        "window_seconds": usual_seconds(window),
        "window_kind": window.kind,
        "calendar_unit": calendar.unit if calendar else None,
        "calendar_count": calendar.count if calendar else 1,
        "time_zone": calendar.time_zone if calendar else None,
        "starts_on": calendar.starts_on if calendar else None,
        "budgeting_method": definition.budgeting.method,
        "slice_seconds": definition.budgeting.slice_seconds,
        "slice_objective": definition.budgeting.slice_objective,
        "indicator_kind": KINDS[type(definition.indicator)],
        "indicator": indicator_as_json(definition.indicator),
        "group_by": [*definition.group_by],
        "alerting": as_json(definition.alerting),
        "labels": dict(definition.labels),
        "annotations": dict(definition.annotations),
    }


async def _versions(connection: AsyncConnection, ids: list[UUID]) -> dict[UUID, list[Version]]:
    found: dict[UUID, list[Version]] = defaultdict(list)
    columns = (slo_versions.c.slo_id, slo_versions.c.valid_from, slo_versions.c.definition)
    statement = select(*columns).where(among(slo_versions.c.slo_id, ids)).order_by(slo_versions.c.version)
    for slo_id, valid_from, definition in await connection.execute(statement):
        try:
            version = Version.of(valid_from.timestamp(), definition_from_json(definition))
        except (KeyError, TypeError, ValueError, ArithmeticError):
            continue  # Written by hand, and no promise: the version before it holds on.
        found[slo_id].append(version)
    return found


def _kept(row: RowMapping, versions: list[Version], adjustments: list[Adjustment]) -> Kept | None:
    try:
        definition = definition_of(row)
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None  # Whoever asks for it sees that it is missing; the evaluation says so with the objective.
    record = Record(definition, versions or (Version.of(0, definition),), adjustments)
    return Kept(row["id"], row["service_id"], row["revision"], record, row["instance"])


def _window(row: Mapping[Any, Any]) -> Window:
    if row["window_kind"] is WindowKind.ROLLING:
        return RollingWindow(row["window_seconds"])
    return CalendarWindow(row["calendar_unit"], row["calendar_count"], row["time_zone"] or "UTC", row["starts_on"])


def _normalized(value: Decimal | None) -> Decimal | None:
    return None if value is None else value.normalize()
