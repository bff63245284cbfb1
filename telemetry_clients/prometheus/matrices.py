"""Reads the answers to range queries without an object for each sample, of which there can be a hundred thousand.

The samples of each series are cut out of the text and read as two columns; what remains is small, and read as any JSON
is. Series of one query mostly have the same times, which are then read and checked once.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from telemetry_clients.prometheus.samples import Points, points_of, times_of

# Within a text of JSON the quotes would be escaped: this begins the samples of a series, and nothing else.
_BEGIN = '"values":[['
_END = "]]"


def loads(body: bytes) -> Any:
    """The JSON of an answer, in which `values` of series are Points where they are as Prometheus writes them.

    Raises orjson.JSONDecodeError.
    """
    try:
        head, *pieces = body.decode().split(_BEGIN)
        return _read(head, pieces) if pieces else orjson.loads(body)
    except (ValueError, TypeError, LookupError):
        return orjson.loads(body)  # Of another shape: as it is, for others to say what is wrong with it.


def _read(head: str, pieces: Sequence[str]) -> Any:
    frame, texts = [head], []
    for number, piece in enumerate(pieces):
        text, _, rest = piece.partition(_END)
        texts.append(text)
        frame += (f'"values":{number}', rest)
    answer = orjson.loads("".join(frame))
    series = [one for one in answer["data"]["result"] if "values" in one]
    if [one["values"] for one in series] != [*range(len(texts))]:
        raise ValueError("values elsewhere than in series")
    reader = _Reader()
    for one, text in zip(series, texts, strict=True):
        one["values"] = reader.points(text)
    return answer


class _Reader:
    """Reads samples, remembering the times of those before."""

    def __init__(self) -> None:
        self._between: Sequence[str] = ()
        self._seconds: Sequence[float] = ()

    def points(self, text: str) -> Points:
        """Points from `seconds,"number"],[seconds,"number"`. Raises TypeError, ValueError for another shape."""
        parts = text.split('"')
        between, numbers = parts[::2], parts[1::2]
        if between != self._between:
            *times, end = "".join(between).replace("],[", "\n").split(",")
            if end or times[0].startswith("\n") or not all(time.startswith("\n") for time in times[1:]):
                raise ValueError("no pairs")
            self._seconds = times_of(orjson.loads("[" + ",".join(times) + "]"))
            self._between = between
        if len(numbers) != len(self._seconds):
            raise ValueError("no pairs")
        return points_of(self._seconds, numbers)
