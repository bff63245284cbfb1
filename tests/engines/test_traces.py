"""Trees of spans: self times, critical paths, and where an error began."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from domain.traces import Span, SpanKind, SpanStatus
from engines.traces import TraceTree, trace_tree

FAILED = SpanStatus.ERROR


def span(
    span_id: str,
    start: int,
    end: int,
    parent: str | None = None,
    *,
    service: str = "shop",
    kind: SpanKind = SpanKind.INTERNAL,
    status: SpanStatus = SpanStatus.UNSET,
) -> Span:
    return Span(span_id, parent, service, f"do {span_id}", kind, status, start, end)


def tree(*spans: Span) -> TraceTree:
    made = trace_tree(spans)
    assert made is not None
    return made


def self_times(made: TraceTree) -> dict[str, int]:
    return {node.span.span_id: node.self_ns for node in made.nodes}


def critical(made: TraceTree) -> list[tuple[str, int]]:
    return [(made.nodes[at].span.span_id, made.nodes[at].critical_ns) for at in made.critical_path]


def origins(made: TraceTree) -> list[str]:
    return [made.nodes[at].span.span_id for at in made.error_origins]


def test_no_spans_are_no_tree():
    assert trace_tree([]) is None


def test_a_span_waits_for_its_children_and_works_the_rest_of_the_time():
    made = tree(span("root", 0, 100), span("a", 10, 30, "root"), span("b", 50, 90, "root"), span("c", 60, 70, "b"))

    assert self_times(made) == {"root": 40, "a": 20, "b": 30, "c": 10}
    assert critical(made) == [("root", 40), ("a", 20), ("b", 30), ("c", 10)]
    assert [node.depth for node in made.nodes] == [0, 1, 1, 2]


def test_time_with_several_children_at_once_is_taken_off_once():
    made = tree(span("root", 0, 100), span("a", 10, 60, "root"), span("b", 40, 80, "root"))

    assert self_times(made) == {"root": 30, "a": 50, "b": 40}
    assert critical(made) == [("root", 60), ("b", 40)], "the root waited for what finished last"


def test_a_child_that_outlives_its_parent_counts_only_while_the_parent_ran_and_is_not_waited_for():
    made = tree(span("root", 0, 100), span("mail", 90, 500, "root"))

    assert self_times(made) == {"root": 90, "mail": 410}
    assert critical(made) == [("root", 100)]


def test_the_consumer_of_a_message_is_not_waited_for():
    made = tree(
        span("root", 0, 100, kind=SpanKind.PRODUCER),
        span("consumer", 20, 80, "root", service="mailer", kind=SpanKind.CONSUMER),
    )

    assert critical(made) == [("root", 100)]


def test_a_call_to_another_host_that_seems_to_end_a_little_later_was_waited_for():
    made = tree(span("root", 0, 100), span("call", 10, 101, "root", service="payment", kind=SpanKind.SERVER))

    assert critical(made) == [("root", 10), ("call", 90)]


def test_a_call_that_seems_to_begin_before_its_caller_is_moved_into_it_with_all_below():
    made = tree(
        span("root", 1000, 1100),
        span("call", 500, 560, "root", service="payment", kind=SpanKind.SERVER),
        span("query", 510, 550, "call", service="payment", kind=SpanKind.CLIENT),
    )
    call, query = made.nodes[1:]

    assert (call.start_ns, call.end_ns, call.skew_ns) == (1020, 1080, -520)
    assert (query.start_ns, query.end_ns) == (1030, 1070)
    assert self_times(made) == {"root": 40, "call": 20, "query": 40}


def test_a_call_that_seems_to_begin_after_its_caller_has_ended_is_moved_into_it():
    made = tree(
        span("root", 0, 100, kind=SpanKind.CLIENT), span("call", 900, 940, "root", service="b", kind=SpanKind.SERVER)
    )

    assert (made.nodes[1].start_ns, made.nodes[1].end_ns) == (30, 70)


def test_a_span_whose_parent_is_missing_is_a_root_after_the_one_that_has_none():
    made = tree(span("lost", 0, 10, "nobody", service="lost"), span("root", 5, 100, service="frontend"))

    assert [made.nodes[at].span.span_id for at in made.roots] == ["root", "lost"]
    assert made.root.span.service == "frontend"
    assert (made.start_ns, made.duration_ns) == (0, 100)


def test_without_any_root_the_earliest_orphan_is_the_root():
    made = tree(span("b", 5, 20, "gone"), span("a", 0, 10, "gone"))

    assert made.root.span.span_id == "a"


def test_a_span_that_came_twice_counts_once():
    made = tree(span("root", 0, 100), span("a", 10, 20, "root"), span("a", 10, 30, "root"), span("root", 0, 100))

    assert self_times(made) == {"root": 80, "a": 20}


def test_both_sides_of_a_call_may_share_an_id_as_zipkins_do():
    made = tree(
        span("root", 0, 100, kind=SpanKind.SERVER),
        span("call", 10, 90, "root", kind=SpanKind.CLIENT),
        span("call", 20, 80, "root", service="payment", kind=SpanKind.SERVER),
        span("query", 30, 70, "call", service="payment"),
    )

    assert [(node.span.service, node.depth, node.self_ns) for node in made.nodes] == [
        ("shop", 0, 20),
        ("shop", 1, 20),
        ("payment", 2, 20),
        ("payment", 3, 40),
    ]


def test_spans_that_are_their_own_ancestors_are_all_there():
    made = tree(span("own", 0, 10, "own"), span("a", 20, 50, "c"), span("b", 25, 45, "a"), span("c", 30, 40, "b"))

    assert [(node.span.span_id, node.depth) for node in made.nodes] == [("own", 0), ("a", 0), ("b", 1), ("c", 2)]
    assert len(made.roots) == 2


def test_an_error_began_in_the_failed_span_without_failed_children():
    made = tree(
        span("frontend", 0, 100, status=FAILED),
        span("checkout", 10, 90, "frontend", status=FAILED),
        span("payment", 20, 80, "checkout", status=FAILED),
        span("inventory", 20, 30, "checkout"),
    )

    assert origins(made) == ["payment"]
    assert made.error_count == 3


def test_an_error_that_was_handled_comes_after_one_that_reached_the_root():
    made = tree(
        span("root", 0, 100, status=FAILED),
        span("cache", 0, 5, "root"),
        span("miss", 1, 4, "cache", status=FAILED),
        span("payment", 10, 90, "root", status=FAILED),
    )

    assert origins(made) == ["payment", "miss"]


def test_of_errors_at_once_the_first_to_fail_comes_first():
    made = tree(
        span("root", 0, 100, status=FAILED),
        span("slow", 0, 90, "root", status=FAILED),
        span("fast", 10, 20, "root", status=FAILED),
    )

    assert origins(made) == ["fast", "slow"]


def test_a_chain_longer_than_pythons_stack_is_a_tree():
    spans = [span(f"{at:05}", at, 20_000 - at, f"{at - 1:05}" if at else None) for at in range(5_000)]
    made = tree(*spans)

    assert made.nodes[-1].depth == 4_999
    assert sum(self_times(made).values()) == 20_000


@st.composite
def synchronous_traces(draw: st.DrawFn) -> list[Span]:
    """A trace whose spans do one thing after another: children lie within their parents and do not overlap."""
    spans = [span("0", 0, draw(st.integers(1, 10_000)), service="s0")]
    for _ in range(draw(st.integers(0, 12))):
        parent = draw(st.sampled_from(spans))
        siblings = [other for other in spans if other.parent_span_id == parent.span_id]
        free_from = max((other.end_ns for other in siblings), default=parent.start_ns)
        start = draw(st.integers(free_from, parent.end_ns))
        end = draw(st.integers(start, parent.end_ns))
        spans.append(span(str(len(spans)), start, end, parent.span_id, service=draw(st.sampled_from(["s0", "s1"]))))
    return spans


@st.composite
def any_traces(draw: st.DrawFn) -> list[Span]:
    """Whatever could be collected, parents missing, cycles and doubles included."""
    ids = st.sampled_from([*"abcdefgh"])
    return [
        replace(
            span(draw(ids), start := draw(st.integers(0, 100)), start + draw(st.integers(-5, 100)), draw(ids)),
            parent_span_id=draw(st.none() | ids),
            service=draw(st.sampled_from(["s0", "s1"])),
            kind=draw(st.sampled_from(SpanKind)),
            status=draw(st.sampled_from(SpanStatus)),
        )
        for _ in range(draw(st.integers(1, 10)))
    ]


@given(synchronous_traces())
def test_self_times_of_a_synchronous_trace_add_up_to_its_duration(spans):
    made = tree(*spans)

    assert sum(node.self_ns for node in made.nodes) == made.root.duration_ns
    assert {node.critical_ns for node in made.nodes if node.self_ns != node.critical_ns} == set()


@given(any_traces())
def test_every_trace_has_a_tree_whose_parts_fit(spans):
    made = tree(*spans)

    assert {node.span.span_id for node in made.nodes} == {one.span_id for one in spans}
    assert all(0 <= node.self_ns <= node.duration_ns for node in made.nodes)
    assert sum(node.critical_ns for node in made.nodes) == made.root.duration_ns
    assert all(made.nodes[child].parent == node.position for node in made.nodes for child in node.children)
    assert sum(len(node.children) for node in made.nodes) + len(made.roots) == len(made.nodes)
    assert bool(made.error_origins) == any(node.span.is_error for node in made.nodes)


@given(any_traces(), st.randoms(use_true_random=False))
def test_the_order_in_which_spans_came_does_not_matter(spans, random):
    shuffled = list(spans)
    random.shuffle(shuffled)

    assert trace_tree(shuffled) == trace_tree(spans)


@given(synchronous_traces())
def test_names_do_not_matter(spans):
    renamed = [
        replace(
            one,
            name="x",
            service=one.service.upper(),
            span_id=f"n{one.span_id}",
            parent_span_id=one.parent_span_id and f"n{one.parent_span_id}",
        )
        for one in spans
    ]

    before, after = (
        sorted((node.start_ns, node.end_ns, node.self_ns) for node in tree(*s).nodes) for s in (spans, renamed)
    )
    assert before == after
