"""Bodies of webhooks: JSON, read as far as it can be."""

import json
from typing import Any, NoReturn

import orjson

from domain.errors import ValidationFailed


def json_body(body: bytes) -> Any:
    """The JSON that a body holds. Raises ValidationFailed with the place where it is none.

    Halves of surrogate pairs are let through, for `Keeper` to replace: one of them must not cost a whole delivery.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass  # The standard library's is slower, takes more, and says better what is wrong.
    try:
        return json.loads(body.decode("utf-8-sig", "replace"), parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise ValidationFailed(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except ValueError as error:
        raise ValidationFailed("The body holds a number with too many digits") from error
    except RecursionError as error:
        raise ValidationFailed("The body is nested too deeply") from error


def _refuse(constant: str) -> NoReturn:
    raise ValidationFailed(f"The body is not JSON: it holds {constant}")
