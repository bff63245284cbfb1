"""Evidence and answers as JSON, and back: what is stored of a run, so that it can be replayed to the same answer."""

import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from hashlib import blake2b
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
import orjson

from engines.correlation.evidence import Evidence
from engines.correlation.findings import Analysis


def write(value: Evidence | Analysis) -> bytes:
    """As JSON: the same bytes for the same value. A value that is missing in a series is null."""
    return orjson.dumps(_plain(value), option=orjson.OPT_SORT_KEYS)


def read_evidence(document: bytes) -> Evidence:
    """Evidence as it was. Raises ValueError where the document is not one."""
    evidence: Evidence = _read(Evidence, document)
    return evidence


def read_analysis(document: bytes) -> Analysis:
    """An answer as it was. Raises ValueError where the document is not one."""
    analysis: Analysis = _read(Analysis, document)
    return analysis


def digest(document: bytes) -> str:
    """What tells a document from another, in 32 hexadecimal digits."""
    return blake2b(document, digest_size=16).hexdigest()


def _read(kind: Any, document: bytes) -> Any:
    try:
        return _reader(kind)(orjson.loads(document))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"This is no record of {kind.__name__.lower()}: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [None if item != item else item for item in value.tolist()]  # NaN differs from itself
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    return value


@cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    """What makes a value of a type from JSON."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is np.ndarray:
        dtype = get_args(arguments[1])[0]
        return lambda items: np.array([np.nan if item is None else item for item in items], dtype=dtype)
    if origin is tuple:
        of = _reader(arguments[0])
        return lambda items: tuple(of(item) for item in items)
    if origin in (Union, types.UnionType):
        others = [argument for argument in arguments if argument is not types.NoneType]
        inner = _reader(others[0]) if len(others) == 1 else _as_it_is
        return lambda item: None if item is None else inner(item)
    if isinstance(kind, type) and is_dataclass(kind):
        return _dataclass_reader(kind)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind
    return _as_it_is


def _dataclass_reader(kind: Any) -> Callable[[Any], Any]:
    hints = get_type_hints(kind)
    readers = {field.name: _reader(hints[field.name]) for field in fields(kind)}
    return lambda members: kind(**{name: readers[name](value) for name, value in members.items()})


def _as_it_is(value: Any) -> Any:
    return value
