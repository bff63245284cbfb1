"""What is computed from the stored slices of objectives when somebody asks: history, explanation, what-if."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import Text, cast, func, select

from actions.slos.backfill import backfilled
from actions.slos.composites import composite_slices
from actions.slos.evaluation import SLOEvaluator
from actions.slos.records import PROMETHEUS_INSTANCE, Kept, read_all
from actions.slos.slices import ALL, Stretch, read_slices
from db.incidents import incidents, incidents_services
from db.services import services
from db.slos import slos
from domain.errors import NotFound, ValidationFailed
from domain.objectives import Composite, ObjectiveDefinition, Window
from engines.slo.adjustments import Adjustment
from engines.slo.budgets import Measurement, windows_of
from engines.slo.checks import checked_definition, remarks
from engines.slo.explanation import Explanation, Firing, consumed_between, explain, firings
from engines.slo.series import Record, at_moments, judge, measure
from engines.slo.slices import Judged
from engines.slo.windows import DAY_SECONDS, start
from resolvers.context import RequestContext
from resolvers.rows import RowObject
from resolvers.telemetry import backend_deadline
from telemetry_clients.prometheus import Prometheus

MOST_POINTS: Final = 1_000
LONGEST_RANGE_SECONDS: Final = 400 * DAY_SECONDS
_OLDEST: Final = datetime(1980, 1, 1, tzinfo=UTC)
_LAST_YEAR: Final = 9000
_USUAL_POINTS: Final = 240


@dataclass(frozen=True, slots=True)
class OverlappingIncident:
    """An incident of the service within the time that is explained, and what the budget lost during it."""

    incident_id: UUID
    consumed: float


@dataclass(frozen=True, slots=True)
class BudgetBurn:
    """What one incident took of an objective's budget."""

    slo_id: UUID
    consumed: float
    bad_events: float


@dataclass(frozen=True, slots=True)
class Trial:
    """What another promise would have said over a stretch of time."""

    measurement: Measurement
    firings: Sequence[Firing]
    remarks: Sequence[str]


async def prometheus_of(context: RequestContext, service: str) -> Prometheus | None:
    """The Prometheus that sees a service (by name or id), where one is configured. Raises TelemetryNotConfigured."""
    if not context.telemetry.prometheus:
        return None
    named = (func.lower(services.c.name) == service.lower()) | (cast(services.c.id, Text) == service.lower())
    async with context.database.reading() as connection:
        instance = (await connection.execute(select(PROMETHEUS_INSTANCE).where(named))).scalar()
    return context.telemetry.prometheus.get(instance)


async def history(
    context: RequestContext, slo_id: UUID, begins: datetime, ends: datetime, step_seconds: int | None
) -> list[dict[str, Any]]:
    """Measurements, by the names of GraphQL, at every step of a range. Moments without events in their window are
    left out. Raises ValidationFailed.
    """
    _require_range(begins, ends)
    if step_seconds is not None and step_seconds < 1:
        raise ValidationFailed("`stepSeconds` must be at least 1", ["stepSeconds"])
    kept, judged = await _judged(context, slo_id, begins, min(ends, context.now))
    span = (ends - begins).total_seconds()
    seconds = judged.seconds
    wanted = max(step_seconds or span / _USUAL_POINTS, span / MOST_POINTS)
    step = -(-int(wanted) // seconds) * seconds or seconds
    first = -(-int(begins.timestamp()) // seconds) * seconds
    last = int(min(ends, context.now).timestamp())
    moments, sums = at_moments(judged, kept.definition.window, range(first, last + 1, step))
    good, total = sums.events - sums.events_bad, sums.events
    return [
        {
            "measuredAt": datetime.fromtimestamp(at, UTC).isoformat(),
            "sli": sli,
            "goodEvents": good_events,
            "totalEvents": total_events,
            "errorBudgetRemaining": 1 - burn,
            "errorBudgetConsumed": burn,
        }
        for at, sli, burn, good_events, total_events in zip(
            moments, sums.sli.tolist(), sums.burn.tolist(), good.tolist(), total.tolist(), strict=True
        )
        if burn == burn  # NaN: nothing happened
    ]


def as_selected(measurements: Sequence[dict[str, Any]], fields: Sequence[tuple[str, str]] | None) -> Any:
    """Measurements as finished JSON with the selected (key, field), or as objects where the selection is not plain."""
    if fields is None:
        return [RowObject("SLOMeasurement", measurement) for measurement in measurements]
    typed = ({"__typename": "SLOMeasurement", **measurement} for measurement in measurements)
    return orjson.Fragment(orjson.dumps([{key: one[field] for key, field in fields} for one in typed]))


async def explanation(
    context: RequestContext, slo_id: UUID, begins: datetime, ends: datetime
) -> tuple[Explanation, list[OverlappingIncident]]:
    """What an objective spent in a range, and the incidents of its service meanwhile. Raises ValidationFailed."""
    _require_range(begins, ends)
    ends = min(ends, context.now)
    kept, judged = await _judged(context, slo_id, begins, ends)
    promise = kept.record.promise
    hurting = select(incidents_services.c.incident_id).where(incidents_services.c.service_id == kept.service_id)
    statement = select(incidents.c.id, incidents.c.started_at, incidents.c.resolved_at).where(
        incidents.c.id.in_(hurting),
        incidents.c.started_at < ends,
        incidents.c.resolved_at.is_(None) | (incidents.c.resolved_at > begins),
    )
    async with context.database.reading() as connection:
        rows = (await connection.execute(statement.order_by(incidents.c.started_at, incidents.c.id))).all()
    overlapping = [
        OverlappingIncident(
            row.id,
            consumed_between(judged, promise, max(row.started_at, begins), min(row.resolved_at or ends, ends)),
        )
        for row in rows
    ]
    return explain(judged, promise, begins, ends), overlapping


async def budget_burns(
    context: RequestContext, incident_id: UUID, begins: datetime, ends: datetime | None
) -> list[BudgetBurn]:
    """What an incident took of the budgets of the services that it hurts, most first."""
    until = max(min(ends or context.now, context.now), begins)
    hurt = select(incidents_services.c.service_id).where(incidents_services.c.incident_id == incident_id)
    async with context.database.reading() as connection:
        ids = (await connection.execute(select(slos.c.id).where(slos.c.service_id.in_(hurt)))).scalars().all()
        every = await read_all(connection, ids)
    burns = []
    for kept in every:
        _, judged = await _judged(context, kept.id, begins, until, kept=kept)
        promise = kept.record.promise
        spent = explain(judged, promise, begins, until)
        burns.append(BudgetBurn(kept.id, consumed_between(judged, promise, begins, until), spent.bad_events))
    return sorted(burns, key=lambda burn: burn.consumed, reverse=True)


async def evaluate_now(context: RequestContext, slo_id: UUID) -> None:
    """Bring one objective up to date. Raises NotFound, TelemetryError."""
    async with context.database.reading() as connection:
        kept = next(iter(await read_all(connection, [slo_id])), None)
    if kept is None:
        raise NotFound("SLO", slo_id, ("id",))
    context.telemetry.prometheus.get(kept.instance)  # Whoever asks is told at once that there is none.
    evaluator = SLOEvaluator(
        context.database,
        context.telemetry.prometheus,
        scrape_interval_seconds=context.scrape_interval_seconds,
        only=[slo_id],
    )
    await evaluator.cycle(context.now, backend_deadline(context))


async def trial(
    context: RequestContext,
    definition: ObjectiveDefinition,
    slo_id: UUID | None,
    adjustments: Sequence[Adjustment],
    begins: datetime,
    ends: datetime,
) -> Trial:
    """What a promise would have said from `begins` until `ends`: over the stored slices of `slo_id`, or, without one,
    over what Prometheus still knows. Raises ValidationFailed, NotFound, TelemetryError.
    """
    _require_range(begins, ends)
    ends = min(ends, context.now)
    checked = checked_definition(definition)
    record = Record.alone(checked, adjustments)
    needed = _needed(record, begins)
    seconds = min(checked.budgeting.slice_seconds, 300)
    first, last = int(needed.timestamp()) // DAY_SECONDS * DAY_SECONDS, int(ends.timestamp()) // seconds * seconds
    if slo_id is not None:
        async with context.database.reading() as connection:
            kept = next(iter(await read_all(connection, [slo_id])), None)
            if kept is None:
                raise NotFound("SLO", slo_id, ("sloId",))
            read = await read_slices(connection, [Stretch(slo_id, first, last, seconds)])
        slices = read[slo_id, ALL]
        record = replace(record, adjustments=[*kept.record.adjustments, *adjustments])
    else:
        prometheus = context.telemetry.prometheus.get(None)
        slices = await backfilled(prometheus, checked, first, last, seconds, backend_deadline(context))
    judged = judge(slices, record)
    at = datetime.fromtimestamp(last, UTC)
    return Trial(measure(judged, record.promise, at), firings(judged, record.promise, begins, ends), remarks(checked))


async def definition_of(context: RequestContext, slo_id: UUID) -> ObjectiveDefinition:
    """What an objective promises now. Raises NotFound."""
    async with context.database.reading() as connection:
        for kept in await read_all(connection, [slo_id]):
            return kept.definition
    raise NotFound("SLO", slo_id, ("id",))


async def _judged(
    context: RequestContext, slo_id: UUID, begins: datetime, ends: datetime, *, kept: Kept | None = None
) -> tuple[Kept, Judged]:
    """An objective and its judged slices, from as long before `begins` as its windows look back."""
    async with context.database.reading() as connection:
        if kept is None:
            kept = next(iter(await read_all(connection, [slo_id])), None)
        if kept is None:
            raise NotFound("SLO", slo_id, ("id",))
        seconds = kept.slice_seconds
        first = int(_needed(kept.record, begins).timestamp()) // DAY_SECONDS * DAY_SECONDS
        last = max(first, -(-int(ends.timestamp()) // seconds) * seconds)
        if isinstance(kept.definition.indicator, Composite):
            return kept, await composite_slices(connection, kept, first, last)
        read = await read_slices(connection, [Stretch(kept.id, first, last, seconds)])
    return kept, judge(read[kept.id, ALL], kept.record)


def _needed(record: Record, begins: datetime) -> datetime:
    window: Window = record.definition.window
    longest = max(windows_of([record.promise]), default=0)
    return min(start(window, begins), datetime.fromtimestamp(begins.timestamp() - longest, UTC))


def _require_range(begins: datetime, ends: datetime) -> None:
    if not begins >= _OLDEST or ends.year > _LAST_YEAR:
        raise ValidationFailed("`range` lies where no metric was ever kept", ["range"])
    if begins >= ends:
        raise ValidationFailed("`range.from` must lie before `range.to`", ["range"])
    if (ends - begins).total_seconds() > LONGEST_RANGE_SECONDS:
        raise ValidationFailed("`range` is longer than 400 days", ["range"])
