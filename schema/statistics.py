"""Incidents in numbers."""

from domain.incidents import Severity
from resolvers import sql
from schema.scalars import DateTime

TO_ACKNOWLEDGE = "extract(epoch from {it}.acknowledged_at - {it}.started_at)"
TO_RESOLVE = "extract(epoch from {it}.resolved_at - {it}.started_at)"


@sql.type()
class SeverityCount:
    """How many incidents of a severity."""

    severity: Severity = sql.expression("The severity.", "{it}.severity")
    count: int = sql.expression("How many.", "count({it}.id)")


@sql.type()
class IncidentBucket:
    """Incidents that started in a stretch of time."""

    started_at: DateTime = sql.expression("When the stretch begins.", "{it}_bucket.start")
    count: int = sql.expression("How many incidents started in it.", "count({it}.id)")
    mean_time_to_acknowledge_seconds: float | None = sql.expression(
        "MTTA of those that were acknowledged.", f"avg({TO_ACKNOWLEDGE})::double precision"
    )
    mean_time_to_resolve_seconds: float | None = sql.expression(
        "MTTR of those that were resolved.", f"avg({TO_RESOLVE})::double precision"
    )


@sql.type()
class IncidentStatistics:
    """Incidents that started in a time range, in numbers."""

    count: int = sql.expression("How many there were.", "count(*)")
    active_count: int = sql.expression(
        "How many of them are not resolved yet.", "count(*) filter (where {it}.status <> 'RESOLVED')"
    )
    mean_time_to_acknowledge_seconds: float | None = sql.expression(
        "MTTA: acknowledged minus started, on average, of those that were acknowledged.",
        f"avg({TO_ACKNOWLEDGE})::double precision",
    )
    mean_time_to_resolve_seconds: float | None = sql.expression(
        "MTTR: resolved minus started, on average, of those that were resolved.",
        f"avg({TO_RESOLVE})::double precision",
    )
    median_time_to_resolve_seconds: float | None = sql.expression(
        "Half of the resolved ones took less.",
        f"(percentile_cont(0.5) within group (order by {TO_RESOLVE}))::double precision",
    )
    by_severity: list[SeverityCount] = sql.groups(
        "By severity, the least severe first.", "incidents {it} where {scope}", "{it}.severity"
    )
    buckets: list[IncidentBucket] = sql.groups(
        "In stretches of `bucketSeconds`, by start, empty ones included.",
        "generate_series({from}, {to} - interval '1 microsecond', make_interval(secs => {bucket}))"
        " as {it}_bucket(start) left join incidents {it} on {it}.started_at >= {it}_bucket.start"
        " and {it}.started_at < {it}_bucket.start + make_interval(secs => {bucket}) and {scope}",
        "{it}_bucket.start",
    )
