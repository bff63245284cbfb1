"""Relay connections (GraphQL Cursor Connections Specification) with keyset cursors.

The rows of a page lie after or before a place in the order (see cursors.py). So rows that come or go while somebody
pages never shift a page, and ties neither lose nor repeat a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from graphql import FieldNode, GraphQLField, GraphQLObjectType, get_named_type

from domain.errors import ValidationFailed
from resolvers.compile.arguments import Argument
from resolvers.compile.cursors import cursor_sql, decoder
from resolvers.compile.filters import condition_sql, conditions_of
from resolvers.compile.json_text import Json, Sql, concatenate, json_object
from resolvers.compile.parameters import Parameters
from resolvers.compile.selection import Selections, collect
from resolvers.compile.sources import Order, Page, RowCursors

if TYPE_CHECKING:
    from resolvers.compile.statement import Compiler

PAGE_ROWS = 20
MAXIMUM_PAGE_ROWS = 200


@dataclass(frozen=True, slots=True)
class Window:
    """The part of an ordered list that a page shows, as SQL templates over `{it}`."""

    order: str
    reversed_order: str
    place: tuple[str, str]
    """What a row is sorted by, and its tie-breaker."""
    cursor_of: Callable[[str, str], str]
    """The cursor of a place."""
    where: tuple[str, ...]
    after: str | None
    before: str | None
    not_after: str | None
    not_before: str | None
    limit: str
    backward: bool
    parts: Mapping[str, str] = field(default_factory=dict)
    """What the table may use of the cursor that was given."""
    refusal: str | None = None
    """What only the database knows to be wrong with that cursor (see RowCursors)."""

    @property
    def cursor(self) -> str:
        """The cursor of a row."""
        return self.cursor_of(*self.place)

    @property
    def bounds(self) -> tuple[str, ...]:
        """The conditions of the rows in the window, the page's own limit aside."""
        return tuple(part for part in (*self.where, self.after, self.before) if part)

    @property
    def beyond_start(self) -> str | None:
        """What holds for a row that lies before the window, where that can be said by a cursor."""
        return self.not_after

    @property
    def beyond_end(self) -> str | None:
        """What holds for a row that lies after the window, where that can be said by a cursor."""
        return self.not_before


def window_of(source: Page, arguments: Mapping[str, Argument], parameters: Parameters, parent_where: str) -> Window:
    """What a page shows. Raises ValidationFailed and InvalidCursor."""
    given = {name: argument for name, argument in arguments.items() if argument.value is not None}
    if "first" in given and "last" in given:
        raise ValidationFailed("Ask for `first` or for `last`, not for both", ["last"])
    backward = "last" in given
    size = given.get("last" if backward else "first") or Argument(PAGE_ROWS)
    name, descending = _order_of(source.order, given.get("orderBy"))
    key, tiebreak = source.order.keys[name], source.order.tiebreak
    place = f"({key.sql}, {tiebreak.sql})"
    forth, back = ("<", ">") if descending else (">", "<")

    cursors = source.order.cursors

    def bound(cursor: str) -> str | None:
        if cursor not in given or cursors is not None:
            return None
        decode = decoder(source.order, name, cursor)
        value = parameters.bind_converted(given[cursor], lambda text: decode(text)[0], key.pg_type)
        tie = parameters.bind_converted(given[cursor], lambda text: decode(text)[1], tiebreak.pg_type)
        return f"({value}, {tie})"

    after, before = bound("after"), bound("before")
    conditions = condition_sql(source.conditions, given.get("filter"), parameters)
    conditions += conditions_of(source.arguments, given, parameters)
    directions = ("desc", "asc") if descending else ("asc", "desc")
    order, reversed_order = (f"{key.sql} {direction}, {tiebreak.sql} {direction}" for direction in directions)
    window = Window(
        order=order,
        reversed_order=reversed_order,
        place=(key.sql, tiebreak.sql),
        cursor_of=partial(cursor_sql, source.order, name),
        where=(parent_where, *conditions),
        after=after and f"{place} {forth} {after}",
        before=before and f"{place} {back} {before}",
        not_after=after and f"{place} {back}= {after}",
        not_before=before and f"{place} {forth}= {before}",
        limit=parameters.bind_converted(size, _checked_size("last" if backward else "first"), "integer"),
        backward=backward,
    )
    return window if cursors is None else _with_row_cursors(window, cursors, given.get("after"), parameters)


def _with_row_cursors(window: Window, cursors: RowCursors, after: Argument | None, parameters: Parameters) -> Window:
    def part(read: Callable[[Any], Any], pg_type: str) -> str:
        if after is None:
            return f"null::{pg_type}"
        return parameters.bind_converted(after, lambda text: read(cursors.decode(text, "after")), pg_type)

    parts = {name: part(read, pg_type) for name, (read, pg_type) in cursors.parts.items()}
    is_after = None if after is None else cursors.is_after.format(it="{it}", **parts)
    return replace(
        window,
        place=("{it}.cursor", window.place[1]),
        cursor_of=lambda cursor, _: cursor,
        after=is_after,
        not_after=is_after and f"not ({is_after})",
        parts=parts,
        refusal=None if after is None else cursors.refusal.format(**parts),
    )


def connection(
    compiler: Compiler, source: Page, definition: GraphQLField, nodes: Sequence[FieldNode], parent: str
) -> Json:
    """A connection as JSON: one pass over the page's rows for its nodes, edges and page information."""
    arguments = compiler.arguments(definition, nodes)
    parent_where = source.where.replace("{parent}", parent)
    window = window_of(source, arguments, compiler.parameters, parent_where)
    return _PageText(compiler, source, window).connection(definition, nodes)


class _PageText:
    def __init__(self, compiler: Compiler, source: Page, window: Window) -> None:
        self.compiler = compiler
        self.source = source
        self.window = window
        self.row = compiler.alias()
        self.looks_ahead = False
        self.reads_rows = False

    def connection(self, definition: GraphQLField, nodes: Sequence[FieldNode]) -> Json:
        type_ = get_named_type(definition.type)
        if not isinstance(type_, GraphQLObjectType):
            raise TypeError(f"{type_} is no connection")
        makers: dict[str, Callable[[GraphQLField, Sequence[FieldNode]], Json]] = {
            "nodes": self.nodes,
            "edges": self.edges,
            "pageInfo": self.page_info,
            "totalCount": self.total_count,
        }
        compiler = self.compiler
        selections = collect(compiler.document, type_, [node.selection_set for node in nodes], compiler.variables)
        self.looks_ahead = self._asks_for_more(type_, selections)
        members = {
            key: Json([f'"{type_.name}"'])
            if (name := found[0].name.value) == "__typename"
            else makers[name](type_.fields[name], found)
            for key, found in selections.items()
        }
        json = json_object(members, type_.name)
        # No answer at all: ordinary execution says what is wrong with the cursor.
        guard = [Sql(f"case when {self.window.refusal} is null then '' end")] if self.window.refusal else []
        if not self.reads_rows:
            return Json([*json.pieces, *guard], json.mixed)
        rows = Sql(f"(select {concatenate(json.pieces)} from ({self.rows()}) {self.row})")
        return Json([rows, *guard], json.mixed)

    def _asks_for_more(self, type_: GraphQLObjectType, selections: Selections) -> bool:
        wanted = "hasPreviousPage" if self.window.backward else "hasNextPage"
        page_info = get_named_type(type_.fields["pageInfo"].type)
        sets = [node.selection_set for found in selections.values() for node in found if node.name.value == "pageInfo"]
        if not isinstance(page_info, GraphQLObjectType):
            raise TypeError(f"{page_info} is no page information")
        fields = collect(self.compiler.document, page_info, sets, self.compiler.variables)
        return any(found[0].name.value == wanted for found in fields.values())

    def rows(self) -> str:
        """The page's rows in reading order, and one more where somebody asks whether there are more."""
        window, it = self.window, self.compiler.alias()
        order = window.reversed_order if window.backward else window.order
        ahead = f", row_number() over (order by {self.fill(order, it)}) as row_position" if self.looks_ahead else ""
        limit = f"{window.limit} + 1" if self.looks_ahead else window.limit
        table = self.fill(self.source.table, it)
        conditions = " and ".join(self.fill(part, it) for part in window.bounds)
        return f"select {it}.*{ahead} from {table} where {conditions} order by {self.fill(order, it)} limit {limit}"

    def fill(self, template: str, it: str) -> str:
        return self.compiler.fill(template, it=it, **self.window.parts)

    def aggregated(self, item: str, function: str = "string_agg", separator: str = ", ','") -> str:
        """An aggregate over the page's rows in the order of the list, the row beyond the page left out."""
        self.reads_rows = True
        order = f" order by {self.fill(self.window.order, self.row)}"
        inside = f" filter (where {self.row}.row_position <= {self.window.limit})" if self.looks_ahead else ""
        return f"{function}({item}{separator}{order}){inside}"

    def items(self, json: Json) -> Json:
        return Json(["[", Sql(f"coalesce({self.aggregated(concatenate(json.pieces))}, '')"), "]"], json.mixed)

    def nodes(self, definition: GraphQLField, nodes: Sequence[FieldNode]) -> Json:
        return self.items(self.compiler.element(definition, nodes, self.row))

    def edges(self, definition: GraphQLField, nodes: Sequence[FieldNode]) -> Json:
        type_ = get_named_type(definition.type)
        if not isinstance(type_, GraphQLObjectType):
            raise TypeError(f"{type_} is no edge")
        compiler = self.compiler
        selections = collect(compiler.document, type_, [node.selection_set for node in nodes], compiler.variables)
        members: dict[str, Json] = {}
        for key, found in selections.items():
            name = found[0].name.value
            if name == "cursor":
                members[key] = Json(['"', Sql(self.fill(self.window.cursor, self.row)), '"'])
            elif name == "node":
                members[key] = compiler.element(type_.fields[name], found, self.row)
            else:
                members[key] = Json([f'"{type_.name}"'])
        return self.items(json_object(members, type_.name))

    def page_info(self, definition: GraphQLField, nodes: Sequence[FieldNode]) -> Json:
        type_ = get_named_type(definition.type)
        if not isinstance(type_, GraphQLObjectType):
            raise TypeError(f"{type_} is no page information")
        compiler, window = self.compiler, self.window
        selections = collect(compiler.document, type_, [node.selection_set for node in nodes], compiler.variables)
        members: dict[str, Json] = {}
        for key, found in selections.items():
            match found[0].name.value:
                case "hasNextPage":
                    members[key] = self.has_more(window.beyond_end, window.order, ahead=not window.backward)
                case "hasPreviousPage":
                    members[key] = self.has_more(window.beyond_start, window.reversed_order, ahead=window.backward)
                case "startCursor":
                    members[key] = self.end_cursor("first")
                case "endCursor":
                    members[key] = self.end_cursor("last")
                case _:
                    members[key] = Json([f'"{type_.name}"'])
        return json_object(members, type_.name)

    def has_more(self, beyond: str | None, nearest: str, *, ahead: bool) -> Json:
        """Whether there is a row beyond the page, `nearest` first."""
        tests = []
        if ahead:
            self.reads_rows = True
            tests.append(f"count(*) > {self.window.limit}")
        if beyond:
            it = self.compiler.alias()
            where = " and ".join(self.fill(part, it) for part in (*self.window.where, beyond))
            # `exists` would forget the order, and may then read the whole table up to the first row beyond the page.
            found = f"select true from {self.fill(self.source.table, it)} where {where}"
            tests.append(f"({found} order by {self.fill(nearest, it)} limit 1) is not null")
        return Json([Sql(f"({' or '.join(tests)})::text")] if tests else ["false"])

    def end_cursor(self, which: str) -> Json:
        # Collecting what cursors are made of is cheap, making them is not: only this one is made.
        parts = (f"({self.aggregated(self.fill(part, self.row), 'array_agg', '')})" for part in self.window.place)
        value, tiebreak = (f"{part}[{'1' if which == 'first' else f'cardinality({part})'}]" for part in parts)
        return Json([Sql(f"""coalesce('"' || {self.window.cursor_of(value, tiebreak)} || '"', 'null')""")])

    def total_count(self, definition: GraphQLField, nodes: Sequence[FieldNode]) -> Json:
        it = self.compiler.alias()
        where = " and ".join(self.fill(part, it) for part in self.window.where)
        return Json([Sql(f"(select count(*)::integer from {self.fill(self.source.table, it)} where {where})::text")])


def _order_of(order: Order, given: Argument | None) -> tuple[str, bool]:
    if given is None or given.fields is None:
        return order.default, order.descending
    return str(given.fields["field"].value), str(given.fields["direction"].value) == "DESC"


def _checked_size(name: str) -> Callable[[Any], int]:
    def checked(size: int) -> int:
        if not 0 <= size <= MAXIMUM_PAGE_ROWS:
            raise ValidationFailed(f"`{name}` must be between 0 and {MAXIMUM_PAGE_ROWS}", [name])
        return size

    return checked
