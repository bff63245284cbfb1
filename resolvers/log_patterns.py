"""Lines of a service in groups that look alike: as Loki finds them, or found here where it does not look."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.telemetry import LogLevel
from engines.log_lines import level_named
from engines.log_templates import ANYTHING, LogTemplates, looks_like
from resolvers.context import RequestContext
from resolvers.log_reading import FoundLine, Wanted
from resolvers.logs import LoggedService, require_first, require_range, service_lines, streams_of
from resolvers.telemetry import backend_deadline
from telemetry_clients.loki import logql
from telemetry_clients.loki.answers import Pattern

USUAL_PATTERNS = 20
LOOKED_AT_LINES = 2_000
"""How many of the latest lines of a service are looked at where Loki finds no patterns by itself."""

_SAMPLED_LINES = 500
_LINES_AT_A_TIME = 500
_LONGEST_PATTERN = 1_000


@dataclass(frozen=True, slots=True)
class LinePattern:
    """What some lines have in common, how often they were written and when, and one of them."""

    template: str
    level: LogLevel
    count: int
    first_seen_at: datetime
    last_seen_at: datetime
    sample: FoundLine


async def service_patterns(
    context: RequestContext,
    service: LoggedService,
    start: datetime,
    end: datetime,
    first: int,
    levels: frozenset[LogLevel] | None,
) -> list[LinePattern]:
    """The patterns of a service's lines, the most frequent first. Those of some levels are always found here.

    Raises TelemetryError, ValidationFailed.
    """
    require_range(start, end, context.now)
    require_first(first)
    if levels is None:
        found = await _lokis_own(context, service, start, end)
        if found:
            return await _with_samples(context, service, start, end, found[:first])
    lines = await service_lines(context, service, Wanted(start, end, None, levels, LOOKED_AT_LINES))
    return (await _found_here(lines.lines))[:first]


async def _lokis_own(
    context: RequestContext, service: LoggedService, start: datetime, end: datetime
) -> list[tuple[Pattern, int]]:
    """The patterns that Loki knows, with their counts; none where it does not look for any, or no longer knows."""
    loki = context.telemetry.loki.get(service.instance)
    streams = await streams_of(context, service, end)
    deadline = backend_deadline(context)
    patterns = await loki.patterns(logql.selector(dict(streams.values)), start=start, end=end, deadline=deadline)
    counted = ((pattern, sum(count for _, count in pattern.samples)) for pattern in patterns or ())
    return sorted(
        ((pattern, count) for pattern, count in counted if count > 0), key=lambda each: (-each[1], each[0].template)
    )


async def _with_samples(
    context: RequestContext,
    service: LoggedService,
    start: datetime,
    end: datetime,
    found: Sequence[tuple[Pattern, int]],
) -> list[LinePattern]:
    """The patterns with a line each: of the latest lines, or else of the latest that Loki finds to look like them.

    A pattern of which no line is left to see is left out.
    """
    lines = await service_lines(context, service, Wanted(start, end, None, None, _SAMPLED_LINES))
    samples = _samples([pattern for pattern, _ in found], lines.lines)
    lacking = [pattern for pattern, _ in found if pattern.template not in samples]
    if lacking:
        samples |= await _older_samples(context, service, start, end, lacking)
    return [
        LinePattern(
            pattern.template,
            _level(pattern, samples[pattern.template]),
            count,
            pattern.samples[0][0],
            pattern.samples[-1][0],
            samples[pattern.template],
        )
        for pattern, count in found
        if pattern.template in samples
    ]


async def _older_samples(
    context: RequestContext, service: LoggedService, start: datetime, end: datetime, patterns: Sequence[Pattern]
) -> dict[str, FoundLine]:
    loki = context.telemetry.loki.get(service.instance)
    streams = await streams_of(context, service, end)
    deadline = backend_deadline(context)
    alike = [pattern.template for pattern in patterns if len(pattern.template) <= _LONGEST_PATTERN]
    if not alike:
        return {}
    query = f"{logql.selector(dict(streams.values))} {logql.like(alike)}"
    result = await loki.query_range(query, start=start, end=end, limit=_SAMPLED_LINES, deadline=deadline)
    return _samples(patterns, Wanted(start, end).all_found(result.lines))


def _samples(patterns: Sequence[Pattern], lines: Iterable[FoundLine]) -> dict[str, FoundLine]:
    """The first line that looks like each pattern, by its template."""
    lacking = {pattern.template: pattern.template.split(ANYTHING) for pattern in patterns}
    found: dict[str, FoundLine] = {}
    for line in lines:
        for template in [template for template, parts in lacking.items() if looks_like(line.line.line, parts)]:
            found[template] = line
            del lacking[template]
        if not lacking:
            break
    return found


def _level(pattern: Pattern, sample: FoundLine) -> LogLevel:
    level = level_named(pattern.level)
    return sample.level if level is LogLevel.UNKNOWN else level


async def _found_here(lines: Sequence[FoundLine]) -> list[LinePattern]:
    """The patterns of lines, the oldest line first, so that the same lines of a longer range give the same ones."""
    templates = LogTemplates()
    samples: dict[str, FoundLine] = {}
    for i, found in enumerate(reversed(lines)):
        if i % _LINES_AT_A_TIME == 0:
            await asyncio.sleep(0)  # Others get their turn.
        template = templates.add(found.line.time, found.line.line, found.level)
        samples.setdefault(template.id, found)
    return [
        LinePattern(
            template.text,
            template.level,
            template.count,
            template.first_seen_at,
            template.last_seen_at,
            samples[template.id],
        )
        for template in templates
    ]
