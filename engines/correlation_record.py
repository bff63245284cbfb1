"""What an analysis was told and what it answered, written down so that both can be read again, byte for byte.

The same value is always written as the same bytes: JSON with sorted keys, the shortest digits that give a number back,
null for NaN. Evidence that was read again is equal to what was written, so that its analysis is as well.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from hashlib import sha256
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import orjson

from engines.correlation import Analysis, Evidence

Value = TypeVar("Value")
_Reader = Callable[[Any], Any]

_COMPRESSION: Final = 6


def write_evidence(evidence: Evidence) -> bytes:
    """The evidence, compressed."""
    return zlib.compress(canonical(evidence), _COMPRESSION)


def read_evidence(written: bytes) -> Evidence:
    """What `write_evidence` was given."""
    evidence: Evidence = _reader(Evidence)(orjson.loads(zlib.decompress(written)))
    return evidence


def write_answer(analysis: Analysis) -> bytes:
    """The answer as JSON."""
    return canonical(analysis)


def canonical(value: Any) -> bytes:
    """A dataclass as JSON, always in the same bytes."""
    return orjson.dumps(plain(value), option=orjson.OPT_SORT_KEYS)


def digest(written: bytes) -> str:
    """What tells these bytes from any others: SHA-256, in hexadecimal digits."""
    return sha256(written).hexdigest()


def plain(value: Any) -> Any:
    """A dataclass as what JSON has."""
    if isinstance(value, np.ndarray):
        # NaN is no number that JSON knows.
        return [None if item != item else item for item in value.tolist()]
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


@cache
def _reader(annotation: Any) -> _Reader:
    """How a value of this type is read from what `plain` made of it."""
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        [inner, *others] = [argument for argument in get_args(annotation) if argument is not NoneType]
        if others:
            raise TypeError(f"{annotation} has several meanings")
        read = _reader(inner)
        return lambda value: None if value is None else read(value)
    if origin is np.ndarray:
        kind = get_args(get_args(annotation)[1])[0]
        return lambda value: np.array([np.nan if item is None else item for item in value], dtype=kind)
    if origin is tuple:
        read = _reader(get_args(annotation)[0])
        return lambda value: tuple(read(item) for item in value)
    if isinstance(annotation, type) and is_dataclass(annotation):
        return _dataclass_reader(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return annotation
    if annotation is float:
        return float
    return lambda value: value


def _dataclass_reader(kind: type[Any]) -> _Reader:
    hints = get_type_hints(kind)
    readers = {field.name: _reader(hints[field.name]) for field in fields(kind)}
    # What an older version did not know is left to its default.
    return lambda value: kind(**{name: read(value[name]) for name, read in readers.items() if name in value})
