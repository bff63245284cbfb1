"""How clients point at things: by id, or by name where a thing has one."""

import re
from uuid import UUID

from domain.errors import ValidationFailed

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def parse_id(value: object) -> UUID | None:
    """The id that a text spells in its canonical form, or None. The names of things never look so."""
    if isinstance(value, UUID):
        return value
    return UUID(value.strip()) if isinstance(value, str) and _UUID.fullmatch(value.strip()) else None


def optional_id(value: object, noun: str, *path: str) -> UUID | None:
    """The id of a `noun` that an input points at, or None when it points at nothing. Raises ValidationFailed."""
    if value is None:
        return None
    id = parse_id(value)
    if id is None:
        shown = f"{value!r:.100}" if isinstance(value, str) else "like that"
        raise ValidationFailed(f"There is no {noun} {shown}", path)
    return id
