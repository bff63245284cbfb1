"""An incident as large as one gets: fifty services, a million lines that the backend has counted, a thousand traces."""

from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np

from domain.telemetry import LogLevel
from domain.traces import NANOSECONDS, Span, SpanKind, SpanStatus
from engines.correlation.evidence import Call, Evidence, LogPattern, Series, Signal
from engines.correlation.trace_digest import LinkedLine, digest

Traces: TypeAlias = list[tuple[str, list[Span]]]
Lines: TypeAlias = dict[str, list[LinkedLine]]

UNSET: Final = SpanStatus.UNSET
NOTICED_AT: Final = 1_800_000_000.0
SIGNALS: Final = {
    Signal.REQUEST_RATE: 20.0,
    Signal.ERROR_RATIO: 0.001,
    Signal.LATENCY_P50: 0.02,
    Signal.LATENCY_P95: 0.1,
    Signal.LATENCY_P99: 0.3,
    Signal.CPU: 0.2,
    Signal.MEMORY: 0.4,
    Signal.NETWORK: 1e6,
}


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything there is."""

    services: int = 50
    patterns: int = 40
    lines: int = 1_000_000
    traces: int = 1_000
    spans: int = 99
    lines_of_traces: int = 20_000


def name(number: int) -> str:
    """The name of a service."""
    return f"service-{number:02}"


def known(size: Size, random: np.random.Generator) -> Evidence:
    """What there is beside traces: metrics every 15 seconds for an hour, counts of lines by the minute."""
    times = NOTICED_AT + np.arange(-3600.0, 301.0, 15.0)
    minutes = NOTICED_AT + np.arange(-3600.0, 301.0, 60.0)
    is_faulty = times >= NOTICED_AT - 120
    broken = name(size.services - 1)
    series = tuple(
        Series(
            name(number),
            signal,
            times,
            level
            * np.exp(random.normal(0, 0.1, len(times)))
            * np.where(is_faulty & (name(number) == broken), 4.0, 1.0),
        )
        for number in range(size.services)
        for signal, level in SIGNALS.items()
    )
    mean = size.lines / (size.services * size.patterns * len(minutes))
    patterns = tuple(
        LogPattern(
            name(number),
            f"{number:02}-{pattern:02}",
            f"statement {pattern} of service {number} said <_>",
            LogLevel.ERROR if pattern == 0 else LogLevel.INFO,
            random.poisson(0 if pattern == 0 else mean, len(minutes)),
        )
        for number in range(size.services)
        for pattern in range(size.patterns)
    )
    return Evidence(
        services=(name(0),),
        noticed_at=NOTICED_AT,
        start=NOTICED_AT - 3600,
        end=NOTICED_AT + 300,
        calls=tuple(Call(name((number - 1) // 2), name(number)) for number in range(1, size.services)),
        series=series,
        log_times=minutes,
        patterns=patterns,
    )


def spans_of(size: Size, random: np.random.Generator) -> Traces:
    """Traces down random ways through the services, a server and a client span for each call, and work between."""
    found = []
    for number in range(size.traces):
        begins = NOTICED_AT - (3_000 - 2.4 * number if number < size.traces // 2 else 0.6 * (size.traces - number))
        found.append((f"{number:032x}", _trace(number, int(begins * NANOSECONDS), size, random)))
    return found


def _trace(number: int, start_ns: int, size: Size, random: np.random.Generator) -> list[Span]:
    spans: list[Span] = []
    turns = iter(random.integers(0, 2**31, 4 * size.spans).tolist())
    waiting: list[tuple[int, str | None, int, int]] = [(0, None, start_ns, 10**9)]
    while waiting and len(spans) < size.spans:
        service, parent, begins, lasts = waiting.pop(0)
        id = f"{number:08x}{len(spans):08x}"
        spans.append(Span(id, parent, name(service), f"GET /{service}", SpanKind.SERVER, UNSET, begins, begins + lasts))
        for child in (2 * service + 1, 2 * service + 2):
            child = child if child < size.services else next(turns) % size.services
            at = begins + lasts // 4 + next(turns) % max(1, lasts // 4)
            client = f"{number:08x}{len(spans):08x}"
            spans.append(Span(client, id, name(service), f"call {child}", SpanKind.CLIENT, UNSET, at, at + lasts // 3))
            waiting.append((child, client, at + 1_000, lasts // 3 - 2_000))
    return spans[: size.spans]


def lines_of(
    size: Size, traces: list[tuple[str, list[Span]]], random: np.random.Generator
) -> dict[str, list[LinkedLine]]:
    """Lines that belong to traces, of those that the backend gave."""
    found: dict[str, list[LinkedLine]] = {}
    for trace in random.integers(0, len(traces), size.lines_of_traces).tolist():
        id, spans = traces[trace]
        span = spans[int(random.integers(0, len(spans)))]
        pattern = f"{span.service[-2:]}-{int(random.integers(1, size.patterns)):02}"
        found.setdefault(id, []).append(LinkedLine(span.service, pattern, span.start_ns + 1, span.span_id))
    return found


def large_incident(
    size: Size | None = None,
) -> tuple[Evidence, list[tuple[str, list[Span]]], dict[str, list[LinkedLine]]]:
    """What was gathered of one, whose traces are yet to be digested, and their lines."""
    random = np.random.default_rng(7)
    size = size or Size()
    traces = spans_of(size, random)
    return known(size, random), traces, lines_of(size, traces, random)


def with_traces(evidence: Evidence, traces: Traces, lines: Lines) -> Evidence:
    """The evidence with its traces as an analysis takes them."""
    return replace(evidence, traces=digest(traces, lines))
