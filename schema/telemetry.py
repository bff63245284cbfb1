"""Metrics, as clients see them."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import strawberry

from domain.telemetry import GoldenSignal
from resolvers.context import RequestContext
from resolvers.telemetry import SignalSeries, golden_signals, incident_range
from schema.nodes import TimeRange
from schema.scalars import JSON, DateTime

T = TypeVar("T")

Signals = Annotated[
    list[GoldenSignal] | None,
    strawberry.argument(description="Which signals; rate, error ratio and p95 by default."),
]
StepSeconds = Annotated[
    int | None, strawberry.argument(description="Seconds from one point to the next, chosen to suit by default.")
]
Needed = strawberry.Parent[Mapping[str, Any]]


@strawberry.type(description="A value at a moment.")
class MetricPoint:
    """A value at a moment."""

    time: DateTime = strawberry.field(description="The moment.")
    value: float | None = strawberry.field(description="The value; null where there is none, or it is no number.")


@strawberry.type(description="A metric over time.")
class MetricSeries:
    """A metric over time."""

    name: str = strawberry.field(description="What it is called.")
    signal: GoldenSignal | None = strawberry.field(description="The golden signal that it is.")
    labels: JSON = strawberry.field(description="What tells it from others.")
    unit: str = strawberry.field(description="The unit of its values: s, 1/s or 1 for a ratio.")
    query: str = strawberry.field(description="The PromQL that it answers.")
    points: list[MetricPoint] = strawberry.field(description="Its values, oldest first.")


async def service_metrics(
    needed: Needed,
    info: strawberry.Info[RequestContext],
    range: Annotated[TimeRange, strawberry.argument(description="When.")],
    signals: Signals = strawberry.UNSET,
    step_seconds: StepSeconds = strawberry.UNSET,
) -> list[MetricSeries] | None:
    """The golden signals of the service with the needed `name`, `selector` and `instance`."""
    found = await golden_signals(
        info.context,
        {needed["name"]: needed["selector"]},
        {needed["name"]: needed["instance"]},
        _given(signals),
        start=range.from_,
        end=range.to,
        step_seconds=_given(step_seconds),
    )
    return [_metric_series(series) for series in found]


async def incident_metrics(
    needed: Needed,
    info: strawberry.Info[RequestContext],
    signals: Signals = strawberry.UNSET,
    range: Annotated[
        TimeRange | None,
        strawberry.argument(description="When; by default the time of the incident, with half an hour around it."),
    ] = strawberry.UNSET,
    step_seconds: StepSeconds = strawberry.UNSET,
) -> list[MetricSeries] | None:
    """The golden signals of the services with the needed `selectors` and `instances`."""
    start, end = (range.from_, range.to) if range else incident_range(needed, info.context.now)
    found = await golden_signals(
        info.context,
        needed["selectors"],
        needed["instances"],
        _given(signals),
        start=start,
        end=end,
        step_seconds=_given(step_seconds),
    )
    return [_metric_series(series) for series in found]


def _given(argument: T | None) -> T | None:
    return None if argument is strawberry.UNSET else argument


def _metric_series(found: SignalSeries) -> MetricSeries:
    """A golden signal as clients see it."""
    return MetricSeries(
        name=f"{found.service} {found.signal.value.lower()}",
        signal=found.signal,
        labels=JSON(dict(found.series.labels)),
        unit=found.signal.unit,
        query=found.query,
        points=[MetricPoint(time=DateTime(point.time), value=point.value) for point in found.series.points],
    )
