"""Tempo's HTTP API, and that of whatever speaks it (Grafana Cloud Traces, GET)."""

import asyncio
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from domain.time import Deadline
from domain.traces import Span, moment
from telemetry_clients.errors import (
    TelemetryBadQuery,
    TelemetryBadResponse,
    TelemetryError,
    TelemetryLimited,
    TelemetryNotConfigured,
)
from telemetry_clients.tempo import otlp
from telemetry_clients.transport import Answer, Parameters, Transport

USUAL_LONGEST_SEARCH_SECONDS = 168 * 3600
"""Tempo refuses a search over a longer range, unless it is configured otherwise (`search.max_duration`)."""

MOST_TRACES = 1_000
MOST_POINTS = 11_000

_PROTOBUF = "application/protobuf"  # decoded twice as fast as JSON: `python -m bench.trace_decoding`
_TRACE_ID = re.compile(r"[0-9a-fA-F]{1,32}")
_LARGE_BYTES = 256 * 1024
_LONGEST_REASON = 500
_POSITION = re.compile(r"parse error at line (\d+), col (\d+)")
_ROOT_IS_MISSING = "<root span not yet received>"
_NO_SUCH_PATH = "page not found"  # Go's router; a trace that is not there is answered with no text, or with another
# What Tempo answers where nothing is set up to compute metrics: the part of its metrics-generator that keeps spans.
_METRICS_ARE_OFF = ("localblocks processor not found", "local-blocks", "empty ring")


@dataclass(frozen=True, slots=True)
class ServiceSpans:
    """How many spans one service has in a trace, and how many of them failed."""

    spans: int
    errors: int


@dataclass(frozen=True, slots=True)
class FoundTrace:
    """What a search tells of a trace. `services` is None where this Tempo does not count spans (before 2.6)."""

    trace_id: str
    root_service: str | None
    root_operation: str | None
    started_at: datetime
    duration_seconds: float
    services: Mapping[str, ServiceSpans] | None


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """A value at a time (UTC); None where it is no finite number."""

    time: datetime
    value: float | None


@dataclass(frozen=True, slots=True)
class MetricSeries:
    """What a TraceQL metric is of everything with these labels, in the order of time."""

    labels: Mapping[str, str]
    points: tuple[MetricPoint, ...]


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """What answers, by its own account; empty where it was built without saying."""

    version: str
    revision: str


@dataclass(frozen=True, slots=True)
class TagValue:
    """A value that an attribute has, and its type in TraceQL: string, int, float, bool, keyword or duration."""

    type: str
    value: str


@dataclass(frozen=True, slots=True)
class Tags:
    """The names of attributes by scope: resource, span, event, intrinsic and so on."""

    scopes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Tempo:
    """A client of one Tempo. Every call raises TelemetryError and nothing else, at its deadline at the latest.

    `longest_search_seconds` is how long a range that Tempo searches; longer ones are refused before any call.
    """

    def __init__(self, transport: Transport, *, longest_search_seconds: float = USUAL_LONGEST_SEARCH_SECONDS) -> None:
        self._transport = transport
        self.longest_search_seconds = longest_search_seconds

    async def search(
        self,
        query: str,
        *,
        start: datetime,
        end: datetime,
        limit: int = 20,
        spans_per_trace: int = 1,
        deadline: Deadline,
    ) -> tuple[FoundTrace, ...]:
        """Traces that meet a TraceQL query, the latest first, up to `limit`.

        Which ones, where there are more, is Tempo's choice: mostly the latest. `spans_per_trace` bounds the spans that
        the answer holds of each, which nobody reads here.
        Raises TelemetryBadQuery for an end before the start, TelemetryLimited for a range or a limit too large; both
        before any call.
        """
        if not 1 <= limit <= MOST_TRACES:
            raise TelemetryLimited("Tempo", f"{limit} traces cannot be asked for at once. Ask for 1 to {MOST_TRACES}.")
        parameters = {"q": query, "limit": str(limit), "spss": str(spans_per_trace), **self._range(start, end)}
        body = await self._ask("/api/search", parameters, deadline)
        try:
            found = [_found_trace(item) for item in body.get("traces") or ()]
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._misshapen("traces") from error
        return tuple(sorted(found, key=lambda trace: (trace.started_at, trace.trace_id), reverse=True))

    async def trace(self, trace_id: str, *, deadline: Deadline) -> list[Span] | None:
        """The spans of a trace as they were received, or None where there is no such trace.

        Raises TelemetryBadQuery for an id that is none, before any call.
        """
        known = normal_trace_id(trace_id)
        answer = await self._transport.get(f"/api/v2/traces/{known}", accept=_PROTOBUF, deadline=deadline)
        if _is_no_such_path(answer):  # Tempo before 2.7
            answer = await self._transport.get(f"/api/traces/{known}", accept=_PROTOBUF, deadline=deadline)
            if answer.status == 404 and not _is_no_such_path(answer):
                return None
            return await self._spans(answer, is_wrapped=False)
        if answer.status == 404:
            return None
        return await self._spans(answer, is_wrapped=True)

    async def tags(self, *, start: datetime, end: datetime, deadline: Deadline) -> Tags:
        """The names of the attributes that spans of the range have, by scope."""
        body = await self._ask("/api/v2/search/tags", self._range(start, end), deadline)
        try:
            return Tags({str(scope["name"]): tuple(map(str, scope.get("tags") or ())) for scope in body["scopes"]})
        except (AttributeError, KeyError, TypeError) as error:
            raise self._misshapen("names of tags") from error

    async def tag_values(
        self, tag: str, *, query: str | None = None, start: datetime, end: datetime, deadline: Deadline
    ) -> tuple[TagValue, ...]:
        """The values of an attribute, such as `resource.service.name`, on spans that meet `query`, in their order."""
        parameters: dict[str, str | list[str]] = {**self._range(start, end)}
        if query is not None:
            parameters["q"] = query
        body = await self._ask(f"/api/v2/search/tag/{_path_segment(tag)}/values", parameters, deadline)
        try:
            values = {TagValue(str(item["type"]), str(item["value"])) for item in body.get("tagValues") or ()}
        except (AttributeError, KeyError, TypeError) as error:
            raise self._misshapen("values of a tag") from error
        return tuple(sorted(values, key=lambda value: (value.value, value.type)))

    async def query_range(
        self, query: str, *, start: datetime, end: datetime, step_seconds: float, deadline: Deadline
    ) -> tuple[MetricSeries, ...]:
        """Evaluate a TraceQL metric, such as `{ status = error } | rate()`, over a range.

        Raises TelemetryNotConfigured where this Tempo does not compute metrics; TelemetryBadQuery and TelemetryLimited
        for a range or step that make no sense, before any call.
        """
        if not 0 < step_seconds < math.inf:
            raise TelemetryBadQuery("Tempo", f"A step of {step_seconds:g} s is not positive. Use 1 s or more.")
        parameters = {"q": query, "step": _go_duration(step_seconds), **self._range(start, end)}
        if (end - start).total_seconds() // step_seconds + 1 > MOST_POINTS:
            raise TelemetryLimited("Tempo", f"The range has more than {MOST_POINTS} steps. Use a longer step.")
        answer = await self._transport.get("/api/metrics/query_range", parameters=parameters, deadline=deadline)
        reason = _reason(answer)
        if _is_no_such_path(answer) or (not answer.succeeded and any(sign in reason for sign in _METRICS_ARE_OFF)):
            raise TelemetryNotConfigured(
                "Tempo",
                f"{self._transport.address} does not compute TraceQL metrics ({reason or 'no such path'}). "
                "Let its metrics-generator run the local-blocks processor.",
            )
        body = self._unwrap(answer)
        try:
            return tuple(_metric_series(item) for item in body.get("series") or ())
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._misshapen("series") from error

    async def build_info(self, *, deadline: Deadline) -> BuildInfo:
        """Version and revision of the server."""
        body = await self._ask("/api/status/buildinfo", {}, deadline)
        return BuildInfo(str(body.get("version", "")), str(body.get("revision", "")))

    async def require_ready(self, *, deadline: Deadline) -> None:
        """Return when Tempo says that it is ready to be asked. Raises TelemetryUnavailable with what it waits for."""
        answer = await self._transport.get("/ready", deadline=deadline)
        if not answer.succeeded:
            raise self._failure(answer)

    async def echo(self, *, deadline: Deadline) -> None:
        """Return when what answers queries is there: with a path prefix `/ready` may lead to another part of Tempo."""
        answer = await self._transport.get("/api/echo", deadline=deadline)
        if not answer.succeeded:
            raise self._failure(answer)
        if answer.body.strip() != b"echo":
            raise self._misshapen("an echo")

    def _range(self, start: datetime, end: datetime) -> dict[str, str]:
        """The range in whole seconds, as Tempo wants it, widened to hold all of what was asked for."""
        if start.tzinfo is None or end.tzinfo is None:
            raise ValueError("times must be aware, in UTC")
        length_seconds = (end - start).total_seconds()
        if length_seconds <= 0:
            raise TelemetryBadQuery("Tempo", "The range ends before it starts. Swap its ends.")
        first, last = math.floor(start.timestamp()), math.ceil(end.timestamp())
        if length_seconds > self.longest_search_seconds:
            raise TelemetryLimited(
                "Tempo",
                f"The range of {length_seconds / 3600:g} h is longer than the {self.longest_search_seconds / 3600:g} h "
                "that Tempo searches. Use a shorter one.",
            )
        # Rounding must not push a range of just the allowed length over it.
        return {"start": str(max(first, last - math.floor(self.longest_search_seconds))), "end": str(last)}

    async def _ask(self, path: str, parameters: Parameters, deadline: Deadline) -> dict[str, Any]:
        return self._unwrap(await self._transport.get(path, parameters=parameters, deadline=deadline))

    def _unwrap(self, answer: Answer) -> dict[str, Any]:
        """The object of a successful answer."""
        if not answer.succeeded:
            raise self._failure(answer)
        body = self._transport.decode(answer)
        if not isinstance(body, dict):
            raise self._misshapen("an object")
        match body:
            case {"error": error} | {"status": "error", "message": error}:
                raise self._transport.refusal(answer, _shortened(error) if isinstance(error, str) else "")
            case {"status": "error"}:
                raise self._transport.refusal(answer)
        return body

    async def _spans(self, answer: Answer, *, is_wrapped: bool) -> list[Span] | None:
        """The spans of an answer of the first API, or of the second, which puts the trace into another object."""
        if not answer.succeeded:
            raise self._failure(answer)
        # Nothing else would be served while a large trace is decoded.
        if len(answer.body) > _LARGE_BYTES:
            return await asyncio.to_thread(self._decoded_spans, answer, is_wrapped=is_wrapped)
        return self._decoded_spans(answer, is_wrapped=is_wrapped)

    def _decoded_spans(self, answer: Answer, *, is_wrapped: bool) -> list[Span] | None:
        try:
            if answer.content_type.startswith(_PROTOBUF):
                decode = otlp.spans_of_trace_response if is_wrapped else otlp.spans_of_protobuf
                return decode(answer.body) or None
            body = self._unwrap(answer)
            trace = body["trace"] if is_wrapped else body
            return otlp.spans_of_json(trace.get("resourceSpans") or trace.get("batches") or ()) or None
        except (AttributeError, KeyError, ValueError) as error:
            raise self._misshapen("a trace") from error

    def _failure(self, answer: Answer) -> TelemetryError:
        """The error for an answer that says no, in Tempo's own words. It answers errors in plain text."""
        reason = _reason(answer)
        if not reason:
            return self._transport.refusal(answer)
        if answer.status in (400, 413, 422) and _is_too_much(reason):
            return TelemetryLimited("Tempo", f"Tempo refused the query as too large: {reason}")
        if answer.status in (400, 422):
            line, column = map(int, found.groups()) if (found := _POSITION.search(reason)) else (None, None)
            return TelemetryBadQuery("Tempo", f"Tempo refused the query: {reason}", line, column)
        return self._transport.refusal(answer, reason)

    def _misshapen(self, expected: str) -> TelemetryBadResponse:
        return TelemetryBadResponse(
            "Tempo", f"{self._transport.address} answered without {expected}, unlike Tempo. Check that it is one."
        )


def normal_trace_id(text: str) -> str:
    """A trace's id as 32 lower-case hexadecimal digits; shorter ones are filled up, as Tempo does.

    Raises TelemetryBadQuery for anything else.
    """
    if not _TRACE_ID.fullmatch(text):
        shown = text if len(text) <= 64 else text[:64] + "..."
        raise TelemetryBadQuery("Tempo", f"{shown!r} is no trace id. Give 32 hexadecimal digits.")
    return text.lower().rjust(32, "0")


def _reason(answer: Answer) -> str:
    """What a refusal says for people, on one line; nothing where it is a page of some proxy's."""
    if answer.succeeded or not answer.content_type.startswith("text/plain"):
        return ""
    return _shortened(answer.body[: 4 * _LONGEST_REASON].decode(errors="replace"))


def _shortened(reason: str) -> str:
    text = " ".join(reason.split())
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "..."


def _is_no_such_path(answer: Answer) -> bool:
    return answer.status == 404 and _NO_SUCH_PATH in _reason(answer)


def _is_too_much(reason: str) -> bool:
    return any(sign in reason for sign in ("exceeds", "exceed max", "too large", "max size"))


def _go_duration(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def _path_segment(tag: str) -> str:
    if not tag or tag in (".", ".."):
        raise TelemetryBadQuery("Tempo", f"{tag!r} is not the name of a tag. Give one such as resource.service.name.")
    try:
        return quote(tag, safe="")
    except UnicodeEncodeError as error:
        raise TelemetryBadQuery(
            "Tempo", "The name of the tag holds a lone surrogate, which is no character."
        ) from error


def _found_trace(item: Mapping[str, Any]) -> FoundTrace:
    root_service = str(item.get("rootServiceName") or "")
    statistics = item.get("serviceStats")
    return FoundTrace(
        trace_id=_returned_trace_id(item["traceID"]),
        root_service=None if root_service in ("", _ROOT_IS_MISSING) else root_service,
        root_operation=str(item.get("rootTraceName") or "") or None,
        started_at=moment(int(item.get("startTimeUnixNano", 0))),
        duration_seconds=float(item.get("durationMs", 0)) / 1000,
        services=None
        if statistics is None
        else {
            str(service): ServiceSpans(int(counts.get("spanCount", 0)), int(counts.get("errorCount", 0)))
            for service, counts in statistics.items()
        },
    )


def _returned_trace_id(value: Any) -> str:
    if not isinstance(value, str) or not _TRACE_ID.fullmatch(value):
        raise ValueError("not a trace id")
    return value.lower().rjust(32, "0")


def _metric_series(item: Mapping[str, Any]) -> MetricSeries:
    labels = {label["key"]: str(next(iter(label["value"].values()), "")) for label in item.get("labels") or ()}
    points = tuple(
        # Proto3's JSON leaves out what is zero, and writes what is no number as a text.
        MetricPoint(
            datetime.fromtimestamp(int(sample["timestampMs"]) / 1000, UTC), _finite(float(sample.get("value", 0)))
        )
        for sample in item.get("samples") or ()
    )
    return MetricSeries(labels, points)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
