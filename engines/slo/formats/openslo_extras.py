"""What stands in the annotation EXTRAS of an OpenSLO document that was written here, put back in its place."""

from collections.abc import Mapping
from decimal import InvalidOperation
from typing import Any

import orjson

from domain.errors import ValidationFailed
from domain.objectives import ObjectiveDefinition
from engines.slo.checks import checked_definition
from engines.slo.definitions import definition_as_json, definition_from_json
from engines.slo.formats.openslo import EXTRAS
from engines.slo.formats.openslo_writer import says
from engines.slo.formats.specifications import Read, Remark


def restored(read: Read) -> tuple[Read, Remark | None]:
    """The objective with its extras; without them, and with a remark, when the document beside them was changed."""
    if not read.extras:
        return read, None
    plain = read.definition
    whole = _whole(plain, read.extras)
    if whole is not None and says(whole, plain):
        return Read(whole, read.document, read.line), None
    remark = Remark(
        "is left out: the document beside it was changed since it was written, and counts",
        read.document,
        read.line,
        f"metadata.annotations.{EXTRAS}",
    )
    return Read(plain, read.document, read.line), remark


def _whole(plain: ObjectiveDefinition, annotation: str) -> ObjectiveDefinition | None:
    try:
        extras = orjson.loads(annotation)
        if not isinstance(extras, Mapping):
            return None
        told: dict[str, Any] = {**definition_as_json(plain), **extras}
        return checked_definition(definition_from_json(told))
    except (ValueError, TypeError, KeyError, AttributeError, InvalidOperation, ValidationFailed):  # whatever it became
        return None
