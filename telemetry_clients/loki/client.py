"""Loki's HTTP API."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from domain.time import Deadline
from telemetry_clients.errors import TelemetryBadQuery, TelemetryBadResponse, TelemetryLimited
from telemetry_clients.loki import logql
from telemetry_clients.loki.answers import (
    DetectedField,
    DetectedLabel,
    IndexStats,
    Labels,
    LogLine,
    LogResult,
    Pattern,
    Volume,
    log_result,
    nanoseconds,
    patterns,
    string_map,
    volumes,
)
from telemetry_clients.loki.paging import Direction, Pager, in_order
from telemetry_clients.loki.refusals import longest_range_seconds, most_lines, refusal, stated_error
from telemetry_clients.transport import Answer, Transport

MOST_LINES = 5_000
"""What Loki gives at once, unless it is configured otherwise (max_entries_limit_per_query)."""

MAX_POINTS = 11_000
"""Loki refuses a metric query for more points than this in each series."""

_USUAL_LINES = 100
_LONGEST_ADDRESS = 2_000
_ABSENCE_REMEMBERED_SECONDS = 600.0
_MISSHAPEN = (KeyError, TypeError, ValueError, OverflowError, AttributeError)

Time = datetime | int
"""A moment, or nanoseconds since 1970 where every one of them counts."""

Value = TypeVar("Value")
Form = dict[str, str | list[str]]


@dataclass(frozen=True, slots=True)
class NewLine:
    """A line to push. `time` is a moment or nanoseconds since 1970."""

    time: Time
    line: str
    metadata: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """What answers, by its own account; empty texts where it does not say."""

    version: str
    revision: str


class Loki:
    """A client of one Loki. Every call raises TelemetryError and nothing else, at its deadline at the latest.

    Ranges include their start and not their end. What an older Loki cannot do, and how much this one gives at once, is
    learned from its answers and remembered.
    """

    def __init__(self, transport: Transport, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.transport = transport
        self._clock = clock
        self._most_lines = MOST_LINES
        self._longest_range_seconds = math.inf
        self._absent: dict[str, float] = {}

    async def query(
        self, query: str, *, at: datetime | None = None, limit: int | None = None, deadline: Deadline
    ) -> LogResult:
        """Evaluate a metric query (LogQL) at one time, Loki's own now without `at`."""
        form: Form = {"query": query}
        if at is not None:
            form["time"] = str(nanoseconds(at))
        if limit is not None:
            form["limit"] = str(limit)
        return await self._data("/loki/api/v1/query", form, deadline, log_result, "lines or samples")

    async def query_range(
        self,
        query: str,
        *,
        start: Time,
        end: Time,
        limit: int | None = None,
        direction: Direction | None = None,
        step_seconds: float | None = None,
        deadline: Deadline,
    ) -> LogResult:
        """The lines of a range, or what a metric query computes of it in steps.

        At most `limit` lines (Loki's own 100 without), the latest first unless they are wanted FORWARD; as many calls
        as it takes. Raises TelemetryBadQuery for an end that is not after the start or a step that is not positive, and
        TelemetryLimited for more than MAX_POINTS points or a longer range than Loki allows, before any call.
        """
        start_ns, end_ns = self._checked_range(start, end)
        if limit is not None and limit < 1:
            raise TelemetryBadQuery("Loki", f"A limit of {limit} lines is not positive. Use 1 or more.")
        form: Form = {"query": query}
        if direction is not None:
            form["direction"] = direction.value
        if step_seconds is not None:
            _check_step(step_seconds, (end_ns - start_ns) / 1e9)
            form["step"] = f"{step_seconds:g}"
        way = direction or Direction.BACKWARD
        if limit is None:
            found = await self._page(form, start_ns, end_ns, None, deadline)
            is_complete = found.series is not None or len(found.lines) < _USUAL_LINES
            return LogResult(tuple(in_order(found.lines, way)), found.series, is_complete)
        return await self._pages(form, Pager(start_ns, end_ns, way), limit, deadline)

    async def labels(self, *, start: Time, end: Time, deadline: Deadline) -> tuple[str, ...]:
        """The names of the labels that streams have in the range."""
        form = self._ranged({}, start, end)
        return await self._data("/loki/api/v1/labels", form, deadline, _words, "a list of labels")

    async def label_values(
        self, label: str, *, query: str | None = None, start: Time, end: Time, deadline: Deadline
    ) -> tuple[str, ...]:
        """The values that a label has in the range, on the streams that `query` selects, or on all."""
        form = self._ranged({} if query is None else {"query": query}, start, end)
        path = f"/loki/api/v1/label/{logql.label_name(label)}/values"
        return await self._data(path, form, deadline, _words, "a list of label values")

    async def series(
        self, selectors: Sequence[str], *, start: Time, end: Time, deadline: Deadline
    ) -> tuple[Labels, ...]:
        """The labels of the streams that match any selector in the range."""
        form = self._ranged({"match[]": list(selectors)}, start, end)
        return await self._data(
            "/loki/api/v1/series", form, deadline, lambda data: tuple(map(string_map, data)), "a list of streams"
        )

    async def index_stats(self, query: str, *, start: Time, end: Time, deadline: Deadline) -> IndexStats:
        """How much the streams that `query` selects hold, as far as it has been written to storage."""
        answer = await self._ask("/loki/api/v1/index/stats", self._ranged({"query": query}, start, end), deadline)
        return self._shaped(
            lambda body: IndexStats(*(int(body[part]) for part in ("streams", "chunks", "entries", "bytes"))),
            self.transport.decode(answer),
            "statistics",
        )

    async def volume(self, query: str, *, start: Time, end: Time, deadline: Deadline) -> tuple[Volume, ...]:
        """The bytes of the streams that `query` selects, by its labels, the largest first."""
        form = self._ranged({"query": query}, start, end)
        return await self._data("/loki/api/v1/index/volume", form, deadline, volumes, "volumes")

    async def patterns(
        self, query: str, *, start: Time, end: Time, deadline: Deadline, step_seconds: int | None = None
    ) -> tuple[Pattern, ...] | None:
        """The patterns of the lines that `query` selects; None where this Loki looks for none.

        They are counted in steps of ten seconds, or in longer ones of `step_seconds`.
        """
        step = {} if step_seconds is None else {"step": f"{step_seconds}s"}
        form = self._ranged({"query": query, **step}, start, end)
        answer = await self._ask_for_extra("/loki/api/v1/patterns", form, deadline)
        return None if answer is None else self._shaped(patterns, self._unwrapped(answer), "patterns")

    async def detected_fields(
        self, query: str, *, start: Time, end: Time, deadline: Deadline
    ) -> tuple[DetectedField, ...] | None:
        """The fields that Loki finds in the lines that `query` selects; None where this Loki does not look."""
        form = self._ranged({"query": query}, start, end)
        answer = await self._ask_for_extra("/loki/api/v1/detected_fields", form, deadline)
        if answer is None:
            return None
        return self._shaped(
            lambda body: tuple(
                DetectedField(
                    str(item["label"]), str(item["type"]), int(item["cardinality"]), tuple(item["parsers"] or ())
                )
                for item in body["fields"] or ()
            ),
            self.transport.decode(answer),
            "fields",
        )

    async def detected_labels(self, *, start: Time, end: Time, deadline: Deadline) -> tuple[DetectedLabel, ...] | None:
        """The labels that are worth choosing by; None where this Loki does not look."""
        answer = await self._ask_for_extra("/loki/api/v1/detected_labels", self._ranged({}, start, end), deadline)
        if answer is None:
            return None
        return self._shaped(
            lambda body: tuple(
                DetectedLabel(str(item["label"]), int(item["cardinality"])) for item in body["detectedLabels"] or ()
            ),
            self.transport.decode(answer),
            "labels",
        )

    async def push(self, streams: Sequence[tuple[Labels, Sequence[NewLine]]], *, deadline: Deadline) -> None:
        """Write lines, by the labels of their streams. Loki takes all of them or says which it did not."""
        body = {
            "streams": [
                {"stream": dict(labels), "values": [_pushed(line) for line in lines]} for labels, lines in streams
            ]
        }
        answer = await self.transport.post_json("/loki/api/v1/push", body=body, deadline=deadline)
        if not answer.succeeded:
            raise refusal(self.transport, answer)

    async def build_info(self, *, deadline: Deadline) -> BuildInfo:
        """Version and revision of the server."""
        answer = await self._ask("/loki/api/v1/status/buildinfo", {}, deadline)
        return self._shaped(
            lambda body: BuildInfo(str(body["version"]), str(body.get("revision", ""))),
            self.transport.decode(answer),
            "a version",
        )

    async def require_ready(self, *, deadline: Deadline) -> None:
        """Return when Loki says that it can serve. Raises TelemetryUnavailable with its reason when it cannot yet."""
        await self._ask("/ready", {}, deadline)

    async def _pages(self, form: Form, pager: Pager, limit: int, deadline: Deadline) -> LogResult:
        lines: list[LogLine] = []
        while not pager.is_done and len(lines) < limit:
            size = pager.size(limit - len(lines), self._most_lines)
            try:
                found = await self._page(form, pager.start_ns, pager.end_ns, size, deadline)
            except TelemetryLimited as error:
                allowed = most_lines(error)
                if allowed is None or allowed >= self._most_lines:
                    raise
                self._most_lines = allowed
                continue
            if found.series is not None:
                return found
            lines += pager.take(found.lines, size)
        return LogResult(tuple(lines[:limit]), None, pager.is_done and len(lines) <= limit)

    async def _page(self, form: Form, start_ns: int, end_ns: int, limit: int | None, deadline: Deadline) -> LogResult:
        whole: Form = {**form, "start": str(start_ns), "end": str(end_ns)}
        if limit is not None:
            whole["limit"] = str(limit)
        try:
            return await self._data("/loki/api/v1/query_range", whole, deadline, log_result, "lines or samples")
        except TelemetryLimited as error:
            self._longest_range_seconds = longest_range_seconds(error) or self._longest_range_seconds
            raise

    async def _data(
        self, path: str, form: Form, deadline: Deadline, read: Callable[[Any], Value], expected: str
    ) -> Value:
        """What `read` makes of the `data` of an answer."""
        return self._shaped(read, self._unwrapped(await self._ask(path, form, deadline)), expected)

    async def _ask_for_extra(self, path: str, form: Form, deadline: Deadline) -> Answer | None:
        """The answer of something that not every Loki has; None where this one has it not."""
        if self._clock() < self._absent.get(path, -math.inf):
            return None
        answer = await self._send(path, form, deadline)
        if answer.status == 404:
            self._absent[path] = self._clock() + _ABSENCE_REMEMBERED_SECONDS
            return None
        if not answer.succeeded:
            raise refusal(self.transport, answer)
        return answer

    async def _ask(self, path: str, form: Form, deadline: Deadline) -> Answer:
        answer = await self._send(path, form, deadline)
        if not answer.succeeded:
            raise refusal(self.transport, answer)
        return answer

    async def _send(self, path: str, form: Form, deadline: Deadline) -> Answer:
        if sum(map(len, form.values())) > _LONGEST_ADDRESS:  # proxies cut long addresses off
            return await self.transport.post(path, form=form, deadline=deadline)
        return await self.transport.get(path, parameters=form, deadline=deadline)

    def _unwrapped(self, answer: Answer) -> Any:
        match self.transport.decode(answer):
            case {"status": "success", **rest}:
                return rest.get("data")  # an empty index has none
            case {"status": "error", **rest}:
                raise stated_error(self.transport, answer, rest)
        raise self._misshapen("a status")

    def _shaped(self, read: Callable[[Any], Value], body: Any, expected: str) -> Value:
        try:
            return read(body)
        except _MISSHAPEN as error:
            raise self._misshapen(expected) from error

    def _ranged(self, form: Form, start: Time, end: Time) -> Form:
        start_ns, end_ns = self._checked_range(start, end)
        return {**form, "start": str(start_ns), "end": str(end_ns)}

    def _checked_range(self, start: Time, end: Time) -> tuple[int, int]:
        start_ns, end_ns = _nanoseconds(start), _nanoseconds(end)
        if end_ns <= start_ns:
            raise TelemetryBadQuery("Loki", "The range does not end after it starts. Swap its ends, or widen it.")
        if (end_ns - start_ns) / 1e9 > self._longest_range_seconds:
            raise TelemetryLimited(
                "Loki",
                f"The range of {(end_ns - start_ns) / 1e9:g} s is longer than this Loki answers "
                f"({self._longest_range_seconds:g} s, max_query_length). Ask for a shorter one.",
            )
        return start_ns, end_ns

    def _misshapen(self, expected: str) -> TelemetryBadResponse:
        return TelemetryBadResponse(
            "Loki", f"{self.transport.address} answered without {expected}, unlike Loki. Check that it is one."
        )


def _nanoseconds(at: Time) -> int:
    return at if isinstance(at, int) else nanoseconds(at)


def _check_step(step_seconds: float, span_seconds: float) -> None:
    if not 0 < step_seconds < math.inf:
        raise TelemetryBadQuery("Loki", f"A step of {step_seconds:g} s is not positive. Use 1 s or more.")
    if span_seconds // step_seconds + 1 > MAX_POINTS:
        raise TelemetryLimited(
            "Loki",
            f"The range of {span_seconds:g} s in steps of {step_seconds:g} s has more than {MAX_POINTS} points. "
            f"Use a step of {int(span_seconds // MAX_POINTS) + 1} s or more.",
        )


def _words(data: Any) -> tuple[str, ...]:
    """A list of texts, which an empty index leaves out or gives as null."""
    if not all(isinstance(word, str) for word in data or ()):
        raise TypeError("words are strings")
    return tuple(data or ())


def _pushed(line: NewLine) -> list[str | Mapping[str, str]]:
    pushed: list[str | Mapping[str, str]] = [str(_nanoseconds(line.time)), line.line]
    return [*pushed, dict(line.metadata)] if line.metadata else pushed
