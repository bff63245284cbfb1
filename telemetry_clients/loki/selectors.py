"""How Loki names services: which of the usual labels has a service's name as a value, asked once and remembered."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from domain.time import Deadline
from telemetry_clients.errors import TelemetryLimited, TelemetryTimeout
from telemetry_clients.loki.client import Loki
from telemetry_clients.services import Service

SERVICE_LABELS: Final = ("service_name", "service", "app", "job", "container")
"""The labels that may hold a service's name, the preferred first; `job` also as `namespace/name`."""

_LOOKBACK: Final = timedelta(hours=6)
_MOST_VALUES: Final = 50_000


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams of a service: those with one of these `values` of each label."""

    values: tuple[tuple[str, tuple[str, ...]], ...]

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether a stream with these labels is one of them."""
        return all(labels.get(label) in values for label, values in self.values)


@dataclass(frozen=True, slots=True)
class _Names:
    """The values of the usual labels at a time: for each name of a service, the streams that it has."""

    asked_at: float
    streams: Mapping[str, Streams]


class LokiSelectors:
    """What is known of how one Loki names services.

    Loki is asked for the values of the usual labels, once for all services; that is remembered for
    `remembered_seconds`, and for `missed_seconds` where a service was not among them. Incidents of the past are looked
    for among the labels of their time, of which the last `most_times` are remembered.
    """

    def __init__(
        self,
        loki: Loki,
        *,
        remembered_seconds: float = 600,
        missed_seconds: float = 60,
        most_times: int = 8,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loki = loki
        self._remembered_seconds = remembered_seconds
        self._missed_seconds = missed_seconds
        self._most_times = most_times
        self._clock = clock
        self._known: OrderedDict[int, _Names] = OrderedDict()
        self._asking: dict[int, asyncio.Task[_Names]] = {}

    async def streams(
        self, services: Sequence[Service], *, at: datetime, deadline: Deadline
    ) -> Mapping[Service, Streams]:
        """The streams of each service at a time: as declared, as found, or else those of its `service_name`.

        Raises TelemetryError.
        """
        found = {service: _declared(service) for service in services if service.labels}
        unknown = [service for service in services if not service.labels]
        if unknown:
            names = await self._names(unknown, at, deadline)
            found |= {service: names.streams.get(service.name) or _usual(service.name) for service in unknown}
        return found

    async def _names(self, services: Sequence[Service], at: datetime, deadline: Deadline) -> _Names:
        period = int(at.timestamp() // _LOOKBACK.total_seconds())
        while (names := self._remembered(period, services)) is None:
            if (asked := self._asking.get(period)) is not None:
                # Another's question, with a deadline of its own: whether it worked shows in what is then remembered.
                await asyncio.wait([asked], timeout=deadline.remaining_seconds())
                if deadline.expired:
                    raise TelemetryTimeout("Loki", "Loki did not say in time how it names the services.")
                continue
            asking = self._asking[period] = asyncio.create_task(self._ask(at, deadline))
            try:
                names = self._known[period] = await asking
            finally:
                asking.cancel()
                del self._asking[period]
            self._known.move_to_end(period)
            while len(self._known) > self._most_times:
                self._known.popitem(last=False)
            return names
        return names

    def _remembered(self, period: int, services: Iterable[Service]) -> _Names | None:
        names = self._known.get(period)
        if names is None:
            return None
        is_whole = all(service.name in names.streams for service in services)
        age_seconds = self._clock() - names.asked_at
        if age_seconds >= (self._remembered_seconds if is_whole else self._missed_seconds):
            return None
        return names

    async def _ask(self, at: datetime, deadline: Deadline) -> _Names:
        asked_at = self._clock()
        present = await self._loki.labels(start=at - _LOOKBACK, end=at, deadline=deadline)
        labels = [label for label in SERVICE_LABELS if label in present]
        asking = [asyncio.create_task(self._values(label, at, deadline)) for label in labels]
        try:
            values = await asyncio.gather(*asking)
        finally:
            for task in asking:
                task.cancel()
        streams: dict[str, Streams] = {}
        for label, known in zip(labels, values, strict=True):
            for name, meant in _by_name(label, known).items():
                streams.setdefault(name, Streams(((label, tuple(sorted(meant))),)))
        return _Names(asked_at, streams)

    async def _values(self, label: str, at: datetime, deadline: Deadline) -> Sequence[str]:
        try:
            values = await self._loki.label_values(label, start=at - _LOOKBACK, end=at, deadline=deadline)
        except TelemetryLimited:
            return ()  # A label with more values than Loki lists does not name services.
        return values[:_MOST_VALUES]


def _by_name(label: str, values: Sequence[str]) -> Mapping[str, set[str]]:
    """The values of a label that name each service. The same name without a namespace is meant before any with one."""
    exact = {value: {value} for value in values if value}
    if label != "job":
        return exact
    in_namespaces: dict[str, set[str]] = {}
    for value in values:
        namespace, slash, name = value.rpartition("/")
        if slash and namespace and name:
            in_namespaces.setdefault(name, set()).add(value)
    return {**in_namespaces, **exact}


def _declared(service: Service) -> Streams:
    return Streams(tuple((label, (value,)) for label, value in sorted(service.labels)))


def _usual(name: str) -> Streams:
    return Streams(((SERVICE_LABELS[0], (name,)),))
