"""What Loki answers, as values. Times are kept to the nanosecond, because lines are put in order and paged by them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a log. `labels` are those of its stream, with its structured metadata and what a query parsed from it.

    `metadata` holds the structured metadata once more, where Loki tells it apart.
    """

    time_ns: int
    line: str
    labels: Labels
    metadata: Labels = field(default_factory=dict)

    @property
    def time(self) -> datetime:
        """When it was written, for people: to the microsecond, in UTC."""
        return moment(self.time_ns)


@dataclass(frozen=True, slots=True)
class LogPoint:
    """A value that a metric query computed at a time. None stands for NaN and ±Inf."""

    time: datetime
    value: float | None


@dataclass(frozen=True, slots=True)
class LogSeries:
    """A series of a metric query, in the order of time."""

    labels: Labels
    points: tuple[LogPoint, ...]


@dataclass(frozen=True, slots=True)
class LogResult:
    """What a query returned: lines in the order that was asked for, or, for a metric query, series.

    `is_complete` is False where there may be more lines in the range than were asked for.
    """

    lines: tuple[LogLine, ...] = ()
    series: tuple[LogSeries, ...] | None = None
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class IndexStats:
    """How much the index knows of some streams. Counts what has been written to storage."""

    streams: int
    chunks: int
    entries: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Volume:
    """How many bytes the streams with these labels hold."""

    labels: Labels
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that Loki has found in lines, `<_>` standing for what varies, and how often: (time, count) in order."""

    template: str
    level: str
    samples: tuple[tuple[datetime, int], ...]


@dataclass(frozen=True, slots=True)
class DetectedField:
    """A field that Loki has found in lines, its type, about how many values it has, and which parsers get at it."""

    name: str
    type: str
    cardinality: int
    parsers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DetectedLabel:
    """A label that is worth choosing by, and how many values it has."""

    name: str
    cardinality: int


def nanoseconds(time: datetime) -> int:
    """Nanoseconds since 1970, exactly. A naive time is a programming error, not a question."""
    if time.tzinfo is None:
        raise ValueError("times must be aware, in UTC")
    return (time - _EPOCH) // timedelta(microseconds=1) * 1000


def moment(time_ns: int) -> datetime:
    """The moment, cut to the microsecond. Raises OverflowError for one that no calendar has."""
    return _EPOCH + timedelta(microseconds=time_ns // 1000)


def log_result(data: Any) -> LogResult:
    """The `data` of an answer to a query, lines in Loki's order. Raises KeyError, TypeError, ValueError."""
    result = data["result"]
    match data["resultType"]:
        case "streams":
            return LogResult(tuple(line for stream in result for line in log_lines(stream)))
        case "matrix":
            return LogResult(series=tuple(_series(item["metric"], item["values"]) for item in result))
        case "vector":
            return LogResult(series=tuple(_series(item["metric"], [item["value"]]) for item in result))
        case "scalar":
            return LogResult(series=(_series({}, [result]),))
    raise ValueError("a result type that Loki does not have")


def log_lines(stream: Any) -> list[LogLine]:
    """The lines of one stream of an answer. Raises KeyError, TypeError, ValueError."""
    labels = string_map(stream["stream"])
    return [_line(labels, *value) for value in stream["values"]]


def string_map(item: Any) -> Labels:
    """Labels, which map strings to strings. Raises TypeError."""
    if not isinstance(item, dict) or not all(isinstance(value, str) for value in item.values()):
        raise TypeError("labels are strings")
    return item


def patterns(data: Any) -> tuple[Pattern, ...]:
    """The patterns of an answer. Raises KeyError, TypeError, ValueError."""
    return tuple(
        Pattern(
            str(item["pattern"]),
            str(item.get("level", "")),
            tuple((datetime.fromtimestamp(seconds, UTC), int(count)) for seconds, count in item["samples"]),
        )
        for item in data
    )


def volumes(data: Any) -> tuple[Volume, ...]:
    """The volumes of an answer. Raises KeyError, TypeError, ValueError."""
    return tuple(Volume(string_map(item["metric"]), int(item["value"][1])) for item in data["result"])


def _line(labels: Labels, time_ns: str, line: str, extra: Any = None) -> LogLine:
    if not isinstance(line, str):
        raise TypeError("a line is a string")
    if not isinstance(extra, dict):
        return LogLine(int(time_ns), line, labels)
    metadata = string_map(extra.get("structuredMetadata", {}))
    return LogLine(int(time_ns), line, {**labels, **metadata, **string_map(extra.get("parsed", {}))}, metadata)


def _series(labels: Any, samples: Any) -> LogSeries:
    return LogSeries(string_map(labels), tuple(_point(*sample) for sample in samples))


def _point(seconds: float, text: str) -> LogPoint:
    value = float(text)
    return LogPoint(datetime.fromtimestamp(seconds, UTC), value if math.isfinite(value) else None)
