"""Golden signals and resources of services around an incident, from Prometheus: one query each for all services."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from actions.answers import answered
from actions.surroundings import NearService
from domain.telemetry import DEFAULT_INSTANCE, GoldenSignal, TelemetryBackend
from domain.time import Deadline
from engines.correlation.evidence import Floats, Gap, Series, Signal, Source
from telemetry_clients.instances import Telemetry
from telemetry_clients.prometheus import Prometheus, range_step_seconds
from telemetry_clients.prometheus.discovery import Place, Places
from telemetry_clients.prometheus.golden_signals import overridden, rate_window_seconds
from telemetry_clients.prometheus.resource_usage import Resource, usage
from telemetry_clients.prometheus.samples import Points
from telemetry_clients.prometheus.samples import Series as Samples
from telemetry_clients.prometheus.signal_queries import alone, joined
from telemetry_clients.services import Service

_SHORTEST_STEP_SECONDS: Final = 15
# Several series of a service (one a namespace) are seen as one: rates add up, of anything else the worst counts.
_ADDED: Final = {Signal.REQUEST_RATE, *(Signal(resource.value) for resource in Resource)} - {Signal.UP}


@dataclass(frozen=True, slots=True)
class _Range:
    """What all queries have in common."""

    start: datetime
    end: datetime
    step_seconds: int
    window_seconds: float


@dataclass(frozen=True, slots=True)
class _Question:
    """A query, the services that its series are about by their labels, and what one would ask about each alone."""

    signal: Signal
    query: str
    meant: Mapping[frozenset[tuple[str, str]], str] | str
    alone: Mapping[str, str]


async def gather_metrics(
    telemetry: Telemetry,
    instance: str | None,
    services: Sequence[NearService],
    start: datetime,
    end: datetime,
    scrape_interval_seconds: float,
    deadline: Deadline,
) -> tuple[tuple[Series, ...], tuple[Gap, ...]]:
    """The signals of services over a range, one series for each service and signal, and what was not answered.

    Raises TelemetryError when nothing was.
    """
    prometheus = telemetry.prometheus.get(instance)
    asked = {Service(it.name, tuple(sorted((it.selectors.get("prometheus") or {}).items()))): it for it in services}
    over = _range(start, end, scrape_interval_seconds)
    places = await telemetry.discovery(instance).places(
        [*asked],
        at=over.end,
        lookback_seconds=(over.end - over.start).total_seconds(),
        deadline=deadline,
    )
    questions = [*_signal_questions(asked, places, over), *_resource_questions(places, over)]
    answers, failures = await answered(_ask(prometheus, one, over, instance, deadline) for one in questions)
    gaps = dict.fromkeys(Gap(TelemetryBackend.PROMETHEUS, error.code, error.message) for error in failures)
    return tuple(series for answer in answers for series in answer), tuple(gaps)


def _range(start: datetime, end: datetime, scrape_interval_seconds: float) -> _Range:
    """On multiples of the step, so that a run soon after asks the same."""
    shortest = max(_SHORTEST_STEP_SECONDS, round(scrape_interval_seconds))
    step = max(shortest, range_step_seconds(start, end))
    first, last = (moment.timestamp() // step * step for moment in (start, end))
    return _Range(
        datetime.fromtimestamp(first, UTC),
        datetime.fromtimestamp(max(first, last), UTC),
        step,
        rate_window_seconds(step, scrape_interval_seconds),
    )


def _signal_questions(
    asked: Mapping[Service, NearService], places: Mapping[Service, Places], over: _Range
) -> Iterable[_Question]:
    for signal in GoldenSignal:
        found: dict[Service, Place] = {}
        for service, near in asked.items():
            given = (near.selectors.get("signals") or {}).get(signal.value)
            if given is not None:
                selector = dict(service.labels) or {"service": service.name}
                query = overridden(given, selector, window_seconds=over.window_seconds)
                yield _Question(Signal(signal.value), query, service.name, {service.name: query})
            elif signal in places[service]:
                found[service] = places[service][signal]
        if found:
            yield _Question(
                Signal(signal.value),
                joined(signal, found, window_seconds=over.window_seconds),
                {key: service.name for service, place in found.items() for key in _keys(place)},
                {
                    service.name: alone(signal, place, window_seconds=over.window_seconds)
                    for service, place in found.items()
                },
            )


def _resource_questions(places: Mapping[Service, Places], over: _Range) -> Iterable[_Question]:
    """Resources are looked for under the label by which Prometheus knows the service, where that is one."""
    by_label: dict[str, dict[str, str]] = {}
    for service, found in places.items():
        for place in found.values():
            if len(place.labels) == 1:
                names = by_label.setdefault(place.labels[0], {})
                names |= {value: service.name for (value,) in place.values}
    for label, names in sorted(by_label.items()):
        for resource in Resource:
            values: dict[str, list[str]] = {}
            for value, name in sorted(names.items()):
                values.setdefault(name, []).append(value)
            yield _Question(
                Signal(resource.value),
                usage(resource, label, [*names], window_seconds=over.window_seconds),
                {frozenset({(label, value)}): name for value, name in names.items()},
                {
                    name: usage(resource, label, mine, window_seconds=over.window_seconds)
                    for name, mine in values.items()
                },
            )


async def _ask(
    prometheus: Prometheus, question: _Question, over: _Range, instance: str | None, deadline: Deadline
) -> list[Series]:
    result = await prometheus.query_range(
        question.query, start=over.start, end=over.end, step_seconds=over.step_seconds, deadline=deadline
    )
    times = np.arange(over.start.timestamp(), over.end.timestamp() + over.step_seconds / 2, over.step_seconds)
    by_service: dict[str, Floats] = {}
    for samples in result.series:
        meant = question.meant
        name = meant if isinstance(meant, str) else meant.get(frozenset(samples.labels.items()))
        if name is None:
            continue
        values = _values(samples, times, over)
        by_service[name] = _together(by_service[name], values, question.signal) if name in by_service else values
    return [
        Series(name, question.signal, times, values, _source(question.alone[name], instance, over))
        for name, values in by_service.items()
        if not np.isnan(values).all()
    ]


def _values(samples: Samples, times: Floats, over: _Range) -> Floats:
    """The samples on the grid of the range, NaN where there is none."""
    values = np.full(len(times), np.nan)
    points = samples.points
    if isinstance(points, Points) and len(points):
        seconds = np.asarray(points.seconds, dtype=np.float64)
        numbers = np.array([np.nan if value is None else value for value in points.values], dtype=np.float64)
        places = np.round((seconds - times[0]) / over.step_seconds).astype(np.int64)
        inside = (places >= 0) & (places < len(times))
        values[places[inside]] = numbers[inside]
    return values


def _together(one: Floats, other: Floats, signal: Signal) -> Floats:
    if signal in _ADDED:
        both: Floats = np.nansum([one, other], axis=0)
        both[np.isnan(one) & np.isnan(other)] = np.nan
        return both
    worst: Floats = np.fmin(one, other) if signal is Signal.UP else np.fmax(one, other)
    return worst


def _source(query: str, instance: str | None, over: _Range) -> Source:
    return Source(
        backend=TelemetryBackend.PROMETHEUS,
        instance=instance or DEFAULT_INSTANCE,
        query=query,
        start=over.start.timestamp(),
        end=over.end.timestamp(),
        step_seconds=float(over.step_seconds),
    )


def _keys(place: Place) -> Iterable[frozenset[tuple[str, str]]]:
    return (frozenset(zip(place.labels, values, strict=True)) for values in place.values)
