"""The slices of an objective that is not kept, asked of Prometheus directly."""

from datetime import UTC, datetime
from typing import Final

import numpy as np

from actions.slos.questions import Moments, ask
from domain.errors import ValidationFailed
from domain.objectives import Composite, ObjectiveDefinition
from domain.time import Deadline
from engines.slo.batches import Question, good_events
from engines.slo.indicators import events
from engines.slo.slices import Slices, unknown
from telemetry_clients.prometheus import Prometheus

MOST_POINTS: Final = 10_000


async def backfilled(
    prometheus: Prometheus, definition: ObjectiveDefinition, start: int, end: int, seconds: int, deadline: Deadline
) -> Slices:
    """Its slices from `start` until `end` (seconds since 1970), all groups together.

    Raises ValidationFailed for a query that fails, TelemetryError.
    """
    if isinstance(definition.indicator, Composite):
        raise ValidationFailed("A composite has no query of its own: give the SLO by its id", ("indicator",))
    question = Question(0, events(definition.indicator, seconds, group_by=definition.group_by), definition.group_by)
    slices = unknown(1, start, end, seconds)
    for first in range(start, end, MOST_POINTS * seconds):
        last = min(end, first + MOST_POINTS * seconds)
        moments = Moments(datetime.fromtimestamp(first + seconds, UTC), datetime.fromtimestamp(last, UTC), seconds)
        found = await ask(
            prometheus, [question], moments, timeout_seconds=deadline.remaining_seconds(), deadline=deadline
        )
        if 0 in found.failed:
            raise ValidationFailed(found.failed[0], ("indicator",))
        counted = found.counted[0]
        for group, good in good_events(question, counted).items():
            for values, known in ((slices.good[0], good), (slices.total[0], counted.total[group])):
                for at, value in known.items():
                    place = round((at - start) / seconds) - 1
                    values[place] = value + np.nan_to_num(values[place])
    return slices
