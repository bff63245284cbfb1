"""Log lines of kinds that a service has never logged: what rules of kind LOG_NOVELTY watch.

The kinds are Drain's templates. Each process learns them from the lines of the last day when it first looks, and from
every line since; what is new is new against that.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import numpy as np

from actions.detection_questions import WatchedService
from domain.detection import Rule
from domain.telemetry import LogLevel
from domain.time import Deadline
from engines.detection.statistics import Floats
from engines.log_templates import LogTemplate, LogTemplates
from resolvers.log_reading import FoundLines, Wanted, read_each
from resolvers.telemetry import all_of
from telemetry_clients.errors import TelemetryError
from telemetry_clients.instances import Telemetry
from telemetry_clients.loki.groups import groups_of
from telemetry_clients.services import Service

NEW_FOR: Final = timedelta(minutes=15)
"""How long a kind of lines is new."""

_LEARNT_FROM: Final = timedelta(days=1)
_SETTLED_AFTER: Final = timedelta(seconds=10)  # until when lines of a moment may still arrive
_MOST_LINES: Final = 1_000
_MOST_TEMPLATES: Final = 300
_MOST_RULES: Final = 100


@dataclass(slots=True)
class _Learnt:
    """What one service has logged, up to `until`; what was there at `since` is not new."""

    since: datetime
    until: datetime
    templates: LogTemplates = field(default_factory=lambda: LogTemplates(most=_MOST_TEMPLATES))


@dataclass(frozen=True, slots=True)
class Novelties:
    """How many new kinds of lines each service has, with one of them in words; NaN for services that are not known."""

    counts: Floats
    samples: Mapping[UUID, str]
    failures: Mapping[UUID, TelemetryError]


class LogNovelty:
    """Learns what services log, for each rule."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._learnt: OrderedDict[tuple[UUID, Rule], dict[UUID, _Learnt]] = OrderedDict()

    async def novelties(
        self, rule_id: UUID, rule: Rule, watched: Sequence[WatchedService], at: datetime, *, deadline: Deadline
    ) -> Novelties:
        """What is new of each service. Raises TelemetryError when no Loki answers."""
        learnt = self._of(rule_id, rule)
        end = at - _SETTLED_AFTER
        failures: dict[UUID, TelemetryError] = {}
        batches: dict[tuple[str | None, datetime], list[WatchedService]] = {}
        for service in watched:
            known = learnt.get(service.id)
            start = end - _LEARNT_FROM if known is None else known.until
            if start < end:
                batches.setdefault((service.instances.get("loki"), start), []).append(service)
        if not watched:
            self._telemetry.loki.get()  # It says so where there is none.
        for (instance, start), some in batches.items():
            wanted = Wanted(start, end, levels=_levels(rule), first=_MOST_LINES)
            failures |= await self._read(instance, some, wanted, learnt, deadline)
        if failures and len(failures) == len(watched):
            raise next(iter(failures.values()))
        counts = np.full(len(watched), np.nan)
        samples: dict[UUID, str] = {}
        for index, service in enumerate(watched):
            if service.id in failures or (known := learnt.get(service.id)) is None:
                continue
            new = _new(known, rule, end)
            counts[index] = len(new)
            if new:
                samples[service.id] = new[0].text
        return Novelties(counts, samples, failures)

    def _of(self, rule_id: UUID, rule: Rule) -> dict[UUID, _Learnt]:
        known = self._learnt.setdefault((rule_id, rule), {})
        self._learnt.move_to_end((rule_id, rule))
        while len(self._learnt) > _MOST_RULES:
            self._learnt.popitem(last=False)
        return known

    async def _read(
        self,
        instance: str | None,
        watched: Sequence[WatchedService],
        wanted: Wanted,
        learnt: dict[UUID, _Learnt],
        deadline: Deadline,
    ) -> dict[UUID, TelemetryError]:
        """Learn the lines of some services from one Loki, in one query where labels allow it; return what failed."""
        by_service: dict[Service, list[WatchedService]] = {}
        for each in watched:
            by_service.setdefault(_logged(each), []).append(each)
        try:
            loki, selectors = self._telemetry.loki.get(instance), self._telemetry.loki_selectors(instance)
            streams = await selectors.streams([*by_service], at=wanted.end, deadline=deadline)
            answers = await all_of(read_each(loki, group, wanted, deadline) for group in groups_of(streams))
        except TelemetryError as error:
            return {each.id: error for each in watched}
        failures: dict[UUID, TelemetryError] = {}
        for service, found in ((service, found) for answer in answers for service, found in answer.items()):
            for each in by_service[service]:
                if isinstance(found, TelemetryError):
                    failures[each.id] = found
                else:
                    _learn(learnt.setdefault(each.id, _Learnt(wanted.end, wanted.start)), found, wanted.end)
        return failures


def _learn(learnt: _Learnt, found: FoundLines, until: datetime) -> None:
    for each in reversed(found.lines):
        learnt.templates.add(each.line.time, each.line.line, each.level)
    learnt.templates.unite_moved()
    learnt.until = until


def _new(learnt: _Learnt, rule: Rule, at: datetime) -> list[LogTemplate]:
    first = max(learnt.since, at - NEW_FOR)
    return [each for each in learnt.templates.since(first) if each.count >= rule.parameters.minimum_lines]


def _levels(rule: Rule) -> frozenset[LogLevel]:
    return frozenset(LogLevel(level) for level in rule.parameters.levels)


def _logged(service: WatchedService) -> Service:
    return Service(service.name, tuple(sorted((service.selectors.get("loki") or {}).items())))
