"""What telemetry backends know around an incident, gathered at once, from whichever of them answer in time."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from actions.gathered_logs import BUCKET_SECONDS, GatheredLogs, gather_logs
from actions.gathered_metrics import gather_metrics
from actions.gathered_traces import GatheredTraces, gather_traces
from actions.surroundings import NearService, Surroundings
from domain.telemetry import TelemetryBackend
from domain.time import Deadline
from domain.traces import Span, SpanKind
from engines.correlation.evidence import Evidence, Gap, Series
from engines.correlation.trace_digest import digest
from telemetry_clients.errors import TelemetryError, TelemetryNotConfigured, TelemetryTimeout
from telemetry_clients.instances import Telemetry

DEADLINE_SECONDS: Final = 10.0
_GRACE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Part:
    """What one instance of a backend gave, and why the rest is missing."""

    series: tuple[Series, ...] = ()
    logs: GatheredLogs | None = None
    traces: GatheredTraces | None = None
    gaps: tuple[Gap, ...] = ()


@dataclass(slots=True)
class _Gathered:
    """All parts so far, to be put together in an order that does not depend on who answered first."""

    parts: dict[int, Part] = field(default_factory=dict)

    def evidence(self, known: Evidence, gaps: Sequence[Gap]) -> Evidence:
        """What was known before, and all that was gathered."""
        parts = [self.parts[place] for place in sorted(self.parts)]
        logs = [part.logs for part in parts if part.logs is not None]
        found = _joined([it.traces for it in parts if it.traces])
        lines = {id: some for it in logs for id, some in it.lines.items()}
        covered = np.logical_and.reduce([it.covered for it in logs]) if logs else np.empty(0, dtype=np.bool_)
        missing = [*gaps, *(gap for part in parts for gap in part.gaps)]
        missing.sort(key=lambda gap: (gap.backend, gap.code, gap.message))
        return replace(
            known,
            series=tuple(
                sorted((one for part in parts for one in part.series), key=lambda it: (it.service, it.signal))
            ),
            log_bucket_seconds=BUCKET_SECONDS,
            log_times=logs[0].times[covered] if logs else known.log_times,
            patterns=tuple(
                replace(one, counts=one.counts[covered])
                for one in sorted((one for it in logs for one in it.patterns), key=lambda one: (one.service, one.id))
            ),
            traces=None if found is None else digest(found.traces, lines, found.source),
            gaps=tuple(dict.fromkeys(missing)),
        )


def _joined(found: Sequence[GatheredTraces]) -> GatheredTraces | None:
    """The traces of all instances. A trace that services of several instances have written is put together again; the
    instance that has most traces is the one that people are shown.
    """
    spans: dict[str, dict[tuple[str, SpanKind, int], Span]] = {}
    for part in found:
        for id, some in part.traces:
            # A span that two instances have stored is one.
            spans.setdefault(id, {}).update({(span.span_id, span.kind, span.start_ns): span for span in some})
    if not found:
        return None
    most = max(found, key=lambda part: len(part.traces))
    return GatheredTraces(tuple((id, [*spans[id].values()]) for id in sorted(spans)), most.source)


async def gather(
    telemetry: Telemetry,
    around: Surroundings,
    *,
    scrape_interval_seconds: float,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> AsyncGenerator[tuple[Evidence, bool]]:
    """What is known so far, each time that another backend has answered, and whether that is all.

    Everything is asked at the same time and is over at the deadline. A backend that fails, or does not answer until
    then, is a gap and no error.
    """
    deadline = Deadline.after(deadline_seconds)
    asked, gaps = _questions(telemetry, around, scrape_interval_seconds, deadline)
    gathered = _Gathered()
    asking = {asyncio.create_task(_answered(*question, deadline)): place for place, question in enumerate(asked)}
    waiting = set(asking)
    try:
        yield await asyncio.to_thread(gathered.evidence, around.evidence, gaps), not waiting
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                gathered.parts[asking[task]] = task.result()
            yield await asyncio.to_thread(gathered.evidence, around.evidence, gaps), not waiting
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


_Question = tuple[TelemetryBackend, Callable[[], Awaitable[Part]]]


def _questions(
    telemetry: Telemetry, around: Surroundings, scrape_interval_seconds: float, deadline: Deadline
) -> tuple[list[_Question], list[Gap]]:
    """What to ask of which instance, and what cannot be asked at all."""
    window = around.start, around.end

    async def metrics(instance: str | None, some: Sequence[NearService]) -> Part:
        series, gaps = await gather_metrics(telemetry, instance, some, *window, scrape_interval_seconds, deadline)
        return Part(series=series, gaps=gaps)

    async def logs(instance: str | None, some: Sequence[NearService]) -> Part:
        found, gaps = await gather_logs(telemetry, instance, some, around, deadline)
        return Part(logs=found, gaps=gaps)

    async def traces(instance: str | None, some: Sequence[NearService]) -> Part:
        found, gaps = await gather_traces(telemetry, instance, some, around, deadline)
        return Part(traces=found, gaps=gaps)

    backends: Sequence[tuple[TelemetryBackend, Any, Callable[..., Awaitable[Part]]]] = (
        (TelemetryBackend.PROMETHEUS, telemetry.prometheus, metrics),
        (TelemetryBackend.LOKI, telemetry.loki, logs),
        (TelemetryBackend.TEMPO, telemetry.tempo, traces),
    )
    asked: list[_Question] = []
    gaps: list[Gap] = []
    for backend, instances, ask in backends:
        for instance, some in _by_instance(around.services, backend).items():
            try:
                instances.get(instance)
            except TelemetryNotConfigured as error:
                gaps.append(Gap(backend, error.code, error.message))
                continue
            asked.append((backend, _bound(ask, instance, some)))
    return asked, gaps


def _bound(
    ask: Callable[..., Awaitable[Part]], instance: str | None, some: Sequence[NearService]
) -> Callable[[], Awaitable[Part]]:
    return lambda: ask(instance, some)


def _by_instance(
    services: Sequence[NearService], backend: TelemetryBackend
) -> Mapping[str | None, Sequence[NearService]]:
    by_instance: dict[str | None, list[NearService]] = {}
    for service in services:
        by_instance.setdefault(service.instances.get(backend.value.lower()), []).append(service)
    return by_instance


async def _answered(backend: TelemetryBackend, ask: Callable[[], Awaitable[Part]], deadline: Deadline) -> Part:
    try:
        # Clients give up at the deadline themselves, and what others have told by then still counts.
        async with asyncio.timeout(deadline.remaining_seconds() + _GRACE_SECONDS):
            return await ask()
    except TelemetryError as error:
        return Part(gaps=(Gap(backend, error.code, error.message),))
    except TimeoutError:
        product = backend.value.capitalize()
        return Part(
            gaps=(Gap(backend, TelemetryTimeout.code, f"{product} did not answer everything before the deadline."),)
        )
