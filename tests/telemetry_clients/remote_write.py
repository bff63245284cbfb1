"""Prometheus's remote write protocol, as much of it as tests need: native histograms, which no text format has."""

import struct
from collections.abc import Mapping, Sequence


def write_request(metric: str, labels: Mapping[str, str], histograms: Sequence[bytes]) -> bytes:
    """A WriteRequest (prompb/remote.proto) of one series, snappy-compressed."""
    pairs = sorted({"__name__": metric, **labels}.items())
    parts = [_message(1, _message(1, name.encode()) + _message(2, value.encode())) for name, value in pairs]
    parts += [_message(4, histogram) for histogram in histograms]
    return _snappy(_message(1, b"".join(parts)))


def histogram(at_seconds: float, *, schema: int, first_bucket: int, counts: Sequence[int], total: float) -> bytes:
    """A Histogram (prompb/types.proto) with whole counts in buckets one after another, from `first_bucket` on."""
    deltas = [count - before for before, count in zip([0, *counts], counts, strict=False)]
    span = _varint_field(1, _zigzag(first_bucket)) + _varint_field(2, len(counts))
    return b"".join(
        [
            _varint_field(1, sum(counts)),
            _double_field(3, total),
            _varint_field(4, _zigzag(schema)),
            _double_field(5, 1e-128),
            _varint_field(6, 0),
            _message(11, span),
            _message(12, b"".join(_varint(_zigzag(delta)) for delta in deltas)),
            _varint_field(15, round(at_seconds * 1000)),
        ]
    )


def _snappy(data: bytes) -> bytes:
    """Snappy's block format with nothing but literals."""
    chunks = [data[start : start + 60] for start in range(0, len(data), 60)]
    return _varint(len(data)) + b"".join(bytes([(len(chunk) - 1) << 2]) + chunk for chunk in chunks)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint_field(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double_field(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1
