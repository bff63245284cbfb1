"""Fields that ask Loki for lines. What resolvers ask at the same time becomes one query wherever LogQL allows it."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.errors import ValidationFailed
from domain.telemetry import LogLevel
from domain.time import Deadline
from engines.log_lines import level_of, trace_id_of, words_of
from resolvers.context import RequestContext
from resolvers.metrics import in_parallel
from resolvers.telemetry import backend_deadline
from telemetry_clients import logql
from telemetry_clients.errors import TelemetryError
from telemetry_clients.loki import MOST_LINES, Loki
from telemetry_clients.loki_answers import LogLine, LogResult, nanoseconds
from telemetry_clients.loki_paging import Direction, LineKey, line_key
from telemetry_clients.loki_selectors import Service, Streams
from telemetry_clients.prometheus import range_step_seconds

USUAL_LINES = 100
_MOST_PAGES = 10
_SERVICES_PER_QUERY = 500

# At least how many lines a page has, one after the other, where it holds lines that are not wanted: of other levels, or
# of services that have enough.
_MORE_WHERE_LEVELS_ARE_FOUND_HERE: Sequence[int] = (1, 250, 1_000, MOST_LINES)
_MORE_WHERE_SERVICES_SHARE: Sequence[int] = (1_000, MOST_LINES)


@dataclass(frozen=True, slots=True)
class LoggedService:
    """A service with what the catalog says of its logs: declared labels, and which Loki has them."""

    service: Service
    instance: str | None = None

    @classmethod
    def of(cls, name: str, selectors: Mapping[str, Any], instance: str | None = None) -> "LoggedService":
        """A service with its `selectors` as the catalog keeps them."""
        return cls(Service(name, tuple(sorted((selectors.get("loki") or {}).items()))), instance)


@dataclass(frozen=True, slots=True)
class FoundLine:
    """A line with what it says about itself."""

    line: LogLine
    level: LogLevel
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines: those that contain `search` as it stands, of one of these levels, in a range; at most `first`."""

    start: datetime
    end: datetime
    search: str | None = None
    levels: frozenset[LogLevel] | None = None
    first: int = USUAL_LINES

    def require_sense(self, now: datetime) -> None:
        """Raises ValidationFailed for a range that is none or lies ahead, and for no or too many lines."""
        require_range(self.start, self.end, now)
        require_first(self.first)

    def pipeline(self) -> str:
        """The LogQL behind a selector. Lines whose level Loki does not know pass, to be looked at here."""
        parts = []
        if self.search:
            parts.append(logql.containing(self.search))
        if self.levels is not None:
            words = [word for level in LogLevel if level in self.levels for word in words_of(level)]
            parts.append(logql.labelled("detected_level", f"(?i)({'|'.join(dict.fromkeys([*words, 'unknown']))})?"))
        return "".join(f" {part}" for part in parts)

    def found(self, lines: Iterable[LogLine]) -> list[FoundLine]:
        """The lines of the wanted levels."""
        looked_at = (FoundLine(line, level_of(line.line, line.labels), None) for line in lines)
        return [
            FoundLine(found.line, found.level, trace_id_of(found.line.line, found.line.labels))
            for found in looked_at
            if self.levels is None or found.level in self.levels
        ]


def require_range(start: datetime, end: datetime, now: datetime) -> None:
    """Raises ValidationFailed for a range that ends before it starts, or that is yet to come."""
    if start >= end:
        raise ValidationFailed("`range.from` must lie before `range.to`", ["range"])
    if start > now:
        raise ValidationFailed("`range.from` lies in the future: nothing has been written yet", ["range", "from"])


def require_first(first: int) -> None:
    """Raises ValidationFailed for no or too many lines."""
    if not 1 <= first <= MOST_LINES:
        raise ValidationFailed(f"`first` must be 1 to {MOST_LINES}", ["first"])


async def service_lines(context: RequestContext, asked: LoggedService, wanted: Wanted) -> list[FoundLine]:
    """The latest lines of a service, the latest first; one query for all services that are asked for at once.

    Raises TelemetryError, ValidationFailed.
    """
    wanted.require_sense(context.now)
    if wanted.levels == frozenset():
        return []
    loki = context.telemetry.loki.get(asked.instance)

    async def answer_all(services: Sequence[Service]) -> Mapping[Service, list[FoundLine] | TelemetryError]:
        deadline = backend_deadline(context)
        names = context.telemetry.loki_selectors(asked.instance)
        streams = await names.streams(services, at=wanted.end, deadline=deadline)
        answers: dict[Service, list[FoundLine] | TelemetryError] = {}
        for found in await in_parallel(_read_each(loki, group, wanted, deadline) for group in _groups(streams)):
            answers |= found
        return answers

    answer = await context.batcher.ask(("log lines", asked.instance, wanted), asked.service, answer_all)
    if isinstance(answer, TelemetryError):
        raise answer
    return answer


async def lines_of_all(context: RequestContext, services: Sequence[LoggedService], wanted: Wanted) -> list[FoundLine]:
    """The latest lines of several services together, the latest first. Raises TelemetryError, ValidationFailed."""
    wanted.require_sense(context.now)
    by_instance: dict[str | None, list[Service]] = {}
    for each in services:
        by_instance.setdefault(each.instance, []).append(each.service)
    if not by_instance:
        context.telemetry.loki.get()  # It says so where there is none.
    if wanted.levels == frozenset():
        return []
    read = await in_parallel(_lines_of(context, instance, some, wanted) for instance, some in by_instance.items())
    return _latest(read, wanted)


async def _lines_of(
    context: RequestContext, instance: str | None, services: Sequence[Service], wanted: Wanted
) -> list[FoundLine]:
    loki = context.telemetry.loki.get(instance)
    deadline = backend_deadline(context)
    streams = await context.telemetry.loki_selectors(instance).streams(services, at=wanted.end, deadline=deadline)
    groups = [*_groups(streams)]
    return _latest(await in_parallel(_read(loki, _selector(group), wanted, deadline) for group in groups), wanted)


def _latest(read: Iterable[Iterable[FoundLine]], wanted: Wanted) -> list[FoundLine]:
    found = (line for lines in read for line in lines)
    return sorted(found, key=lambda each: each.line.time_ns, reverse=True)[: wanted.first]


async def query_lines(
    context: RequestContext, query: str, start: datetime, end: datetime, first: int, instance: str | None
) -> LogResult:
    """What LogQL that somebody wrote gives over a range. Raises TelemetryError, ValidationFailed."""
    if not query.strip():
        raise ValidationFailed("`query` must not be empty", ["query"])
    require_range(start, end, context.now)
    require_first(first)
    return await context.telemetry.loki.get(instance).query_range(
        query,
        start=start,
        end=end,
        limit=first,
        direction=Direction.BACKWARD,
        step_seconds=range_step_seconds(start, end),
        deadline=backend_deadline(context),
    )


async def followed_lines(
    context: RequestContext, asked: LoggedService, search: str | None, levels: frozenset[LogLevel] | None
) -> AsyncGenerator[tuple[FoundLine, int]]:
    """The lines of a service as they are written, each with how many before it were left out. Raises TelemetryError."""
    loki = context.telemetry.loki.get(asked.instance)
    streams = await streams_of(context, asked, context.now)
    wanted = Wanted(context.now, context.now, search, levels)
    query = logql.selector(dict(streams.values)) + wanted.pipeline()
    missed = 0
    async with aclosing(context.log_tails.follow(loki, query)) as lines:
        async for followed in lines:
            missed += followed.missed
            for found in wanted.found([followed.line]):
                yield found, missed
                missed = 0


async def streams_of(context: RequestContext, asked: LoggedService, at: datetime) -> Streams:
    """The streams of a service at a time. Raises TelemetryError."""
    names = context.telemetry.loki_selectors(asked.instance)
    return (await names.streams([asked.service], at=at, deadline=backend_deadline(context)))[asked.service]


Group = Mapping[Service, Streams]
Lacking = Callable[[], tuple[str, int]]
"""Of which streams lines are lacking, and how many."""


def _groups(streams: Group) -> list[Group]:
    """Services that are told apart by the values of one label are asked for together; any others by themselves."""
    groups: list[dict[Service, Streams]] = []
    by_label: dict[str, dict[Service, Streams]] = {}
    for service, each in streams.items():
        if len(each.values) != 1:
            groups.append({service: each})
            continue
        label = each.values[0][0]
        group = by_label.get(label)
        if group is None or len(group) >= _SERVICES_PER_QUERY:
            group = by_label[label] = {}
            groups.append(group)
        group[service] = each
    return [*groups]


def _selector(group: Group) -> str:
    values: dict[str, list[str]] = {}
    for streams in group.values():
        for label, meant in streams.values:
            values.setdefault(label, []).extend(meant)
    return logql.selector(values)


async def _read(loki: Loki, selector: str, wanted: Wanted, deadline: Deadline) -> list[FoundLine]:
    """The latest lines of some streams. Where levels are found out here, it takes as many pages as that needs."""
    found: list[FoundLine] = []

    def lacking() -> tuple[str, int]:
        return selector, wanted.first - len(found)

    least = () if wanted.levels is None else _MORE_WHERE_LEVELS_ARE_FOUND_HERE
    async for page in _pages(loki, wanted, deadline, lacking, least):
        found += wanted.found(page)
    return found[: wanted.first]


async def _read_each(
    loki: Loki, group: Group, wanted: Wanted, deadline: Deadline
) -> dict[Service, list[FoundLine] | TelemetryError]:
    """The latest lines of each service. Those that have enough are left out of the pages that the others still need."""
    found: dict[Service, list[FoundLine]] = {service: [] for service in group}

    def lacking() -> tuple[str, int]:
        lacks = {service: wanted.first - len(lines) for service, lines in found.items() if len(lines) < wanted.first}
        return (_selector({service: group[service] for service in lacks}) if lacks else "", sum(lacks.values()))

    if len(group) > 1:
        least = _MORE_WHERE_SERVICES_SHARE
    else:
        least = () if wanted.levels is None else _MORE_WHERE_LEVELS_ARE_FOUND_HERE
    try:
        async for page in _pages(loki, wanted, deadline, lacking, least):
            for line in wanted.found(page):
                for service, streams in group.items():
                    if streams.holds(line.line.labels) and len(found[service]) < wanted.first:
                        found[service].append(line)
    except TelemetryError as error:
        return dict.fromkeys(group, error)
    return {**found}


async def _pages(
    loki: Loki, wanted: Wanted, deadline: Deadline, lacking: Lacking, least: Sequence[int]
) -> AsyncGenerator[Sequence[LogLine]]:
    """Pages of lines back from the end of the range, while `lacking` says of which streams and how many are lacking."""
    end_ns = nanoseconds(wanted.end)
    seen: set[LineKey] = set()
    for number in range(_MOST_PAGES):
        selector, count = lacking()
        if count <= 0:
            return
        size = max(count, least[min(number, len(least) - 1)]) if least else count
        result = await loki.query_range(
            selector + wanted.pipeline(),
            start=wanted.start,
            end=end_ns,
            limit=min(MOST_LINES, size + len(seen)),
            direction=Direction.BACKWARD,
            deadline=deadline,
        )
        yield [line for line in result.lines if line_key(line) not in seen]
        if result.is_complete:
            return
        edge_ns = result.lines[-1].time_ns
        seen = {line_key(line) for line in result.lines if line.time_ns == edge_ns} | (
            seen if edge_ns + 1 == end_ns else set()
        )
        end_ns = edge_ns + 1
