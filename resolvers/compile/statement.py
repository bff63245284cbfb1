"""A selection becomes one SELECT that returns its JSON.

Only success is compiled: whatever cannot be answered by a statement raises Uncompilable, or a DomainError where the
request is wrong, and ordinary execution takes over, which knows how to say so at the right place.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    FieldNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    SelectionSetNode,
    get_named_type,
    is_non_null_type,
)

from resolvers.compile import pages
from resolvers.compile.aggregates import Scope, scope_of
from resolvers.compile.arguments import Argument, Uncompilable, field_arguments
from resolvers.compile.json_text import Json, Sql, concatenate, json_object, leaf, non_null, quote
from resolvers.compile.parameters import Bindings, Getter, Parameters
from resolvers.compile.permissions import NOWHERE, Place, is_hidden_type
from resolvers.compile.selection import Document, collect
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
    Source,
    Sources,
)

_OF_EVENT_LOG = ("event_log", "outbox", "pg_current_snapshot")


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL that answers a selection with one text value, and where its values come from.

    `mixed`: the text is not the whole answer, but an object whose members have still to be put together.
    `of_event_log`: it reads the event log, or makes a cursor of it, which only the primary can.
    """

    sql: str
    getters: tuple[Getter, ...]
    checks: tuple[Getter, ...]
    mixed: bool
    of_event_log: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "of_event_log", any(name in self.sql for name in _OF_EVENT_LOG))

    def values(self, bindings: Bindings) -> list[Any]:
        """The values to bind in this request. Raises ValidationFailed or InvalidCursor."""
        for check in self.checks:
            check(bindings)
        return [getter(bindings) for getter in self.getters]


class Compiler:
    """Compiles one selection of one operation, for requests whose variables have one shape."""

    def __init__(
        self, document: Document, sources: Sources, variables: Mapping[str, Any], forbidden: frozenset[Place] = NOWHERE
    ) -> None:
        self.forbidden = forbidden
        self.document = document
        self.sources = sources
        self.variables = variables
        self.parameters = Parameters()
        self.scopes: list[Scope] = []
        self._aliases = 0

    def operation(self, root: GraphQLObjectType, selection_set: SelectionSetNode) -> Statement:
        """Every root field of a query that Postgres can answer, in one statement."""
        members: dict[str, Json] = {}
        elsewhere = False
        for key, nodes in collect(self.document, root, [selection_set], self.variables).items():
            name = nodes[0].name.value
            place = (root.name, name)
            if name == "__typename" or (place in self.sources.fields and place not in self.forbidden):
                members[key] = self.field(root, nodes, parent="")
            else:
                elsewhere = True
        if not any(isinstance(piece, Sql) for member in members.values() for piece in member.pieces):
            raise Uncompilable("Nothing here comes from the database")
        answer = json_object(members, root.name, mixed=elsewhere)
        if answer.mixed:
            return self._statement(answer)
        return self._statement(Json(['{"data":', *answer.pieces, "}"]))

    def member(self, definition: GraphQLField, nodes: Sequence[FieldNode], source: Member) -> Statement:
        """One object whose id is bound as the source of a request, such as the object of a mutation's payload."""
        key = self.parameters.bind_getter(lambda bindings: bindings.source, "uuid")
        return self._statement(self._one(source.one, definition, nodes, parent="", key=key))

    def stream(self, field: GraphQLField, key: str, nodes: Sequence[FieldNode], table: str) -> Statement:
        """Events at places, each as a whole answer on a line of its own, from a template of `{it}` and the `{places}`.

        The source of a request is three lists: the positions, their cursors, and those of what came before each.
        """
        it = self.alias()
        positions = self.parameters.bind_getter(lambda bindings: bindings.source.positions, "bigint[]")
        cursors = self.parameters.bind_getter(lambda bindings: bindings.source.cursors, "text[]")
        previous = self.parameters.bind_getter(lambda bindings: bindings.source.previous, "text[]")
        element = self.element(field, nodes, it)
        answer = concatenate([f'{{"data":{{"{key}":', *element.pieces, "}}"])
        source = self.fill(table, it=it, positions=positions, cursors=cursors, previous=previous)
        sql = f"select string_agg({answer}, E'\n' order by {it}.position) from {source}"
        return Statement(*self.parameters.finish(sql), element.mixed)

    def _statement(self, json: Json) -> Statement:
        return Statement(*self.parameters.finish(f"select {concatenate(json.pieces)}"), json.mixed)

    def alias(self) -> str:
        """A name for a row that no other row of this statement has."""
        self._aliases += 1
        return f"t{self._aliases}"

    def fill(self, template: str, **names: str) -> str:
        """The SQL of a template."""
        if "{now}" in template:
            names["now"] = self.parameters.now
        return template.format(**names)

    def field(self, parent_type: GraphQLObjectType, nodes: Sequence[FieldNode], *, parent: str) -> Json:
        """The value of a field of the row `parent`."""
        name = nodes[0].name.value
        if name == "__typename":
            return Json([f'"{parent_type.name}"'])
        if (parent_type.name, name) in self.forbidden:
            # Nothing is read; the field's resolver says why.
            return Json(["null"], mixed=True)
        source = self.sources.fields.get((parent_type.name, name))
        if source is None:
            raise Uncompilable(f"{parent_type.name}.{name} does not come from the database")
        return self.value(source, parent_type.fields[name], nodes, parent)

    def value(self, source: Source, definition: GraphQLField, nodes: Sequence[FieldNode], parent: str) -> Json:
        """What stands behind a field."""
        if isinstance(source, Leaf):
            return leaf(source, self.fill(source.sql, it=parent), definition.type)
        return self._composite(source, definition, nodes, parent)

    def _composite(self, source: Source, definition: GraphQLField, nodes: Sequence[FieldNode], parent: str) -> Json:
        match source:
            case Embedded():
                return self.element(definition, nodes, parent)
            case One():
                return self._one(source, definition, nodes, parent)
            case Many():
                return self._many(source, definition, nodes, parent)
            case Page():
                return pages.connection(self, source, definition, nodes, parent)
            case Lookup():
                return self._lookup(source, definition, nodes)
            case Aggregate():
                return self._aggregate(source, definition, nodes)
            case Groups():
                return self._groups(source, definition, nodes)
            case Needs():
                return self._needs(source, parent)
        raise Uncompilable("A member of an object that was not read")

    def element(
        self, definition: GraphQLField, nodes: Sequence[FieldNode], it: str, *, runtime: str | None = None
    ) -> Json:
        """The object that a field's value, or an item of it, is: the row `it`."""
        selection_sets = [node.selection_set for node in nodes]
        named = get_named_type(definition.type)
        if runtime is not None:
            named = self.document.schema.type_map[runtime]
        if isinstance(named, GraphQLInterfaceType):
            return self._variants(named, selection_sets, it)
        if not isinstance(named, GraphQLObjectType):
            raise Uncompilable(f"{named} is no object type")
        return self.object(named, selection_sets, it)

    def object(
        self,
        type_: GraphQLObjectType,
        selection_sets: Iterable[SelectionSetNode | None],
        it: str,
        *,
        mixed: bool = False,
    ) -> Json:
        """The selected fields of an object."""
        selections = collect(self.document, type_, selection_sets, self.variables)
        members = {key: self.field(type_, nodes, parent=it) for key, nodes in selections.items()}
        return json_object(members, type_.name, mixed=mixed)

    def arguments(self, definition: GraphQLField, nodes: Sequence[FieldNode]) -> dict[str, Argument]:
        """What was given to a field."""
        return field_arguments(definition, nodes[0], self.variables)

    def _variants(
        self, interface: GraphQLInterfaceType, selection_sets: Sequence[SelectionSetNode | None], it: str
    ) -> Json:
        variants = self.sources.variants[interface.name]
        types = {label: self.document.schema.type_map[name] for label, name in variants.types.items()}
        objects = {
            label: self.object(type_, selection_sets, it)
            for label, type_ in types.items()
            if isinstance(type_, GraphQLObjectType)
        }
        if mixed := any(json.mixed for json in objects.values()):
            raise Uncompilable("An interface with values of other backends")
        whens = " ".join(f"when {quote(label)} then {concatenate(json.pieces)}" for label, json in objects.items())
        return Json([non_null(f"case {self.fill(variants.discriminator, it=it)} {whens} end")], mixed)

    def _one(
        self, source: One, definition: GraphQLField, nodes: Sequence[FieldNode], parent: str, **names: str
    ) -> Json:
        it = self.alias()
        for name, argument in self.arguments(definition, nodes).items():
            names[name] = self.parameters.bind(argument, source.arguments[name])
        where = self.fill(source.where, it=it, parent=parent, **names)
        table = self.fill(source.table, it=it, parent=parent, **names)
        element = self.element(definition, nodes, it)
        select = f"(select {concatenate(element.pieces)} from {table} where {where})"
        if is_non_null_type(definition.type):
            return Json([non_null(select)], element.mixed)
        return Json([Sql(f"coalesce({select}, 'null')")], element.mixed)

    def _many(self, source: Many, definition: GraphQLField, nodes: Sequence[FieldNode], parent: str) -> Json:
        it = self.alias()
        table, where, order = (
            self.fill(template, it=it, parent=parent) for template in (source.table, source.where, source.order)
        )
        element = self.element(definition, nodes, it)
        items = f"string_agg({concatenate(element.pieces)}, ',' order by {order})"
        return Json(["[", Sql(f"(select coalesce({items}, '') from {table} where {where})"), "]"], element.mixed)

    def _lookup(self, source: Lookup, definition: GraphQLField, nodes: Sequence[FieldNode]) -> Json:
        arguments = self.arguments(definition, nodes)
        if not source.many:
            key = self.parameters.bind(arguments["id"], "uuid")
            found = self._found(source, definition, nodes, key)
            return Json([Sql(f"coalesce({concatenate(found.pieces)}, 'null')")])
        keys = self.parameters.bind(arguments["ids"], "uuid[]")
        it = self.alias()
        found = self._found(source, definition, nodes, f"{it}.id")
        items = f"string_agg(coalesce({concatenate(found.pieces)}, 'null'), ',' order by {it}.position)"
        select = f"(select coalesce({items}, '') from unnest({keys}) with ordinality as {it}(id, position))"
        return Json(["[", Sql(select), "]"])

    def _found(self, source: Lookup, definition: GraphQLField, nodes: Sequence[FieldNode], key: str) -> Json:
        """An id belongs to at most one table: the first that has it answers."""
        selects = []
        for name, table in source.tables.items():
            if is_hidden_type(name, self.forbidden):
                continue
            it = self.alias()
            element = self.element(definition, nodes, it, runtime=name)
            if element.mixed:
                raise Uncompilable("An interface with values of other backends")
            selects.append(f"(select {concatenate(element.pieces)} from {table} {it} where {it}.id = {key})")
        return Json([Sql(f"coalesce({', '.join(selects)})")])

    def _aggregate(self, source: Aggregate, definition: GraphQLField, nodes: Sequence[FieldNode]) -> Json:
        it = self.alias()
        scope = scope_of(source, self.arguments(definition, nodes), self.parameters, self.fill)
        self.scopes.append(scope)
        element = self.element(definition, nodes, it)
        self.scopes.pop()
        if not self._reads_leaves(definition, nodes):
            return element
        table = self.fill(source.table, it=it)
        return Json(
            [Sql(f"(select {concatenate(element.pieces)} from {table} where {scope.where(it)})")], element.mixed
        )

    def _reads_leaves(self, definition: GraphQLField, nodes: Sequence[FieldNode]) -> bool:
        """Whether something aggregates: without it, rows would not become one."""
        type_ = get_named_type(definition.type)
        if not isinstance(type_, GraphQLObjectType):
            raise TypeError(f"{type_} is no object type")
        selections = collect(self.document, type_, [node.selection_set for node in nodes], self.variables)
        places = {(type_.name, found[0].name.value) for found in selections.values()} - self.forbidden
        return any(isinstance(self.sources.fields.get(place), Leaf) for place in places)

    def _groups(self, source: Groups, definition: GraphQLField, nodes: Sequence[FieldNode]) -> Json:
        it = self.alias()
        scope = self.scopes[-1]
        table = self.fill(source.table, it=it, scope=scope.where(it), **scope.names)
        key = self.fill(source.key, it=it, **scope.names)
        element = self.element(definition, nodes, it)
        groups = f"select {concatenate(element.pieces)} as item, {key} as key from {table} group by {key}"
        return Json(
            [
                "[",
                Sql(f"(select coalesce(string_agg({it}g.item, ',' order by {it}g.key), '') from ({groups}) {it}g)"),
                "]",
            ]
        )

    def _needs(self, source: Needs, parent: str) -> Json:
        return Json([Sql(f"{needs_sql(source, lambda template: self.fill(template, it=parent))}::text")], mixed=True)


def needs_sql(source: Needs, fill: Callable[[str], str]) -> str:
    """A JSON object of what the resolver of a field starts from."""
    members = ", ".join(f"{quote(name)}, {fill(template)}" for name, template in source.expressions.items())
    return f"json_build_object({members})"
