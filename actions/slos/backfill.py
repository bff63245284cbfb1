"""The slices of an objective that is not kept, asked of Prometheus directly."""

import numpy as np

from actions.slos.questions import ask, moments_of
from domain.errors import ValidationFailed
from domain.objectives import Composite, ObjectiveDefinition
from domain.time import Deadline
from engines.slo.batches import Question, good_events
from engines.slo.indicators import events
from engines.slo.slices import Slices, unknown
from telemetry_clients.prometheus import Prometheus


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
    for moments in moments_of(start, end, seconds):
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
