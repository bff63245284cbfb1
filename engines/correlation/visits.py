"""Visits: what services do for requests, in groups that should be alike."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from domain.telemetry import LogLevel
from engines.correlation.evidence import Event, EventKind, Evidence, Floats, Integers, TraceSet
from engines.correlation.statistics import strength

Booleans: TypeAlias = NDArray[np.bool_]

SPLIT_SECONDS: Final = 30.0
"""The onset is looked for at every half minute."""
LEAST_VISITS: Final = 3
VISITS_ORDINARY: Final = 2.0
"""Counts of few visits need less to be convincing than continuous series: most of them do not vary at all."""
LEAST_LASTING: Final = 0.3
"""What was over in the minute before somebody noticed keeps so much of its strength: it may come and go."""
ERROR_LEVELS: Final = (LogLevel.ERROR, LogLevel.FATAL)


@dataclass(frozen=True, slots=True)
class Place:
    """Where requests come into a service. Whoever calls, the same operation should do the same."""

    service: str
    operation: str


@dataclass(frozen=True, slots=True)
class Group:
    """Visits that should be alike: of one place and, for lines, with calls to the same services."""

    place: Place
    visits: Integers


class Visits:
    """The visits of a trace set, and what happened in them."""

    def __init__(self, evidence: Evidence, traces: TraceSet) -> None:
        self.evidence = evidence
        self.traces = traces
        self.patterns = {(pattern.service, pattern.id): pattern for pattern in evidence.patterns}
        boundary = evidence.noticed_at - evidence.lead_seconds
        self.splits = np.arange(boundary, max(evidence.noticed_at, boundary) + 1.0, SPLIT_SECONDS)
        places = sorted({(entry.service, entry.operation) for entry in traces.entries})
        position = {place: index for index, place in enumerate(places)}
        of_entry = np.array([position[entry.service, entry.operation] for entry in traces.entries], dtype=np.int64)
        self.place_of = of_entry[traces.visit_entry] if len(traces.entries) else np.zeros(0, dtype=np.int64)
        self.places = [Place(*place) for place in places]
        self.groups = [Group(place, np.flatnonzero(self.place_of == i)) for i, place in enumerate(self.places)]
        self.callers = self._by_caller()
        self.paths = self._paths()

    def is_error(self, event: Event) -> bool:
        """Whether an event is a line about an error."""
        pattern = self.patterns.get((event.service, event.name)) if event.kind is EventKind.LOG else None
        return pattern is not None and pattern.level in ERROR_LEVELS

    def _by_caller(self) -> list[Group]:
        """The visits of each place from each caller."""
        entries = self.traces.entries
        return [
            Group(Place(entry.service, entry.operation), np.flatnonzero(self.traces.visit_entry == i))
            for i, entry in enumerate(entries)
        ]

    def _paths(self) -> list[Group]:
        """The visits of each place by the set of services that they call."""
        called: dict[int, set[int]] = defaultdict(set)
        for visit, event in zip(self.traces.event_visit.tolist(), self.traces.event_event.tolist(), strict=True):
            if self.traces.events[event].kind is EventKind.CALL:
                called[visit].add(event)
        by_path: dict[tuple[int, tuple[int, ...]], list[int]] = defaultdict(list)
        for visit, place in enumerate(self.place_of.tolist()):
            by_path[place, tuple(sorted(called[visit]))].append(visit)
        return [Group(self.places[key[0]], np.array(by_path[key], dtype=np.int64)) for key in sorted(by_path)]

    def counts(self, groups: list[Group]) -> list[tuple[Group, Event, Floats]]:
        """For each group and event that happens in it: how often it did in each of the group's visits."""
        traces = self.traces
        group_of = np.full(len(traces.visit_entry), -1, dtype=np.int64)
        place = np.zeros(len(traces.visit_entry), dtype=np.int64)
        for index, group in enumerate(groups):
            group_of[group.visits] = index
            place[group.visits] = np.arange(len(group.visits))
        keys = group_of[traces.event_visit] * max(1, len(traces.events)) + traces.event_event
        order = np.argsort(keys, kind="stable")
        unique, starts = np.unique(keys[order], return_index=True)
        counted = []
        for key, rows in zip(unique.tolist(), np.split(order, starts[1:]), strict=False):
            index, event = divmod(key, max(1, len(traces.events)))
            happened = np.zeros(len(groups[index].visits))
            np.add.at(happened, place[traces.event_visit[rows]], traces.event_count[rows])
            counted.append((groups[index], traces.events[event], happened))
        return counted


def visit_strength(deviations: float, lasts: float) -> float:
    """How much a change in visits convinces. What did not last until somebody noticed convinces less."""
    return strength(abs(deviations), VISITS_ORDINARY) * max(LEAST_LASTING, lasts)
