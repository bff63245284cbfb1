"""Prometheus's HTTP API, and that of whatever speaks it (Mimir, Thanos, VictoriaMetrics)."""

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeVar

from domain.time import Deadline
from telemetry_clients.errors import (
    TelemetryBadQuery,
    TelemetryBadResponse,
    TelemetryError,
    TelemetryLimited,
    TelemetryTimeout,
    TelemetryUnavailable,
)
from telemetry_clients.prometheus import promql, samples
from telemetry_clients.prometheus.inventory import Exemplar, MetricMetadata, Target, exemplars, metric_metadata, target
from telemetry_clients.prometheus.matrices import loads
from telemetry_clients.prometheus.rules import ActiveAlert, RuleGroup, active_alert, rule_group
from telemetry_clients.prometheus.samples import Point, Series
from telemetry_clients.transport import Answer, Transport

__all__ = ["MAX_POINTS", "BuildInfo", "Point", "Prometheus", "QueryResult", "Series", "range_step_seconds"]

Parsed = TypeVar("Parsed")

MAX_POINTS = 11_000
"""Prometheus refuses a range query for more points than this in each series."""

_USUAL_POINTS = 240
_ROUND_STEPS_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_LONGEST_REASON = 500
_POSITION = re.compile(r"(\d+):(\d+): parse error")
_MISSHAPEN = (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError)


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The series that a query returned, and what Prometheus remarked about them (warnings, then infos).

    `kind` is `vector`, `matrix`, `scalar` (one series without labels) or `string` (no series, but `text`).
    """

    series: tuple[Series, ...]
    warnings: tuple[str, ...] = ()
    kind: str = "vector"
    text: str | None = None


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
        form = {"match[]": list(selectors), **_range_parameters(start, end)}
        answer = await self._transport.post("/api/v1/series", form=form, deadline=deadline)
        return self._parse(answer, "a list of series", lambda data: tuple(map(samples.labels, _list(data))))

    async def labels(
        self,
        *,
        selectors: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        deadline: Deadline,
    ) -> tuple[str, ...]:
        """The names of the labels on the series that match any selector (on all without one), sorted."""
        form = {"match[]": list(selectors), **_range_parameters(start, end)}
        answer = await self._transport.post("/api/v1/labels", form=form, deadline=deadline)
        return self._parse(answer, "a list of labels", _words)

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
        parameters = {"match[]": list(selectors), **_range_parameters(start, end)}
        path = f"/api/v1/label/{promql.label_name(label)}/values"
        answer = await self._transport.get(path, parameters=parameters, deadline=deadline)
        return self._parse(answer, "a list of label values", _words)

    async def metadata(
        self, metric: str | None = None, *, limit: int | None = None, deadline: Deadline
    ) -> Mapping[str, tuple[MetricMetadata, ...]]:
        """What the targets say of one metric, or of all: usually one opinion, several where targets differ."""
        parameters: dict[str, str | list[str]] = {}
        if metric is not None:
            parameters["metric"] = metric
        if limit is not None:
            parameters["limit"] = str(limit)
        answer = await self._transport.get("/api/v1/metadata", parameters=parameters, deadline=deadline)
        return self._parse(
            answer,
            "metadata",
            lambda data: {name: tuple(map(metric_metadata, _list(items))) for name, items in data.items()},
        )

    async def alerts(self, *, deadline: Deadline) -> tuple[ActiveAlert, ...]:
        """The alerts that are pending or firing."""
        answer = await self._transport.get("/api/v1/alerts", deadline=deadline)
        return self._parse(answer, "alerts", lambda data: tuple(map(active_alert, _list(data["alerts"]))))

    async def rules(
        self, kind: Literal["alert", "record"] | None = None, *, deadline: Deadline
    ) -> tuple[RuleGroup, ...]:
        """The rules that Prometheus evaluates, in their groups: all, or those that alert, or those that record."""
        parameters = {} if kind is None else {"type": kind}
        answer = await self._transport.get("/api/v1/rules", parameters=parameters, deadline=deadline)
        return self._parse(answer, "rules", lambda data: tuple(map(rule_group, _list(data["groups"]))))

    async def targets(self, *, deadline: Deadline) -> tuple[Target, ...]:
        """What is being scraped at present."""
        parameters = {"state": "active"}
        answer = await self._transport.get("/api/v1/targets", parameters=parameters, deadline=deadline)
        return self._parse(answer, "targets", lambda data: tuple(map(target, _list(data["activeTargets"]))))

    async def exemplars(
        self, expression: str, *, start: datetime, end: datetime, deadline: Deadline
    ) -> tuple[Exemplar, ...]:
        """Examples of single observations of the series in an expression, within the range."""
        parameters = {"query": expression, **_range_parameters(start, end)}
        answer = await self._transport.get("/api/v1/query_exemplars", parameters=parameters, deadline=deadline)
        return self._parse(
            answer, "exemplars", lambda data: tuple(found for item in _list(data) for found in exemplars(item))
        )

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
        answer = await self._transport.post(
            path, form=form, deadline=deadline, deadline_parameter="timeout", cacheable=path.endswith("/query_range")
        )
        try:
            data, warnings = self._unwrap(answer)
            return replace(self._shaped("samples", _result, data), warnings=warnings)
        except TelemetryError:
            self._transport.forget(answer)
            raise

    def _parse(self, answer: Answer, expected: str, parse: Callable[[Any], Parsed]) -> Parsed:
        data, _ = self._unwrap(answer)
        return self._shaped(expected, parse, data)

    def _shaped(self, expected: str, parse: Callable[[Any], Parsed], data: Any) -> Parsed:
        """What `data` says. Raises TelemetryBadResponse where it has another shape."""
        try:
            return parse(data)
        except _MISSHAPEN as error:
            raise self._misshapen(expected) from error

    def _unwrap(self, answer: Answer) -> tuple[Any, tuple[str, ...]]:
        """The `data` of a successful answer and its warnings."""
        if not answer.succeeded:
            raise self._failure(answer)
        match self._transport.decode(answer, loads):
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
            line, column = map(int, found.groups()) if (found := _POSITION.search(reason)) else (None, None)
            return TelemetryBadQuery("Prometheus", f"Prometheus refused the query: {reason}", line, column)
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


def _range_parameters(start: datetime | None, end: datetime | None) -> dict[str, str | list[str]]:
    """A range as the API wants it, open where an end is None. Raises TelemetryBadQuery for an end before the start."""
    if start is not None and end is not None:
        _span_seconds(start, end)
    ends = (("start", start), ("end", end))
    return {name: _timestamp(moment) for name, moment in ends if moment is not None}


def _result(data: Any) -> QueryResult:
    kind, result = data["resultType"], data["result"]
    match kind:
        case "matrix":
            return QueryResult(tuple(map(samples.matrix_series, result)), kind=kind)
        case "vector":
            return QueryResult(tuple(map(samples.vector_series, result)), kind=kind)
        case "scalar":
            return QueryResult((Series({}, samples.points([result])),), kind=kind)
        case "string":
            _, text = result
            return QueryResult((), kind=kind, text=str(text))
    raise ValueError("a result type that Prometheus does not have")


def _list(data: Any) -> Sequence[Any]:
    if not isinstance(data, list):
        raise TypeError("not a list")
    return data


def _words(data: Any) -> tuple[str, ...]:
    if not set(map(type, _list(data))) <= {str}:
        raise TypeError("not words")
    return tuple(data)


def _texts(items: Any) -> tuple[str, ...]:
    return tuple(map(str, items)) if isinstance(items, list) else ()
