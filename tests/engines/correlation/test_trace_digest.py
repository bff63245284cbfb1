"""Traces in columns: visits, what happened in them, and where time went."""

import numpy as np

from domain.traces import Span, SpanKind, SpanStatus
from engines.correlation.evidence import Entry, Event, EventKind
from engines.correlation.trace_digest import LinkedLine, digest

MILLISECOND = 1_000_000


def span(id: str, parent: str | None, service: str, name: str, start: int, end: int, *, failed: bool = False) -> Span:
    status = SpanStatus.ERROR if failed else SpanStatus.UNSET
    return Span(id, parent, service, name, SpanKind.UNSPECIFIED, status, start * MILLISECOND, end * MILLISECOND)


CALL = [
    span("a", None, "web", "GET /", 0, 100, failed=True),
    span("b", "a", "web", "render", 5, 15),
    span("c", "a", "web", "GET cart", 20, 90, failed=True),
    span("d", "c", "cart", "/cart", 40, 80, failed=True),
    span("e", "d", "cart", "SELECT", 45, 50),
]


def test_a_visit_is_what_one_service_does_for_a_request():
    traces = digest([("t", CALL)])
    assert traces.entries == (Entry("cart", "/cart", "web"), Entry("web", "GET /", None))
    assert [traces.entries[entry].service for entry in traces.visit_entry] == ["web", "cart"]
    assert traces.visit_seconds.tolist() == [0.1, 0.04]
    assert {
        (traces.events[event], int(count)) for event, count in zip(traces.event_event, traces.event_count, strict=True)
    } == {
        (Event("web", EventKind.OPERATION, "render"), 1),
        (Event("web", EventKind.OPERATION, "GET cart"), 1),
        (Event("web", EventKind.CALL, "cart"), 1),
        (Event("cart", EventKind.OPERATION, "SELECT"), 1),
    }


def test_own_time_is_told_from_waiting_and_the_way_to_the_callee_from_both():
    traces = digest([("t", CALL)])
    np.testing.assert_allclose(traces.visit_self_seconds, [0.03, 0.04])  # what it renders, and before and after
    np.testing.assert_allclose(traces.visit_waiting_seconds, [0.0, 0.03])


def test_a_failure_is_attributed_to_the_visit_where_it_began():
    traces = digest([("t", CALL)])
    assert traces.visit_failed.tolist() == [1, 1]
    assert traces.visit_is_origin.tolist() == [0, 1]


def test_lines_belong_to_their_span_or_to_what_their_service_did_then():
    lines = [LinkedLine("cart", "p1", 0, "e"), LinkedLine("cart", "p2", 60 * MILLISECOND), LinkedLine("mail", "p3", 0)]
    traces = digest([("t", CALL)], {"t": lines})
    found = {event.name for event in traces.events if event.kind is EventKind.LOG}
    assert found == {"p1", "p2"}


def test_the_order_of_spans_traces_and_lines_does_not_matter():
    other = [
        Span(
            f"x{one.span_id}",
            one.parent_span_id and f"x{one.parent_span_id}",
            one.service,
            one.name,
            one.kind,
            one.status,
            one.start_ns + 7,
            one.end_ns + 7,
        )
        for one in CALL
    ]
    lines = {"t": [LinkedLine("cart", "p1", 0, "e"), LinkedLine("web", "p2", 0, "a")]}
    there = digest([("t", CALL), ("u", other)], lines)
    back = digest([("u", other[::-1]), ("t", CALL[::-1])], {"t": lines["t"][::-1]})
    assert there.ids == back.ids == ("t", "u")
    assert there.entries == back.entries
    for name in ("visit_entry", "visit_self_seconds", "event_event", "event_count"):
        np.testing.assert_array_equal(getattr(there, name), getattr(back, name))


def test_no_traces_are_an_empty_set():
    traces = digest([])
    assert (traces.ids, len(traces.visit_entry), len(traces.event_count)) == ((), 0, 0)
