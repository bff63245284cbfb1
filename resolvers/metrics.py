"""Fields that ask Prometheus. What resolvers ask at the same time becomes one query for each golden signal."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias, TypeVar

from domain.errors import ValidationFailed
from domain.telemetry import GoldenSignal
from domain.time import Deadline
from resolvers.context import RequestContext
from resolvers.telemetry import all_of, answers_of, backend_deadline
from telemetry_clients.errors import TelemetryError
from telemetry_clients.prometheus import QueryResult, range_step_seconds
from telemetry_clients.prometheus.discovery import Place, Places
from telemetry_clients.prometheus.golden_signals import overridden, rate_window_seconds
from telemetry_clients.prometheus.samples import Series
from telemetry_clients.prometheus.signal_queries import alone, joined
from telemetry_clients.services import Service

Answer = TypeVar("Answer")
_Asked: TypeAlias = tuple[Service, tuple[GoldenSignal, ...]]

USUAL_SIGNALS = (GoldenSignal.REQUEST_RATE, GoldenSignal.ERROR_RATIO, GoldenSignal.LATENCY_P95)

_SHORTEST_LOOKBACK_SECONDS = 900.0
_LONGEST_LOOKBACK_SECONDS = 21_600.0
_SERVICES_PER_QUERY = 500


@dataclass(frozen=True, slots=True)
class MeasuredService:
    """A service with what the catalog says of its metrics: declared labels, PromQL given for some signals, and the
    Prometheus that has them (None: the default one).
    """

    service: Service
    given: tuple[tuple[str, str], ...] = ()
    instance: str | None = None

    @classmethod
    def of(cls, name: str, selectors: Mapping[str, Any], instance: str | None = None) -> "MeasuredService":
        """A service with its `selectors` as the catalog keeps them."""
        labels = selectors.get("prometheus") or {}
        given = selectors.get("signals") or {}
        return cls(Service(name, tuple(sorted(labels.items()))), tuple(sorted(given.items())), instance)


@dataclass(frozen=True, slots=True)
class SignalSeries:
    """A golden signal of one service over a time range. `ask` writes the PromQL, which few want to see."""

    service: str
    signal: GoldenSignal
    series: Series
    ask: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Signals:
    """The series of some signals, what Prometheus remarked about them, and why those of some services are missing."""

    series: tuple[SignalSeries, ...]
    warnings: tuple[str, ...]
    failures: tuple[TelemetryError, ...] = ()


@dataclass(frozen=True, slots=True)
class _Range:
    """What every query of one field has in common."""

    start: datetime
    end: datetime
    step_seconds: int
    window_seconds: float


_NOTHING = Signals((), ())


async def golden_signals(
    context: RequestContext,
    services: Sequence[MeasuredService],
    signals: Sequence[GoldenSignal] | None,
    *,
    start: datetime,
    end: datetime,
    step_seconds: int | None,
) -> Signals:
    """The signals of services. All that one operation asks about the same range is one query a signal.

    Raises TelemetryError, and ValidationFailed for a range that is none.
    """
    require_range(start, end, step_seconds, context.now)
    step = range_step_seconds(start, end, step_seconds)
    # On multiples of the step, so that who asks again a moment later asks the same.
    start, end = aligned(start, end, step)
    range = _Range(start, end, step, rate_window_seconds(step, context.scrape_interval_seconds))
    wanted = tuple(dict.fromkeys(USUAL_SIGNALS if signals is None else signals))
    by_service, failures = await answers_of(
        _Asking(context, service.instance, range).signals_of(service, wanted) for service in services
    )
    found = [signal for of_all_services in zip(*by_service, strict=True) for signal in of_all_services]
    return Signals(
        tuple(series for signal in found for series in signal.series),
        tuple(dict.fromkeys(warning for signal in found for warning in signal.warnings)),
        failures,
    )


async def evaluate(
    context: RequestContext,
    query: str,
    range: tuple[datetime, datetime] | None,
    step_seconds: int | None,
    instance: str | None = None,
) -> tuple[QueryResult, int | None]:
    """What PromQL that somebody wrote gives, now or over a range, and the step that was taken.

    A range that ends now is asked for on multiples of the step, so that all who look within one step ask the same.
    Raises TelemetryError, and ValidationFailed for a range that is none.
    """
    if range is None and step_seconds is not None:
        raise ValidationFailed("`stepSeconds` needs a `range`", ["stepSeconds"])
    if not query.strip():
        raise ValidationFailed("`query` must not be empty", ["query"])
    if range is not None:
        require_range(*range, step_seconds, context.now)
    prometheus = context.telemetry.prometheus.get(instance)
    deadline = backend_deadline(context)
    if range is None:
        return await prometheus.query(query, at=context.now, deadline=deadline), None
    start, end = range
    step = range_step_seconds(start, end, step_seconds)
    if (context.now - end).total_seconds() < step:
        start, end = aligned(start, end, step)
    return await prometheus.query_range(query, start=start, end=end, step_seconds=step, deadline=deadline), step


def require_range(start: datetime, end: datetime, step_seconds: int | None, now: datetime) -> None:
    """Raises ValidationFailed for a range that ends before it starts or is yet to come, and for no step at all."""
    if start >= end:
        raise ValidationFailed("`range.from` must lie before `range.to`", ["range"])
    if start > now:
        raise ValidationFailed("`range.from` lies in the future: nothing has been measured yet", ["range", "from"])
    if step_seconds is not None and step_seconds < 1:
        raise ValidationFailed("`stepSeconds` must be at least 1", ["stepSeconds"])


def aligned(start: datetime, end: datetime, step_seconds: int) -> tuple[datetime, datetime]:
    """The first and the last multiple of the step within a range; the one before it where there is none."""
    last = end.timestamp() // step_seconds * step_seconds
    first = min(-(-start.timestamp() // step_seconds) * step_seconds, last)
    return datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC)


class _Asking:
    """Asks one Prometheus about one range."""

    def __init__(self, context: RequestContext, instance: str | None, range: _Range) -> None:
        self._context = context
        self._instance = instance
        self._range = range

    async def signals_of(self, service: MeasuredService, signals: tuple[GoldenSignal, ...]) -> list[Signals]:
        """Each of the signals of one service, asked together with what other resolvers ask. Raises TelemetryError."""
        self._context.telemetry.prometheus.get(self._instance)  # It says so where there is none.
        given = dict(service.given)
        usual = tuple(signal for signal in signals if signal.value not in given)
        found = dict(zip(usual, await self._usual_signals(service.service, usual), strict=True)) if usual else {}
        for signal in signals:
            if signal not in found:
                found[signal] = await self._given_signal(service, signal, given[signal.value])
        return [found[signal] for signal in signals]

    async def _usual_signals(self, service: Service, signals: tuple[GoldenSignal, ...]) -> list[Signals]:
        """A backend that fails for one signal fails those who asked for that one."""
        key = ("golden signals", self._instance, self._range)
        outcomes = await self._context.batcher.ask(key, (service, signals), self._answer_all)
        for outcome in outcomes:
            if isinstance(outcome, TelemetryError):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, Signals)]

    async def _answer_all(self, asked: Sequence[_Asked]) -> dict[_Asked, list[Signals | TelemetryError]]:
        wanted: dict[GoldenSignal, list[Service]] = {}
        for service, signals in asked:
            for signal in signals:
                wanted.setdefault(signal, []).append(service)
        places = await self._places([*dict.fromkeys(service for service, _ in asked)])
        answered = await all_of(self._outcome(some, signal, places) for signal, some in wanted.items())
        outcomes = dict(zip(wanted, answered, strict=True))
        return {
            (service, signals): [
                outcome if isinstance(outcome, TelemetryError) else outcome.get(service, _NOTHING)
                for outcome in (outcomes[signal] for signal in signals)
            ]
            for service, signals in asked
        }

    async def _places(self, services: Sequence[Service]) -> Mapping[Service, Places]:
        span_seconds = (self._range.end - self._range.start).total_seconds()
        return await self._context.telemetry.discovery(self._instance).places(
            services,
            at=min(self._range.end, self._context.now),
            lookback_seconds=min(max(span_seconds, _SHORTEST_LOOKBACK_SECONDS), _LONGEST_LOOKBACK_SECONDS),
            deadline=self._deadline(),
        )

    async def _outcome(
        self, services: Iterable[Service], signal: GoldenSignal, places: Mapping[Service, Places]
    ) -> dict[Service, Signals] | TelemetryError:
        found = {service: place for service in services if (place := places[service].get(signal)) is not None}
        try:
            return await self._found_signals(signal, found)
        except TelemetryError as error:
            return error

    async def _given_signal(self, service: MeasuredService, signal: GoldenSignal, given: str) -> Signals:
        """A signal for which the catalog has PromQL: a query of its own, because nobody knows what it groups by."""
        selector = dict(service.service.labels) or {"service": service.service.name}
        query = overridden(given, selector, window_seconds=self._range.window_seconds)

        async def answer_all(queries: Sequence[str]) -> Mapping[str, QueryResult]:
            return {query: await self._query(query) for query in queries}

        result = await self._context.batcher.ask(("PromQL", self._instance, query, self._range), query, answer_all)
        name = service.service.name
        return Signals(
            tuple(SignalSeries(name, signal, series, lambda: query) for series in result.series), result.warnings
        )

    async def _found_signals(self, signal: GoldenSignal, found: Mapping[Service, Place]) -> dict[Service, Signals]:
        """A signal of the services that have it, from where it was found."""
        window = self._range.window_seconds
        results = await all_of(
            self._query(joined(signal, dict(some), window_seconds=window))
            for some in _chunks([*found.items()], _SERVICES_PER_QUERY)
        )
        warnings = tuple(dict.fromkeys(warning for result in results for warning in result.warnings))
        by_labels: dict[frozenset[tuple[str, str]], Series] = {
            frozenset(series.labels.items()): series for result in results for series in result.series
        }
        answers = {}
        for service, place in found.items():
            keys = [frozenset(zip(place.labels, values, strict=True)) for values in place.values]
            ask = partial(alone, signal, place, window_seconds=window)
            shown = [SignalSeries(service.name, signal, by_labels[key], ask) for key in keys if key in by_labels]
            answers[service] = Signals(tuple(shown), warnings)
        return answers

    async def _query(self, query: str) -> QueryResult:
        range = self._range
        prometheus = self._context.telemetry.prometheus.get(self._instance)
        return await prometheus.query_range(
            query, start=range.start, end=range.end, step_seconds=range.step_seconds, deadline=self._deadline()
        )

    def _deadline(self) -> Deadline:
        return backend_deadline(self._context)


def _chunks(items: Sequence[Answer], size: int) -> Iterable[Sequence[Answer]]:
    return (items[start : start + size] for start in range(0, len(items), size))
