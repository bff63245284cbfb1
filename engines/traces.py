"""What a trace says: which span made it slow, and where its error began.

Spans are recorded by many hosts and collected from all of them, so that parents can be missing, a span can come twice
or be its own ancestor, and clocks disagree. A tree is made of whatever there is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from domain.traces import Span, SpanKind

_ENTRY_KINDS: Final = (SpanKind.SERVER, SpanKind.CONSUMER)


@dataclass(slots=True)
class SpanNode:
    """A span in its place. Positions are those of `TraceTree.nodes`.

    `start_ns` and `end_ns` are its times by the clock of the root's host, as far as `skew_ns` could be told. Self time
    is its duration without the time in which any of its children ran. `critical_ns` is how much of the whole trace's
    duration it alone accounts for: what the trace would be shorter by if this part took no time.
    """

    span: Span
    position: int
    parent: int | None
    depth: int
    start_ns: int
    end_ns: int
    skew_ns: int = 0
    children: tuple[int, ...] = ()
    self_ns: int = 0
    critical_ns: int = 0
    is_on_critical_path: bool = False

    @property
    def duration_ns(self) -> int:
        """How long it took."""
        return self.end_ns - self.start_ns


@dataclass(frozen=True, slots=True)
class TraceTree:
    """A trace as a tree, or as several where parents are missing.

    `nodes` are in the order of a waterfall: a parent before its children, children by their start. `roots` are the
    positions of the nodes without a parent here, the trace's own root first. `critical_path` are those whose work the
    root waited for, in the order of time. `error_origins` are the failed spans none of whose children failed, those
    whose failure reached the root first, and of them the one that failed first.
    """

    nodes: tuple[SpanNode, ...]
    roots: tuple[int, ...]
    critical_path: tuple[int, ...]
    error_origins: tuple[int, ...]

    @property
    def root(self) -> SpanNode:
        """The span that began the trace, as far as is known."""
        return self.nodes[self.roots[0]]

    @property
    def error_count(self) -> int:
        """How many spans failed."""
        return sum(node.span.is_error for node in self.nodes)

    @property
    def start_ns(self) -> int:
        """When the first span began."""
        return min(node.start_ns for node in self.nodes)

    @property
    def duration_ns(self) -> int:
        """From the beginning of the first span to the end of the last."""
        return max(node.end_ns for node in self.nodes) - self.start_ns


@dataclass(frozen=True, slots=True)
class Waterfall:
    """Spans in the order of a waterfall: a parent before its children, children by their start.

    Of each span: the position of its parent, None of a root; when it began by the clock of the root's host, as far as
    `skews_ns` could be told. `roots` are the positions of those without a parent here, the trace's own root first.
    """

    spans: list[Span]
    parents: list[int | None]
    starts_ns: list[int]
    skews_ns: list[int]
    roots: list[int]


def trace_tree(spans: Sequence[Span]) -> TraceTree | None:
    """The tree of a trace's spans, given in any order; None of no spans."""
    if not spans:
        return None
    placed = waterfall(spans)
    nodes = _nodes(placed)
    for node in nodes:
        node.self_ns = _self_time(node, nodes)
    root = placed.roots[0]
    critical_path = _mark_critical_path(nodes, root)
    return TraceTree(tuple(nodes), tuple(placed.roots), critical_path, _error_origins(nodes, root))


def waterfall(spans: Sequence[Span]) -> Waterfall:
    """The spans of a trace, given in any order, each once and in its place."""
    kept, parents = _linked(spans)
    children: list[list[int] | None] = [None] * len(kept)
    tops: list[int] = []
    for index, parent in enumerate(parents):
        if parent is None or parent == index:
            tops.append(index)
        elif (known := children[parent]) is None:
            children[parent] = [index]
        else:
            known.append(index)
    # A root that misses its parent is less of a root than one that has none.
    tops.sort(key=lambda index: (kept[index].parent_span_id is not None, index))
    placed = Waterfall([], [], [], [], [])
    is_placed = [False] * len(kept)
    # What no root leads to goes round in circles: each is cut where its first span began.
    for top in (*tops, *range(len(kept))):
        if not is_placed[top]:
            placed.roots.append(len(placed.spans))
            _place_below(top, kept, children, is_placed, placed)
    return placed


def _place_below(
    top: int,
    kept: Sequence[Span],
    children: Sequence[list[int] | None],
    is_placed: list[bool],
    placed: Waterfall,
) -> None:
    """Add the spans below a root. Without recursion: chains of calls can be longer than Python's stack."""
    waiting: list[tuple[int, int | None]] = [(top, None)]
    while waiting:
        index, parent = waiting.pop()
        if is_placed[index]:
            continue
        is_placed[index] = True
        span = kept[index]
        skew_ns = 0 if parent is None else _skew(span, placed, parent)
        position = len(placed.spans)
        placed.spans.append(span)
        placed.parents.append(parent)
        placed.starts_ns.append(span.start_ns - skew_ns)
        placed.skews_ns.append(skew_ns)
        # `kept` is in the order of starts; the first child has to come off the stack first.
        if (below := children[index]) is not None:
            waiting += [(child, position) for child in reversed(below)]


def _nodes(placed: Waterfall) -> list[SpanNode]:
    nodes: list[SpanNode] = []
    below: dict[int, list[int]] = {}
    for position, (span, parent) in enumerate(zip(placed.spans, placed.parents, strict=True)):
        start_ns = placed.starts_ns[position]
        depth = 0 if parent is None else nodes[parent].depth + 1
        end_ns = start_ns + span.duration_ns
        nodes.append(SpanNode(span, position, parent, depth, start_ns, end_ns, placed.skews_ns[position]))
        if parent is not None:
            below.setdefault(parent, []).append(position)
    for parent, positions in below.items():
        nodes[parent].children = tuple(sorted(positions, key=lambda child: (nodes[child].start_ns, child)))
    return nodes


def _order(span: Span) -> tuple[object, ...]:
    """By start, the longer first: a total order of different spans, which does not depend on how they came."""
    parent = span.parent_span_id or ""
    return span.start_ns, -span.end_ns, span.span_id, span.kind, span.status, span.service, parent, span.name


def _linked(spans: Sequence[Span]) -> tuple[list[Span], list[int | None]]:
    """Each span once, and the position of the parent of each, None where it has none here.

    Two spans share an id where a span was stored twice, of which the longer is kept, and where both sides of a call
    have the same id, as Zipkin's have: then the server's is a child of the client's, and parent of what follows.
    """
    kept: list[Span] = []
    clients: dict[str, int] = {}
    others: dict[str, int] = {}
    for span in sorted(spans, key=_order):
        known = clients if span.kind is SpanKind.CLIENT else others
        if span.span_id not in known:
            known[span.span_id] = len(kept)
            kept.append(span)
        elif span.end_ns > kept[known[span.span_id]].end_ns:
            kept[known[span.span_id]] = span
    by_id = clients | others
    parents: list[int | None] = []
    for position, span in enumerate(kept):
        shared = clients.get(span.span_id)
        if span.kind in _ENTRY_KINDS and shared is not None and shared != position:
            parents.append(shared)
        else:
            parents.append(None if span.parent_span_id is None else by_id.get(span.parent_span_id))
    return kept, parents


def _skew(span: Span, placed: Waterfall, parent: int) -> int:
    """How far the clock of a span's host is ahead of the root's, as far as the span itself proves it.

    Within one service clocks agree. A call to another service begins neither before its caller does nor after the
    caller has ended: where it seems to, it is moved into the middle of its caller, as if the network took the same time
    both ways (as Jaeger does it).
    """
    caller = placed.spans[parent]
    if span.service == caller.service:
        return placed.skews_ns[parent]
    caller_start_ns = placed.starts_ns[parent]
    caller_end_ns = caller_start_ns + caller.duration_ns
    begins_too_late = span.kind is SpanKind.SERVER and span.start_ns >= caller_end_ns > caller_start_ns
    if span.start_ns >= caller_start_ns and not begins_too_late:
        return 0
    slack_ns = max(0, caller.duration_ns - span.duration_ns) // 2
    return span.start_ns - (caller_start_ns + slack_ns)


def _self_time(node: SpanNode, nodes: Sequence[SpanNode]) -> int:
    """The duration without the union of the children's intervals, as far as they lie within it."""
    covered_ns = 0
    reached_ns = node.start_ns
    for position in node.children:
        child = nodes[position]
        start_ns, end_ns = max(child.start_ns, reached_ns), min(child.end_ns, node.end_ns)
        if end_ns > start_ns:
            covered_ns += end_ns - start_ns
            reached_ns = end_ns
    return node.duration_ns - covered_ns


def _is_waited_for(child: SpanNode, parent: SpanNode) -> bool:
    """Whether a parent may have waited for a child: not for the consumer of its message, and not for what its own
    process went on with after it had ended. The end of a call to another service is told by another clock.
    """
    if child.span.kind is SpanKind.CONSUMER:
        return False
    return child.end_ns <= parent.end_ns or child.span.service != parent.span.service


def _mark_critical_path(nodes: Sequence[SpanNode], root: int) -> tuple[int, ...]:
    """Walk from the end of the root back to its start, always along what finished last (Yang and Miller, 1988;
    Zhang et al., CRISP, USENIX ATC 2022). The critical times of all nodes add up to the root's duration.
    """
    found: list[tuple[int, int]] = []
    waiting = [(root, nodes[root].start_ns, nodes[root].end_ns)]
    while waiting:
        position, start_ns, end_ns = waiting.pop()
        node = nodes[position]
        node.is_on_critical_path = True
        found.append((start_ns, position))
        reached_ns = end_ns
        for child_end_ns, child_start_ns, child in _finished(node, nodes, start_ns, end_ns):
            if child_end_ns <= reached_ns:
                node.critical_ns += reached_ns - child_end_ns
                waiting.append((child, child_start_ns, child_end_ns))
                reached_ns = child_start_ns
        node.critical_ns += reached_ns - start_ns
    return tuple(position for _, position in sorted(found))


def _finished(node: SpanNode, nodes: Sequence[SpanNode], start_ns: int, end_ns: int) -> Iterator[tuple[int, int, int]]:
    """End, start and position of each child that a node may have waited for between two times, the last to end first.

    Of those that end together, the longest comes first.
    """
    ends = [
        (-min(child.end_ns, end_ns), max(child.start_ns, start_ns), position)
        for position in node.children
        if (child := nodes[position]).start_ns < end_ns
        and child.end_ns > start_ns
        and child.end_ns > child.start_ns
        and _is_waited_for(child, node)
    ]
    for end, start, position in sorted(ends):
        yield -end, start, position


def _error_origins(nodes: Sequence[SpanNode], root: int) -> tuple[int, ...]:
    reached_the_root: set[int] = set()
    origins: list[int] = []
    for node in nodes:  # parents come before their children
        if not node.span.is_error:
            continue
        if node.position == root or node.parent in reached_the_root:
            reached_the_root.add(node.position)
        if not any(nodes[child].span.is_error for child in node.children):
            origins.append(node.position)
    return tuple(sorted(origins, key=lambda origin: (origin not in reached_the_root, nodes[origin].end_ns, origin)))
