"""From spans and the lines that belong to them to columns: what an analysis needs of traces, in bounded space."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from domain.traces import NANOSECONDS, Span, SpanKind, SpanStatus
from engines.correlation.evidence import NO_SOURCE, Entry, Event, EventKind, Floats, Integers, Source, TraceSet
from engines.traces import Waterfall, waterfall

_NAME_CHARACTERS: Final = 200
_PEER_NAMES: Final = (
    "peer.service",
    "server.address",
    "net.peer.name",
    "network.peer.address",
    "db.system.name",
    "db.system",
    "messaging.system",
)
_Key = TypeVar("_Key", tuple[str, str, str], tuple[str, EventKind, str])


@dataclass(frozen=True, slots=True)
class LinkedLine:
    """A line that a service wrote for a trace: the id of its pattern, and its span where that is known."""

    service: str
    pattern_id: str
    at_ns: int
    span_id: str | None = None


def digest(
    traces: Iterable[tuple[str, Sequence[Span]]],
    lines: Mapping[str, Sequence[LinkedLine]] | None = None,
    source: Source = NO_SOURCE,
) -> TraceSet:
    """Traces, each an id and its spans, in columns; `lines` by the id of their trace. The order of neither matters."""
    linked = lines or {}
    placed = [(id, waterfall(spans)) for id, spans in traces if spans]
    placed.sort(key=lambda pair: (min(pair[1].starts_ns), pair[0]))
    columns = _Columns({span.service for _, trace in placed for span in trace.spans})
    for number, (id, trace) in enumerate(placed):
        columns.add(number, trace, linked.get(id, ()))
    begins = [min(trace.starts_ns) for _, trace in placed]
    ends = [
        max(start_ns + span.duration_ns for start_ns, span in zip(trace.starts_ns, trace.spans, strict=True))
        for _, trace in placed
    ]
    entry_of, entries = _sorted(columns.entries)
    event_of, events = _sorted(columns.events)
    happenings = _together(columns, event_of)
    return TraceSet(
        ids=tuple(id for id, _ in placed),
        starts=_seconds(begins),
        durations=_seconds([end - begin for begin, end in zip(begins, ends, strict=True)]),
        entries=tuple(Entry(service, operation, caller or None) for service, operation, caller in entries),
        events=tuple(Event(*event) for event in events),
        visit_trace=np.array(columns.trace, dtype=np.int64),
        visit_entry=entry_of[np.array(columns.entry, dtype=np.int64)],
        visit_start=_seconds(columns.start_ns),
        visit_seconds=_seconds([end - start for start, end in zip(columns.start_ns, columns.end_ns, strict=True)]),
        visit_self_seconds=_seconds(columns.self_ns),
        visit_waiting_seconds=_seconds(columns.waiting_ns),
        visit_failed=np.array(columns.has_failed, dtype=np.int64),
        visit_is_origin=np.array(columns.is_origin, dtype=np.int64),
        event_visit=happenings[0],
        event_event=happenings[1],
        event_count=happenings[2],
        source=source,
        externals=tuple(sorted(columns.externals)),
        event_offset=happenings[3],
    )


class _Columns:
    """Visits and what happens in them, as they are found, in lists: there may be a hundred thousand spans."""

    def __init__(self, traced: Set[str]) -> None:
        self.entries: dict[tuple[str, str, str], int] = {}
        self.events: dict[tuple[str, EventKind, str], int] = {}
        self.externals: set[str] = set()
        self.trace: list[int] = []
        self.entry: list[int] = []
        self.start_ns: list[int] = []
        self.end_ns: list[int] = []
        self.self_ns: list[int] = []
        self.waiting_ns: list[int] = []
        self.has_failed: list[bool] = []
        self.is_origin: list[bool] = []
        self.happened_in: list[int] = []
        self.happened: list[int] = []
        self.happened_after_ns: list[int] = []
        self._traced = traced

    def add(self, trace: int, placed: Waterfall, lines: Sequence[LinkedLine]) -> None:
        """Add the visits of a trace in the order of a waterfall, with what happened in each."""
        below = _Below.of(placed)
        own_ns = _own_times(placed)
        visit_of: list[int] = []
        for position, span in enumerate(placed.spans):
            start_ns, is_failed = placed.starts_ns[position], span.status is SpanStatus.ERROR
            called = None if below.calls[position] else self._external(span)
            visit = self._visit(trace, position, placed, below, visit_of)
            visit_of.append(visit)
            self.end_ns[visit] = max(self.end_ns[visit], start_ns + span.duration_ns)
            self.has_failed[visit] |= is_failed
            if called is not None:
                # All that is known of who was called is what its caller saw.
                self._happen(visit, (span.service, EventKind.CALL, called), start_ns)
                visit = self._begin(trace, (called, span.name[:_NAME_CHARACTERS], span.service), start_ns)
                self.end_ns[visit] = start_ns + span.duration_ns
                self.has_failed[visit] = is_failed
            if not below.only_waits(position, placed):
                self.self_ns[visit] += own_ns[position]
            self.is_origin[visit] |= is_failed and not below.has_failing_child[position]
        self._add_lines(placed, visit_of, lines)

    def _external(self, span: Span) -> str | None:
        called = external_of(span)
        if called is None or called in self._traced:
            return None
        self.externals.add(called)
        return called

    def _visit(self, trace: int, position: int, placed: Waterfall, below: "_Below", visit_of: Sequence[int]) -> int:
        """The visit that a span is part of: that of its parent where both are of one service, else one of its own."""
        span, parent, start_ns = placed.spans[position], placed.parents[position], placed.starts_ns[position]
        name = span.name[:_NAME_CHARACTERS]
        if parent is None:
            return self._begin(trace, (span.service, name, ""), start_ns)
        caller = placed.spans[parent]
        if caller.service == span.service:
            self._happen(visit_of[parent], (span.service, EventKind.OPERATION, name), start_ns)
            return visit_of[parent]
        self._happen(visit_of[parent], (caller.service, EventKind.CALL, span.service), start_ns)
        visit = self._begin(trace, (span.service, name, caller.service), start_ns)
        if below.calls[parent] == 1:
            self.waiting_ns[visit] = max(0, caller.duration_ns - span.duration_ns)
        return visit

    def _begin(self, trace: int, entry: tuple[str, str, str], start_ns: int) -> int:
        self.trace.append(trace)
        self.entry.append(self.entries.setdefault(entry, len(self.entries)))
        self.start_ns.append(start_ns)
        for column in (self.end_ns, self.self_ns, self.waiting_ns):
            column.append(0)
        self.has_failed.append(False)
        self.is_origin.append(False)
        return len(self.trace) - 1

    def _happen(self, visit: int, event: tuple[str, EventKind, str], at_ns: int) -> None:
        self.happened_in.append(visit)
        self.happened.append(self.events.setdefault(event, len(self.events)))
        self.happened_after_ns.append(at_ns - self.start_ns[visit])

    def _add_lines(self, placed: Waterfall, visit_of: Sequence[int], lines: Sequence[LinkedLine]) -> None:
        """Count lines in the visit of their span; of those without one, in the innermost of their service then."""
        if not lines:
            return
        by_span = {span.span_id: position for position, span in enumerate(placed.spans)}
        for line in lines:
            position = by_span.get(line.span_id or "")
            if position is None or placed.spans[position].service != line.service:
                inside = [
                    position
                    for position, span in enumerate(placed.spans)
                    if span.service == line.service and span.start_ns <= line.at_ns <= span.end_ns
                ]
                position = max(inside, default=None)
            if position is not None:
                at_ns = line.at_ns - placed.skews_ns[position]
                self._happen(visit_of[position], (line.service, EventKind.LOG, line.pattern_id), at_ns)


@dataclass(frozen=True, slots=True)
class _Below:
    """What is below each span of a trace: how many children, the last of them, and whether any failed."""

    calls: list[int]
    last: list[int]
    has_failing_child: list[bool]

    @classmethod
    def of(cls, placed: Waterfall) -> "_Below":
        below = cls([0] * len(placed.spans), [0] * len(placed.spans), [False] * len(placed.spans))
        for position, parent in enumerate(placed.parents):
            if parent is not None:
                below.calls[parent] += 1
                below.last[parent] = position
                below.has_failing_child[parent] |= placed.spans[position].status is SpanStatus.ERROR
        return below

    def only_waits(self, position: int, placed: Waterfall) -> bool:
        """Whether a span is one side of a call to another service, and nothing else."""
        return self.calls[position] == 1 and placed.spans[self.last[position]].service != placed.spans[position].service


def external_of(span: Span) -> str | None:
    """What a span calls that writes no spans itself, as far as the caller says (OpenTelemetry's semantic conventions).

    The name of the peer, of its host, or of the database or broker that it is.
    """
    if span.kind not in (SpanKind.CLIENT, SpanKind.PRODUCER) or not span.attributes:
        return None
    for key in _PEER_NAMES:
        value = span.attributes.get(key)
        if isinstance(value, str) and value:
            return value[:_NAME_CHARACTERS]
    return None


def _own_times(placed: Waterfall) -> list[int]:
    """Of each span its duration without the union of its children's intervals, as far as they lie within it."""
    spans, parents, starts_ns = placed.spans, placed.parents, placed.starts_ns
    ends_ns = [start_ns + span.duration_ns for start_ns, span in zip(starts_ns, spans, strict=True)]
    own_ns = [span.duration_ns for span in spans]
    reached_ns = starts_ns.copy()
    for position in sorted(range(len(spans)), key=starts_ns.__getitem__):
        parent = parents[position]
        if parent is not None:
            start_ns = max(starts_ns[position], reached_ns[parent])
            end_ns = min(ends_ns[position], ends_ns[parent])
            if end_ns > start_ns:
                own_ns[parent] -= end_ns - start_ns
                reached_ns[parent] = end_ns
    return own_ns


def _sorted(codes: Mapping[_Key, int]) -> tuple[Integers, list[_Key]]:
    """The keys in order, and for each code the place of its key there."""
    ordered = sorted(codes)
    place = np.zeros(len(codes), dtype=np.int64)
    place[[codes[key] for key in ordered]] = np.arange(len(ordered))
    return place, ordered


def _together(columns: _Columns, event_of: Integers) -> tuple[Integers, Integers, Integers, Floats]:
    """What happened in each visit, each event once: visit, event, how often, and how long after the visit began."""
    visit = np.array(columns.happened_in, dtype=np.int64)
    event = event_of[np.array(columns.happened, dtype=np.int64)]
    keys, first, row, counts = np.unique(
        visit * max(1, len(event_of)) + event, return_index=True, return_inverse=True, return_counts=True
    )
    after = np.full(len(keys), np.inf)
    np.minimum.at(after, row, _seconds(columns.happened_after_ns))
    return visit[first], event[first], counts.astype(np.int64), after


def _seconds(nanoseconds: Sequence[int]) -> Floats:
    return np.array(nanoseconds, dtype=np.float64) / NANOSECONDS
