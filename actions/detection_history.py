"""What was usual around this hour of earlier days: asked for once in a while, and remembered by each process."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import numpy as np

from actions.detection_questions import Measuring, WatchedService
from domain.detection import Rule
from domain.time import Deadline
from engines.detection.replay import DAY_SECONDS, EARLIER_MARGIN_SECONDS, Grid
from engines.detection.statistics import Floats
from telemetry_clients.errors import TelemetryError

STEP_SECONDS: Final = 300
_KEPT_SECONDS: Final = 1_800
_MOST_RULES: Final = 200


@dataclass(slots=True)
class _Days:
    """Earlier days around the half hour that begins at `start`: for each day back, the values by service."""

    start: float
    days: dict[int, dict[UUID, Floats]] = field(default_factory=dict)


class History:
    """The same hour of earlier days, for each rule. A day costs a query each half hour."""

    def __init__(self, measuring: Measuring) -> None:
        self._measuring = measuring
        self._known: OrderedDict[tuple[UUID, Rule], _Days] = OrderedDict()

    async def earlier(
        self, rule_id: UUID, rule: Rule, watched: Sequence[WatchedService], at: datetime, *, deadline: Deadline
    ) -> Floats:
        """(services, days, points) around this time of the day. Days that could not be asked for yet are missing.

        Raises TelemetryError when no day is known.
        """
        known = self._of(rule_id, rule, at)
        failure: TelemetryError | None = None
        for day in range(1, rule.parameters.earlier_days + 1):
            if day in known.days:
                continue
            if deadline.expired:
                break
            try:
                known.days[day] = await self._ask(rule, watched, known.start, day, deadline)
            except TelemetryError as error:
                failure = error
                break
        if failure is not None and not known.days:
            raise failure
        return self._cut(rule, watched, known, at)

    def _of(self, rule_id: UUID, rule: Rule, at: datetime) -> _Days:
        start = at.timestamp() // _KEPT_SECONDS * _KEPT_SECONDS
        key = (rule_id, rule)
        if key not in self._known or self._known[key].start != start:
            self._known[key] = _Days(start)
        self._known.move_to_end(key)
        while len(self._known) > _MOST_RULES:
            self._known.popitem(last=False)
        return self._known[key]

    async def _ask(
        self, rule: Rule, watched: Sequence[WatchedService], start: float, day: int, deadline: Deadline
    ) -> dict[UUID, Floats]:
        points = (_KEPT_SECONDS + 2 * EARLIER_MARGIN_SECONDS) // STEP_SECONDS + 1
        grid = Grid(start - day * DAY_SECONDS - EARLIER_MARGIN_SECONDS, STEP_SECONDS, points)
        measured = await self._measuring.measure(rule, watched, grid, deadline=deadline)
        return {service.id: row for service, row in zip(measured.services, measured.values, strict=True)}

    def _cut(self, rule: Rule, watched: Sequence[WatchedService], known: _Days, at: datetime) -> Floats:
        first = round((at.timestamp() - known.start) / STEP_SECONDS)
        points = 2 * EARLIER_MARGIN_SECONDS // STEP_SECONDS + 1
        found = np.full((len(watched), rule.parameters.earlier_days, points), np.nan)
        for day, values in known.days.items():
            for index, service in enumerate(watched):
                if (row := values.get(service.id)) is not None:
                    found[index, day - 1] = row[first : first + points]
        return found
