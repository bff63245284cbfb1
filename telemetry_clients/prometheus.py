"""Prometheus's HTTP API, and that of whatever speaks it (Mimir, Thanos, VictoriaMetrics)."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from domain.time import Deadline
from telemetry_clients import promql
from telemetry_clients.errors import (
    TelemetryBadQuery,
    TelemetryBadResponse,
    TelemetryError,
    TelemetryLimited,
    TelemetryTimeout,
    TelemetryUnavailable,
)
from telemetry_clients.transport import Answer, Parameters, Transport

MAX_POINTS = 11_000
"""Prometheus refuses a range query for more points than this in each series."""

_USUAL_POINTS = 240
_ROUND_STEPS_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a time (UTC). None stands for NaN and ±Inf, which are no numbers: 0/0, a quantile of no traffic."""

    time: datetime
    value: float | None


@dataclass(frozen=True, slots=True)
class Series:
    """What has these labels, in the order of time."""

    labels: Mapping[str, str]
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The series that a query returned, and what Prometheus remarked about them."""

    series: tuple[Series, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """What answers, by its own account. Servers that are not Prometheus itself may give no revision."""

    version: str
    revision: str


class Prometheus:
    """A client of one Prometheus. Every call raises TelemetryError and nothing else, at its deadline at the latest."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def query(self, expression: str, *, at: datetime | None = None, deadline: Deadline) -> QueryResult:
        """Evaluate PromQL at one time (Prometheus's own now without `at`). A scalar is one series without labels."""
        form: dict[str, str | list[str]] = {"query": expression}
        if at is not None:
            form["time"] = _timestamp(at)
        return await self._evaluate("/api/v1/query", form, deadline)

    async def query_range(
        self, expression: str, *, start: datetime, end: datetime, step_seconds: float, deadline: Deadline
    ) -> QueryResult:
        """Evaluate PromQL at `start`, `start` + step, ... up to `end`. Points where there is nothing are left out.

        Raises TelemetryBadQuery for an end before the start or a step that is not positive, TelemetryLimited for more
        than MAX_POINTS points; both before any call.
        """
        span_seconds = _span_seconds(start, end)
        _require_positive_step(step_seconds)
        if span_seconds // step_seconds + 1 > MAX_POINTS:
            raise TelemetryLimited(
                "Prometheus",
                f"The range of {span_seconds:g} s in steps of {step_seconds:g} s has more than {MAX_POINTS} points. "
                f"Use a step of {_shortest_step_seconds(span_seconds)} s or more.",
            )
        form: dict[str, str | list[str]] = {
            "query": expression,
            "start": _timestamp(start),
            "end": _timestamp(end),
            "step": str(step_seconds),
        }
        return await self._evaluate("/api/v1/query_range", form, deadline)

    async def series(
        self, selectors: Sequence[str], *, start: datetime, end: datetime, deadline: Deadline
    ) -> tuple[Mapping[str, str], ...]:
        """The labels (`__name__` among them) of the series that match any selector and have samples in the range."""
        _span_seconds(start, end)
        form: dict[str, str | list[str]] = {
            "match[]": list(selectors),
            "start": _timestamp(start),
            "end": _timestamp(end),
        }
        answer = await self._transport.post("/api/v1/series", form=form, deadline=deadline)
        data, _ = self._unwrap(answer)
        if not isinstance(data, list):
            raise self._misshapen("a list of series")
        return tuple(map(self._labels, data))

    async def label_values(
        self,
        label: str,
        *,
        selectors: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        deadline: Deadline,
    ) -> tuple[str, ...]:
        """The values that a label has, on the series that match any selector (on all without one), sorted."""
        parameters: dict[str, str | list[str]] = {"match[]": list(selectors)}
        if start is not None:
            parameters["start"] = _timestamp(start)
        if end is not None:
            parameters["end"] = _timestamp(end)
        path = f"/api/v1/label/{promql.label_name(label)}/values"
        answer = await self._transport.get(path, parameters=parameters, deadline=deadline)
        data, _ = self._unwrap(answer)
        match data:
            case [*values] if all(isinstance(value, str) for value in values):
                return tuple(values)
        raise self._misshapen("a list of label values")

    async def rules(self, *, deadline: Deadline) -> Mapping[str, Any]:
        """The rule groups that it evaluates, as it tells of them: `{"groups": [{"name", "rules": [...]}]}`."""
        answer = await self._transport.get("/api/v1/rules", deadline=deadline)
        data, _ = self._unwrap(answer)
        if not isinstance(data, dict) or not isinstance(data.get("groups"), list):
            raise self._misshapen("rule groups")
        return data

    async def build_info(self, *, deadline: Deadline) -> BuildInfo:
        """Version and revision of the server: a question that costs nothing, to see that it is there."""
        answer = await self._transport.get("/api/v1/status/buildinfo", deadline=deadline)
        data, _ = self._unwrap(answer)
        match data:
            case {"version": str(version)}:
                return BuildInfo(version, str(data.get("revision", "")))
        raise self._misshapen("a version")

    async def _evaluate(self, path: str, form: dict[str, str | list[str]], deadline: Deadline) -> QueryResult:
        # Prometheus gives up by itself when we will no longer listen, even where the closed connection goes unseen.
        bounded: Parameters = {**form, "timeout": f"{max(deadline.remaining_seconds(), 0.001):.3f}"}
        answer = await self._transport.post(path, form=bounded, deadline=deadline)
        data, warnings = self._unwrap(answer)
        try:
            series = self._series(data)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._misshapen("samples") from error
        return QueryResult(series, warnings)

    def _series(self, data: Any) -> tuple[Series, ...]:
        result = data["result"]
        match data["resultType"]:
            case "matrix":
                return tuple(self._one_series(item, "values") for item in result)
            case "vector":
                return tuple(self._one_series(item, "value") for item in result)
            case "scalar":
                return (Series({}, _points([result])),)
            case "string":
                raise TelemetryBadQuery("Prometheus", "The query returns a text. Ask for numbers.")
        raise ValueError("a result type that Prometheus does not have")

    def _one_series(self, item: Any, key: str) -> Series:
        if "histogram" in item or "histograms" in item:
            raise TelemetryBadQuery(
                "Prometheus",
                "The query returns native histograms. Turn them into numbers, for example with histogram_quantile().",
            )
        return Series(self._labels(item["metric"]), _points(item[key] if key == "values" else [item[key]]))

    def _labels(self, item: Any) -> Mapping[str, str]:
        if not isinstance(item, dict) or not all(isinstance(value, str) for value in item.values()):
            raise self._misshapen("labels")
        return item

    def _unwrap(self, answer: Answer) -> tuple[Any, tuple[str, ...]]:
        """The `data` of a successful answer and its warnings."""
        if not answer.succeeded:
            raise self._failure(answer)
        match self._transport.decode(answer):
            case {"status": "success", "data": data, **rest}:
                return data, (*_texts(rest.get("warnings")), *_texts(rest.get("infos")))
            case {"status": "error"}:
                raise self._failure(answer)
        raise self._misshapen("a status and data")

    def _failure(self, answer: Answer) -> TelemetryError:
        """The error for an answer that says no, in Prometheus's own words where it has some."""
        try:
            body = self._transport.decode(answer)
        except TelemetryBadResponse:
            return self._transport.refusal(answer)  # a proxy's page: its status says all that we can use
        match body:
            case {"errorType": str(kind), "error": str(reason)}:
                reason = reason if len(reason) <= _LONGEST_REASON else reason[:_LONGEST_REASON] + "..."
            case _:
                return self._transport.refusal(answer)
        if kind == "timeout":
            return TelemetryTimeout("Prometheus", f"Prometheus gave up: {reason}. Ask for less, or allow more time.")
        if kind == "canceled":
            return TelemetryUnavailable("Prometheus", f"Prometheus dropped the query: {reason}. Try again.")
        if "too many samples" in reason or "maximum resolution" in reason:
            return TelemetryLimited("Prometheus", f"Prometheus refused the query as too large: {reason}.")
        if kind in ("bad_data", "execution") or answer.status in (400, 422):
            return TelemetryBadQuery("Prometheus", f"Prometheus refused the query: {reason}")
        return self._transport.refusal(answer, reason)

    def _misshapen(self, expected: str) -> TelemetryBadResponse:
        return TelemetryBadResponse(
            "Prometheus",
            f"{self._transport.address} answered without {expected}, unlike Prometheus. Check that it is one.",
        )


def range_step_seconds(start: datetime, end: datetime, wanted_seconds: int | None = None) -> int:
    """The step to ask a range in: the wanted one, or longer where MAX_POINTS demands it.

    Without a wish, a round step that gives about 240 points, as many as a graph shows.
    Raises TelemetryBadQuery for an end before the start or a wish that is not positive.
    """
    span_seconds = _span_seconds(start, end)
    if wanted_seconds is not None:
        _require_positive_step(wanted_seconds)
        return max(wanted_seconds, _shortest_step_seconds(span_seconds))
    exact = span_seconds / _USUAL_POINTS
    longest = _ROUND_STEPS_SECONDS[-1]
    if exact > longest:
        return math.ceil(exact / longest) * longest
    return _ROUND_STEPS_SECONDS[bisect_left(_ROUND_STEPS_SECONDS, exact)]


def _shortest_step_seconds(span_seconds: float) -> int:
    """The shortest whole step that stays within MAX_POINTS, both ends of the range included."""
    return int(span_seconds // MAX_POINTS) + 1


def _span_seconds(start: datetime, end: datetime) -> float:
    span_seconds = (end - start).total_seconds()
    if span_seconds < 0:
        raise TelemetryBadQuery("Prometheus", "The range ends before it starts. Swap its ends.")
    return span_seconds


def _require_positive_step(step_seconds: float) -> None:
    if not 0 < step_seconds < math.inf:
        raise TelemetryBadQuery("Prometheus", f"A step of {step_seconds:g} s is not positive. Use 1 s or more.")


def _timestamp(time: datetime) -> str:
    """Seconds since 1970 at Prometheus's precision. A naive time is a programming error, not a question."""
    if time.tzinfo is None:
        raise ValueError("times must be aware, in UTC")
    return f"{time.timestamp():.3f}"


def _points(samples: Sequence[tuple[float, str]]) -> tuple[Point, ...]:
    return tuple(Point(datetime.fromtimestamp(seconds, UTC), _finite(float(text))) for seconds, text in samples)


def _texts(items: Any) -> tuple[str, ...]:
    return tuple(map(str, items)) if isinstance(items, list) else ()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
