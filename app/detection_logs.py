"""Log lines of kinds that a service has never logged: what rules of kind LOG_NOVELTY watch.

The kinds are Drain's templates. They are learnt from the lines of the last day when a service is looked at for the
first time, and from every line since; what is new is new against that.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

import numpy as np

from actions.detection_questions import WatchedService
from actions.log_baselines import LearntLogs, LogBaseline, current_baselines
from db.database import Database
from domain.detection import Rule
from domain.telemetry import LogLevel
from domain.time import Deadline
from engines.detection.statistics import Floats
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
_MOST_RULES: Final = 100


@dataclass(frozen=True, slots=True)
class Novelties:
    """How many new kinds of lines each service has, with one of them in words; NaN for services that are not known.

    `learnt` is what has to be kept, with what is concluded from it.
    """

    counts: Floats
    samples: Mapping[UUID, str]
    failures: Mapping[UUID, TelemetryError]
    learnt: Mapping[UUID, LearntLogs]


class LogNovelty:
    """Learns what services log, for each rule."""

    def __init__(self, database: Database, telemetry: Telemetry) -> None:
        self._database = database
        self._telemetry = telemetry
        self._known: OrderedDict[UUID, dict[UUID, LogBaseline]] = OrderedDict()

    async def novelties(
        self, rule_id: UUID, rule: Rule, watched: Sequence[WatchedService], at: datetime, *, deadline: Deadline
    ) -> Novelties:
        """What is new of each service. Raises TelemetryError when no Loki answers."""
        known = await self._current(rule_id, at)
        end = at - _SETTLED_AFTER
        if not watched:
            self._telemetry.loki.get()  # It says so where there is none.
        learnt, failures = await self._learn(known, rule, watched, end, deadline)
        if failures and len(failures) == len(watched):
            raise next(iter(failures.values()))
        counts = np.full(len(watched), np.nan)
        samples: dict[UUID, str] = {}
        for index, service in enumerate(watched):
            if service.id in failures or (baseline := known.get(service.id)) is None:
                continue
            new = [each for each in baseline.new(end - NEW_FOR) if each.count >= rule.parameters.minimum_lines]
            counts[index] = len(new)
            if new:
                samples[service.id] = new[0].text
        return Novelties(counts, samples, failures, learnt)

    async def _learn(
        self,
        known: dict[UUID, LogBaseline],
        rule: Rule,
        watched: Sequence[WatchedService],
        end: datetime,
        deadline: Deadline,
    ) -> tuple[dict[UUID, LearntLogs], dict[UUID, TelemetryError]]:
        """Let what is known be all that was logged until `end`; return what that taught, and what failed."""
        batches: dict[tuple[str | None, datetime], list[WatchedService]] = {}
        for service in watched:
            baseline = known.get(service.id)
            start = end - _LEARNT_FROM if baseline is None else max(baseline.until, end - _LEARNT_FROM)
            if start < end:
                batches.setdefault((service.instances.get("loki"), start), []).append(service)
        learnt: dict[UUID, LearntLogs] = {}
        failures: dict[UUID, TelemetryError] = {}
        for (instance, start), some in batches.items():
            wanted = Wanted(start, end, levels=_levels(rule), first=_MOST_LINES)
            for id, found in (await self._read(instance, some, wanted, deadline)).items():
                if isinstance(found, TelemetryError):
                    failures[id] = found
                else:
                    lines = [(each.line.time, each.line.line, each.level) for each in reversed(found.lines)]
                    learnt[id] = known.setdefault(id, LogBaseline(end, start)).learn(lines, until=end)
        return learnt, failures

    async def _current(self, rule_id: UUID, at: datetime) -> dict[UUID, LogBaseline]:
        """What was known last, by whichever server."""
        read = partial(current_baselines, rule_id=rule_id, known=self._known.get(rule_id, {}))
        known = self._known[rule_id] = await self._database.transact(read, now=at)
        self._known.move_to_end(rule_id)
        while len(self._known) > _MOST_RULES:
            self._known.popitem(last=False)
        return known

    async def _read(
        self, instance: str | None, watched: Sequence[WatchedService], wanted: Wanted, deadline: Deadline
    ) -> dict[UUID, FoundLines | TelemetryError]:
        """The lines of some services from one Loki, in one query where labels allow it."""
        by_service: dict[Service, list[WatchedService]] = {}
        for each in watched:
            by_service.setdefault(_logged(each), []).append(each)
        try:
            loki, selectors = self._telemetry.loki.get(instance), self._telemetry.loki_selectors(instance)
            streams = await selectors.streams([*by_service], at=wanted.end, deadline=deadline)
            answers = await all_of(read_each(loki, group, wanted, deadline) for group in groups_of(streams))
        except TelemetryError as error:
            return {each.id: error for each in watched}
        return {
            each.id: found for answer in answers for service, found in answer.items() for each in by_service[service]
        }


def _levels(rule: Rule) -> frozenset[LogLevel]:
    return frozenset(LogLevel(level) for level in rule.parameters.levels)


def _logged(service: WatchedService) -> Service:
    return Service(service.name, tuple(sorted((service.selectors.get("loki") or {}).items())))
