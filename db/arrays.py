"""Values that a statement gets as one array, so that it reads the same however many there are.

An `in` with a parameter per value is another statement for every count of them, and each of those is planned, and kept
prepared on every connection.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, any_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY


def among(column: ColumnElement[Any], values: Iterable[Any]) -> ColumnElement[bool]:
    """Whether a column holds one of the values, of which there may be none."""
    return column == any_(bindparam(None, [*values], ARRAY(column.type)))
