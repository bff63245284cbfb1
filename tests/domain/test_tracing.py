"""Spans, and which of them are recorded."""

import pytest

from domain import tracing
from domain.errors import Conflict
from domain.tracing import Span, SpanContext, SpanKind, Tracer, Within, read_traceparent

HEADER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CALLER = SpanContext(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, is_sampled=True)


@pytest.mark.parametrize(
    ("header", "is_sampled"),
    [(HEADER, True), (HEADER[:-2] + "00", False), (HEADER[:-2] + "03", True), ("cc" + HEADER[2:] + "-more", True)],
)
def test_a_caller_says_which_span_it_is(header: str, is_sampled: bool):
    assert read_traceparent(header) == SpanContext(CALLER.trace_id, CALLER.span_id, is_sampled)
    assert CALLER.traceparent == HEADER


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "ff" + HEADER[2:],
        HEADER + "-more",
        HEADER.upper(),
        HEADER[:-1],
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
    ],
)
def test_a_caller_that_says_it_wrong_is_nobody(header: str | None):
    assert read_traceparent(header) is None


def begun(sampler: str, ratio: float, parent: SpanContext | None) -> Span | SpanContext | None:
    return Tracer(lambda _: None, sampler=sampler, ratio=ratio).begin("work", SpanKind.SERVER, parent=parent)


@pytest.mark.parametrize(
    ("sampler", "ratio", "alone", "asked", "asked_unrecorded"),
    [
        ("always_on", 0, True, True, True),
        ("always_off", 1, False, False, False),
        ("traceidratio", 1, True, True, True),
        ("traceidratio", 0, False, False, False),
        ("parentbased_always_on", 0, True, True, False),
        ("parentbased_always_off", 1, False, True, False),
        ("parentbased_traceidratio", 1, True, True, False),
        ("parentbased_traceidratio", 0, False, True, False),
    ],
)
def test_a_sampler_decides_what_is_recorded(
    sampler: str, ratio: float, alone: bool, asked: bool, asked_unrecorded: bool
):
    unrecorded = SpanContext(CALLER.trace_id, CALLER.span_id, is_sampled=False)
    found = [isinstance(begun(sampler, ratio, parent), Span) for parent in (None, CALLER, unrecorded)]
    assert found == [alone, asked, asked_unrecorded]
    if not asked_unrecorded:
        assert begun(sampler, ratio, unrecorded) == unrecorded


def test_a_ratio_is_about_that_share_of_traces():
    tracer = Tracer(lambda _: None, sampler="traceidratio", ratio=0.25)
    recorded = sum(tracer.begin("work", SpanKind.SERVER) is not None for _ in range(4_000))
    assert 800 < recorded < 1_200


def test_parts_are_in_the_trace_of_the_whole_and_end_before_it():
    ended: list[Span] = []
    tracer = Tracer(ended.append, sampler="always_on", ratio=1)
    with tracer.work("whole", SpanKind.SERVER), tracing.span("part"), tracing.span("part of the part"):
        pass
    inner, part, whole = ended
    assert [span.name for span in ended] == ["part of the part", "part", "whole"]
    assert (inner.parent, part.parent, whole.parent) == (part.context, whole.context, None)
    assert len({span.context.trace_id for span in ended}) == 1
    assert whole.started_ns <= part.started_ns <= part.ended_ns <= whole.ended_ns
    assert tracing.context() is None


def test_what_fails_is_called_by_its_code_and_never_by_its_words():
    ended: list[Span] = []
    tracer = Tracer(ended.append, sampler="always_on", ratio=1)
    with pytest.raises(Conflict), tracer.work("whole", SpanKind.SERVER), tracing.span("part"):
        raise Conflict("Somebody else has changed it")
    assert [span.error for span in ended] == [Conflict.code, Conflict.code]


def test_work_that_recorded_work_has_caused_is_recorded_and_linked():
    ended: list[Span] = []
    tracer = Tracer(ended.append, sampler="always_off", ratio=0)
    with tracer.work("nothing", SpanKind.CONSUMER, origins=[None]):
        pass
    with tracer.work("caused", SpanKind.CONSUMER, origins=[HEADER, HEADER, None]):
        pass
    (caused,) = ended
    assert (caused.name, caused.links, caused.parent) == ("caused", [CALLER], None)


def test_where_nothing_is_recorded_there_is_no_span():
    with Within(SpanContext(1, 2, is_sampled=False)), tracing.span("part") as part:
        assert part is None
        assert tracing.origin() is None
    with tracing.span("part") as part:
        assert part is None
