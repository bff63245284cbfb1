"""What fields cost, in cost units: reading one object of Postgres is 1.

A field says so where it is declared, with a Weight; otherwise it follows from what stands behind it. Whatever another
backend has given is free to select from: the call was paid for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from graphql import (
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_list_type,
)
from strawberry.types.field import StrawberryField

from resolvers.compile.declarations import DECLARATION
from resolvers.compile.pages import MAXIMUM_PAGE_ROWS, PAGE_ROWS
from resolvers.compile.sources import (
    Aggregate,
    Embedded,
    Groups,
    Leaf,
    Live,
    Lookup,
    Many,
    Member,
    Needs,
    One,
    Page,
    Source,
    Sources,
    Stream,
)

WEIGHT: Final = "cost_weight"


@dataclass(frozen=True, slots=True)
class Weight:
    """What a field costs: `base` once, and for each of its rows `row` and what is selected of it.

    How many rows are asked for is said by one of the arguments `sizes`, a number or a list, never more than `most`;
    where none is given, `rows` are assumed.
    """

    base: float = 0
    row: float = 0
    rows: int = 1
    sizes: tuple[str, ...] = ()
    most: int = 1_000_000


FREE: Final = Weight()
LEAF: Final = Weight(base=0.1)
PAGE: Final = Weight(base=1, row=1, rows=PAGE_ROWS, sizes=("first", "last"), most=MAXIMUM_PAGE_ROWS)
BACKEND_CALL: Final = Weight(base=20)
MUTATION: Final = Weight(base=10)
SIMULATION: Final = Weight(base=200)
"""What reads a long past from a backend, and works it over."""
_ASSUMED_ROWS: Final = 5

_BY_SOURCE: Final[Mapping[type[Any], Weight]] = {
    Leaf: LEAF,
    Embedded: FREE,
    One: Weight(row=1),
    Member: Weight(row=1),
    Many: Weight(base=1, row=1, rows=_ASSUMED_ROWS),
    Page: PAGE,
    Aggregate: Weight(base=50),
    Groups: Weight(row=1, rows=_ASSUMED_ROWS),
    Stream: Weight(base=10, row=1),
    Live: Weight(base=50),
    Needs: BACKEND_CALL,
}
_INTROSPECTION: Final = {"__schema": Weight(base=100), "__type": Weight(base=10)}


def costing(weight: Weight) -> dict[str, Any]:
    """The metadata of a field that has a weight: `strawberry.field(..., metadata=costing(...))`."""
    return {WEIGHT: weight}


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of a schema's fields, by type and name, the fields of interfaces as dear as the dearest of theirs."""

    fields: Mapping[tuple[str, str], Weight]
    sizes: frozenset[str]
    """Every argument that says how many rows are asked for, of any field."""

    def of(self, type_name: str, field_name: str) -> Weight:
        """The weight of a field."""
        return self.fields.get((type_name, field_name)) or _INTROSPECTION.get(field_name, FREE)


def weights_of(schema: GraphQLSchema, sources: Sources) -> Weights:
    """Collect what the fields of a schema cost."""
    fields: dict[tuple[str, str], Weight] = {}
    for type_ in schema.type_map.values():
        if isinstance(type_, GraphQLObjectType) and not type_.name.startswith("__"):
            for name, definition in type_.fields.items():
                source = sources.fields.get((type_.name, name))
                weight = _declared(definition.extensions) or _usual(source, definition.type)
                if source is None and type_ is schema.mutation_type and weight is FREE:
                    weight = MUTATION
                fields[type_.name, name] = weight
    for type_ in schema.type_map.values():
        if isinstance(type_, GraphQLInterfaceType):
            for name in type_.fields:
                weights = [fields[each.name, name] for each in schema.get_possible_types(type_)]
                fields[type_.name, name] = max(weights, key=_dearness, default=FREE)
    sizes = frozenset(size for weight in fields.values() for size in weight.sizes)
    return Weights(fields, sizes)


def _declared(extensions: Mapping[str, Any]) -> Weight | None:
    declaration = extensions.get(DECLARATION)
    metadata: Mapping[Any, Any] = (declaration.metadata or {}) if isinstance(declaration, StrawberryField) else {}
    weight = metadata.get(WEIGHT)
    return weight if isinstance(weight, Weight) else None


def _usual(source: Source | None, type_: GraphQLOutputType) -> Weight:
    if isinstance(source, Lookup):
        return Weight(row=1, rows=_ASSUMED_ROWS, sizes=("ids",)) if source.many else Weight(row=1)
    if source is not None:
        return _BY_SOURCE[type(source)]
    is_list = is_list_type(get_nullable_type(type_)) and isinstance(get_named_type(type_), GraphQLObjectType)
    return Weight(rows=_ASSUMED_ROWS) if is_list else FREE


def _dearness(weight: Weight) -> float:
    return weight.base + weight.rows * weight.row
