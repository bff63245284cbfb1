"""What Tempo tells those who write TraceQL: which attributes spans have, with which values, and numbers over time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from domain.errors import ValidationFailed
from resolvers.context import RequestContext
from resolvers.metrics import require_range
from resolvers.telemetry import backend_deadline
from resolvers.traces import require_searchable
from telemetry_clients.prometheus import range_step_seconds
from telemetry_clients.tempo import MetricSeries, Tags, TagValue

USUAL_VALUES: Final = 500
MOST_VALUES: Final = 5_000


async def tags_of_spans(context: RequestContext, start: datetime, end: datetime, instance: str | None) -> Tags:
    """The names of the attributes that spans of a range have. Raises TelemetryError, ValidationFailed."""
    require_searchable(start, end, context.now)
    tempo = context.telemetry.tempo.get(instance)
    return await tempo.tags(start=start, end=end, deadline=backend_deadline(context))


async def values_of_tag(
    context: RequestContext,
    tag: str,
    query: str | None,
    start: datetime,
    end: datetime,
    *,
    first: int,
    instance: str | None,
) -> Sequence[TagValue]:
    """The values of an attribute on spans that meet a query, in order. Raises TelemetryError, ValidationFailed."""
    require_searchable(start, end, context.now)
    if not 1 <= first <= MOST_VALUES:
        raise ValidationFailed(f"`first` must be 1 to {MOST_VALUES}", ["first"])
    if query is not None:
        _require_query(query)
    tempo = context.telemetry.tempo.get(instance)
    deadline = backend_deadline(context)
    return (await tempo.tag_values(tag, query=query, start=start, end=end, deadline=deadline))[:first]


async def evaluate(
    context: RequestContext,
    query: str,
    start: datetime,
    end: datetime,
    step_seconds: int | None,
    instance: str | None,
) -> tuple[Sequence[MetricSeries], int]:
    """What a TraceQL metric that somebody wrote gives over a range, and the step that was taken.

    Raises TelemetryError, ValidationFailed.
    """
    _require_query(query)
    require_range(start, end, step_seconds, context.now)
    step = range_step_seconds(start, end, step_seconds)
    tempo = context.telemetry.tempo.get(instance)
    deadline = backend_deadline(context)
    return await tempo.query_range(query, start=start, end=end, step_seconds=step, deadline=deadline), step


def _require_query(query: str) -> None:
    if not query.strip():
        raise ValidationFailed("`query` must not be empty", ["query"])
