"""Who calls whom, from traces."""

from dataclasses import replace

import pytest

from domain.service_graph import ServiceCall
from domain.traces import Span, SpanKind, SpanStatus
from engines.service_graph import calls_of_traces, merged_calls
from engines.traces import TraceTree, trace_tree

SECOND = 1_000_000_000


def tree(*spans: Span) -> TraceTree:
    made = trace_tree(spans)
    assert made is not None
    return made


def span(
    service: str, span_id: str, parent: str | None = None, *, kind: SpanKind = SpanKind.SERVER, failed: bool = False
) -> Span:
    status = SpanStatus.ERROR if failed else SpanStatus.UNSET
    return Span(span_id, parent, service, "do", kind, status, 0, SECOND)


def test_a_call_is_a_span_whose_parent_is_of_another_service():
    shop = tree(
        span("frontend", "1"),
        span("checkout", "2", "1", failed=True),
        span("checkout", "3", "2", kind=SpanKind.CLIENT),
        span("payment", "4", "3"),
    )

    assert calls_of_traces([shop, shop], window_seconds=10) == [
        ServiceCall("checkout", "payment", 0.2, 0.0, 1.0),
        ServiceCall("frontend", "checkout", 0.2, 1.0, 1.0),
    ]


def test_a_call_failed_when_either_side_says_so():
    timed_out = tree(span("a", "1", kind=SpanKind.CLIENT, failed=True), span("b", "2", "1"))
    passed_on = tree(span("a", "1", failed=True), span("b", "2", "1"))

    assert [call.error_ratio for call in calls_of_traces([timed_out], window_seconds=1)] == [1.0]
    assert [call.error_ratio for call in calls_of_traces([passed_on], window_seconds=1)] == [0.0]


def test_what_has_no_spans_of_its_own_is_known_by_the_name_that_its_caller_gives_it():
    call = replace(span("checkout", "1", kind=SpanKind.CLIENT), attributes={"peer.service": "card-processor"})

    assert calls_of_traces([tree(call)], window_seconds=None) == [
        ServiceCall("checkout", "card-processor", None, 0.0, 1.0)
    ]


def test_the_latency_is_that_of_all_but_the_slowest_twentieth():
    fast = tree(span("a", "1"), span("b", "2", "1"))
    slow = tree(span("a", "1"), replace(span("b", "2", "1"), end_ns=9 * SECOND))

    assert [call.latency_p95_seconds for call in calls_of_traces([fast] * 19 + [slow], window_seconds=1)] == [1.0]
    assert [call.latency_p95_seconds for call in calls_of_traces([fast] * 18 + [slow] * 2, window_seconds=1)] == [9.0]


def test_calls_that_two_sources_saw_are_one():
    merged = merged_calls(
        [ServiceCall("a", "b", 3.0, 0.5, 0.1), ServiceCall("c", "d"), ServiceCall("a", "b", 1.0, 0.1, 0.4)]
    )

    assert merged[0] == ServiceCall("a", "b", 4.0, pytest.approx(0.4), 0.4)
    assert merged[1] == ServiceCall("c", "d")


def test_ratios_without_rates_count_the_same():
    [merged] = merged_calls([ServiceCall("a", "b", None, 0.5), ServiceCall("a", "b", None, 0.1)])

    assert merged == ServiceCall("a", "b", None, pytest.approx(0.3))
