"""Fields that ask Loki for lines. What resolvers ask at the same time becomes one query wherever LogQL allows it."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from domain.errors import ValidationFailed
from domain.telemetry import LogLevel
from resolvers.context import RequestContext
from resolvers.log_reading import FoundLine, FoundLines, Wanted, latest, read_each, read_together
from resolvers.telemetry import all_of, answers_of, backend_deadline
from telemetry_clients.errors import TelemetryError
from telemetry_clients.loki import MOST_LINES, logql
from telemetry_clients.loki.answers import LogResult
from telemetry_clients.loki.groups import groups_of
from telemetry_clients.loki.paging import Direction
from telemetry_clients.loki.selectors import Streams
from telemetry_clients.prometheus import range_step_seconds
from telemetry_clients.services import Service


@dataclass(frozen=True, slots=True)
class LoggedService:
    """A service with what the catalog says of its logs: declared labels, and which Loki has them."""

    service: Service
    instance: str | None = None

    @classmethod
    def of(cls, name: str, selectors: Mapping[str, Any], instance: str | None = None) -> "LoggedService":
        """A service with its `selectors` as the catalog keeps them."""
        return cls(Service(name, tuple(sorted((selectors.get("loki") or {}).items()))), instance)


async def service_lines(context: RequestContext, asked: LoggedService, wanted: Wanted) -> FoundLines:
    """The latest lines of a service; one query for all services that are asked for at once.

    Raises TelemetryError, ValidationFailed.
    """
    require_range(wanted.start, wanted.end, context.now)
    require_first(wanted.first)
    loki = context.telemetry.loki.get(asked.instance)
    if wanted.levels == frozenset():
        return FoundLines()

    async def answer_all(services: Sequence[Service]) -> Mapping[Service, FoundLines | TelemetryError]:
        deadline = backend_deadline(context)
        names = context.telemetry.loki_selectors(asked.instance)
        streams = await names.streams(services, at=wanted.end, deadline=deadline)
        answers: dict[Service, FoundLines | TelemetryError] = {}
        for found in await all_of(read_each(loki, group, wanted, deadline) for group in groups_of(streams)):
            answers |= found
        return answers

    answer = await context.batcher.ask(("log lines", asked.instance, wanted), asked.service, answer_all)
    if isinstance(answer, TelemetryError):
        raise answer
    return answer


async def lines_of_all(context: RequestContext, services: Sequence[LoggedService], wanted: Wanted) -> FoundLines:
    """The latest lines of several services together. Raises TelemetryError, ValidationFailed."""
    require_range(wanted.start, wanted.end, context.now)
    require_first(wanted.first)
    by_instance: dict[str | None, list[Service]] = {}
    for each in services:
        by_instance.setdefault(each.instance, []).append(each.service)
    if not by_instance:
        context.telemetry.loki.get()  # It says so where there is none.
    if wanted.levels == frozenset():
        return FoundLines()
    read, failures = await answers_of(
        _lines_of(context, instance, some, wanted) for instance, some in by_instance.items()
    )
    return replace(latest(read, wanted), failures=failures)


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
            if (found := wanted.found(followed.line)) is not None:
                yield found, missed
                missed = 0


async def streams_of(context: RequestContext, asked: LoggedService, at: datetime) -> Streams:
    """The streams of a service at a time. Raises TelemetryError."""
    names = context.telemetry.loki_selectors(asked.instance)
    return (await names.streams([asked.service], at=at, deadline=backend_deadline(context)))[asked.service]


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


async def _lines_of(
    context: RequestContext, instance: str | None, services: Sequence[Service], wanted: Wanted
) -> FoundLines:
    loki = context.telemetry.loki.get(instance)
    deadline = backend_deadline(context)
    streams = await context.telemetry.loki_selectors(instance).streams(services, at=wanted.end, deadline=deadline)
    return latest(await all_of(read_together(loki, group, wanted, deadline) for group in groups_of(streams)), wanted)
