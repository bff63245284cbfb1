"""What a detection rule asks telemetry backends: one query for all services, whatever it watches."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import select

from db.database import Transaction
from db.services import services
from domain.alerts import DetectionKind
from domain.detection import Rule, filled
from domain.telemetry import GoldenSignal
from domain.time import Deadline
from engines.detection.replay import Grid
from engines.detection.statistics import Floats
from telemetry_clients.errors import TelemetryBadQuery, TelemetryError
from telemetry_clients.instances import Telemetry
from telemetry_clients.prometheus import Prometheus, promql
from telemetry_clients.prometheus.discovery import SERVICE_LABELS, Discovery, Place
from telemetry_clients.prometheus.golden_signals import overridden
from telemetry_clients.prometheus.samples import Points, Series
from telemetry_clients.prometheus.signal_queries import joined
from telemetry_clients.services import Service

_SIGNAL_LABEL = "golden_signal"
_SERVICE_LABEL = "catalog_service"
_LOOKBACK_SECONDS = 21_600.0
_PLENTY = 1e12  # requests, where nobody knows how many


@dataclass(frozen=True, slots=True)
class WatchedService:
    """A service as the catalog has it."""

    id: UUID
    name: str
    selectors: Mapping[str, Any] = field(default_factory=dict)
    instances: Mapping[str, Any] = field(default_factory=dict)

    @property
    def measured(self) -> Service:
        """How it is looked for in Prometheus."""
        return Service(self.name, tuple(sorted((self.selectors.get("prometheus") or {}).items())))

    def query_of(self, signal: GoldenSignal, window_seconds: float) -> str | None:
        """The PromQL that somebody gave for one of its signals."""
        given = (self.selectors.get("signals") or {}).get(signal.value)
        if given is None:
            return None
        selector = dict(self.measured.labels) or {"service": self.name}
        return overridden(given, selector, window_seconds=window_seconds)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of services at the moments of a grid. Arrays are (services, moments), NaN for what is missing.

    `requests` is how many the window held. `failures` are of services whose backend did not answer, and `queries` what
    was asked.
    """

    services: Sequence[WatchedService]
    values: Floats
    requests: Floats | None
    failures: Mapping[UUID, TelemetryError]
    queries: tuple[str, ...]


@dataclass(slots=True)
class _Asked:
    """One query about some services, and who is meant by the labels of its series."""

    query: str
    meant: Mapping[frozenset[tuple[str, str]], Sequence[int]] | None = None


@dataclass(frozen=True, slots=True)
class _Names:
    """Who is meant by labels: the service that declares all of them, or else the one of this name."""

    by_label: Mapping[tuple[str, str], Sequence[int]]
    by_labels: Sequence[tuple[Mapping[str, str], int]]

    @classmethod
    def of(cls, watched: Mapping[int, WatchedService]) -> "_Names":
        by_label: dict[tuple[str, str], list[int]] = {}
        by_labels: list[tuple[Mapping[str, str], int]] = []
        for index, service in watched.items():
            declared = service.measured.labels
            pairs = declared if len(declared) == 1 else ()
            for pair in {*pairs, *((label, service.name) for label in SERVICE_LABELS)}:
                by_label.setdefault(pair, []).append(index)
            if len(declared) > 1:
                by_labels.append((dict(declared), index))
        return cls(by_label, by_labels)

    def meant(self, labels: Mapping[str, str]) -> Sequence[int]:
        """The services that a series with these labels is about."""
        if found := [index for declared, index in self.by_labels if declared.items() <= labels.items()]:
            return found
        for label, value in labels.items():
            if label not in SERVICE_LABELS and (label, value) in self.by_label:
                return self.by_label[label, value]
        for label in SERVICE_LABELS:
            if label in labels:
                value = labels[label]
                # Prometheus's own `job` may be `namespace/name`.
                exact = self.by_label.get((label, value), ())
                return exact or self.by_label.get((label, value.rpartition("/")[2]), ())
        return ()


class Measuring:
    """Asks on behalf of rules."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    async def measure(
        self, rule: Rule, watched: Sequence[WatchedService], grid: Grid, *, deadline: Deadline
    ) -> Measured:
        """What the rule watches, of each service, at every moment of the grid.

        A backend that does not answer costs its services their values. Raises TelemetryError when none answers, and
        for a query that cannot be evaluated.
        """
        values = np.full((len(watched), grid.count), np.nan)
        counts = np.full((len(watched), grid.count), np.nan) if _wants_requests(rule) else None
        by_instance: dict[str | None, list[int]] = {}
        for index, service in enumerate(watched):
            by_instance.setdefault(service.instances.get("prometheus"), []).append(index)
        if not by_instance:
            self._telemetry.prometheus.get()  # It says so where there is none.
        asking = [
            _AskingOne(self._telemetry, instance, rule, watched, indices, grid, values, counts, deadline)
            for instance, indices in by_instance.items()
        ]
        outcomes = await asyncio.gather(*(one.ask() for one in asking), return_exceptions=True)
        failures: dict[UUID, TelemetryError] = {}
        for one, outcome in zip(asking, outcomes, strict=True):
            if isinstance(outcome, TelemetryError):
                failures |= dict.fromkeys((watched[index].id for index in one.indices), outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
        if failures and len(failures) == len(watched):
            raise next(iter(failures.values()))
        if rule.kind is DetectionKind.SLO_BURN:
            values /= 1 - rule.parameters.objective
        queries = tuple(query for one in asking for query in one.queries)
        return Measured(watched, values, counts, failures, queries)


class _AskingOne:
    """Asks one Prometheus about the services that it knows, and fills in their rows."""

    def __init__(
        self,
        telemetry: Telemetry,
        instance: str | None,
        rule: Rule,
        watched: Sequence[WatchedService],
        indices: Sequence[int],
        grid: Grid,
        values: Floats,
        requests: Floats | None,
        deadline: Deadline,
    ) -> None:
        self.indices = indices
        self.queries: list[str] = []
        self._telemetry = telemetry
        self._instance = instance
        self._rule = rule
        self._watched = watched
        self._grid = grid
        self._values = values
        self._requests = requests
        self._deadline = deadline
        self._names: _Names | None = None

    async def ask(self) -> None:
        """Ask and fill in. Raises TelemetryError."""
        prometheus = self._telemetry.prometheus.get(self._instance)
        asked = [self._own_query()] if self._rule.query is not None else await self._signal_queries()
        for question in asked:
            self.queries.append(question.query)
            for series in await self._series(prometheus, question.query):
                self._fill(series, question)

    def _own_query(self) -> _Asked:
        names = promql.one_of(sorted(self._watched[index].name for index in self.indices))
        window = promql.duration(self._rule.parameters.window_seconds)
        # Within a string literal of PromQL.
        query = filled(self._rule.query or "", window=window, services=promql.quoted(names)[1:-1])
        return _Asked(query)

    async def _signal_queries(self) -> list[_Asked]:
        """One for all services, and one more for those whose signals are told by PromQL of their own."""
        signal, window = self._rule.signal or GoldenSignal.ERROR_RATIO, self._rule.parameters.window_seconds
        given: list[tuple[int, str]] = []
        usual: dict[int, Service] = {}
        for index in self.indices:
            query = self._watched[index].query_of(signal, window)
            if query is None or self._rule.kind is DetectionKind.SLO_BURN:
                usual[index] = self._watched[index].measured
            else:
                given.append((index, query))
        asked = []
        if usual and (question := await self._usual(signal, usual)) is not None:
            asked.append(question)
        if given:
            parts = [
                f'label_replace(max({query}), "{_SERVICE_LABEL}", {promql.quoted(str(index))}, "", "")'
                for index, query in given
            ]
            named = {frozenset({(_SERVICE_LABEL, str(index))}): [index] for index, _ in given}
            asked.append(_Asked("\nor\n".join(parts), named))
            if self._requests is not None:
                self._requests[[index for index, _ in given]] = _PLENTY
        return asked

    async def _usual(self, signal: GoldenSignal, usual: Mapping[int, Service]) -> _Asked | None:
        """None when no service has the signal."""
        discovery: Discovery = self._telemetry.discovery(self._instance)
        places = await discovery.places(
            [*dict.fromkeys(usual.values())],
            at=self._grid.time(self._grid.count - 1),
            lookback_seconds=_LOOKBACK_SECONDS,
            deadline=self._deadline,
        )
        wanted = [signal]
        if self._requests is not None and signal is not GoldenSignal.REQUEST_RATE:
            wanted.append(GoldenSignal.REQUEST_RATE)
        found = {each: {s: places[s][each] for s in usual.values() if each in places[s]} for each in wanted}
        if not found[signal]:
            return None
        parts = [self._expression(each, found[each]) for each in wanted if found[each]]
        if len(wanted) > 1:
            parts = [
                f'label_replace({part}, "{_SIGNAL_LABEL}", "{each}", "", "")'
                for each, part in zip(wanted, parts, strict=True)
            ]
        meant: dict[frozenset[tuple[str, str]], list[int]] = {}
        for index, service in usual.items():
            keys = {key for each in wanted if service in found[each] for key in _keys(found[each][service])}
            for key in keys:
                meant.setdefault(key, []).append(index)
        return _Asked("\nor\n".join(parts), meant)

    def _expression(self, signal: GoldenSignal, found: Mapping[Service, Place]) -> str:
        parameters = self._rule.parameters
        if self._rule.kind is DetectionKind.SLO_BURN and signal is GoldenSignal.ERROR_RATIO:
            long = joined(signal, found, window_seconds=parameters.long_window_seconds)
            short = joined(signal, found, window_seconds=parameters.short_window_seconds)
            return f"((({short}) <= ({long})) or (({long}) < ({short})))"  # the lesser of both
        return joined(signal, found, window_seconds=parameters.window_seconds)

    async def _series(self, prometheus: Prometheus, query: str) -> Sequence[Series]:
        start, end = self._grid.time(0), self._grid.time(self._grid.count - 1)
        if self._grid.count == 1:
            return (await prometheus.query(query, at=start, deadline=self._deadline)).series
        result = await prometheus.query_range(
            query, start=start, end=end, step_seconds=self._grid.step, deadline=self._deadline
        )
        return result.series

    def _fill(self, series: Series, question: _Asked) -> None:
        labels = dict(series.labels)
        signal = labels.pop(_SIGNAL_LABEL, None)
        points = series.points
        if not isinstance(points, Points) or not len(points):
            return
        numbers = np.array(points.values, dtype=float)
        seconds = np.asarray(points.seconds, dtype=float)
        columns = np.round((seconds - self._grid.start) / self._grid.step).astype(int)
        columns, numbers = columns[inside := (columns >= 0) & (columns < self._grid.count)], numbers[inside]
        is_support = signal == GoldenSignal.REQUEST_RATE and self._rule.signal is not GoldenSignal.REQUEST_RATE
        for index in self._meant(labels, question):
            if is_support and self._requests is not None:
                counted = numbers * self._rule.parameters.window_seconds
                self._requests[index, columns] = np.fmax(self._requests[index, columns], counted)
            elif self._rule.direction > 0:
                self._values[index, columns] = np.fmax(self._values[index, columns], numbers)
            else:
                self._values[index, columns] = np.fmin(self._values[index, columns], numbers)

    def _meant(self, labels: Mapping[str, str], question: _Asked) -> Sequence[int]:
        if question.meant is not None:
            return question.meant.get(frozenset(labels.items()), ())
        names = [labels[label] for label in SERVICE_LABELS if label in labels]
        if not names:
            if len(self._watched) == 1:
                return self.indices
            raise TelemetryBadQuery(
                "Prometheus",
                f"The query's series have none of the labels {', '.join(SERVICE_LABELS)} to tell services apart: let "
                "it aggregate `by (service)`, or let the rule watch one service.",
            )
        if self._names is None:
            self._names = _Names.of({index: self._watched[index] for index in self.indices})
        return self._names.meant(labels)


async def watched_services(tx: Transaction, service_id: UUID | None = None) -> list[WatchedService]:
    """The whole catalog, or one service of it."""
    columns = services.c
    statement = select(columns.id, columns.name, columns.selectors, columns.telemetry_instances).order_by(columns.id)
    if service_id is not None:
        statement = statement.where(columns.id == service_id)
    rows = await tx.execute(statement)
    return [WatchedService(row.id, row.name, row.selectors, row.telemetry_instances) for row in rows]


def grid_until(at: datetime, *, seconds: float = 0.0, step: float = 1.0) -> Grid:
    """A grid that ends at a moment and goes back for so long; the moment alone by default."""
    points = round(seconds / step)
    return Grid(at.astimezone(UTC).timestamp() - points * step, step, points + 1)


def _wants_requests(rule: Rule) -> bool:
    return rule.query is None and bool(rule.parameters.minimum_requests or rule.parameters.confidence)


def _keys(place: Place) -> list[frozenset[tuple[str, str]]]:
    return [frozenset(zip(place.labels, values, strict=True)) for values in place.values]
