"""What a schema declares, held against the database's catalog before anybody asks.

A column that is missing, of another type or nullable where the schema promises a value, an enum with other labels, an
expression that Postgres does not understand: each would fail the queries that touch it, some of them silently. So a
server does not start on a database that it does not fit.
"""

from collections.abc import Iterator, Mapping

import asyncpg
import orjson
from graphql import (
    FieldNode,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    get_named_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    parse,
)

from db.database import Database
from resolvers.compile.arguments import Argument
from resolvers.compile.filters import conditions_of
from resolvers.compile.json_text import concatenate
from resolvers.compile.parameters import Parameters
from resolvers.compile.selection import Document
from resolvers.compile.sources import Leaf, Live, Member, Page, RowType, Sources, Stream, Switch
from resolvers.compile.statement import Compiler

TIMEOUT_SECONDS = 30.0

COLUMNS_SQL = """
select json_agg(json_build_array(relname, attname, format_type(atttypid, null), attnotnull))::text
from pg_attribute join pg_class on pg_class.oid = attrelid
where relkind = 'r' and relnamespace = current_schema()::regnamespace and attnum > 0 and not attisdropped
"""
LABELS_SQL = """
select json_object_agg(typname, labels)::text from (
  select typname, json_agg(enumlabel order by enumlabel) as labels
  from pg_enum join pg_type on pg_type.oid = enumtypid group by typname
) enums
"""
COLUMN_TYPES = {
    "ID": {"uuid"},
    "String": {"text"},
    "URL": {"text"},
    "Int": {"smallint", "integer"},
    "Float": {"double precision", "numeric", "real", "smallint", "integer"},
    "Boolean": {"boolean"},
    "DateTime": {"timestamp with time zone"},
    "JSON": {"jsonb", "json"},
}
EXAMPLES = {
    "ID": '"00000000-0000-7000-8000-000000000000"',
    "String": '"x"',
    "Int": "1",
    "TimeRange": '{ from: "2000-01-01T00:00:00Z", to: "2000-01-02T00:00:00Z" }',
}


class CatalogMismatch(Exception):
    """The database is not what the schema was written for. `mismatches` says where, a line each."""

    def __init__(self, mismatches: list[str]) -> None:
        listed = "\n".join(f"  {mismatch}" for mismatch in mismatches)
        super().__init__(f"The database does not fit this version; run `reliability-studio migrate`:\n{listed}")
        self.mismatches = mismatches


async def check_catalog(
    database: Database, schema: GraphQLSchema, sources: Sources, *, may_be_newer: bool = False
) -> None:
    """Raises CatalogMismatch where the database does not have what the schema reads; DatabaseUnavailable.

    A newer version may have given enums labels that this one does not know.
    """
    async with database.reads.connection(timeout_seconds=TIMEOUT_SECONDS) as connection:
        rows = orjson.loads(await connection.fetch_text(COLUMNS_SQL, []) or b"[]")
        columns = {(table, column): (pg_type, is_never_null) for table, column, pg_type, is_never_null in rows}
        labels = orjson.loads(await connection.fetch_text(LABELS_SQL, []) or b"{}")
        mismatches = list(_columns_that_differ(schema, sources, columns, labels, may_be_newer=may_be_newer))
        for place, statement in _statements(schema, sources):
            # A statement that fails would end the snapshot that the others are prepared in.
            await connection.execute("savepoint statement")
            try:
                await connection.prepare(statement)
            except asyncpg.PostgresError as error:
                mismatches.append(f"{place}: {error.message}")
            await connection.execute("rollback to savepoint statement")
    if mismatches:
        raise CatalogMismatch(mismatches)


def _columns_that_differ(
    schema: GraphQLSchema,
    sources: Sources,
    columns: Mapping[tuple[str, str], tuple[str, bool]],
    labels: Mapping[str, list[str]],
    *,
    may_be_newer: bool,
) -> Iterator[str]:
    for (type_name, field_name), source in sources.fields.items():
        if not isinstance(source, Leaf) or source.column is None:
            continue
        table = sources.rows[type_name].table or ""
        found = columns.get((table, source.column.name))
        place = f"{type_name}.{field_name}"
        if found is None:
            yield f"{place}: there is no column {table}.{source.column.name}"
            continue
        pg_type, is_never_null = found
        type_ = _field(schema, type_name, field_name).type
        named = get_named_type(type_)
        if is_non_null_type(type_) and not is_never_null:
            yield f"{place} is never null, and {table}.{source.column.name} can be"
        if isinstance(named, GraphQLEnumType):
            stored = labels.get(pg_type, [])
            has_all = stored == sorted(named.values) or (may_be_newer and set(named.values) <= set(stored))
            if not has_all:
                yield f"{place}: the labels of {pg_type} are {labels.get(pg_type)}, not {sorted(named.values)}"
        elif not is_list_type(type_) and pg_type not in COLUMN_TYPES[named.name]:
            yield f"{place} is of type {named.name}, and {table}.{source.column.name} of type {pg_type}"


def _statements(schema: GraphQLSchema, sources: Sources) -> Iterator[tuple[str, str]]:
    """A statement for every source, condition and order: Postgres understands all of them, or says what it does not."""
    document = Document(schema, {})
    for (type_name, field_name), source in sources.fields.items():
        row = sources.rows.get(type_name)
        if isinstance(source, Member | Stream | Live) or (row is not None and row.is_part):
            continue  # Read as a part of what holds it.
        place = f"{type_name}.{field_name}"
        definition = _field(schema, type_name, field_name)
        compiler = Compiler(document, sources, {})
        node = _node(field_name, definition, sources)
        value = compiler.value(source, definition, [node], "t0")
        yield place, compiler.parameters.finish(f"select {concatenate(value.pieces)}{_from(row)}")[0]
        if isinstance(source, Page):
            yield from ((f"{place}({what})", sql) for what, sql in _page_statements(source, row))


def _page_statements(source: Page, row: RowType | None) -> Iterator[tuple[str, str]]:
    """Every condition and every order of a list."""
    cursors = source.order.cursors
    parts = {} if cursors is None else {name: f"null::{pg_type}" for name, (_, pg_type) in cursors.parts.items()}
    table, where = source.table.format(it="it", **parts), source.where.format(it="it", parent="t0")
    conditions = {**source.conditions, **source.arguments}
    for name, condition in conditions.items():
        for answer in (True, False) if isinstance(condition, Switch) else (True,):
            parameters = Parameters()
            (asked,) = conditions_of(conditions, {name: Argument(answer, lambda _: None)}, parameters)
            rows = f"select from {table} where {where} and {asked.format(it='it')}"
            yield name, parameters.finish(f"select exists ({rows}){_from(row)}")[0]
    for name, key in source.order.keys.items():
        order = f"{key.sql}, {source.order.tiebreak.sql}".format(it="it")
        yield name, f"select exists (select from {table} where {where} order by {order}){_from(row)}"
    if cursors is not None:
        is_after, refusal = (sql.format(it="it", **parts) for sql in (cursors.is_after, cursors.refusal))
        yield "after", f"select exists (select from {table} where {is_after} and {refusal} is null){_from(row)}"


def _from(row: RowType | None) -> str:
    if row is None:
        return ""
    return (
        f" from {row.relation or row.table} t0" if row.table else f" from jsonb_to_record('{{}}') as t0({row.record})"
    )


def _field(schema: GraphQLSchema, type_name: str, field_name: str) -> GraphQLField:
    type_ = schema.type_map[type_name]
    if not isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
        raise TypeError(f"{type_name} has no fields")
    field: GraphQLField = type_.fields[field_name]
    return field


def _node(name: str, definition: GraphQLField, sources: Sources) -> FieldNode:
    """A field with what it must be given, and as much of its value as no other statement checks."""
    given = {argument: _example(each.type) for argument, each in definition.args.items() if is_non_null_type(each.type)}
    arguments = ", ".join(f"{argument}: {example}" for argument, example in given.items())
    text = f"{{ {name}{f'({arguments})' if given else ''} {_selection(definition, sources)} }}"
    operation = parse(text).definitions[0]
    if not isinstance(operation, OperationDefinitionNode):
        raise TypeError(text)
    (node,) = operation.selection_set.selections
    if not isinstance(node, FieldNode):
        raise TypeError(text)
    return node


def _selection(definition: GraphQLField, sources: Sources) -> str:
    type_ = get_named_type(definition.type)
    if is_leaf_type(type_):
        return ""
    if isinstance(type_, GraphQLObjectType):
        if {"nodes", "pageInfo", "totalCount"} <= type_.fields.keys():
            return "{ edges { cursor node { __typename } } pageInfo { hasNextPage endCursor } totalCount }"
        row = sources.rows.get(type_.name)
        if row is not None and row.is_part:
            return (
                "{ " + " ".join(f"{name} {_selection(field, sources)}" for name, field in type_.fields.items()) + " }"
            )
    return "{ __typename }"


def _example(type_: GraphQLInputType) -> str:
    inner = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
    if is_list_type(inner):
        return f"[{_example(inner.of_type)}]"
    return EXAMPLES[get_named_type(inner).name]
