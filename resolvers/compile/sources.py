"""What stands behind a field in Postgres.

The SQL of a source is a template. `{it}` is the row of the object that is read, `{parent}` the row of the object that
holds the field, `{now}` the time of the request, and an argument's name in braces its bound value. Everything else in
braces is written twice, as in `str.format`.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column

from resolvers.compile.permissions import Permissions


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar, an enum or a list of them: an expression over `{it}`. `column` is set where it is a plain column."""

    sql: str
    column: Column[object] | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """An object that is made of columns of the row that holds it."""


@dataclass(frozen=True, slots=True)
class One:
    """One object of another row. `arguments` maps GraphQL arguments to the Postgres types they are bound as."""

    table: str
    where: str
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Member:
    """A row whose id is an attribute of the Python object that holds the field, bound as `{key}`."""

    one: One
    attribute: str


@dataclass(frozen=True, slots=True)
class Many:
    """A short list of objects, whole, in `order`."""

    table: str
    where: str
    order: str


@dataclass(frozen=True, slots=True)
class Lookup:
    """An object (or, with `many`, a list of them) of any type, found by id. Maps type names to their tables."""

    tables: Mapping[str, str]
    many: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """What a field of a filter asks of `{it}`, with `{value}` bound as `pg_type`."""

    sql: str
    pg_type: str


@dataclass(frozen=True, slots=True)
class Switch:
    """What a boolean field of a filter asks of `{it}`: written into the statement, so that partial indexes apply."""

    true: str
    false: str


Filter = Mapping[str, Condition | Switch]


@dataclass(frozen=True, slots=True)
class OrderKey:
    """What a list is sorted by: an expression over `{it}` that is never null, and its Postgres type."""

    sql: str
    pg_type: str


@dataclass(frozen=True, slots=True)
class RowCursors:
    """Cursors that the rows of a list have by themselves, as `{it}.cursor`, and that mean the same elsewhere.

    `decode` takes the text of a cursor and the name of its argument, and raises InvalidCursor. `parts` says what
    Postgres is told of it: the name in templates, how it is read, and the type that it is bound as. They are null where
    no cursor is given.
    """

    decode: Callable[[str, str], Any]
    parts: Mapping[str, tuple[Callable[[Any], Any], str]]
    is_after: str
    """Whether `{it}` comes after the cursor."""
    refusal: str
    """Null for a cursor to go on from, the oldest one for a cursor that is too old, the empty text for any other."""


@dataclass(frozen=True, slots=True)
class Order:
    """The orders of a list. The `tiebreak` makes each of them total; the names of `keys` are those of the enum.

    A list whose rows have `cursors` of their own is read forward only, and its table may use their parts.
    """

    keys: Mapping[str, OrderKey]
    default: str
    descending: bool = True
    tiebreak: OrderKey = field(default=OrderKey("{it}.id", "uuid"))
    cursors: RowCursors | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A Relay connection over the rows of `table` that satisfy `where`."""

    table: str
    where: str
    order: Order
    conditions: Filter = field(default_factory=dict)
    arguments: Filter = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One object whose leaves aggregate all rows of `table` that the conditions let through.

    `range` names the argument of type TimeRange that bounds `range_sql`; its ends are bound as `{from}` and `{to}`.
    Where it `has_buckets`, their length is bound as `{bucket}`, and the range has to make a bounded number of them.
    """

    table: str
    range_sql: str
    conditions: Filter
    has_buckets: bool = True
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Groups:
    """The rows of the enclosing Aggregate in groups, an object each. `{scope}` is what the Aggregate asks of `{it}`."""

    table: str
    key: str


@dataclass(frozen=True, slots=True)
class Stream:
    """A subscription to events, of these types only where types are given."""

    types: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Live:
    """A subscription to what another backend tells as it happens, given the surroundings and the arguments."""

    tell: Callable[[Any, Mapping[str, Any]], AsyncGenerator[Any]]


@dataclass(frozen=True, slots=True)
class Needs:
    """A field whose value comes from elsewhere, with what its resolver starts from: expressions over `{it}` by name."""

    expressions: Mapping[str, str]


Source = Leaf | Embedded | One | Member | Many | Lookup | Page | Aggregate | Groups | Stream | Live | Needs


@dataclass(frozen=True, slots=True)
class RowType:
    """How a row of an object type looks: of a table, or of a record with these columns ("name type, ...").

    `relation` is what rows are read from where they have more columns than their table.
    """

    table: str | None = None
    record: str | None = None
    relation: str | None = None

    @property
    def is_part(self) -> bool:
        """Whether the objects are parts of other objects' rows."""
        return self.table is None and self.record is None


@dataclass(frozen=True, slots=True)
class Variants:
    """The object types of an interface, told apart by the text of an expression over `{it}`."""

    discriminator: str
    types: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that a schema declares, by GraphQL names."""

    fields: Mapping[tuple[str, str], Source]
    rows: Mapping[str, RowType]
    variants: Mapping[str, Variants]
    permissions: Permissions
