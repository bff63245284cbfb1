"""Visits: what services do for requests, in groups that should be alike."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from domain.telemetry import LogLevel
from engines.correlation.evidence import Event, EventKind, Evidence, Floats, Integers, TraceSet
from engines.correlation.line_sampling import kept_lines
from engines.correlation.statistics import strength

SPLIT_SECONDS: Final = 30.0
"""The onset is looked for at every half minute."""
LEAST_VISITS: Final = 3
VISITS_ORDINARY: Final = 2.0
"""Counts of few visits need less to be convincing than continuous series: most of them do not vary at all."""
LINES_ORDINARY: Final = 2.0
"""Lines vary more: what one request says depends on what it is about."""
LEAST_LASTING: Final = 0.1
"""What was over in the minute before somebody noticed keeps so much of its strength: it may come and go."""
ERROR_LEVELS: Final = (LogLevel.ERROR, LogLevel.FATAL)
COMPLAINING_LEVELS: Final = (LogLevel.WARN, *ERROR_LEVELS)


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
        self.bin_of = np.searchsorted(self.splits, traces.visit_start, side="right")
        self.kept_lines = self._kept_lines(boundary)
        self.callers = self._by_caller()
        self.paths = self._paths()

    def onset(self, group: Group, split: float) -> float:
        """When what changed at a split began, as far as visits tell: with the first of the group's that came after it.

        Traces are a sample: between the last one before and the first one after, every split fits as well. What was
        noticed had begun.
        """
        starts = self.traces.visit_start[group.visits]
        first = starts[starts >= split].min(initial=np.inf)
        return float(max(split, min(first, self.evidence.noticed_at)))

    def is_error(self, event: Event) -> bool:
        """Whether an event is a line about an error."""
        pattern = self.patterns.get((event.service, event.name)) if event.kind is EventKind.LOG else None
        return pattern is not None and pattern.level in ERROR_LEVELS

    def is_usual(self, event: Event) -> bool:
        """Whether an event is a line that belongs to work that goes well: one that complains is no loss."""
        pattern = self.patterns.get((event.service, event.name)) if event.kind is EventKind.LOG else None
        return event.kind is EventKind.LOG and (pattern is None or pattern.level not in COMPLAINING_LEVELS)

    def _kept_lines(self, boundary: float) -> Floats:
        traces = self.traces
        is_line = np.array([event.kind is EventKind.LOG for event in traces.events], dtype=np.bool_)
        rows = np.flatnonzero(is_line[traces.event_event]) if len(is_line) else np.zeros(0, dtype=np.int64)
        lines = traces.event_visit[rows], traces.event_event[rows], traces.event_count[rows]
        return kept_lines(self.place_of, traces.visit_start, boundary, *lines)

    def _by_caller(self) -> list[Group]:
        """The visits of each place from each caller."""
        entries = self.traces.entries
        return [
            Group(Place(entry.service, entry.operation), np.flatnonzero(self.traces.visit_entry == i))
            for i, entry in enumerate(entries)
        ]

    def _paths(self) -> list[Group]:
        """The visits of each place by the set of services that they call, told apart by a sum of random numbers."""
        traces = self.traces
        is_call = np.array([event.kind is EventKind.CALL for event in traces.events], dtype=np.bool_)
        marks = np.random.default_rng(0).integers(1, 2**62, len(traces.events), dtype=np.uint64)
        called = np.zeros(len(traces.visit_entry), dtype=np.uint64)
        rows = np.flatnonzero(is_call[traces.event_event]) if len(is_call) else np.zeros(0, dtype=np.int64)
        np.add.at(called, traces.event_visit[rows], marks[traces.event_event[rows]])
        order = np.lexsort((called, self.place_of))
        place, path = self.place_of[order], called[order]
        starts = np.flatnonzero((np.diff(place) != 0) | (np.diff(path) != 0)) + 1
        parts = np.split(order, starts) if len(order) else []
        return [Group(self.places[self.place_of[part[0]]], part) for part in parts]


def visit_strength(deviations: float, lasts: float, ordinary: float = VISITS_ORDINARY) -> float:
    """How much a change in visits convinces. What did not last until somebody noticed convinces less."""
    return strength(abs(deviations), ordinary) * max(LEAST_LASTING, lasts)
