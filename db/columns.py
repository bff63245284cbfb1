"""The kinds of columns that tables are made of."""

import re
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, Column, DateTime, Enum, Float, ForeignKey, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.schema import Computed, SchemaItem

from db.metadata import metadata
from domain.limits import KEY_CHARACTERS, NAME_CHARACTERS, TEXT_CHARACTERS, TITLE_CHARACTERS, URL_CHARACTERS

_WORD_BEGINS = re.compile("(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_enums: dict[type[StrEnum], Enum] = {}


def enum_type(labels: type[StrEnum]) -> Enum:
    """The Postgres enum of a domain enum: labels as in Python and GraphQL, sorted in their order of declaration."""
    if labels not in _enums:
        _enums[labels] = Enum(
            labels,
            name=_WORD_BEGINS.sub("_", labels.__name__).lower(),
            metadata=metadata,
            values_callable=lambda members: [member.value for member in members],
        )
    return _enums[labels]


def enum_labels(name: str) -> frozenset[str]:
    """The labels of the Postgres enum with this name. Raises LookupError."""
    for labels, type_ in _enums.items():
        if type_.name == name:
            return frozenset(label.value for label in labels)
    raise LookupError(f"No table has an enum called {name}")


def id_column() -> Column[Any]:
    """The primary key: a UUIDv7 made by the application."""
    return Column("id", Uuid, primary_key=True)


def reference(
    name: str, target: str, *, on_delete: str, nullable: bool = False, primary_key: bool = False
) -> Column[Any]:
    """A foreign key to `target` ("table.column")."""
    return Column(name, Uuid, ForeignKey(target, ondelete=on_delete), nullable=nullable, primary_key=primary_key)


def enum(name: str, labels: type[StrEnum], *, nullable: bool = False, default: StrEnum | None = None) -> Column[Any]:
    """A column of a native Postgres enum."""
    server_default = None if default is None else text(f"'{default.value}'")
    return Column(name, enum_type(labels), nullable=nullable, server_default=server_default)


def traceparent() -> Column[Any]:
    """The span that caused the row, where that was recorded (W3C Trace Context)."""
    return Column("traceparent", Text)


def timestamp(name: str, *, nullable: bool = False) -> Column[Any]:
    """A point in time, `timestamptz`."""
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _limited(
    name: str, characters: int, *, nullable: bool, minimum: int, default: str | None = None, primary_key: bool = False
) -> list[SchemaItem]:
    server_default = None if default is None else text(f"'{default}'")
    return [
        Column(name, Text, nullable=nullable, primary_key=primary_key, server_default=server_default),
        CheckConstraint(f"char_length({name}) between {minimum} and {characters}", name=f"{name}_length"),
    ]


def name(column: str = "name", *, nullable: bool = False, primary_key: bool = False) -> list[SchemaItem]:
    """A short name that is never empty."""
    return _limited(column, NAME_CHARACTERS, nullable=nullable, minimum=1, primary_key=primary_key)


def title(column: str = "title", *, nullable: bool = False) -> list[SchemaItem]:
    """A line of text that is never empty."""
    return _limited(column, TITLE_CHARACTERS, nullable=nullable, minimum=1)


def prose(column: str, *, nullable: bool = False) -> list[SchemaItem]:
    """Text of people, which may be empty."""
    return _limited(column, TEXT_CHARACTERS, nullable=nullable, minimum=0, default=None if nullable else "")


def key(column: str, *, nullable: bool = False, primary_key: bool = False) -> list[SchemaItem]:
    """An identifier that somebody else made."""
    return _limited(column, KEY_CHARACTERS, nullable=nullable, minimum=1, primary_key=primary_key)


def url(column: str) -> list[SchemaItem]:
    """A link, or nothing."""
    return _limited(column, URL_CHARACTERS, nullable=True, minimum=1)


def json_object(column: str) -> list[SchemaItem]:
    """A JSON object, empty by default."""
    return [
        Column(column, JSONB, nullable=False, server_default=text("'{}'::jsonb")),
        CheckConstraint(f"jsonb_typeof({column}) = 'object'", name=f"{column}_object"),
    ]


def json_array(column: str) -> list[SchemaItem]:
    """A JSON array, empty by default."""
    return [
        Column(column, JSONB, nullable=False, server_default=text("'[]'::jsonb")),
        CheckConstraint(f"jsonb_typeof({column}) = 'array'", name=f"{column}_array"),
    ]


def number(column: str, *, nullable: bool = False) -> list[SchemaItem]:
    """A double precision number that JSON can hold: neither NaN nor infinite."""
    return [
        Column(column, Float(53), nullable=nullable),
        CheckConstraint(f"{column} > '-Infinity' and {column} < 'Infinity'", name=f"{column}_finite"),
    ]


def ratio(column: str, *, nullable: bool = False) -> list[SchemaItem]:
    """A number from 0 to 1."""
    return [
        Column(column, Float(53), nullable=nullable),
        CheckConstraint(f"{column} between 0 and 1", name=f"{column}_ratio"),
    ]


def search_vector(*columns: str) -> Column[Any]:
    """The words of some text columns, kept by Postgres, the earlier columns weighing more."""
    weighed = (
        f"setweight(to_tsvector('english', {column}), '{weight}')"
        for column, weight in zip(columns, "ABCD", strict=False)
    )
    return Column("search", TSVECTOR, Computed(" || ".join(weighed), persisted=True), nullable=True)


def changed() -> list[SchemaItem]:
    """When a row was made and last changed, by the writing function."""
    return [timestamp("created_at"), timestamp("updated_at")]
