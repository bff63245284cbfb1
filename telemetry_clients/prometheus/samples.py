"""What Prometheus measures: series of numbers and of native histograms, as its query API writes them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, overload

import orjson

_EARLIEST_SECONDS = datetime.min.replace(tzinfo=UTC).timestamp()
_LATEST_SECONDS = datetime.max.replace(tzinfo=UTC).timestamp()
_NUMBERS = {int, float}

# How a bucket's bounds belong to it, by the number that the API gives (Prometheus docs, "Native histograms").
_INCLUDES_LOWER = {1, 3}
_INCLUDES_UPPER = {0, 3}


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a time (UTC). None stands for NaN and ±Inf, which are no numbers: 0/0, a quantile of no traffic."""

    time: datetime
    value: float | None


class Points(Sequence[Point]):
    """Points in the order of time. They are kept as two columns, because an answer can hold a hundred thousand.

    `seconds` count from 1970; `values` are None for what is no number. `texts` are the values as JSON, where that is
    how they came.
    """

    __slots__ = ("seconds", "texts", "values")

    def __init__(
        self, seconds: Sequence[float] = (), values: Sequence[float | None] = (), texts: Sequence[str] | None = None
    ) -> None:
        self.seconds = seconds
        self.values = values
        self.texts = texts

    def __len__(self) -> int:
        return len(self.seconds)

    @overload
    def __getitem__(self, index: int) -> Point: ...

    @overload
    def __getitem__(self, index: slice) -> "Points": ...

    def __getitem__(self, index: int | slice) -> "Point | Points":
        if isinstance(index, slice):
            return Points(self.seconds[index], self.values[index], self.texts and self.texts[index])
        return Point(datetime.fromtimestamp(self.seconds[index], UTC), self.values[index])

    def __iter__(self) -> Iterator[Point]:
        for seconds, value in zip(self.seconds, self.values, strict=True):
            yield Point(datetime.fromtimestamp(seconds, UTC), value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(Point.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]  # As a list has none.

    def __repr__(self) -> str:
        return f"Points({[*self]!r})"


@dataclass(frozen=True, slots=True)
class HistogramBucket:
    """How many observations lie between two bounds, infinite ones as None."""

    lower: float | None
    upper: float | None
    count: float
    includes_lower: bool
    includes_upper: bool


@dataclass(frozen=True, slots=True)
class NativeHistogram:
    """A native histogram at a time (UTC). Buckets that are empty are left out. `sum` is None where it is no number."""

    time: datetime
    count: float
    sum: float | None
    buckets: tuple[HistogramBucket, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """What has these labels, in the order of time: numbers, native histograms, or some of each at different times."""

    labels: Mapping[str, str]
    points: Sequence[Point]
    histograms: tuple[NativeHistogram, ...] = ()


def vector_series(item: Any) -> Series:
    """A series of an instant vector. Raises KeyError, TypeError, ValueError for another shape."""
    histograms = [item["histogram"]] if "histogram" in item else []
    samples = [item["value"]] if "value" in item or not histograms else []
    return Series(labels(item["metric"]), points(samples), tuple(map(_histogram, histograms)))


def matrix_series(item: Any) -> Series:
    """A series of a range vector. Raises KeyError, TypeError, ValueError for another shape."""
    histograms = item.get("histograms", [])
    samples = item.get("values", []) if histograms else item["values"]
    return Series(labels(item["metric"]), points(samples), tuple(map(_histogram, histograms)))


def points(samples: Any) -> Points:
    """Points from pairs of seconds and a number as text, or as they are. Raises TypeError, ValueError for others."""
    if isinstance(samples, Points):
        return samples
    if not samples:
        return Points()
    seconds, texts = zip(*samples, strict=True)
    return points_of(times_of(seconds), texts)


def times_of(seconds: Sequence[Any]) -> Sequence[float]:
    """Times in seconds since 1970, once it is known that they are. Raises TypeError, ValueError."""
    if not set(map(type, seconds)) <= _NUMBERS:
        raise TypeError("seconds must be numbers")
    if not _EARLIEST_SECONDS <= min(seconds) <= max(seconds) <= _LATEST_SECONDS:
        raise ValueError("a time that no calendar has")
    return seconds


def points_of(seconds: Sequence[float], texts: Sequence[str]) -> Points:
    """Points at these times, from as many numbers as text. Raises TypeError, ValueError for what is no number."""
    try:
        # All at once as one JSON list, which is seven times as fast as one by one.
        values: list[float] = orjson.loads("[" + ",".join(texts) + "]")
    except orjson.JSONDecodeError:
        return Points(seconds, [_finite(float(text)) for text in texts])  # JSON has no NaN and no infinities.
    if len(values) != len(texts) or not set(map(type, values)) <= _NUMBERS:
        raise ValueError("a value that is no number")
    return Points(seconds, values, texts)


def labels(item: Any) -> Mapping[str, str]:
    """A set of labels. Raises TypeError for another shape."""
    if not isinstance(item, dict) or not set(map(type, item.values())) <= {str}:
        raise TypeError("labels must be an object of texts")
    return item


def _histogram(sample: Any) -> NativeHistogram:
    seconds, histogram = sample
    return NativeHistogram(
        datetime.fromtimestamp(seconds, UTC),
        float(histogram["count"]),
        _finite(float(histogram["sum"])),
        tuple(map(_bucket, histogram.get("buckets", ()))),
    )


def _bucket(item: Any) -> HistogramBucket:
    rule, lower, upper, count = item
    return HistogramBucket(
        _finite(float(lower)), _finite(float(upper)), float(count), rule in _INCLUDES_LOWER, rule in _INCLUDES_UPPER
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
