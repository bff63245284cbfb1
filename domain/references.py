"""How clients point at things: by id, or by name where a thing has one."""

import re
from uuid import UUID

from domain.errors import NotFound, ValidationFailed

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def parse_id(value: object) -> UUID | None:
    """The id that a text spells in its canonical form, or None. The names of things never look so."""
    if isinstance(value, UUID):
        return value
    return UUID(value.strip()) if isinstance(value, str) and _UUID.fullmatch(value.strip()) else None


def required_id(value: object, noun: str, *path: str) -> UUID:
    """The id of the `noun` that a request is about. Raises NotFound for what is no id, since nothing can have it."""
    id = parse_id(value)
    if id is None:
        raise NotFound(noun, _shown(value), path)
    return id


def optional_id(value: object, noun: str, *path: str) -> UUID | None:
    """The id of a `noun` that an input points at, or None when it points at nothing. Raises ValidationFailed."""
    if value is None:
        return None
    id = parse_id(value)
    if id is None:
        raise ValidationFailed(f"There is no {noun} {_shown(value)}", path)
    return id


def _shown(value: object) -> str:
    return f"{value!r:.100}" if isinstance(value, str) else "like that"
