"""Traces of services around an incident, from Tempo: failing and slow ones, and some of before to compare them with."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Final

import numpy as np

from actions.answers import answered
from actions.surroundings import NearService, Surroundings
from domain.telemetry import DEFAULT_INSTANCE, TelemetryBackend
from domain.text import without_nul
from domain.time import Deadline
from domain.traces import Span
from engines.correlation.evidence import Gap, Source
from telemetry_clients.errors import TelemetryError
from telemetry_clients.instances import Telemetry
from telemetry_clients.tempo import FoundTrace, Tempo, traceql

_SERVICES_SEARCHED: Final = 50
_BASELINE_TRACES: Final = 100
_FAILED_TRACES: Final = 60
_FAULT_TRACES: Final = 60
_SLOW_TRACES: Final = 40
_SLOW_QUANTILE: Final = 0.95
_FETCHES_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class GatheredTraces:
    """Traces by their ids, in order, each with its spans, whose services are called as in the catalog."""

    traces: tuple[tuple[str, Sequence[Span]], ...]
    source: Source


async def gather_traces(
    telemetry: Telemetry,
    instance: str | None,
    services: Sequence[NearService],
    around: Surroundings,
    deadline: Deadline,
) -> tuple[GatheredTraces, tuple[Gap, ...]]:
    """Traces through these services, and what was not answered. Raises TelemetryError when nothing was."""
    tempo = telemetry.tempo.get(instance)
    # Those that are nearest to the incident.
    names = {service.traced_as: service.name for service in services[:_SERVICES_SEARCHED]}
    found, failures = await _search(tempo, [*names], around, deadline)
    turn = asyncio.Semaphore(_FETCHES_AT_ONCE)

    async def fetch(trace: FoundTrace) -> tuple[str, Sequence[Span]]:
        async with turn:
            spans = await tempo.trace(trace.trace_id, deadline=deadline)
        return trace.trace_id, spans or ()

    fetched, unread = await answered(fetch(trace) for trace in found)
    every = {service.traced_as: service.name for service in around.services}
    for _, spans in fetched:
        for span in spans:
            span.service = every.get(span.service, without_nul(span.service))
            span.name = without_nul(span.name)
    source = Source(
        backend=TelemetryBackend.TEMPO,
        instance=instance or DEFAULT_INSTANCE,
        query=traceql.spans_of([*names]),
        start=around.start.timestamp(),
        end=around.end.timestamp(),
    )
    gaps = dict.fromkeys(Gap(TelemetryBackend.TEMPO, error.code, error.message) for error in [*failures, *unread])
    return GatheredTraces(tuple(sorted((it for it in fetched if it[1]), key=itemgetter(0))), source), tuple(gaps)


async def _search(
    tempo: Tempo, names: Sequence[str], around: Surroundings, deadline: Deadline
) -> tuple[list[FoundTrace], list[TelemetryError]]:
    """The traces worth reading, each once."""
    fault = datetime.fromtimestamp(around.evidence.noticed_at - around.evidence.lead_seconds, UTC)

    async def search(
        start: datetime, end: datetime, limit: int, *, errors_only: bool = False, at_least_seconds: float | None = None
    ) -> Sequence[FoundTrace]:
        query = traceql.spans_of(names, errors_only=errors_only, min_duration_seconds=at_least_seconds)
        return await tempo.search(query, start=start, end=end, limit=limit, deadline=deadline)

    answers, failures = await answered(
        (
            search(around.start, fault, _BASELINE_TRACES),
            search(fault, around.end, _FAULT_TRACES),
            search(fault, around.end, _FAILED_TRACES, errors_only=True),
        )
    )
    durations = [trace.duration_seconds for answer in answers for trace in answer if trace.started_at < fault]
    if durations:
        slow = float(np.quantile(durations, _SLOW_QUANTILE))
        slowest, failed = await answered(
            [search(fault, around.end, _SLOW_TRACES, at_least_seconds=slow)] if slow > 0 else []
        )
        answers, failures = [*answers, *slowest], [*failures, *failed]
    found = {trace.trace_id: trace for answer in answers for trace in answer}
    return [found[id] for id in sorted(found)], failures
