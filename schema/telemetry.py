"""Metrics, as clients see them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Protocol, TypeVar, cast

import strawberry

from domain.telemetry import GoldenSignal
from resolvers.context import Remark, RequestContext
from resolvers.metrics import MeasuredService, SignalSeries, golden_signals
from resolvers.rendering import Plain
from resolvers.telemetry import incident_range
from schema.nodes import TimeRange
from schema.scalars import JSON, DateTime
from telemetry_clients.errors import TelemetryError
from telemetry_clients.prometheus.samples import Point

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
    query: str = strawberry.field(description="The query that it answers, in PromQL, LogQL or TraceQL.")
    points: list[MetricPoint] = strawberry.field(description="Its values, oldest first.")


async def service_metrics(
    needed: Needed,
    info: strawberry.Info[RequestContext],
    range: Annotated[TimeRange, strawberry.argument(description="When.")],
    signals: Signals = strawberry.UNSET,
    step_seconds: StepSeconds = strawberry.UNSET,
) -> list[MetricSeries] | None:
    """The golden signals of the service with the needed `name`, `selectors` and `instance`."""
    services = [MeasuredService.of(needed["name"], needed["selectors"], needed["instance"])]
    return await _metrics(info, services, signals, range.from_, range.to, step_seconds)


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
    """The golden signals of the services with the needed `selectors` and `instances`, by name."""
    start, end = (range.from_, range.to) if range else incident_range(needed, info.context.now)
    instances = needed["instances"]
    services = [MeasuredService.of(name, selectors, instances[name]) for name, selectors in needed["selectors"].items()]
    return await _metrics(info, services, signals, start, end, step_seconds)


async def _metrics(
    info: strawberry.Info[RequestContext],
    services: Sequence[MeasuredService],
    signals: Signals,
    start: datetime,
    end: datetime,
    step_seconds: StepSeconds,
) -> list[MetricSeries]:
    wanted, step = given(signals), given(step_seconds)
    found = await golden_signals(info.context, services, wanted, start=start, end=end, step_seconds=step)
    remark(info, "Prometheus", found.warnings, found.failures)
    return cast("list[MetricSeries]", Plain([_ShownSeries(series) for series in found.series]))


class _Point(Protocol):
    """A value at a moment, as a backend gave it."""

    @property
    def time(self) -> datetime: ...
    @property
    def value(self) -> float | None: ...


def computed_series(query: str, labels: Mapping[str, str], points: Iterable[_Point]) -> MetricSeries:
    """What a metric query of somebody's own computed of lines or spans, as clients see it."""
    return MetricSeries(
        name=", ".join(f"{label}={value}" for label, value in sorted(labels.items())) or "value",
        signal=None,
        labels=JSON(dict(labels)),
        unit="1",
        query=query,
        points=[MetricPoint(time=DateTime(point.time), value=point.value) for point in points],
    )


def remark(
    info: strawberry.Info[RequestContext],
    backend: str,
    warnings: Iterable[str],
    failures: Iterable[TelemetryError] = (),
) -> None:
    """Let the answer tell what a backend remarked about the field, and why a part of the field's value is missing."""
    if not warnings and not failures:
        return
    path = tuple(info.path.as_list())
    remarks = [Remark(path, backend, warning) for warning in warnings]
    remarks += [Remark(path, failure.backend, failure.message, failure.code) for failure in failures]
    info.context.remarks.update(dict.fromkeys(remarks))


def given(argument: T | None) -> T | None:
    """An argument, None where it was left out."""
    return None if argument is strawberry.UNSET else argument


@dataclass(frozen=True, slots=True)
class _ShownSeries:
    """A golden signal with the attributes of a MetricSeries, each worked out when it is selected."""

    found: SignalSeries

    @property
    def name(self) -> str:
        return f"{self.found.service} {self.found.signal.lower()}"

    @property
    def signal(self) -> GoldenSignal:
        return self.found.signal

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.found.series.labels)

    @property
    def unit(self) -> str:
        return self.found.signal.unit

    @property
    def query(self) -> str:
        return self.found.ask()

    @property
    def points(self) -> Sequence[Point]:
        return self.found.series.points
