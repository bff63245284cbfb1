"""A small shop with a fault, as gathered evidence."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from domain.telemetry import LogLevel
from domain.traces import NANOSECONDS, Span, SpanKind, SpanStatus
from engines.correlation.evidence import Call, Evidence, LogPattern, Series, Signal
from engines.correlation.trace_digest import LinkedLine, digest

NOTICED_AT = 1_800_000_000.0
CALLS = (("web", "cart"), ("web", "catalog"), ("cart", "stock"), ("cart", "price"))
LEVELS = {Signal.REQUEST_RATE: 20.0, Signal.ERROR_RATIO: 0.001, Signal.LATENCY_P95: 0.1, Signal.CPU: 0.2}


def series(
    service: str, signal: Signal, level: float, *, fault: float = 0.0, seed: int = 0, onset: float = -120.0
) -> Series:
    """A minute's value for an hour before and five minutes after, with a tenth of noise, and a fault that adds."""
    random = np.random.default_rng([seed, sum(map(ord, service + signal))])
    times = NOTICED_AT + np.arange(-3600.0, 301.0, 60.0)
    values = level * (1 + 0.1 * random.standard_normal(len(times))) + fault * (times >= NOTICED_AT + onset)
    return Series(service, signal, times, values)


def metrics(faults: dict[tuple[str, Signal], float]) -> tuple[Series, ...]:
    """Metrics of all services, with what faults add to some of them."""
    services = sorted({name for call in CALLS for name in call})
    return tuple(
        series(service, signal, level, fault=faults.get((service, signal), 0.0))
        for service in services
        for signal, level in LEVELS.items()
    )


def shop(faults: dict[tuple[str, Signal], float] | None = None) -> Evidence:
    """The shop, noticed at its web service."""
    return Evidence(
        services=("web",),
        noticed_at=NOTICED_AT,
        start=NOTICED_AT - 3600,
        end=NOTICED_AT + 300,
        calls=tuple(Call(*call) for call in CALLS),
        series=metrics(faults or {}),
    )


def with_traces(
    evidence: Evidence, *, failing: str = "", slow: str = "", traces: int = 120, has_baseline: bool = True
) -> Evidence:
    """With traces from half an hour before until now, of which those of the last two minutes show a fault.

    A failing service writes a line about an error, calls nobody any more, and its callers fail with it. Without a
    baseline there are only traces of the fault.
    """
    spans: list[tuple[str, Sequence[Span]]] = []
    lines: dict[str, list[LinkedLine]] = {}
    for number in range(0 if has_baseline else traces // 2, traces):
        id = f"{number:032x}"
        begins = NOTICED_AT - (1800 - 10 * number if number < traces // 2 else 2 * (traces - number))
        is_faulty = begins >= NOTICED_AT - 120
        made, said = _trace(id, begins, failing if is_faulty else "", slow if is_faulty else "")
        spans.append((id, made))
        lines[id] = said
    patterns = tuple(
        LogPattern(service, f"{service}-{name}", f"{name} in {service}", level, np.zeros(0, dtype=np.int64))
        for service in sorted({name for call in CALLS for name in call})
        for name, level in (("handled", LogLevel.INFO), ("failed", LogLevel.ERROR))
    )
    return replace(evidence, traces=digest(spans, lines), patterns=patterns)


def short(evidence: Evidence, seconds: float) -> Evidence:
    """With metrics of so many seconds before the incident only, one value every fifteen."""
    times = NOTICED_AT + np.arange(-seconds, 61.0, 15.0)
    return replace(
        evidence,
        series=tuple(
            replace(one, times=times, values=one.values[np.searchsorted(one.times, times, side="right") - 1])
            for one in evidence.series
        ),
    )


def with_database(evidence: Evidence, *, failing: bool = False, seconds: float = 0.002, traces: int = 120) -> Evidence:
    """With traces in which stock asks a database that writes no spans, which fails or is slow for two minutes."""
    spans: list[tuple[str, Sequence[Span]]] = []
    for number in range(traces):
        id = f"{number:032x}"
        begins = NOTICED_AT - (1800 - 10 * number if number < traces // 2 else 2 * (traces - number))
        is_faulty = begins >= NOTICED_AT - 120
        start_ns = int(begins * NANOSECONDS)
        lasts_ns = int((seconds if is_faulty else 0.002) * NANOSECONDS)
        status = SpanStatus.ERROR if failing and is_faulty else SpanStatus.UNSET
        whole_ns = lasts_ns + 3_000_000
        made = [
            Span(f"{id[-8:]}a", None, "web", "/web", SpanKind.SERVER, status, start_ns, start_ns + whole_ns),
            Span(
                f"{id[-8:]}b", f"{id[-8:]}a", "stock", "/stock", SpanKind.SERVER, status, start_ns, start_ns + whole_ns
            ),
            Span(
                f"{id[-8:]}c",
                f"{id[-8:]}b",
                "stock",
                "SELECT items",
                SpanKind.CLIENT,
                status,
                start_ns + 1_000_000,
                start_ns + 1_000_000 + lasts_ns,
                attributes={"db.system": "postgresql", "server.address": "items-db"},
            ),
        ]
        spans.append((id, made))
    return replace(evidence, traces=digest(spans))


def _trace(id: str, begins: float, failing: str, slow: str) -> tuple[list[Span], list[LinkedLine]]:
    spans: list[Span] = []
    lines: list[LinkedLine] = []
    broken = {failing} if failing else set()
    for caller, callee in reversed(CALLS):
        if callee in broken:
            broken.add(caller)

    def visit(service: str, parent: str | None, start_ns: int) -> int:
        span_id = f"{id[-8:]}{len(spans):08x}"
        spans.append(Span(span_id, parent, service, f"/{service}", SpanKind.SERVER, SpanStatus.UNSET, start_ns, 0))
        place = len(spans) - 1
        now = start_ns + 5_000_000 + (400_000_000 if service == slow else 0)
        if service != failing:
            for caller, callee in CALLS:
                if caller == service:
                    now = visit(callee, span_id, now) + 1_000_000
        failed = service in broken
        name = "failed" if service == failing else "handled"
        if service == failing or not failed:
            lines.append(LinkedLine(service, f"{service}-{name}", start_ns + 1, span_id))
        status = SpanStatus.ERROR if failed else SpanStatus.UNSET
        spans[place] = replace(spans[place], end_ns=now, status=status)
        return now

    visit("web", None, int(begins * NANOSECONDS))
    return spans, lines
