"""Ordinary execution of compiled fields: an object at a time, each from a statement of its own.

It serves what the compiler gives up on, so that errors come out as the specification wants them, and it is what the
compiler is tested against. It shares the declarations with the compiler and nothing of how answers are put together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import orjson
from graphql import (
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    get_named_type,
)

from domain.errors import CursorExpired, InvalidCursor
from resolvers.compile.aggregates import Scope, scope_of
from resolvers.compile.arguments import Argument, constant
from resolvers.compile.pages import PAGE_ROWS, window_of
from resolvers.compile.parameters import Bindings, EventPlaces, Parameters
from resolvers.compile.permissions import NOWHERE, is_hidden_type
from resolvers.compile.sources import (
    Aggregate,
    Embedded,
    Groups,
    Leaf,
    Lookup,
    Many,
    Member,
    Needs,
    One,
    Page,
    RowType,
    Source,
    Sources,
)
from resolvers.compile.statement import needs_sql
from resolvers.context import RequestContext

Arguments = Mapping[str, Argument]


@dataclass(frozen=True, slots=True)
class RowObject:
    """An object read by itself: the values of its leaves by field name, and its row for what is read from there."""

    type_name: str
    leaves: Mapping[str, Any]
    record: Any = None
    row_type: RowType | None = None
    aggregate: tuple[Aggregate, Arguments] | None = field(default=None, repr=False)


def resolve_row_field(
    parent: RowObject | None,
    source: Source | None,
    sources: Sources,
    info: GraphQLResolveInfo[Any],
    given: Mapping[str, Any],
) -> Any:
    """The value of a field, at once where the row holds it, otherwise as an awaitable."""
    if parent is not None and (source is None or isinstance(source, Leaf | Embedded)):
        value = parent.leaves[info.field_name]
        if isinstance(source, Embedded) and value is not None:
            return RowObject(get_named_type(info.return_type).name, value, parent.record, parent.row_type)
        return value
    arguments = {name: constant(value) for name, value in given.items()}
    reader = _reader(sources, info, parent, arguments)
    match source:
        case Leaf():
            return reader.fetch(f"to_json({reader.fill(source.sql)})")
        case One() | Many():
            return reader.related(source)
        case Page():
            return reader.page(source)
        case Lookup():
            return reader.lookup(source)
        case Aggregate():
            return reader.aggregate(source)
        case Groups():
            return reader.groups(source)
        case _:
            raise TypeError(f"{info.parent_type}.{info.field_name} cannot be read by itself")


async def read_member(source: Member, key: UUID, sources: Sources, info: GraphQLResolveInfo[Any]) -> Any:
    """The row with this id."""
    reader = _reader(sources, info, None, {"key": Argument(key)})
    return await reader.related(replace(source.one, arguments={"key": "uuid"}))


async def read_needs(parent: RowObject, source: Needs, sources: Sources, info: GraphQLResolveInfo[Any]) -> Any:
    """What the resolver of a field starts from, by name."""
    reader = _reader(sources, info, parent, {})
    return await reader.fetch(needs_sql(source, lambda template: reader.fill(template, it="parent")))


async def read_events(
    sources: Sources,
    context: RequestContext,
    schema: GraphQLSchema,
    table: str,
    places: EventPlaces,
) -> list[RowObject]:
    """Events at these places, from a template of a table of `{it}` at the `{positions}`."""
    reader = _Reader(sources, context, schema.type_map, schema.type_map["Event"], None, {})
    names = {
        "positions": reader.parameters.bind(Argument(places.positions), "bigint[]"),
        "cursors": reader.parameters.bind(Argument(places.cursors), "text[]"),
        "previous": reader.parameters.bind(Argument(places.previous), "text[]"),
    }
    rows = f"json_agg({reader.row_sql(reader.type_)} order by it.position)"
    found: list[RowObject] = reader.objects(
        await reader.fetch(f"(select coalesce({rows}, '[]') from {reader.fill(table, **names)})")
    )
    return found


def _reader(
    sources: Sources, info: GraphQLResolveInfo[Any], parent: RowObject | None, arguments: Arguments
) -> "_Reader":
    type_ = get_named_type(info.return_type)
    return _Reader(sources, info.context, info.schema.type_map, type_, parent, arguments)


class _Reader:
    def __init__(
        self,
        sources: Sources,
        context: RequestContext,
        type_map: Mapping[str, GraphQLNamedType],
        type_: GraphQLNamedType,
        parent: RowObject | None,
        arguments: Arguments,
    ) -> None:
        self.sources = sources
        self.context = context
        self.type_map = type_map
        self.type_ = type_
        self.parent = parent
        self.arguments = arguments
        self.parameters = Parameters()
        self.forbidden = NOWHERE if context.running is None else context.running.prepared.forbidden

    async def related(self, source: One | Many) -> Any:
        uses = source.arguments if isinstance(source, One) else {}
        names = {name: self.parameters.bind(self.arguments[name], use) for name, use in uses.items()}
        where = self.fill(source.where, **names)
        table = self.fill(source.table, **names)
        row = self.row_sql(self.type_)
        if isinstance(source, One):
            return self.objects(await self.fetch(f"(select {row} from {table} where {where})"))
        order = self.fill(source.order, **names)
        return self.objects(
            await self.fetch(f"(select coalesce(json_agg({row} order by {order}), '[]') from {table} where {where})")
        )

    async def page(self, source: Page) -> Any:
        if not isinstance(self.type_, GraphQLObjectType):
            raise TypeError(f"{self.type_} is no connection")
        window = window_of(source, self.arguments, self.parameters, source.where.replace("{parent}", "parent"))
        if window.refusal is not None and (oldest := await self.fetch(f"to_json({window.refusal})")) is not None:
            raise (
                CursorExpired(oldest, ["after"])
                if oldest
                else InvalidCursor("`after` is a cursor of another list, read a fresh one", ["after"])
            )
        table = self.fill(source.table, **window.parts)
        bounds = self.fill(" and ".join(window.bounds))
        order = self.fill(window.reversed_order if window.backward else window.order)
        node_type = get_named_type(self.type_.fields["nodes"].type)
        rows = f"select it.* from {table} where {bounds} order by {order} limit {window.limit} + 1"
        items = f"json_agg(json_build_array({self.row_sql(node_type)}, {self.fill(window.cursor)}) order by {order})"
        beyond = [
            f"exists (select from {table} where {self.fill(' and '.join((*window.where, test)))})" if test else "false"
            for test in (window.beyond_start, window.beyond_end)
        ]
        total = f"(select count(*) from {table} where {self.fill(' and '.join(window.where))})"
        fetched = await self.fetch(
            f"json_build_array((select coalesce({items}, '[]') from ({rows}) it), {', '.join(beyond)}, {total})"
        )
        size = self.arguments.get("last" if window.backward else "first", Argument(None)).value
        return self.connection(fetched, PAGE_ROWS if size is None else size, backward=window.backward)

    def connection(self, fetched: Any, size: int, *, backward: bool) -> RowObject:
        found, before, after, total = fetched
        has_more, found = len(found) > size, found[:size]
        if backward:
            found = found[::-1]
        nodes = [self.objects(row) for row, _ in found]
        cursors = [cursor for _, cursor in found]
        edges = [
            RowObject("Edge", {"node": node, "cursor": cursor}) for node, cursor in zip(nodes, cursors, strict=True)
        ]
        page_info = {
            "hasNextPage": after or (has_more and not backward),
            "hasPreviousPage": before or (has_more and backward),
            "startCursor": cursors[0] if cursors else None,
            "endCursor": cursors[-1] if cursors else None,
        }
        leaves = {"nodes": nodes, "edges": edges, "pageInfo": RowObject("PageInfo", page_info), "totalCount": total}
        return RowObject(self.type_.name, leaves)

    async def lookup(self, source: Lookup) -> Any:
        key = self.parameters.bind(self.arguments["ids" if source.many else "id"], "uuid[]" if source.many else "uuid")
        selects = [
            f"(select {self.row_sql(self.type_map[name])} from {table} it where it.id = key.id)"
            for name, table in source.tables.items()
            if not is_hidden_type(name, self.forbidden)
        ]
        keys = f"unnest({key if source.many else f'array[{key}]'}) with ordinality as key(id, position)"
        found = self.objects(
            await self.fetch(
                f"(select coalesce(json_agg(coalesce({', '.join(selects)}) order by key.position), '[]') from {keys})"
            )
        )
        return found if source.many else found[0]

    async def aggregate(self, source: Aggregate) -> Any:
        scope = scope_of(source, self.arguments, self.parameters, self.fill)
        row = self.leaves_sql(self.type_)
        fetched = await self.fetch(f"(select {row} from {self.fill(source.table)} where {scope.where('it')})")
        return RowObject(self.type_.name, fetched, aggregate=(source, self.arguments))

    async def groups(self, source: Groups) -> Any:
        if self.parent is None or self.parent.aggregate is None:
            raise TypeError(f"{self.type_.name} has no aggregate to be a group of")
        enclosing, arguments = self.parent.aggregate
        scope: Scope = scope_of(enclosing, arguments, self.parameters, self.fill)
        table = self.fill(source.table, scope=scope.where("it"), **scope.names)
        key = self.fill(source.key, **scope.names)
        groups = f"select {self.leaves_sql(self.type_)} as item, {key} as key from {table} group by {key}"
        fetched = await self.fetch(f"(select coalesce(json_agg(g.item order by g.key), '[]') from ({groups}) g)")
        return [RowObject(self.type_.name, item) for item in fetched]

    def fill(self, template: str, it: str = "it", **names: str) -> str:
        if "{now}" in template:
            names["now"] = self.parameters.now
        return template.format(it=it, parent="parent", **names)

    def row_sql(self, type_: GraphQLNamedType) -> str:
        """A row as JSON: what it is, its leaves, and itself."""
        if isinstance(type_, GraphQLInterfaceType):
            variants = self.sources.variants[type_.name]
            whens = [
                f"when '{label}' then {self.row_sql(self.type_map[name])}" for label, name in variants.types.items()
            ]
            return f"case {self.fill(variants.discriminator)} {' '.join(whens)} end"
        return f"json_build_array('{type_.name}', {self.leaves_sql(type_)}, to_json(it))"

    def leaves_sql(self, type_: GraphQLNamedType) -> str:
        if not isinstance(type_, GraphQLObjectType):
            raise TypeError(f"{type_} has no leaves")
        members = []
        for name, definition in type_.fields.items():
            source = self.sources.fields.get((type_.name, name))
            if (type_.name, name) in self.forbidden:
                continue
            if isinstance(source, Leaf):
                members.append(f"'{name}', {self.fill(source.sql)}")
            elif isinstance(source, Embedded):
                members.append(f"'{name}', {self.leaves_sql(get_named_type(definition.type))}")
        return f"json_build_object({', '.join(members)})"

    def objects(self, fetched: Any) -> Any:
        if fetched is None:
            return None
        if fetched and isinstance(fetched[0], str):
            type_name, leaves, record = fetched
            return RowObject(type_name, leaves, record, self.sources.rows.get(type_name))
        return [self.objects(item) for item in fetched]

    async def fetch(self, expression: str) -> Any:
        """The JSON value of an expression over the row `parent`."""
        row = self.parent.row_type if self.parent is not None else None
        sql = f"select {expression}::text"
        if self.parent is not None and row is not None:
            given = self.parameters.bind(constant(self.parent.record), "jsonb")
            populated = f"jsonb_populate_record(null::{row.table}, {given}) parent"
            sql += " from " + (populated if row.table else f"jsonb_to_record({given}) parent({row.record})")
        bindings = Bindings({}, self.context.now)
        sql, getters, _ = self.parameters.finish(sql)
        text = await self.context.read(sql, [getter(bindings) for getter in getters])
        return None if text is None else orjson.loads(text)
