"""What PromQL gives, for those who write it themselves."""

from typing import Annotated, cast

import strawberry

from domain.telemetry import PrometheusResultKind
from resolvers.context import RequestContext
from resolvers.metrics import evaluate
from resolvers.rendering import Plain
from schema.nodes import TimeRange
from schema.scalars import JSON, DateTime
from schema.telemetry import MetricPoint, StepSeconds, given, remark
from telemetry_clients.prometheus.samples import Series


@strawberry.type(description="How many observations lie between two bounds.")
class HistogramBucket:
    """How many observations lie between two bounds."""

    lower: float | None = strawberry.field(description="The lower bound; null where it is infinite.")
    upper: float | None = strawberry.field(description="The upper bound; null where it is infinite.")
    count: float = strawberry.field(description="How many observations.")
    includes_lower: bool = strawberry.field(description="Whether the lower bound itself belongs to it.")
    includes_upper: bool = strawberry.field(description="Whether the upper bound itself belongs to it.")


@strawberry.type(description="A native histogram at a moment.")
class NativeHistogram:
    """A native histogram at a moment."""

    time: DateTime = strawberry.field(description="The moment.")
    count: float = strawberry.field(description="How many observations it has.")
    sum: float | None = strawberry.field(description="Their sum; null where that is no number.")
    buckets: list[HistogramBucket] = strawberry.field(description="Its buckets, without the empty ones.")


@strawberry.type(description="A series, as Prometheus gave it.")
class PrometheusSeries:
    """A series, as Prometheus gave it."""

    labels: JSON = strawberry.field(description="Its labels, an object of strings.")
    points: list[MetricPoint] = strawberry.field(description="Its numbers, oldest first.")
    histograms: list[NativeHistogram] = strawberry.field(description="Its native histograms, oldest first.")


@strawberry.type(description="What PromQL gave.")
class PrometheusResult:
    """What PromQL gave."""

    kind: PrometheusResultKind = strawberry.field(description="What the expression gives.")
    series: list[PrometheusSeries] = strawberry.field(description="The series that it gave, if any.")
    text: str | None = strawberry.field(description="The text, of an expression that gives one.")
    step_seconds: int | None = strawberry.field(
        description="Seconds from one point to the next, as they were chosen; null without a range."
    )


async def prometheus_query(
    info: strawberry.Info[RequestContext],
    query: Annotated[str, strawberry.argument(description="PromQL.")],
    range: Annotated[TimeRange | None, strawberry.argument(description="When; now by default.")] = strawberry.UNSET,
    step_seconds: StepSeconds = strawberry.UNSET,
    instance: Annotated[
        str | None, strawberry.argument(description="The Prometheus to ask, where there are several.")
    ] = strawberry.UNSET,
) -> PrometheusResult | None:
    """What PromQL gives, now or over a range."""
    when = (range.from_, range.to) if range else None
    result, step = await evaluate(info.context, query, when, given(step_seconds), given(instance))
    remark(info, "Prometheus", result.warnings)
    found = PrometheusResult(
        kind=PrometheusResultKind(result.kind.upper()),
        series=[_series(series) for series in result.series],
        text=result.text,
        step_seconds=step,
    )
    return cast("PrometheusResult", Plain(found))


def _series(series: Series) -> PrometheusSeries:
    return PrometheusSeries(
        labels=JSON(dict(series.labels)),
        points=cast("list[MetricPoint]", series.points),
        histograms=cast("list[NativeHistogram]", series.histograms),
    )
