"""What Tempo tells those who write TraceQL."""

from typing import Annotated

import strawberry

from domain.permissions import TELEMETRY_QUERY
from resolvers.compile.permissions import PERMISSION
from resolvers.context import RequestContext
from resolvers.limits.weights import BACKEND_CALL, Weight, costing
from resolvers.rendering import plain
from resolvers.traceql import MOST_VALUES, USUAL_VALUES, evaluate, tags_of_spans, values_of_tag
from schema.nodes import TimeRange
from schema.telemetry import MetricSeries, StepSeconds, computed_series, given

Range = Annotated[TimeRange, strawberry.argument(description="When.")]
Instance = Annotated[str | None, strawberry.argument(description="Which Tempo to ask, where there are several.")]
VALUES = Weight(base=20, row=0.02, rows=USUAL_VALUES, sizes=("first",), most=MOST_VALUES)


@strawberry.type(description="The attributes of one scope that spans have.")
class TraceTags:
    """The attributes of one scope that spans have."""

    scope: str = strawberry.field(description="What they belong to: resource, span, event, intrinsic and so on.")
    names: list[str] = strawberry.field(description="Their names, without the scope.")


@strawberry.type(description="A value that an attribute has.")
class TraceTagValue:
    """A value that an attribute has."""

    value: str = strawberry.field(description="The value, as text.")
    type: str = strawberry.field(
        description="How TraceQL writes it: string (in quotes), int, float, bool, duration or keyword."
    )


@strawberry.type(description="What a TraceQL metric gave.")
class TraceMetrics:
    """What a TraceQL metric gave."""

    series: list[MetricSeries] = strawberry.field(description="Its numbers over time, by labels.")
    step_seconds: int = strawberry.field(description="Seconds from one point to the next, as they were chosen.")


@strawberry.type
class TraceQLQueries:
    """Traces for those who write TraceQL, beside the search itself."""

    @strawberry.field(
        description="The names of the attributes that spans have, by scope, from Tempo.",
        metadata={PERMISSION: TELEMETRY_QUERY, **costing(BACKEND_CALL)},
    )
    async def trace_tags(
        self, info: strawberry.Info[RequestContext], range: Range, instance: Instance = strawberry.UNSET
    ) -> list[TraceTags] | None:
        """The names of the attributes that spans have."""
        found = await tags_of_spans(info.context, range.from_, range.to, given(instance))
        return plain([TraceTags(scope=scope, names=[*names]) for scope, names in found.scopes.items()])

    @strawberry.field(
        description="The values of an attribute of spans, in their order, from Tempo.",
        metadata={PERMISSION: TELEMETRY_QUERY, **costing(VALUES)},
    )
    async def trace_tag_values(
        self,
        info: strawberry.Info[RequestContext],
        tag: Annotated[str, strawberry.argument(description="Its name with its scope, as in `resource.service.name`.")],
        range: Range,
        query: Annotated[
            str | None, strawberry.argument(description="Only of spans that meet this, in TraceQL; of all by default.")
        ] = strawberry.UNSET,
        first: Annotated[
            int | None,
            strawberry.argument(description=f"How many: {USUAL_VALUES} by default, at most {MOST_VALUES}."),
        ] = strawberry.UNSET,
        instance: Instance = strawberry.UNSET,
    ) -> list[TraceTagValue] | None:
        """The values of an attribute of spans."""
        wanted = given(first)
        found = await values_of_tag(
            info.context,
            tag,
            given(query),
            range.from_,
            range.to,
            first=USUAL_VALUES if wanted is None else wanted,
            instance=given(instance),
        )
        return plain([TraceTagValue(value=each.value, type=each.type) for each in found])

    @strawberry.field(
        description="What a metric in TraceQL gives over a range, from Tempo.",
        metadata={PERMISSION: TELEMETRY_QUERY, **costing(BACKEND_CALL)},
    )
    async def trace_metrics(
        self,
        info: strawberry.Info[RequestContext],
        query: Annotated[
            str,
            strawberry.argument(
                description="In TraceQL, as in `{ status = error } | rate() by (resource.service.name)`."
            ),
        ],
        range: Range,
        step_seconds: StepSeconds = strawberry.UNSET,
        instance: Instance = strawberry.UNSET,
    ) -> TraceMetrics | None:
        """What a metric of spans gives."""
        found, step = await evaluate(info.context, query, range.from_, range.to, given(step_seconds), given(instance))
        series = [computed_series(query, each.labels, each.points) for each in found]
        return plain(TraceMetrics(series=series, step_seconds=step))
