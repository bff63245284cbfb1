"""When a detection rule would have fired in the past."""

from typing import Annotated, cast

import strawberry

from resolvers.context import RequestContext
from resolvers.detection import Trial, points_of, try_rule
from resolvers.rendering import Plain
from schema.mutations.detection import CreateDetectionRuleInput, new_rule
from schema.nodes import TimeRange
from schema.scalars import DateTime
from schema.telemetry import MetricPoint


@strawberry.type(description="A time in which a rule would have fired for a service.")
class TriedFiring:
    """A time in which a rule would have fired for a service."""

    service: str = strawberry.field(description="The service, by name.")
    bad_since: DateTime = strawberry.field(description="When it began to be bad.")
    fired_at: DateTime = strawberry.field(description="When the rule would have fired.")
    ended_at: DateTime | None = strawberry.field(description="When it would have ended; null when it would still fire.")
    value: float | None = strawberry.field(description="The value when it fired.")
    expected: float | None = strawberry.field(
        description="What it was held against: the threshold, or what would have been usual."
    )


@strawberry.type(description="What a rule would have watched of a service.")
class TriedSeries:
    """What a rule would have watched of a service."""

    service: str = strawberry.field(description="The service, by name.")
    points: list[MetricPoint] = strawberry.field(description="The values that it would have seen, oldest first.")


@strawberry.type(description="When a rule would have fired.")
class DetectionTrial:
    """When a rule would have fired."""

    firings: list[TriedFiring] = strawberry.field(description="When and for which service, oldest first.")
    series: list[TriedSeries] = strawberry.field(description="The values of each service of which there are any.")
    step_seconds: float = strawberry.field(description="How far apart the moments are at which it was evaluated.")
    queries: list[str] = strawberry.field(description="What was asked of Prometheus.")
    services_left_out: int = strawberry.field(description="How many services it was not tried on, above 200.")


async def detection_trial(
    info: strawberry.Info[RequestContext],
    input: Annotated[CreateDetectionRuleInput, strawberry.argument(description="The rule. It is not kept.")],
    range: Annotated[TimeRange, strawberry.argument(description="When.")],
) -> DetectionTrial | None:
    """When the rule would have fired in the range."""
    trial = await try_rule(info.context, new_rule(input), range.from_, range.to)
    return cast("DetectionTrial", Plain(_shown(trial)))


def _shown(trial: Trial) -> DetectionTrial:
    names = [service.name for service in trial.measured.services]
    series = [(name, points_of(trial, index)) for index, name in enumerate(names)]
    return DetectionTrial(
        firings=[
            TriedFiring(
                service=names[firing.service],
                bad_since=DateTime(firing.began_at),
                fired_at=DateTime(firing.fired_at),
                ended_at=None if firing.ended_at is None else DateTime(firing.ended_at),
                value=firing.value,
                expected=firing.expected,
            )
            for firing in trial.firings
        ],
        series=[
            TriedSeries(service=name, points=cast("list[MetricPoint]", points))
            for name, points in series
            if any(value is not None for value in points.values)
        ],
        step_seconds=trial.grid.step,
        queries=list(trial.measured.queries),
        services_left_out=trial.left_out,
    )
