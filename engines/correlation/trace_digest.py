"""From spans and the lines that belong to them to columns: what an analysis needs of traces, in bounded space."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np

from domain.traces import NANOSECONDS, Span
from engines.correlation.evidence import NO_SOURCE, Entry, Event, EventKind, Source, TraceSet
from engines.traces import SpanNode, TraceTree, trace_tree

_NAME_CHARACTERS: Final = 200
_Happening: TypeAlias = tuple[str, EventKind, str]  # an event; a tuple, because there are very many to count


@dataclass(frozen=True, slots=True)
class LinkedLine:
    """A line that a service wrote for a trace: the id of its pattern, and its span where that is known."""

    service: str
    pattern_id: str
    at_ns: int
    span_id: str | None = None


@dataclass(slots=True)
class _Visit:
    entry: Entry
    start_ns: int
    end_ns: int
    self_ns: int = 0
    waiting_ns: int = 0
    has_failed: bool = False
    is_origin: bool = False
    events: Counter[_Happening] = field(default_factory=Counter)


def digest(
    traces: Iterable[tuple[str, Sequence[Span]]],
    lines: Mapping[str, Sequence[LinkedLine]] | None = None,
    source: Source = NO_SOURCE,
) -> TraceSet:
    """Traces, each an id and its spans, in columns; `lines` by the id of their trace. The order of neither matters."""
    linked = lines or {}
    trees = [(id, tree) for id, spans in traces if (tree := trace_tree(spans)) is not None]
    trees.sort(key=lambda pair: (pair[1].start_ns, pair[0]))
    visits = [(trace, visit) for trace, (id, tree) in enumerate(trees) for visit in _visits(tree, linked.get(id, ()))]
    entries = tuple(sorted({visit.entry for _, visit in visits}, key=_entry_order))
    events = sorted({event for _, visit in visits for event in visit.events})
    entry_at = {entry: position for position, entry in enumerate(entries)}
    event_at = {event: position for position, event in enumerate(events)}
    counts = [
        (position, event_at[event], count)
        for position, (_, visit) in enumerate(visits)
        for event, count in sorted(visit.events.items())
    ]
    columns = np.array(counts, dtype=np.int64).reshape(-1, 3).T
    return TraceSet(
        ids=tuple(id for id, _ in trees),
        starts=_seconds([tree.start_ns for _, tree in trees]),
        durations=_seconds([tree.duration_ns for _, tree in trees]),
        entries=entries,
        events=tuple(Event(*event) for event in events),
        visit_trace=np.array([trace for trace, _ in visits], dtype=np.int64),
        visit_entry=np.array([entry_at[visit.entry] for _, visit in visits], dtype=np.int64),
        visit_start=_seconds([visit.start_ns for _, visit in visits]),
        visit_seconds=_seconds([visit.end_ns - visit.start_ns for _, visit in visits]),
        visit_self_seconds=_seconds([visit.self_ns for _, visit in visits]),
        visit_waiting_seconds=_seconds([visit.waiting_ns for _, visit in visits]),
        visit_failed=np.array([visit.has_failed for _, visit in visits], dtype=np.int64),
        visit_is_origin=np.array([visit.is_origin for _, visit in visits], dtype=np.int64),
        event_visit=columns[0],
        event_event=columns[1],
        event_count=columns[2],
        source=source,
    )


def _visits(tree: TraceTree, lines: Sequence[LinkedLine]) -> list[_Visit]:
    """The visits of a trace in the order of a waterfall, with what happened in each."""
    visits: list[_Visit] = []
    visit_of: list[_Visit] = []
    origins = set(tree.error_origins)
    for node in tree.nodes:
        parent = None if node.parent is None else tree.nodes[node.parent]
        if parent is not None and parent.span.service == node.span.service:
            visit = visit_of[parent.position]
            visit.events[node.span.service, EventKind.OPERATION, node.span.name[:_NAME_CHARACTERS]] += 1
        else:
            caller = None if parent is None else parent.span.service
            visit = _Visit(Entry(node.span.service, node.span.name[:_NAME_CHARACTERS], caller), node.start_ns, 0)
            visits.append(visit)
            if parent is not None:
                visit_of[parent.position].events[parent.span.service, EventKind.CALL, node.span.service] += 1
                visit.waiting_ns = _waiting_ns(node, parent)
        visit_of.append(visit)
        visit.end_ns = max(visit.end_ns, node.end_ns)
        visit.self_ns += 0 if _only_waits(node, tree) else node.self_ns
        visit.has_failed |= node.span.is_error
        visit.is_origin |= node.position in origins
    _add_lines(tree, visit_of, lines)
    return visits


def _add_lines(tree: TraceTree, visit_of: Sequence[_Visit], lines: Sequence[LinkedLine]) -> None:
    """Count lines in the visit of their span; of those without one, in the innermost of their service then."""
    by_span = {node.span.span_id: node.position for node in tree.nodes}
    for line in lines:
        position = by_span.get(line.span_id or "")
        if position is None or tree.nodes[position].span.service != line.service:
            inside = [
                node.position
                for node in tree.nodes
                if node.span.service == line.service and node.span.start_ns <= line.at_ns <= node.span.end_ns
            ]
            position = max(inside, default=None)
        if position is not None:
            visit_of[position].events[line.service, EventKind.LOG, line.pattern_id] += 1


def _only_waits(node: SpanNode, tree: TraceTree) -> bool:
    """Whether a span is one side of a call to another service, and nothing else."""
    return len(node.children) == 1 and tree.nodes[node.children[0]].span.service != node.span.service


def _waiting_ns(node: SpanNode, parent: SpanNode) -> int:
    """How much longer the caller's side of a call took than the callee's, where that side does nothing else."""
    return max(0, parent.duration_ns - node.duration_ns) if len(parent.children) == 1 else 0


def _seconds(nanoseconds: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(nanoseconds, dtype=np.float64) / NANOSECONDS


def _entry_order(entry: Entry) -> tuple[str, str, str]:
    return entry.service, entry.operation, entry.caller or ""
