"""Many rows as one parameter of a statement."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson


def as_rows(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as the JSON that `jsonb_to_recordset` reads."""
    return orjson.dumps([*rows], default=str).decode()  # The driver has a UUID of its own.
