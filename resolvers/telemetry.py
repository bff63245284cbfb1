"""Fields that ask a telemetry backend. A backend that does not answer costs its own fields, never the query."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from domain.errors import ValidationFailed
from domain.telemetry import GoldenSignal
from domain.time import Deadline
from resolvers.context import RequestContext
from telemetry_clients.golden_signals import expression, rate_window_seconds
from telemetry_clients.instances import Instances
from telemetry_clients.prometheus import Prometheus, Series, range_step_seconds

USUAL_SIGNALS = (GoldenSignal.REQUEST_RATE, GoldenSignal.ERROR_RATIO, GoldenSignal.LATENCY_P95)
PADDING = timedelta(minutes=30)
MARGIN_SECONDS = 0.5

Answer = TypeVar("Answer")
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SignalSeries:
    """A golden signal of one service over a time range."""

    service: str
    signal: GoldenSignal
    query: str
    series: Series


@dataclass(frozen=True, slots=True)
class Question:
    """One query about all services that are told apart by the value of one label."""

    signal: GoldenSignal
    selector: Mapping[str, Sequence[str]]
    services: Mapping[tuple[str, ...], Sequence[str]]


async def golden_signals(
    context: RequestContext,
    services: Mapping[str, Labels],
    instances: Mapping[str, str | None],
    signals: Sequence[GoldenSignal] | None,
    *,
    start: datetime,
    end: datetime,
    step_seconds: int | None,
) -> list[SignalSeries]:
    """The signals of services, given by name with their label matchers and the Prometheus that knows them (None: the
    default one). One query a signal and a Prometheus wherever that is possible.

    Raises TelemetryError, and ValidationFailed for a range that is none.
    """
    if start >= end:
        raise ValidationFailed("`range.from` must lie before `range.to`", ["range"])
    if step_seconds is not None and step_seconds < 1:
        raise ValidationFailed("`stepSeconds` must be at least 1", ["stepSeconds"])
    step = range_step_seconds(start, end, step_seconds)
    asked = [
        _ask(context, prometheus, question, start, end, step)
        for prometheus, known in _by_instance(context.telemetry.prometheus, services, instances)
        for signal in dict.fromkeys(USUAL_SIGNALS if signals is None else signals)
        for question in _questions(signal, known)
    ]
    return [series for answers in await all_of(asked) for series in answers]


def incident_range(needs: Mapping[str, Any], now: datetime) -> tuple[datetime, datetime]:
    """The time of an incident with some before and after it, as far as it has passed."""
    start = datetime.fromisoformat(needs["started_at"])
    resolved_at = needs["resolved_at"]
    end = now if resolved_at is None else min(now, datetime.fromisoformat(resolved_at) + PADDING)
    return start - PADDING, max(end, start)


def _by_instance(
    clients: Instances[Prometheus], services: Mapping[str, Labels], instances: Mapping[str, str | None]
) -> list[tuple[Prometheus, Mapping[str, Labels]]]:
    """Each Prometheus with the services that it knows."""
    known: dict[str | None, dict[str, Labels]] = {}
    for service, selector in services.items():
        known.setdefault(instances.get(service), {})[service] = selector
    return [(clients.get(name), selectors) for name, selectors in known.items()]


def _questions(signal: GoldenSignal, services: Mapping[str, Labels]) -> Iterable[Question]:
    """Services that differ in the value of their only label are one question; any others have one each."""
    by_label: dict[str, list[str]] = {}
    for service, selector in services.items():
        if len(selector) == 1:
            by_label.setdefault(next(iter(selector)), []).append(service)
        else:
            key = tuple(selector.values())
            yield Question(signal, {label: [value] for label, value in selector.items()}, {key: [service]})
    for label, names in by_label.items():
        told_apart: dict[tuple[str, ...], list[str]] = {}
        for name in names:
            told_apart.setdefault((services[name][label],), []).append(name)
        yield Question(signal, {label: [key[0] for key in told_apart]}, told_apart)


async def _ask(
    context: RequestContext, prometheus: Prometheus, question: Question, start: datetime, end: datetime, step: int
) -> list[SignalSeries]:
    window = rate_window_seconds(step, context.scrape_interval_seconds)
    query = expression(question.signal, question.selector, window_seconds=window)
    # An answer that comes too late for the rest of the query is worth nothing: stop a little earlier.
    deadline = Deadline.after(max(0.0, context.deadline.remaining_seconds() - MARGIN_SECONDS))
    result = await prometheus.query_range(query, start=start, end=end, step_seconds=step, deadline=deadline)
    return [
        SignalSeries(service, question.signal, query, series)
        for series in result.series
        for service in question.services.get(tuple(series.labels.get(label, "") for label in question.selector), ())
    ]


async def all_of(asked: Iterable[Coroutine[Any, Any, Answer]]) -> list[Answer]:
    """Every answer, or the first failure, with nothing left running."""
    tasks = [asyncio.create_task(question) for question in asked]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
