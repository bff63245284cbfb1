"""How a schema says which of its types and fields are read from Postgres, and how.

    @sql.type(incidents)
    class Incident(Node):
        title: str = sql.column("What is wrong, in a line.")
        services: list[Service] = sql.many("The services that it hurts.", ...)

A declared field needs no resolver: the compiler reads it, and ordinary execution falls back on the same declaration.
"""

import dataclasses
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import Any, TypeVar

import strawberry
from sqlalchemy import Table
from strawberry.annotation import StrawberryAnnotation
from strawberry.extensions import FieldExtension
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.field import StrawberryField
from strawberry.utils.str_converters import to_camel_case

from domain.access import Permission
from resolvers.compile.permissions import PERMISSION
from resolvers.compile.sources import (
    Aggregate,
    Condition,
    Embedded,
    Filter,
    Groups,
    Leaf,
    Live,
    Lookup,
    Many,
    Member,
    Needs,
    One,
    Order,
    Page,
    RowType,
    Source,
    Stream,
    Switch,
    Variants,
)
from resolvers.limits.weights import BACKEND_CALL, Weight, costing

SOURCE = "sql_source"
CONDITION = "sql_condition"

T = TypeVar("T", bound=type)


@dataclasses.dataclass(frozen=True, slots=True)
class OwnColumn:
    """The column of the type's own table that is named like the field, or as given."""

    name: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Given:
    """An argument of a field, its type and what it does in Postgres."""

    annotation: Any
    description: str
    use: str | Condition | Switch = ""
    permission: Permission | None = None


class _Arguments(FieldExtension):
    """Gives a field without a resolver its arguments."""

    def __init__(self, arguments: list[StrawberryArgument]) -> None:
        self._declared = arguments

    def apply(self, field: StrawberryField) -> None:
        field.arguments = self._declared


def type(
    table: Table | None = None,
    *,
    record: str | None = None,
    relation: str | None = None,
    permission: Permission | None = None,
) -> Callable[[T], T]:
    """An object type, each of whose objects is a row of `table`, or of a record with these columns.

    `relation` is what the rows are read from, where they have more columns than the table. `permission` is what all of
    its fields ask for; for whoever has it not, the objects are not found by their ids.
    """
    row = RowType(None if table is None else table.name, record, relation)

    def decorate(cls: T) -> T:
        cls.__sql_row__ = row  # type: ignore[attr-defined] # the mark that `bind` reads
        cls.__sql_table__ = table  # type: ignore[attr-defined] # likewise
        cls.__permission__ = permission  # type: ignore[attr-defined] # the mark that `permissions_of` reads
        return strawberry.type(cls, description=cls.__doc__)

    return decorate


def interface(discriminator: str, types: Mapping[Any, str]) -> Callable[[T], T]:
    """An interface whose objects are rows of one table, their types told by the text of an expression over `{it}`."""

    def decorate(cls: T) -> T:
        cls.__sql_variants__ = Variants(discriminator, types)  # type: ignore[attr-defined] # the mark that `bind` reads
        return strawberry.interface(cls, description=cls.__doc__)

    return decorate


def filter(cls: T) -> T:  # read as sql.filter
    """An input type whose fields are conditions."""
    return strawberry.input(cls, description=cls.__doc__)


def condition(description: str, sql: str, pg_type: str) -> Any:
    """A field of a filter: what it asks of `{it}`, its `{value}` bound as `pg_type`."""
    return strawberry.field(
        default=strawberry.UNSET, description=description, metadata={CONDITION: Condition(sql, pg_type)}
    )


def switch(description: str, *, true: str, false: str) -> Any:
    """A boolean field of a filter: what each answer asks of `{it}`."""
    return strawberry.field(
        default=strawberry.UNSET, description=description, metadata={CONDITION: Switch(true, false)}
    )


def column(description: str, name: str | None = None, *, permission: Permission | None = None) -> Any:
    """A column of the type's table."""
    return _field(description, OwnColumn(name), permission=permission)


def expression(description: str, sql: str, name: str | None = None) -> Any:
    """A scalar computed from the row `{it}`. `name` is its name in GraphQL, where Python cannot have it."""
    return _field(description, Leaf(sql), name=name)


def embedded(description: str) -> Any:
    """An object made of columns of the same row."""
    return _field(description, Embedded())


def one(
    description: str,
    table: str,
    where: str,
    arguments: Mapping[str, Given] | None = None,
    *,
    permission: Permission | None = None,
) -> Any:
    """One object of another row, or null where there is none."""
    given = arguments or {}
    uses = {to_camel_case(name): str(argument.use) for name, argument in given.items()}
    return _field(description, One(table, where, uses), given, permission=permission)


def many(description: str, table: str, where: str, order: str) -> Any:
    """A short list of objects, whole."""
    return _field(description, Many(table, where, order))


def lookup(description: str, tables: Mapping[str, str], arguments: Mapping[str, Given], *, many: bool = False) -> Any:
    """Objects of any type, by id."""
    return _field(description, Lookup(tables, many), arguments)


def aggregate(description: str, table: str, range_sql: str, filter: Any, arguments: Mapping[str, Given]) -> Any:
    """An object whose leaves aggregate rows."""
    source = Aggregate(table, range_sql, conditions_of(filter), has_buckets="bucket_seconds" in arguments)
    narrowed = {} if filter is None else {"filter": Given(filter | None, "Which rows count.")}
    return _field(description, source, {**arguments, **narrowed})


def groups(description: str, table: str, key: str) -> Any:
    """The rows of the enclosing aggregate in groups."""
    return _field(description, Groups(table, key))


def member(description: str, table: str, attribute: str) -> Any:
    """The row of `table` whose id stands in this attribute of the Python object that holds the field, or null."""
    source = Member(One(table, "{it}.id = {key}"), attribute)
    return strawberry.field(default=None, description=description, metadata={SOURCE: source})


def stream(
    description: str, arguments: Mapping[str, Given], types: Iterable[str] | None = None, *, permission: Permission
) -> Any:
    """A subscription to events."""
    source = Stream(None if types is None else frozenset(types))
    return _field(description, source, arguments, permission=permission)


def live(
    description: str,
    tell: Callable[[Any, Mapping[str, Any]], AsyncGenerator[Any]],
    arguments: Mapping[str, Given],
    *,
    permission: Permission,
) -> Any:
    """A subscription to what another backend tells: `tell` gets the request's surroundings and the arguments."""
    return _field(description, Live(tell), arguments, permission=permission)


def elsewhere(description: str, resolver: Callable[..., Any], *, weight: Weight = BACKEND_CALL, **needs: str) -> Any:
    """A field of another backend: its resolver gets these expressions over `{it}` by name, instead of an object."""
    return strawberry.field(resolver, description=description, metadata={SOURCE: Needs(needs), **costing(weight)})


def connection(
    description: str,
    table: str,
    where: str,
    order: Order,
    *,
    filter: Any = None,
    order_by: Any = None,
    arguments: Mapping[str, Given] | None = None,
    backward: bool = True,
    permission: Permission | None = None,
) -> Any:
    """A Relay connection over rows. `filter` and `order_by` are input types."""
    given = dict(arguments or {})
    conditions = {
        to_camel_case(name): argument.use for name, argument in given.items() if not isinstance(argument.use, str)
    }
    source = Page(table, where, order, conditions_of(filter), conditions)
    if filter is not None:
        given["filter"] = Given(filter | None, "Which of them.")
    if order_by is not None:
        given["order_by"] = Given(order_by | None, "In which order.")
    given["first"] = Given(int | None, "How many from the start of the list, 20 by default, at most 200.")
    given["after"] = Given(str | None, "Only what comes after this cursor.")
    if backward:
        given["last"] = Given(int | None, "How many from the end of the list, at most 200.")
        given["before"] = Given(str | None, "Only what comes before this cursor.")
    return _field(description, source, given, permission=permission)


def conditions_of(filter: Any) -> Filter:
    """The conditions of a filter's fields, by GraphQL name."""
    if filter is None:
        return {}
    return {
        to_camel_case(field.name): field.metadata[CONDITION]
        for field in dataclasses.fields(filter)
        if CONDITION in field.metadata
    }


def _field(
    description: str,
    source: Source | OwnColumn,
    arguments: Mapping[str, Given] | None = None,
    name: str | None = None,
    permission: Permission | None = None,
) -> Any:
    extensions: list[FieldExtension] = []
    if arguments:
        extensions.append(_Arguments([_argument(name, argument) for name, argument in arguments.items()]))
    metadata = {SOURCE: source, PERMISSION: permission}
    return strawberry.field(name=name, description=description, metadata=metadata, extensions=extensions)


def _argument(name: str, given: Given) -> StrawberryArgument:
    return StrawberryArgument(
        python_name=name,
        graphql_name=None,
        type_annotation=StrawberryAnnotation(given.annotation),
        description=given.description,
        default=strawberry.UNSET,
        metadata={PERMISSION: given.permission},
    )
