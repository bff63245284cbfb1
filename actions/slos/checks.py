"""What Prometheus says of an objective before it is saved: whether its queries run, and give what they should."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from domain.errors import ValidationFailed
from domain.objectives import Composite, LatencyIndicator, ObjectiveDefinition
from domain.time import Deadline
from engines.slo.batches import Question, answers, exceeding, query
from engines.slo.checks import checked_definition, remarks, require_scrapes
from engines.slo.indicators import bucket_bounds, events, histogram_part
from telemetry_clients.errors import TelemetryBadQuery, TelemetryError, TelemetryLimited, TelemetryTimeout
from telemetry_clients.prometheus import Prometheus, QueryResult

LONGEST_QUERY_SECONDS: Final = 10.0
_MARGIN_SECONDS: Final = 0.5
_SIGN_OF_LIFE_SECONDS: Final = 1.0


async def check(
    given: ObjectiveDefinition,
    prometheus: Prometheus | None,
    *,
    scrape_interval_seconds: float,
    now: datetime,
    deadline: Deadline,
) -> list[str]:
    """What is allowed and probably not meant, said to whoever saves the objective.

    Raises ValidationFailed for what can never be evaluated. Without Prometheus, or while it is away, the objective can
    be saved all the same, and what it would have been asked is said.
    """
    definition = checked_definition(given)
    require_scrapes(definition, scrape_interval_seconds)
    said = remarks(definition)
    if prometheus is None or isinstance(definition.indicator, Composite):
        return said
    allowed = Deadline.after(max(min(LONGEST_QUERY_SECONDS, deadline.remaining_seconds() - _MARGIN_SECONDS), 0.001))
    try:
        if isinstance(definition.indicator, LatencyIndicator) and not definition.indicator.is_native:
            said += await _bucket_remarks(prometheus, definition.indicator, now, allowed)
        said += await _query_remarks(prometheus, definition, now, allowed)
    except (TelemetryBadQuery, TelemetryLimited) as error:
        raise ValidationFailed(error.message, ("indicator",)) from error
    except TelemetryTimeout as error:
        if await _is_alive(prometheus):
            message = f"The queries took longer than {LONGEST_QUERY_SECONDS:g} s: let a recording rule do their work"
            raise ValidationFailed(message, ("indicator",)) from error
        said.append(_unchecked(error))
    except TelemetryError as error:
        said.append(_unchecked(error))
    return said


async def _query_remarks(
    prometheus: Prometheus, definition: ObjectiveDefinition, now: datetime, deadline: Deadline
) -> list[str]:
    if isinstance(definition.indicator, Composite):
        return []
    seconds = definition.budgeting.slice_seconds
    question = Question(0, events(definition.indicator, seconds, group_by=definition.group_by), definition.group_by)
    result = await prometheus.query(query([question]), at=now, deadline=deadline)
    answer = answers([question], _samples(result))[0]
    if isinstance(answer, ValidationFailed):
        raise ValidationFailed(answer.message, ("indicator",))
    if not answer.total:
        return [
            f"The total query returned nothing for the last {seconds} s: until there is something to count, "
            "the status will be NO_DATA."
        ]
    word = "good" if question.events.part_is_good else "bad"
    if (wrong := exceeding(answer)) is not None:
        raise ValidationFailed(
            f"The {word} query counted {wrong[0]:g} events and the total query only {wrong[1]:g}: "
            f"{word} events have to be among all events",
            ("indicator",),
        )
    missing = [name for name in definition.group_by if any(name not in one.labels for one in result.series)]
    if missing:
        raise ValidationFailed(
            f"The queries return no label {missing[0]}: keep it, for example with sum by ({missing[0]}) (...)",
            ("groupBy",),
        )
    return []


async def _bucket_remarks(
    prometheus: Prometheus, indicator: LatencyIndicator, now: datetime, deadline: Deadline
) -> list[str]:
    """Nothing, when the threshold is the bound of a bucket, or there are none yet. Raises ValidationFailed."""
    buckets = histogram_part(indicator.histogram, "_bucket")
    result = await prometheus.query(f"count by (le) ({buckets})", at=now, deadline=deadline)
    bounds = [series.labels.get("le", "") for series in result.series]
    if not bounds:
        return [f"There are no buckets {buckets} yet, so the threshold could not be compared with them."]
    if set(bucket_bounds(indicator.threshold_seconds)) & set(bounds):
        return []
    threshold = float(indicator.threshold_seconds)
    sizes = sorted(float(bound) for bound in bounds)
    below = [size for size in sizes if size < threshold]
    above = [size for size in sizes if size > threshold]
    neighbours = [f"{size:g}" for size in (*below[-1:], *above[:1])]
    raise ValidationFailed(
        f"No bucket ends at {threshold:g} s, so nobody can tell which requests were faster. "
        f"The nearest thresholds are {' and '.join(neighbours)} s",
        ("indicator", "thresholdSeconds"),
    )


async def _is_alive(prometheus: Prometheus) -> bool:
    try:
        await prometheus.build_info(deadline=Deadline.after(_SIGN_OF_LIFE_SECONDS))
    except TelemetryError:
        return False
    return True


def _unchecked(error: TelemetryError) -> str:
    return f"Its queries could not be tried: {error.message}"


def _samples(result: QueryResult) -> Sequence[tuple[dict[str, str], list[tuple[float, float | None]]]]:
    return [
        (dict(series.labels), [(point.time.timestamp(), point.value) for point in series.points])
        for series in result.series
    ]
