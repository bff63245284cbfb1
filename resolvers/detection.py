"""What a detection rule would say: its query asked once before it is kept, or its whole past."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import numpy as np

from actions import detection_rules
from actions.detection_questions import Measured, Measuring, WatchedService, watched_services
from actions.detection_rules import DetectionRuleChanges, NewDetectionRule
from domain.alerts import DetectionKind
from domain.detection import Rule, rule_of
from domain.errors import ValidationFailed
from domain.references import required_id
from domain.unset import UNSET
from engines.detection.replay import Firing, Grid, lookback, replay
from resolvers.context import RequestContext
from resolvers.metrics import require_range
from resolvers.telemetry import backend_deadline
from telemetry_clients.errors import TelemetryBadQuery, TelemetryError
from telemetry_clients.prometheus import MAX_POINTS
from telemetry_clients.prometheus.samples import Points

MOST_SERVICES: Final = 200
"""How many services a rule is tried on at the most."""

_SHORTEST_STEP_SECONDS: Final = 30.0
_LONGEST_STEP_SECONDS: Final = 300.0
_MOST_MOMENTS: Final = 2_900  # of 30 s: a day


@dataclass(frozen=True, slots=True)
class Trial:
    """When a rule would have fired. `left_out` counts services that it was not tried on."""

    grid: Grid
    first: int
    measured: Measured
    firings: Sequence[Firing]
    left_out: int


async def try_rule(context: RequestContext, new: NewDetectionRule, start: datetime, end: datetime) -> Trial:
    """When a rule would have fired within a range. Raises ValidationFailed, TelemetryError."""
    values = detection_rules.checked_rule(new)
    rule = rule_of(values)
    if rule.kind is DetectionKind.LOG_NOVELTY:
        raise ValidationFailed("Rules of kind LOG_NOVELTY learn as they go, and cannot be tried on the past", ("kind",))
    require_range(start, end, None, context.now)
    end = min(end, context.now)
    read = partial(watched_services, service_id=values["service_id"])
    watched = await context.database.transact(read, now=context.now)
    if values["service_id"] is not None and not watched:
        raise ValidationFailed(f"There is no service {values['service_id']}", ("serviceId",))
    grid, first = _grid(rule, start, end)
    measured = await Measuring(context.telemetry).measure(
        rule, watched[:MOST_SERVICES], grid, deadline=backend_deadline(context)
    )
    firings = await asyncio.to_thread(replay, rule, grid, measured.values, measured.requests, first=first)
    return Trial(grid, first, measured, firings, max(0, len(watched) - MOST_SERVICES))


async def require_evaluable(context: RequestContext, new: NewDetectionRule) -> None:
    """Ask the query of a new rule once. Raises ValidationFailed in Prometheus's own words."""
    await _require_evaluable(context, detection_rules.checked_rule(new))


async def require_still_evaluable(context: RequestContext, id: str, wanted: DetectionRuleChanges) -> None:
    """Ask the new query of a rule once. Raises ValidationFailed in Prometheus's own words, NotFound."""
    if wanted.query is UNSET:
        return
    rule_id = required_id(id, "detection rule", "id")
    changed = partial(detection_rules.changed_rule, rule_id=rule_id, wanted=wanted)
    await _require_evaluable(context, await context.database.transact(changed, now=context.now))


async def _require_evaluable(context: RequestContext, columns: Mapping[str, Any]) -> None:
    """Ask a rule's query once, where there is a Prometheus. Raises ValidationFailed in Prometheus's own words.

    A backend that is away refuses nothing: the rule then shows by itself what is wrong with it.
    """
    if columns.get("query") is None or columns["kind"] is DetectionKind.LOG_NOVELTY or not context.telemetry.prometheus:
        return
    read = partial(watched_services, service_id=columns.get("service_id"))
    watched = await context.database.transact(read, now=context.now)
    if not watched:
        watched = [WatchedService(UUID(int=0), "any")]
    grid = Grid(context.now.timestamp(), 1.0, 1)
    try:
        await Measuring(context.telemetry).measure(rule_of(columns), watched, grid, deadline=backend_deadline(context))
    except TelemetryBadQuery as error:
        raise ValidationFailed(error.message, ("query",)) from error
    except TelemetryError:
        return


def points_of(trial: Trial, index: int) -> Points:
    """The values of one service in the range."""
    row = trial.measured.values[index, trial.first :]
    seconds = [trial.grid.start + (trial.first + place) * trial.grid.step for place in range(len(row))]
    return Points(seconds, [value if np.isfinite(value) else None for value in row.tolist()])


def _grid(rule: Rule, start: datetime, end: datetime) -> tuple[Grid, int]:
    """All moments that must be known, and which of them is the first of the range. Raises ValidationFailed."""
    seconds = (end - start).total_seconds()
    step = _LONGEST_STEP_SECONDS if rule.kind is DetectionKind.SEASONAL else _SHORTEST_STEP_SECONDS
    step = max(step, -(-seconds // _MOST_MOMENTS // 30) * 30)
    before = lookback(rule).total_seconds()
    if (rule.kind is DetectionKind.SEASONAL and step > _LONGEST_STEP_SECONDS) or (
        seconds + before
    ) / step >= MAX_POINTS:
        most = timedelta(seconds=min(_MOST_MOMENTS * _LONGEST_STEP_SECONDS, MAX_POINTS * step - before))
        raise ValidationFailed(f"The range is too long to be tried. Use {most.days} days or less", ("range",))
    first = int(-(-before // step))
    begin = start.astimezone(UTC).timestamp() // step * step
    return Grid(begin - first * step, step, first + int(seconds // step) + 1), first
