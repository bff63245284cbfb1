"""What a program of an earlier revision sees of the tables, and what a later revision must leave it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg

COLUMNS_SQL = """
select relname::text as table, attname::text as column, format_type(atttypid, atttypmod) as type, attnotnull,
  attidentity <> '' or attgenerated <> '' or atthasdef as fills_itself, attgenerated <> '' as is_derived,
  attidentity = 'a' as is_counted
from pg_attribute join pg_class on pg_class.oid = attrelid
where relnamespace = 'public'::regnamespace and relkind = 'r' and attnum > 0 and not attisdropped
  and relname not in ('alembic_version', 'schema_compatibility')
order by relname, attnum
"""
LABELS_SQL = "select enumtypid::regtype::text as type, enumlabel::text as label from pg_enum"
CONSTRAINTS_SQL = """
select conrelid::regclass::text as table, pg_get_constraintdef(oid) as definition from pg_constraint
where connamespace = 'public'::regnamespace and contype in ('c', 'f', 'u', 'x')
"""
UNIQUE_SQL = """
select indrelid::regclass::text as table, pg_get_indexdef(indexrelid) as definition from pg_index
where indisunique and not indisprimary and indrelid::regclass::text not like 'pg_%'
"""


@dataclass(frozen=True)
class Column:
    """As much of a column as decides whether others can go on with it."""

    type: str
    is_required: bool
    fills_itself: bool
    is_derived: bool
    is_counted: bool


@dataclass(frozen=True)
class Tables:
    """The tables of a database, with the rules that their rows are held to."""

    columns: dict[tuple[str, str], Column]
    labels: set[tuple[str, str]]
    rules: set[tuple[str, str]]

    @property
    def names(self) -> set[str]:
        """The tables."""
        return {table for table, _ in self.columns}

    def written(self, table: str) -> list[str]:
        """The columns of a table that somebody writes."""
        return [name for (of, name), column in self.columns.items() if of == table and not column.is_derived]

    def changed(self, table: str) -> list[str]:
        """Those of them that somebody may change."""
        return [name for name in self.written(table) if not self.columns[table, name].is_counted]


async def read_tables(connection: "asyncpg.Connection[Any]") -> Tables:
    """The tables as they are."""
    columns = {(row["table"], row["column"]): Column(*tuple(row)[2:]) for row in await connection.fetch(COLUMNS_SQL)}
    labels = {(row["type"], row["label"]) for row in await connection.fetch(LABELS_SQL)}
    rules = {tuple(row) for sql in (CONSTRAINTS_SQL, UNIQUE_SQL) for row in await connection.fetch(sql)}
    return Tables(columns, labels, rules)


def what_breaks(before: Tables, after: Tables) -> Iterator[str]:
    """What a program that was made for `before` cannot do any more, in words."""
    yield from _columns_that_changed(before, after)
    for place, column in after.columns.items():
        is_added = place not in before.columns and place[0] in before.names
        if is_added and column.is_required and not column.fills_itself:
            yield f"{'.'.join(place)} is new, has to be given, and fills itself with nothing"
    for type_, label in sorted(before.labels - after.labels):
        yield f"{type_} lost the label {label}"
    for table, rule in sorted(after.rules - before.rules):
        if table in before.names:
            yield f"{table} has a new rule: {rule}"


def _columns_that_changed(before: Tables, after: Tables) -> Iterator[str]:
    for place, column in before.columns.items():
        name = ".".join(place)
        found = after.columns.get(place)
        if found is None:
            yield f"{name} is gone"
        elif found.type != column.type:
            yield f"{name} was {column.type}, and is {found.type}"
        elif found.is_required and not column.is_required:
            yield f"{name} could be null, and cannot any more"
        elif column.is_required and not found.is_required:
            yield f"{name} could not be null, and can be now"
