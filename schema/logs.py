"""Logs, as clients see them."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Any

import orjson
import strawberry

from domain.errors import NotFound
from domain.telemetry import LogLevel
from resolvers.compile import parameters
from resolvers.context import RequestContext
from resolvers.limits.weights import Weight
from resolvers.live import Told
from resolvers.log_patterns import USUAL_PATTERNS, LinePattern, service_patterns
from resolvers.log_reading import USUAL_LINES, FoundLine, FoundLines, Wanted
from resolvers.logs import LoggedService, followed_lines, lines_of_all, query_lines, service_lines
from resolvers.rendering import plain
from resolvers.telemetry import incident_range
from schema.nodes import TimeRange
from schema.scalars import JSON, DateTime
from schema.telemetry import MetricSeries, computed_series, given, remark
from telemetry_clients.loki import MOST_LINES

Needed = strawberry.Parent[Mapping[str, Any]]
Search = Annotated[str | None, strawberry.argument(description="Only lines that contain this text as it stands.")]
Levels = Annotated[list[LogLevel] | None, strawberry.argument(description="Only lines of one of these levels.")]
Range = Annotated[TimeRange, strawberry.argument(description="When.")]
First = Annotated[
    int | None, strawberry.argument(description="How many lines, the latest of them: 100 by default, at most 5000.")
]
LINES = Weight(base=20, row=0.02, rows=USUAL_LINES, sizes=("first",), most=MOST_LINES)


@strawberry.type(description="A line of a log.")
class LogEntry:
    """A line of a log."""

    time: DateTime = strawberry.field(description="When it was written.")
    line: str = strawberry.field(description="The line itself.")
    level: LogLevel = strawberry.field(description="How bad it says it is.")
    labels: JSON = strawberry.field(description="The labels of its stream, with its structured metadata.")
    trace_id: str | None = strawberry.field(description="The trace that it belongs to, where it names one.")


@strawberry.type(description="What lines of a log have in common that look alike.")
class LogPattern:
    """What lines of a log have in common that look alike."""

    template: str = strawberry.field(description="What is the same in all of them, with `<_>` for what varies.")
    count: int = strawberry.field(description="How many of the lines that were looked at.")
    first_seen_at: DateTime = strawberry.field(description="When the first of them was written.")
    last_seen_at: DateTime = strawberry.field(description="When the last of them was written.")
    level: LogLevel = strawberry.field(description="How bad they say they are.")
    sample: LogEntry = strawberry.field(description="One of them.")


@strawberry.type(description="Lines with the same labels.")
class LogStream:
    """Lines with the same labels."""

    labels: JSON = strawberry.field(description="The labels.")
    entries: list[LogEntry] = strawberry.field(description="The lines, the latest first.")


@strawberry.type(description="What a LogQL query returned: lines, or numbers that it computed of them.")
class LogQueryResult:
    """What a LogQL query returned."""

    streams: list[LogStream] | None = strawberry.field(description="The lines, of a query for lines.")
    series: list[MetricSeries] | None = strawberry.field(description="The numbers over time, of a metric query.")


async def service_logs(
    needed: Needed,
    info: strawberry.Info[RequestContext],
    range: Range,
    search: Search = strawberry.UNSET,
    level: Levels = strawberry.UNSET,
    first: First = strawberry.UNSET,
) -> list[LogEntry] | None:
    """The lines of the service with the needed `name`, `selectors` and `instance`."""
    service = LoggedService.of(needed["name"], needed["selectors"], needed["instance"])
    wanted = Wanted(range.from_, range.to, given(search), _levels(level), _first(first, USUAL_LINES))
    return _entries(info, await service_lines(info.context, service, wanted))


async def incident_logs(
    needed: Needed,
    info: strawberry.Info[RequestContext],
    search: Search = strawberry.UNSET,
    level: Levels = strawberry.UNSET,
    range: Annotated[
        TimeRange | None,
        strawberry.argument(description="When; by default the time of the incident, with half an hour around it."),
    ] = strawberry.UNSET,
    first: First = strawberry.UNSET,
) -> list[LogEntry] | None:
    """The lines of the services with the needed `selectors` and `instances`, by name."""
    start, end = (range.from_, range.to) if range else incident_range(needed, info.context.now)
    instances = needed["instances"]
    services = [LoggedService.of(name, selectors, instances[name]) for name, selectors in needed["selectors"].items()]
    wanted = Wanted(start, end, given(search), _levels(level), _first(first, USUAL_LINES))
    return _entries(info, await lines_of_all(info.context, services, wanted))


async def service_log_patterns(
    needed: Needed,
    info: strawberry.Info[RequestContext],
    range: Range,
    first: Annotated[
        int | None, strawberry.argument(description="How many, the most frequent of them: 20 by default.")
    ] = strawberry.UNSET,
    level: Levels = strawberry.UNSET,
) -> list[LogPattern] | None:
    """The patterns of the lines of the service with the needed `name`, `selectors` and `instance`."""
    service = LoggedService.of(needed["name"], needed["selectors"], needed["instance"])
    count = _first(first, USUAL_PATTERNS)
    found = await service_patterns(info.context, service, range.from_, range.to, count, _levels(level))
    return plain([_pattern(pattern) for pattern in found])


async def loki_query(
    info: strawberry.Info[RequestContext],
    query: Annotated[str, strawberry.argument(description="The LogQL.")],
    range: Range,
    first: First = strawberry.UNSET,
    instance: Annotated[
        str | None, strawberry.argument(description="The Loki to ask, where there are several.")
    ] = strawberry.UNSET,
) -> LogQueryResult | None:
    """What LogQL that somebody wrote returns."""
    count = _first(first, USUAL_LINES)
    found = await query_lines(info.context, query, range.from_, range.to, count, given(instance))
    if found.series is not None:
        series = [computed_series(query, each.labels, each.points) for each in found.series]
        return plain(LogQueryResult(streams=None, series=series))
    streams: dict[bytes, LogStream] = {}
    for line in Wanted(range.from_, range.to).all_found(found.lines):
        labels = dict(line.line.labels)
        key = orjson.dumps(labels, option=orjson.OPT_SORT_KEYS)
        streams.setdefault(key, LogStream(labels=JSON(labels), entries=[])).entries.append(_entry(line))
    return plain(LogQueryResult(streams=[*streams.values()], series=None))


async def tail_service(context: RequestContext, arguments: Mapping[str, Any]) -> AsyncGenerator[Told]:
    """The lines of the service with the name, or the id, `service`, as they are written."""
    found = orjson.loads(
        await context.read(
            "select coalesce((select json_build_object('name', name, 'selectors', selectors,"
            " 'instance', telemetry_instances->'loki') from services"
            " where lower(name) = lower($1) or id::text = $1 order by lower(name) = lower($1) desc limit 1),"
            " 'null')::text",
            [parameters.text(arguments["service"])],
        )
        or b"null"
    )
    if found is None:
        raise NotFound("service", arguments["service"], ["service"])
    service = LoggedService.of(found["name"], found["selectors"], found["instance"])
    levels = arguments.get("level")
    wanted = None if levels is None else frozenset(LogLevel(level) for level in levels)
    async with aclosing(followed_lines(context, service, arguments.get("search"), wanted)) as lines:
        async for line, missed in lines:
            yield Told(_entry(line), missed)


def _first(argument: int | None, usual: int) -> int:
    wanted = given(argument)
    return usual if wanted is None else wanted


def _levels(argument: Sequence[LogLevel] | None) -> frozenset[LogLevel] | None:
    wanted = given(argument)
    return None if wanted is None else frozenset(wanted)


def _entries(info: strawberry.Info[RequestContext], found: FoundLines) -> list[LogEntry]:
    remark(info, "Loki", found.warnings, found.failures)
    return plain([_entry(line) for line in found.lines])


def _entry(found: FoundLine) -> LogEntry:
    line = found.line
    return LogEntry(
        time=DateTime(line.time),
        line=line.line,
        level=found.level,
        labels=JSON(dict(line.labels)),
        trace_id=found.trace_id,
    )


def _pattern(found: LinePattern) -> LogPattern:
    return LogPattern(
        template=found.template,
        count=found.count,
        first_seen_at=DateTime(found.first_seen_at),
        last_seen_at=DateTime(found.last_seen_at),
        level=found.level,
        sample=_entry(found.sample),
    )
