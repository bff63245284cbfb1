"""How Prometheus names services, and which of the usual metrics each has: found by asking it once, and remembered.

A service whose labels nobody declared is looked for under the usual ones: `service`, `service_name` (OpenTelemetry's
`service.name`), `job` (also as `namespace/name`) and `app`.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from domain.telemetry import GoldenSignal
from domain.time import Deadline
from telemetry_clients.errors import TelemetryBadQuery, TelemetryLimited, TelemetryTimeout
from telemetry_clients.prometheus import promql
from telemetry_clients.prometheus.client import Prometheus
from telemetry_clients.prometheus.golden_signals import USUAL_SOURCES, Source, Sources
from telemetry_clients.prometheus.request_metrics import CPU_SECONDS, MEMORY, REQUESTS, STATUS_LABELS
from telemetry_clients.services import Service

SERVICE_LABELS: Final = ("service", "service_name", "job", "app")

_METRIC_NAMES: Final = (
    *(metric.counted_as(form) for metric in REQUESTS for form in metric.forms),
    *CPU_SECONDS,
    *(metric.used for metric in MEMORY),
)
_LATENCIES: Final = {GoldenSignal.LATENCY_P50, GoldenSignal.LATENCY_P95, GoldenSignal.LATENCY_P99}
_NO_NAMES: Final = STATUS_LABELS | {"__name__"}
_SERVICES_PER_QUERY: Final = 200


class Place(NamedTuple):
    """Where a signal of a service is found: the values of these labels, on the series of these sources.

    There are several `values` where a label names the service several times, as `job` does once a namespace.
    """

    labels: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    sources: Sources


@dataclass(slots=True)
class _Findings:
    """The metrics of one service: for each metric's name and labels, the values, and which labels hold a status."""

    service: Service
    metrics: dict[tuple[str, tuple[str, ...]], tuple[set[tuple[str, ...]], set[str]]] = field(default_factory=dict)

    def add(self, metric: str, labels: tuple[str, ...], values: tuple[str, ...], status_labels: Iterable[str]) -> None:
        known_values, known_labels = self.metrics.setdefault((metric, labels), (set(), set()))
        known_values.add(values)
        known_labels.update(status_labels)


Places = Mapping[GoldenSignal, Place]


class Discovery:
    """What is known of the services of one Prometheus.

    What was found is remembered for `remembered_seconds`, and `most_services` at the most, the ones asked for last.
    What was not found is remembered for `missed_seconds`, and only of the hour that was asked about: a service may have
    been silent then. Who asks for the same at the same time waits for the same answer.
    """

    def __init__(
        self,
        prometheus: Prometheus,
        *,
        remembered_seconds: float = 600,
        missed_seconds: float = 15,
        most_services: int = 20_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._prometheus = prometheus
        self._remembered_seconds = remembered_seconds
        self._missed_seconds = missed_seconds
        self._most_services = most_services
        self._clock = clock
        self._known: OrderedDict[tuple[Service, int | None], tuple[float, Places]] = OrderedDict()
        self._asking: dict[Service, asyncio.Task[dict[Service, Places]]] = {}

    async def places(
        self, services: Sequence[Service], *, at: datetime, lookback_seconds: float = 3600, deadline: Deadline
    ) -> Mapping[Service, Places]:
        """Where the signals of each service are found; a signal that it does not have is missing.

        What is not remembered is asked about the time before `at`. Raises TelemetryError, but for a question that is
        too large or refused: then everything that is usual is taken for possible.
        """
        found: dict[Service, Places] = {}
        while missing := [service for service in services if service not in found]:
            for service in missing:
                if (places := self._remembered(service, at)) is not None:
                    found[service] = places
            unknown = [service for service in missing if service not in found]
            if not unknown:
                break
            if asked := next((self._asking[service] for service in unknown if service in self._asking), None):
                # Another's question, with a deadline of its own: whether it worked shows in what is then remembered.
                await asyncio.wait([asked], timeout=deadline.remaining_seconds())
                if deadline.expired:
                    raise TelemetryTimeout("Prometheus", "Prometheus did not say in time how it names the services.")
                continue
            found |= await self._ask(unknown, at, lookback_seconds, deadline)
        return found

    def _remembered(self, service: Service, at: datetime) -> Places | None:
        for key in ((service, None), (service, _hour(at))):
            if key not in self._known:
                continue
            until, places = self._known[key]
            if self._clock() < until:
                self._known.move_to_end(key)
                return places
            del self._known[key]
        return None

    async def _ask(
        self, services: Sequence[Service], at: datetime, lookback_seconds: float, deadline: Deadline
    ) -> dict[Service, Places]:
        asking = asyncio.create_task(self._learn(services, at, lookback_seconds, deadline))
        self._asking.update(dict.fromkeys(services, asking))
        try:
            return await asking
        finally:
            asking.cancel()
            for service in services:
                del self._asking[service]

    async def _learn(
        self, services: Sequence[Service], at: datetime, lookback_seconds: float, deadline: Deadline
    ) -> dict[Service, Places]:
        learned: dict[Service, Places] = {}
        for start in range(0, len(services), _SERVICES_PER_QUERY):
            some = services[start : start + _SERVICES_PER_QUERY]
            try:
                expression = presence(some, lookback_seconds=lookback_seconds)
                result = await self._prometheus.query(expression, at=at, deadline=deadline)
            except (TelemetryLimited, TelemetryBadQuery):
                learned |= {service: usual_places(service) for service in some}
            else:
                learned |= told_apart(some, [series.labels for series in result.series])
        for service, places in learned.items():
            seconds = self._remembered_seconds if places else self._missed_seconds
            self._known[service, None if places else _hour(at)] = (self._clock() + seconds, places)
        while len(self._known) > self._most_services:
            self._known.popitem(last=False)
        return learned


def _hour(at: datetime) -> int:
    return int(at.timestamp() // 3600)


def presence(services: Sequence[Service], *, lookback_seconds: float) -> str:
    """PromQL for which of the usual metrics the services have, under which labels, with which labels for a status.

    Raises TelemetryBadQuery for a label that cannot be expressed.
    """
    names = promql.matcher("__name__", "=~", "|".join(dict.fromkeys(_METRIC_NAMES)))
    window = promql.duration(lookback_seconds)
    parts = []
    for labels, conditions in _conditions(services):
        by = ", ".join(sorted({"__name__", *labels, *STATUS_LABELS}))
        series = promql.any_metric(names, *conditions)
        parts.append(f"count by ({by}) (last_over_time({series}[{window}]))")
    return "\nor\n".join(parts)


def _conditions(services: Sequence[Service]) -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
    """What selects the services: labels, and matchers for all of those that are told apart by these labels."""
    names = [service.name for service in services if not service.labels]
    if names:
        for label in SERVICE_LABELS:
            if label == "job":
                yield (label,), (promql.matcher(label, "=~", f"(.+/)?({promql.one_of(names)})"),)
            else:
                yield (label,), (promql.any_of(label, names),)
    declared: dict[str, list[str]] = {}
    for service in services:
        if len(service.labels) == 1:
            [(label, value)] = service.labels
            declared.setdefault(label, []).append(value)
        elif service.labels:
            labels = dict(service.labels)
            yield tuple(sorted(labels)), promql.matchers(labels)
    for label, values in declared.items():
        yield (label,), (promql.any_of(label, values),)


def told_apart(services: Sequence[Service], found: Sequence[Mapping[str, str]]) -> dict[Service, Places]:
    """Where the signals of each service are, from the labels of what `presence` found."""
    by_key: dict[tuple[tuple[str, str], ...], list[Service]] = {}
    by_name: dict[str, list[Service]] = {}
    for service in services:
        if service.labels:
            by_key.setdefault(tuple(sorted(service.labels)), []).append(service)
        else:
            by_name.setdefault(service.name, []).append(service)
    findings: dict[Service, _Findings] = {service: _Findings(service) for service in services}
    for series in found:
        key = tuple(sorted((label, value) for label, value in series.items() if label not in _NO_NAMES))
        labels, values = tuple(label for label, _ in key), tuple(value for _, value in key)
        meant = by_key.get(key, [])
        if len(key) == 1 and labels[0] in SERVICE_LABELS:
            names = {values[0], values[0].rpartition("/")[2]} if labels[0] == "job" else {values[0]}
            meant = [*meant, *(service for name in names for service in by_name.get(name, ()))]
        for service in meant:
            status_labels = [label for label in series if label in STATUS_LABELS]
            findings[service].add(series.get("__name__", ""), labels, values, status_labels)
    return {service: _places(found) for service, found in findings.items()}


def usual_places(service: Service) -> Places:
    """Where signals may be, for a service of which nothing can be found out."""
    labels = tuple(sorted(service.labels)) or ((SERVICE_LABELS[0], service.name),)
    place = Place(tuple(label for label, _ in labels), (tuple(value for _, value in labels),), USUAL_SOURCES)
    return dict.fromkeys(GoldenSignal, place)


def _places(findings: _Findings) -> dict[GoldenSignal, Place]:
    places = {signal: _request_place(signal, findings) for signal in GoldenSignal}
    places[GoldenSignal.SATURATION] = _saturation_place(findings)
    return {signal: place for signal, place in places.items() if place is not None}


def _request_place(signal: GoldenSignal, findings: _Findings) -> Place | None:
    """Under the first metric that can tell the signal, and the first label."""
    for metric in REQUESTS:
        if signal in _LATENCIES and not metric.is_histogram:
            continue
        for form in metric.forms:
            found = _under(metric.counted_as(form), findings)
            if found is None:
                continue
            labels, values, present = found
            status_labels = tuple(label for label in metric.failures if label in present)
            if status_labels or signal is not GoldenSignal.ERROR_RATIO:
                return Place(labels, values, Sources((Source(metric, form, status_labels),)))
    return None


def _saturation_place(findings: _Findings) -> Place | None:
    """Under the labels of the first metric that is there, with all others under the same labels."""
    found = {metric: _under(metric, findings) for metric in (*CPU_SECONDS, *(memory.used for memory in MEMORY))}
    present = {metric: place for metric, place in found.items() if place is not None}
    if not present:
        return None
    labels, values, _ = next(iter(present.values()))
    beside = {metric for metric, place in present.items() if place[0] == labels}
    cpu = tuple(metric for metric in CPU_SECONDS if metric in beside)
    memory = tuple(metric for metric in MEMORY if metric.used in beside)
    return Place(labels, values, Sources((), cpu, memory))


def _under(metric: str, findings: _Findings) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], set[str]] | None:
    """The labels and values under which the service has a metric, and its labels for a status."""
    found = [labels for name, labels in findings.metrics if name == metric]
    if not found:
        return None
    labels = min(found, key=_preference)
    values, status_labels = findings.metrics[metric, labels]
    if labels == ("job",) and (exact := (findings.service.name,)) in values:
        values = {exact}  # `namespace/name` is then another service.
    return labels, tuple(sorted(values)), status_labels


def _preference(labels: tuple[str, ...]) -> int:
    """Declared labels are the only ones found; others in the usual order."""
    return SERVICE_LABELS.index(labels[0]) if labels[0] in SERVICE_LABELS else -1
