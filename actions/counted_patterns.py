"""Counts of patterns as Loki finds them itself, in all lines: a sample of a million lines misses the rare ones."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actions.answers import answered
from domain.telemetry import LogLevel
from domain.text import without_nul
from domain.time import Deadline
from engines.correlation.evidence import LogPattern, Source
from engines.log_lines import level_named, level_of
from engines.log_templates import ANYTHING, looks_like
from telemetry_clients.errors import TelemetryError
from telemetry_clients.loki import Loki, logql
from telemetry_clients.loki.answers import Pattern

Integers = NDArray[np.int64]

_MOST_ASKED: Final = 20
_MOST_PATTERNS: Final = 200
_LONGEST_FILTER: Final = 1_000
_LEAST_SHARE: Final = 0.5
"""Ingesters know patterns of the last hours only: with less than half of the lines, their counts say nothing."""
_PATIENCE_SHARE: Final = 0.5
"""Patterns make a good answer better, and must not cost it: they get half of the time that is left."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """Equal buckets of time, the first of which starts at `start`; those from `fault` on are of the fault."""

    start: int
    seconds: int
    number: int
    fault: int

    def counts(self, pattern: Pattern) -> Integers:
        """How often a pattern was written in each."""
        counts = np.zeros(self.number, dtype=np.int64)
        for at, count in pattern.samples:
            place = int((at.timestamp() - self.start) // self.seconds)
            if 0 <= place < self.number:
                counts[place] += count
        return counts


async def patterns_of(
    loki: Loki,
    selectors: Mapping[str, str],
    *,
    start: datetime,
    end: datetime,
    step_seconds: int,
    deadline: Deadline,
) -> dict[str, tuple[Pattern, ...]]:
    """What Loki has found in the lines of some services, by their names, for as many as there is time for.

    Nothing where this Loki looks for no patterns; that it cannot be asked is no gap, because lines are counted without.
    """
    names = [*selectors][:_MOST_ASKED]
    patience = Deadline.after(deadline.remaining_seconds() * _PATIENCE_SHARE)

    async def ask(name: str) -> tuple[str, tuple[Pattern, ...] | None]:
        found = await loki.patterns(selectors[name], start=start, end=end, deadline=patience, step_seconds=step_seconds)
        return name, found

    try:
        first, *_ = (await answered(ask(name) for name in names[:1]))[0]
        if first[1] is None:
            return {}
        others, _ = await answered(ask(name) for name in names[1:])
    except (TelemetryError, ValueError):
        return {}
    return {name: found for name, found in (first, *others) if found}


async def recounted(
    service: str,
    estimated: Sequence[LogPattern],
    found: Sequence[Pattern],
    lines: Integers,
    buckets: Buckets,
    source: Source,
) -> list[LogPattern]:
    """A service's patterns with the counts that Loki knows, and those that were in no sample.

    `estimated` are those of samples, `lines` how many lines the service wrote in each bucket.
    """
    most = sorted(found, key=lambda one: (-sum(count for _, count in one.samples), one.template))[:_MOST_PATTERNS]
    counted = [(pattern, buckets.counts(pattern)) for pattern in most]
    total = np.sum([counts for _, counts in counted], axis=0)
    for part in (slice(0, buckets.fault), slice(buckets.fault, None)):
        if total[part].sum() < _LEAST_SHARE * lines[part].sum():
            return [*estimated]
    shares: dict[str, Integers] = {}
    unseen: list[LogPattern] = []
    alike = await asyncio.to_thread(_alike, estimated, [pattern for pattern, _ in counted])
    for place, (pattern, counts) in enumerate(counted):
        mine = alike[place]
        if mine:
            # Of several templates that one pattern stands for, each gets what its share of the samples was.
            weights = np.array([max(1, int(one.counts.sum())) for one in mine], dtype=np.float64)
            for one, share in zip(mine, _divided(counts, weights / weights.sum()), strict=True):
                shares[one.id] = shares.get(one.id, np.zeros(buckets.number, dtype=np.int64)) + share
        elif counts.any():
            unseen.append(_unseen(service, pattern, counts, source))
    return [*(replace(one, counts=shares.get(one.id, one.counts)) for one in estimated), *unseen]


def _alike(estimated: Sequence[LogPattern], found: Sequence[Pattern]) -> dict[int, list[LogPattern]]:
    alike: dict[int, list[LogPattern]] = defaultdict(list)
    for place, pattern in enumerate(found):
        parts = pattern.template.split(ANYTHING)
        alike[place] = [one for one in estimated if one.sample and looks_like(one.sample, parts)]
    return alike


def _divided(counts: Integers, shares: NDArray[np.float64]) -> list[Integers]:
    """Counts divided by shares, so that nothing is lost by rounding: what is left over goes to the next bucket."""
    return [np.diff(np.round(np.cumsum(counts * share)), prepend=0).astype(np.int64) for share in shares]


def _unseen(service: str, pattern: Pattern, counts: Integers, source: Source) -> LogPattern:
    level = level_named(pattern.level)
    if level is LogLevel.UNKNOWN:
        level = level_of(pattern.template, {})
    id = blake2b(f"{level}\n{pattern.template}".encode(errors="replace"), digest_size=8).hexdigest()
    if len(pattern.template) <= _LONGEST_FILTER:
        source = replace(source, query=f"{source.query} {logql.like([pattern.template])}")
    return LogPattern(service, id, without_nul(pattern.template), level, counts, source=source)
