"""Reading the latest lines of services from Loki: in as few queries as LogQL allows, and each service its own share."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from domain.telemetry import LogLevel
from domain.time import Deadline
from engines.log_lines import level_of, trace_id_of, words_of
from telemetry_clients.errors import TelemetryError
from telemetry_clients.loki import MOST_LINES, Loki, logql
from telemetry_clients.loki.answers import LogLine, nanoseconds
from telemetry_clients.loki.groups import Group, Owners, selector_of
from telemetry_clients.loki.paging import Direction, LineKey, line_key
from telemetry_clients.services import Service

USUAL_LINES = 100

_MOST_PAGES = 10

# At least how many lines a page has, one after the other, where it holds lines that are not wanted: of other levels, or
# of services that have enough.
_WHERE_LEVELS_ARE_FOUND_HERE: Sequence[int] = (1, 250, 1_000, MOST_LINES)
_WHERE_SERVICES_SHARE: Sequence[int] = (1_000, MOST_LINES)

Lacking = Callable[[], tuple[str, int]]
"""Of which streams lines are lacking, and how many."""


@dataclass(frozen=True, slots=True)
class FoundLine:
    """A line with what it says about itself."""

    line: LogLine
    level: LogLevel
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class FoundLines:
    """Lines, the latest first, what one should know about them, and why those of some services are missing."""

    lines: tuple[FoundLine, ...] = ()
    warnings: tuple[str, ...] = ()
    failures: tuple[TelemetryError, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines: those that contain `search` as it stands, of one of these levels, in a range; at most `first`."""

    start: datetime
    end: datetime
    search: str | None = None
    levels: frozenset[LogLevel] | None = None
    first: int = USUAL_LINES

    def pipeline(self) -> str:
        """The LogQL behind a selector. Lines whose level Loki does not know pass, to be looked at here."""
        parts = []
        if self.search:
            parts.append(logql.containing(self.search))
        if self.levels is not None:
            words = [word for level in LogLevel if level in self.levels for word in words_of(level)]
            parts.append(logql.labelled("detected_level", f"(?i)({'|'.join(dict.fromkeys([*words, 'unknown']))})?"))
        return "".join(f" {part}" for part in parts)

    def found(self, line: LogLine) -> FoundLine | None:
        """A line with what it says about itself; None where it is of another level."""
        level = level_of(line.line, line.labels)
        if self.levels is not None and level not in self.levels:
            return None
        return FoundLine(line, level, trace_id_of(line.line, line.labels))

    def all_found(self, lines: Iterable[LogLine]) -> list[FoundLine]:
        """The lines of the wanted levels."""
        return [found for line in lines if (found := self.found(line)) is not None]


def latest(read: Sequence[FoundLines], wanted: Wanted) -> FoundLines:
    """What was read in several places as if it had been in one."""
    lines = sorted((line for found in read for line in found.lines), key=lambda each: -each.line.time_ns)
    warnings = dict.fromkeys(warning for found in read for warning in found.warnings)
    return FoundLines(tuple(lines[: wanted.first]), tuple(warnings))


async def read_together(loki: Loki, group: Group, wanted: Wanted, deadline: Deadline) -> FoundLines:
    """The latest lines of a group. Where levels are found out here, it takes as many pages as that needs."""
    lines: list[FoundLine] = []
    selector = selector_of(group.values())
    pages = _Pages(loki, wanted, deadline, lambda: (selector, wanted.first - len(lines)), _least(wanted))
    async with aclosing(pages.read()) as reading:
        async for page in reading:
            lines += wanted.all_found(page)
    return FoundLines(tuple(lines[: wanted.first]), pages.warnings)


async def read_each(
    loki: Loki, group: Group, wanted: Wanted, deadline: Deadline
) -> dict[Service, FoundLines | TelemetryError]:
    """The latest lines of each service. Those that have enough are left out of the pages that the others still need."""
    lines: dict[Service, list[FoundLine]] = {service: [] for service in group}
    owners = Owners(group)

    def lacking() -> tuple[str, int]:
        lacks = {service: wanted.first - len(found) for service, found in lines.items() if len(found) < wanted.first}
        return (selector_of(group[service] for service in lacks) if lacks else "", sum(lacks.values()))

    pages = _Pages(loki, wanted, deadline, lacking, _WHERE_SERVICES_SHARE if len(group) > 1 else _least(wanted))
    try:
        async with aclosing(pages.read()) as reading:
            async for page in reading:
                for line in page:
                    open_to = [service for service in owners.of(line.labels) if len(lines[service]) < wanted.first]
                    if open_to and (found := wanted.found(line)) is not None:
                        for service in open_to:
                            lines[service].append(found)
    except TelemetryError as error:
        return dict.fromkeys(group, error)
    return {
        service: FoundLines(tuple(found), pages.warnings if len(found) < wanted.first else ())
        for service, found in lines.items()
    }


class _Pages:
    """Pages of lines back from the end of the range, while something is lacking and there are not too many of them."""

    def __init__(self, loki: Loki, wanted: Wanted, deadline: Deadline, lacking: Lacking, least: Sequence[int]) -> None:
        self.warnings: tuple[str, ...] = ()
        self._loki = loki
        self._wanted = wanted
        self._deadline = deadline
        self._lacking = lacking
        self._least = least

    async def read(self) -> AsyncGenerator[Sequence[LogLine]]:
        """One page after the other. Raises TelemetryError."""
        end_ns = nanoseconds(self._wanted.end)
        seen: set[LineKey] = set()
        number = 0
        while (asked := self._lacking())[1] > 0:
            if number == _MOST_PAGES:
                self.warnings = (
                    f"There may be more: reading stopped after {number} pages of lines. "
                    "Narrow the range, the search or the levels.",
                )
                return
            selector, count = asked
            size = max(count, self._least[min(number, len(self._least) - 1)]) if self._least else count
            result = await self._loki.query_range(
                selector + self._wanted.pipeline(),
                start=self._wanted.start,
                end=end_ns,
                limit=min(MOST_LINES, size + len(seen)),
                direction=Direction.BACKWARD,
                deadline=self._deadline,
            )
            yield [line for line in result.lines if line_key(line) not in seen]
            if result.is_complete:
                return
            edge_ns = result.lines[-1].time_ns
            at_edge = {line_key(line) for line in result.lines if line.time_ns == edge_ns}
            seen = at_edge | seen if edge_ns + 1 == end_ns else at_edge
            end_ns = edge_ns + 1
            number += 1


def _least(wanted: Wanted) -> Sequence[int]:
    return () if wanted.levels is None else _WHERE_LEVELS_ARE_FOUND_HERE
