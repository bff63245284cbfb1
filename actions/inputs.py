"""Inputs of writes: every given field is checked by the rule of its name."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeAlias

from domain.unset import UNSET

Checks: TypeAlias = Mapping[str, Callable[[Any], Any]]


def checked(given: Any, checks: Checks) -> dict[str, Any]:
    """The columns that an input gives, as they will be stored: each field of the dataclass `given` that has a check
    and is not UNSET. Raises ValidationFailed.
    """
    values = {field.name: getattr(given, field.name) for field in fields(given) if field.name in checks}
    return {name: checks[name](value) for name, value in values.items() if value is not UNSET}
