"""Labels, and JSON objects of people: what is kept, what is refused."""

import math
from collections.abc import Mapping
from typing import TypeAlias

import orjson

from domain.errors import ValidationFailed
from domain.limits import JSON_DEPTH, LABEL_NAME_CHARACTERS, LABEL_VALUE_CHARACTERS, LABELS, METADATA_BYTES
from domain.text import line, storable

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

_INTEGERS = range(-(2**63), 2**63)


def labels(value: object, label: str, *path: str) -> dict[str, str]:
    """A flat map of label name to text; nothing is no labels. Raises ValidationFailed."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValidationFailed(f"{label} must be an object of names and texts", path)
    if len(value) > LABELS:
        raise ValidationFailed(f"{label} are more than {LABELS}", path)
    flat: dict[str, str] = {}
    for given, text in value.items():
        name = line(given, "Label name", *path, limit=LABEL_NAME_CHARACTERS)
        if name in flat:
            raise ValidationFailed(f'Label "{name}" is given twice', path)
        flat[name] = storable(text, f'Label "{name}"', *path, name, limit=LABEL_VALUE_CHARACTERS)
    return flat


def json_object(value: object, label: str, *path: str) -> dict[str, JSON]:
    """An object that JSON and Postgres can both hold; nothing is the empty object. Raises ValidationFailed."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValidationFailed(f"{label} must be an object", path)
    kept = {
        storable(name, label, *path, limit=METADATA_BYTES): _kept(held, label, path, 1) for name, held in value.items()
    }
    if len(orjson.dumps(kept)) > METADATA_BYTES:
        raise ValidationFailed(f"{label} is larger than {METADATA_BYTES} bytes", path)
    return kept


def _kept(value: object, label: str, path: tuple[str, ...], depth: int) -> JSON:
    if depth > JSON_DEPTH:
        raise ValidationFailed(f"{label} is nested deeper than {JSON_DEPTH} levels", path)
    match value:
        case None | bool():
            return value
        case str():
            return storable(value, label, *path, limit=METADATA_BYTES)
        case int() if value in _INTEGERS:
            return value
        case float() if math.isfinite(value):
            return value
        case int() | float():
            raise ValidationFailed(f"{label} holds a number that is too large", path)
        case Mapping():
            return {
                storable(name, label, *path, limit=METADATA_BYTES): _kept(held, label, path, depth + 1)
                for name, held in value.items()
            }
        case list() | tuple():
            return [_kept(held, label, path, depth + 1) for held in value]
        case _:
            raise ValidationFailed(f"{label} must be JSON", path)
