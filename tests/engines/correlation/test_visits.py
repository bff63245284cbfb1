"""What changes in visits: where a service breaks off, and what only whoever collects the lines is to blame for."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from domain.telemetry import LogLevel
from domain.traces import NANOSECONDS, Span, SpanKind, SpanStatus
from engines.correlation import analyse
from engines.correlation.evidence import Call, EventKind, Evidence, LogPattern
from engines.correlation.findings import Analysis
from engines.correlation.line_sampling import kept_lines
from engines.correlation.trace_digest import LinkedLine, digest
from tests.engines.correlation.shops import NOTICED_AT

SERVICES = ("web", "cart", "stock")
STATEMENTS = ("begins", "works", "ends")
Says = Callable[[str, str, bool], bool]
"""Whether a service says a statement in a visit, which is one of the fault or not."""


def talking(says: Says, levels: dict[str, LogLevel] | None = None, *, traces: int = 160) -> Evidence:
    """A chain of services that say what they do at each request; the fault has lasted for two minutes."""
    spans: list[tuple[str, Sequence[Span]]] = []
    lines: dict[str, list[LinkedLine]] = {}
    for number in range(traces):
        id = f"{number:032x}"
        begins = NOTICED_AT - (1800 - 10 * number if number < traces // 2 else 1.5 * (traces - number))
        start_ns, is_faulty = int(begins * NANOSECONDS), begins >= NOTICED_AT - 120
        spans.append((id, [_span(id, place, start_ns) for place in range(len(SERVICES))]))
        lines[id] = [
            LinkedLine(service, f"{service}-{statement}", start_ns + 1_000 * place + order, f"{id[-8:]}{place}")
            for place, service in enumerate(SERVICES)
            for order, statement in enumerate(STATEMENTS)
            if says(service, statement, is_faulty)
        ]
    patterns = tuple(
        LogPattern(
            service,
            f"{service}-{statement}",
            f"{service} {statement} <_>",
            (levels or {}).get(statement, LogLevel.INFO),
            np.zeros(0, dtype=np.int64),
        )
        for service in SERVICES
        for statement in STATEMENTS
    )
    calls = (Call("web", "cart"), Call("cart", "stock"))
    known = Evidence(("web",), NOTICED_AT, NOTICED_AT - 3600, NOTICED_AT + 60, calls=calls, patterns=patterns)
    return replace(known, traces=digest(spans, lines))


def _span(id: str, place: int, start_ns: int) -> Span:
    parent = f"{id[-8:]}{place - 1}" if place else None
    margin_ns = place * 1_000
    name = f"/{SERVICES[place]}"
    begins_ns, ends_ns = start_ns + margin_ns, start_ns + 10_000_000 - margin_ns
    return Span(
        f"{id[-8:]}{place}", parent, SERVICES[place], name, SpanKind.SERVER, SpanStatus.UNSET, begins_ns, ends_ns
    )


def named(analysis: Analysis) -> set[str]:
    return {finding.id.rpartition("/")[2] for finding in analysis.findings}


def test_where_a_service_breaks_off_is_told_by_the_line_that_no_longer_follows():
    analysis = analyse(
        talking(lambda service, statement, is_faulty: not (is_faulty and service == "cart" and statement == "ends"))
    )
    assert analysis.causes[0].service == "cart"
    assert named(analysis) == {"cart-ends"}
    assert '"cart ends <_>" no longer follows "cart works <_>"' in analysis.causes[0].explanation


def test_it_is_found_among_lines_of_which_every_other_is_lost():
    random = np.random.default_rng(1)

    def says(service: str, statement: str, is_faulty: bool) -> bool:
        is_lost = is_faulty and service == "stock" and statement == "works"
        return bool(random.random() < 0.5) and not is_lost

    assert analyse(talking(says)).causes[0].service == "stock"


def test_lines_that_are_missing_from_all_services_alike_are_the_collectors_fault():
    random = np.random.default_rng(2)
    analysis = analyse(
        talking(lambda service, statement, is_faulty: bool(random.random() < (0.3 if is_faulty else 0.9)))
    )
    stopped = analyse(talking(lambda service, statement, is_faulty: not (is_faulty and statement == "ends")))
    assert analysis.causes[0].score < stopped.causes[0].score / 2
    assert analysis.causes[0].confidence < 0.5


@pytest.mark.parametrize("level", [LogLevel.WARN, LogLevel.ERROR])
def test_complaints_that_stop_are_no_symptom(level):
    analysis = analyse(
        talking(lambda service, statement, is_faulty: not (is_faulty and statement == "ends"), {"ends": level})
    )
    assert analysis.causes[0].score == 0


def test_a_line_that_only_became_rarer_convinces_less_than_one_that_stopped():
    random = np.random.default_rng(3)

    def rarer(service: str, statement: str, is_faulty: bool) -> bool:
        return not (is_faulty and service == "cart" and statement == "ends") or bool(random.random() < 0.5)

    def stopped(service: str, statement: str, is_faulty: bool) -> bool:
        return not (is_faulty and service == "cart" and statement == "ends")

    scores = [analyse(talking(says)).causes[0].score for says in (rarer, stopped)]
    assert scores[0] < scores[1] / 2


def test_which_part_of_lines_was_kept_is_seen_over_all_services():
    starts = np.arange(200.0)
    place = np.arange(200) % 5
    says = np.where(starts < 100, 10, 4)
    kept = kept_lines(place, starts, 0.0, np.arange(200), place, says)
    assert kept[starts < 90].mean() / kept[starts >= 120].mean() == pytest.approx(2.5, rel=0.15)


def test_a_call_of_somebody_who_writes_no_spans_is_a_visit_to_them():
    client = Span(
        "b", "a", "web", "SELECT", SpanKind.CLIENT, SpanStatus.ERROR, 1_000, 5_000, attributes={"db.system": "mysql"}
    )
    server = Span("a", None, "web", "/", SpanKind.SERVER, SpanStatus.ERROR, 0, 9_000)
    traces = digest([("t", [server, client])])
    assert traces.externals == ("mysql",)
    assert [(entry.service, entry.caller) for entry in traces.entries] == [("mysql", "web"), ("web", None)]
    np.testing.assert_allclose(traces.visit_self_seconds, [5e-6, 4e-6])
    assert traces.visit_is_origin.tolist() == [0, 1]
    assert {event.name for event in traces.events if event.kind is EventKind.CALL} == {"mysql"}


def test_a_peer_that_writes_spans_itself_is_no_external():
    client = Span("b", "a", "web", "GET", SpanKind.CLIENT, SpanStatus.UNSET, 1, 5, attributes={"peer.service": "cart"})
    spans = [Span("a", None, "web", "/", SpanKind.SERVER, SpanStatus.UNSET, 0, 9), client]
    other = [Span("c", None, "cart", "/cart", SpanKind.SERVER, SpanStatus.UNSET, 0, 9)]
    assert digest([("t", spans), ("u", other)]).externals == ()
