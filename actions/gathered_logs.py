"""Patterns in the logs of services around an incident, and how often each was written, from Loki.

Loki counts the lines, however many there are, and gives some of them: a bounded sample of each slice of the window, in
which templates are found (Drain). Where a slice has more lines than the sample, the templates' shares of the sample
divide what Loki has counted; a Loki that looks for patterns itself has counted them (`counted_patterns.py`).
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actions.answers import answered
from actions.counted_patterns import Buckets, patterns_of, recounted
from actions.surroundings import NearService, Surroundings
from domain.telemetry import DEFAULT_INSTANCE, LogLevel, TelemetryBackend
from domain.text import without_nul
from domain.time import Deadline
from engines.correlation.evidence import Gap, LogPattern, Source
from engines.correlation.trace_digest import LinkedLine
from engines.log_lines import level_named, level_of, trace_id_of, words_of
from engines.log_templates import ANYTHING, LogTemplate, LogTemplates
from telemetry_clients.instances import Telemetry
from telemetry_clients.loki import Loki, logql
from telemetry_clients.loki.answers import LogLine
from telemetry_clients.loki.groups import Group, Owners, groups_of, selector_of
from telemetry_clients.services import Service

BUCKET_SECONDS: Final = 60

_BASELINE_SLICE_SECONDS: Final = 600
_FAULT_SLICE_SECONDS: Final = 300
_SAMPLED_LINES: Final = 1_000
_MOST_PATTERNS: Final = 80
_SAMPLE_CHARACTERS: Final = 500
_SHORTEST_PART: Final = 4
_LINES_AT_A_TIME: Final = 500
_BAD: Final = frozenset({LogLevel.ERROR, LogLevel.FATAL})

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class GatheredLogs:
    """Patterns with their counts in all buckets that start at `times`, of which those that are `covered` are known.

    `lines` are those that say to which trace they belong, by its id.
    """

    times: NDArray[np.float64]
    covered: NDArray[np.bool_]
    patterns: tuple[LogPattern, ...]
    lines: Mapping[str, Sequence[LinkedLine]]


@dataclass(frozen=True, slots=True)
class _Slice:
    """Buckets from `first` up to `end`, of a group of services."""

    group: Group
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class _Sample:
    """Lines of a slice, of all levels or `bad` ones only. Not all of them, unless it `is_complete`."""

    slice: _Slice
    lines: tuple[LogLine, ...]
    is_complete: bool
    is_bad: bool = False


@dataclass(slots=True)
class _Service:
    """What is found out about the lines of one service."""

    templates: LogTemplates = field(default_factory=lambda: LogTemplates(most=500))
    counts: dict[str, Integers] = field(default_factory=dict)
    latest: dict[str, tuple[LogTemplate, LogLine]] = field(default_factory=dict)
    linked: dict[tuple[int, str], tuple[str, LinkedLine]] = field(default_factory=dict)

    def take(self, service: str, template: LogTemplate, line: LogLine) -> None:
        """Remember a line as the latest of its template, and the trace that it belongs to."""
        self.latest[template.id] = template, line
        trace_id = trace_id_of(line.line, line.labels)
        if trace_id is not None:
            # A line can be in two samples of a slice.
            self.linked[line.time_ns, line.line] = (
                trace_id,
                LinkedLine(service, template.id, line.time_ns, line.labels.get("span_id")),
            )


async def gather_logs(
    telemetry: Telemetry,
    instance: str | None,
    services: Sequence[NearService],
    around: Surroundings,
    deadline: Deadline,
) -> tuple[GatheredLogs, tuple[Gap, ...]]:
    """The patterns of services in the window, and what was not answered. Raises TelemetryError when nothing was."""
    loki = telemetry.loki.get(instance)
    known = [Service(it.name, tuple(sorted((it.selectors.get("loki") or {}).items()))) for it in services]
    streams = await telemetry.loki_selectors(instance).streams(known, at=around.end, deadline=deadline)
    reading = _Reading(loki, instance, around, deadline)
    return await reading.read(groups_of(streams))


class _Reading:
    """Reads one Loki over one window."""

    def __init__(self, loki: Loki, instance: str | None, around: Surroundings, deadline: Deadline) -> None:
        self._loki = loki
        self._instance = instance
        self._deadline = deadline
        self._start = int(around.start.timestamp()) // BUCKET_SECONDS * BUCKET_SECONDS
        self._end = int(around.end.timestamp()) // BUCKET_SECONDS * BUCKET_SECONDS
        self._end += BUCKET_SECONDS if self._end < around.end.timestamp() else 0
        fault = around.evidence.noticed_at - around.evidence.lead_seconds
        self._fault = int((fault - self._start) // BUCKET_SECONDS)
        self._buckets = (self._end - self._start) // BUCKET_SECONDS

    async def read(self, groups: Sequence[Group]) -> tuple[GatheredLogs, tuple[Gap, ...]]:
        slices = [part for group in groups for part in self._slices(group)]
        counting = asyncio.create_task(answered(self._count(group) for group in groups))
        try:
            samples, failures = await answered(self._sample(part) for part in slices)
            counted, uncounted = await counting
        finally:
            counting.cancel()
        counts = {key: value for some in counted for key, value in some.items()}
        knows_levels = any(is_bad for _, is_bad in counts)
        overfull = [sample.slice for sample in samples if not sample.is_complete]
        if knows_levels and overfull:
            bad, unread = await answered(self._sample(part, is_bad=True) for part in overfull)
            samples, failures = [*samples, *bad], [*failures, *unread]
        covered = np.zeros(self._buckets, dtype=np.bool_)
        for sample in samples:
            covered[sample.slice.first : sample.slice.end] = True
        for part in slices:
            if not any(sample.slice is part for sample in samples):
                covered[part.first : part.end] = False
        patterns, lines = await self._patterns(samples, counts, knows_levels=knows_levels)
        patterns = await self._recounted(patterns, overfull, counts)
        times = self._start + np.arange(self._buckets, dtype=np.float64) * BUCKET_SECONDS
        gaps = dict.fromkeys(Gap(TelemetryBackend.LOKI, error.code, error.message) for error in [*failures, *uncounted])
        return GatheredLogs(times, covered, tuple(patterns), lines), tuple(gaps)

    async def _recounted(
        self, patterns: Sequence[LogPattern], overfull: Sequence[_Slice], counts: Mapping[tuple[str, bool], Integers]
    ) -> list[LogPattern]:
        """Patterns of services that wrote more lines than were given, with the counts that Loki knows, if it does."""
        selectors = {service.name: selector_of([at]) for part in overfull for service, at in part.group.items()}
        if not selectors:
            return [*patterns]
        written = {name: sum((counts[key] for key in counts if key[0] == name), start=0) for name in selectors}
        most = sorted(selectors, key=lambda name: (-int(np.sum(written[name])), name))
        found = await patterns_of(
            self._loki,
            {name: selectors[name] for name in most},
            start=_moment(self._start),
            end=_moment(self._end),
            step_seconds=BUCKET_SECONDS,
            deadline=self._deadline,
        )
        by_service: dict[str, list[LogPattern]] = defaultdict(list)
        for pattern in patterns:
            by_service[pattern.service].append(pattern)
        buckets = Buckets(self._start, BUCKET_SECONDS, self._buckets, self._fault)
        for name, theirs in sorted(found.items()):
            lines = np.zeros(self._buckets, dtype=np.int64) + written[name]
            source = self._source(selectors[name])
            by_service[name] = await recounted(name, by_service[name], theirs, lines, buckets, source)
        return [pattern for name in sorted(by_service) for pattern in by_service[name]]

    def _source(self, query: str) -> Source:
        return Source(
            backend=TelemetryBackend.LOKI,
            instance=self._instance or DEFAULT_INSTANCE,
            query=query,
            start=float(self._start),
            end=float(self._end),
            step_seconds=float(BUCKET_SECONDS),
        )

    def _slices(self, group: Group) -> Iterable[_Slice]:
        first = 0
        while first < self._buckets:
            is_before = first < self._fault
            length = (_BASELINE_SLICE_SECONDS if is_before else _FAULT_SLICE_SECONDS) // BUCKET_SECONDS
            end = min(first + length, self._fault if is_before else self._buckets)
            yield _Slice(group, first, end)
            first = end

    async def _count(self, group: Group) -> dict[tuple[str, bool], Integers]:
        """How many lines each service wrote in each bucket, bad ones apart where Loki knows levels."""
        labels = sorted({label for streams in group.values() for label, _ in streams.values})
        query = (
            f"sum by ({', '.join(labels)}, detected_level)"
            f" (count_over_time({selector_of(group.values())}[{BUCKET_SECONDS}s]))"
        )
        result = await self._loki.query_range(
            query,
            start=_moment(self._start + BUCKET_SECONDS),
            end=_moment(self._end + 1),
            step_seconds=BUCKET_SECONDS,
            deadline=self._deadline,
        )
        owners = Owners(group)
        counts: dict[tuple[str, bool], Integers] = {}
        for series in result.series or ():
            is_bad = level_named(series.labels.get("detected_level", "")) in _BAD
            for service in owners.of(series.labels):
                mine = counts.setdefault((service.name, is_bad), np.zeros(self._buckets, dtype=np.int64))
                for point in series.points:
                    # A point counts the bucket that ends with it.
                    place = round((point.time.timestamp() - self._start) / BUCKET_SECONDS) - 1
                    if 0 <= place < self._buckets and point.value is not None:
                        mine[place] += round(point.value)
        return counts

    async def _sample(self, part: _Slice, *, is_bad: bool = False) -> _Sample:
        query = selector_of(part.group.values())
        if is_bad:
            words = dict.fromkeys(word for level in sorted(_BAD) for word in words_of(level))
            query += " " + logql.labelled("detected_level", f"(?i)({'|'.join(words)})")
        result = await self._loki.query_range(
            query,
            start=_moment(self._start + part.first * BUCKET_SECONDS),
            end=_moment(self._start + part.end * BUCKET_SECONDS),
            limit=_SAMPLED_LINES,
            deadline=self._deadline,
        )
        return _Sample(part, result.lines, result.is_complete, is_bad)

    async def _patterns(
        self, samples: Sequence[_Sample], counts: Mapping[tuple[str, bool], Integers], *, knows_levels: bool
    ) -> tuple[list[LogPattern], Mapping[str, Sequence[LinkedLine]]]:
        """Templates of all lines, then how many lines have each: a template is final only when all lines were seen."""
        found: dict[str, _Service] = defaultdict(_Service)
        ordered = sorted(samples, key=lambda it: (it.slice.first, it.is_bad))
        read: list[list[tuple[str, LogLine, LogTemplate]]] = []
        for sample in ordered:
            read.append([])
            async for service, line in _lines(sample):
                level = level_of(line.line, line.labels)
                read[-1].append((service, line, found[service].templates.add(line.time, line.line, level)))
        for mine in found.values():
            mine.templates.unite_moved()
            await asyncio.sleep(0)
        for sample, lines in zip(ordered, read, strict=True):
            seen: Counter[tuple[str, str, bool, int]] = Counter()
            for number, (service, line, first) in enumerate(lines):
                if number % _LINES_AT_A_TIME == 0:
                    await asyncio.sleep(0)
                template = first.latest
                found[service].take(service, template, line)
                bucket = int((line.time_ns // 1_000_000_000 - self._start) // BUCKET_SECONDS)
                seen[service, template.id, template.level in _BAD and knows_levels, bucket] += 1
            self._add(found, sample, seen, counts, knows_levels=knows_levels)
        return self._kept(found, {it.name: selector_of([at]) for s in ordered for it, at in s.slice.group.items()})

    def _kept(
        self, found: Mapping[str, _Service], selectors: Mapping[str, str]
    ) -> tuple[list[LogPattern], Mapping[str, Sequence[LinkedLine]]]:
        patterns: list[LogPattern] = []
        lines: dict[str, list[LinkedLine]] = defaultdict(list)
        for service, mine in sorted(found.items()):
            kept = _worth_most(mine)
            patterns += [
                self._pattern(service, selectors[service], template, line, mine.counts[id])
                for id, (template, line) in kept
            ]
            known = {id for id, _ in kept}
            for trace_id, linked in mine.linked.values():
                if linked.pattern_id in known:
                    lines[trace_id].append(linked)
        return patterns, lines

    def _add(
        self,
        found: Mapping[str, _Service],
        sample: _Sample,
        seen: Counter[tuple[str, str, bool, int]],
        counts: Mapping[tuple[str, bool], Integers],
        *,
        knows_levels: bool,
    ) -> None:
        shares: Counter[tuple[str, str, bool]] = Counter()
        for (service, id, is_bad, bucket), count in seen.items():
            mine = found[service].counts.setdefault(id, np.zeros(self._buckets, dtype=np.int64))
            if (sample.is_complete and not sample.is_bad) or (service, is_bad) not in counts:
                if 0 <= bucket < self._buckets:
                    mine[bucket] += count
            elif is_bad == sample.is_bad or not knows_levels:
                shares[service, id, is_bad] += count
        totals: Counter[tuple[str, bool]] = Counter()
        for (service, _, is_bad), count in shares.items():
            totals[service, is_bad] += count
        part = slice(sample.slice.first, sample.slice.end)
        for (service, id, is_bad), count in sorted(shares.items()):
            share = counts[service, is_bad][part] * (count / totals[service, is_bad])
            # Rounding each bucket would lose rare templates: what is left over goes on to the next bucket.
            found[service].counts[id][part] += np.diff(np.round(np.cumsum(share)), prepend=0).astype(np.int64)

    def _pattern(
        self, service: str, selector: str, template: LogTemplate, line: LogLine, counts: Integers
    ) -> LogPattern:
        return LogPattern(
            service=service,
            id=template.id,
            template=without_nul(template.text),
            level=template.level,
            counts=counts,
            sample=without_nul(line.line[:_SAMPLE_CHARACTERS]),
            sample_at=line.time.timestamp(),
            sample_trace_id=trace_id_of(line.line, line.labels),
            source=self._source(f"{selector}{_alike(template)}"),
        )


async def _lines(sample: _Sample) -> AsyncGenerator[tuple[str, LogLine]]:
    """The lines of a sample, the oldest first, with the services that they are of. Others get their turn meanwhile."""
    owners = Owners(sample.slice.group)
    for number, line in enumerate(reversed(sample.lines)):
        if number % _LINES_AT_A_TIME == 0:
            await asyncio.sleep(0)
        for service in owners.of(line.labels):
            yield service.name, line


def _worth_most(mine: _Service) -> list[tuple[str, tuple[LogTemplate, LogLine]]]:
    """The patterns that are kept: bad ones first, then those that are written most."""
    known = [item for item in mine.latest.items() if item[0] in mine.counts]
    known.sort(key=lambda item: (item[1][0].level not in _BAD, -int(mine.counts[item[0]].sum()), item[0]))
    return known[:_MOST_PATTERNS]


def _alike(template: LogTemplate) -> str:
    """The filter for lines like these that any version of Loki knows: the longest part that never varies."""
    # Nor does a filter hold what Postgres cannot.
    parts = (part.strip() for text in template.text.split(ANYTHING) for part in text.split("\0"))
    longest = max(parts, key=len)
    return f" {logql.containing(longest)}" if len(longest) >= _SHORTEST_PART else ""


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
