"""The declarations of a schema, collected, and its fields given the resolvers that serve them."""

from collections.abc import Callable, Mapping
from typing import Any

import asyncpg
import orjson
import strawberry
from graphql import GraphQLField, GraphQLInterfaceType, GraphQLObjectType, GraphQLResolveInfo
from sqlalchemy import Column, Table
from strawberry.types.arguments import convert_arguments
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

from resolvers.authorisation import guard
from resolvers.compile.arguments import Uncompilable
from resolvers.compile.declarations import DECLARATION
from resolvers.compile.parameters import Bindings
from resolvers.compile.permissions import permissions_of
from resolvers.compile.sources import Leaf, Live, Member, Needs, RowType, Source, Sources, Stream, Variants
from resolvers.context import RequestContext
from resolvers.prefetched import Prefetched
from resolvers.rows import RowObject, read_member, read_needs, resolve_row_field
from resolvers.sql import SOURCE, OwnColumn

Resolver = Callable[..., Any]


def bind(schema: strawberry.Schema) -> Sources:
    """Collect what the types of a schema declare, and let their fields be resolved by it, for whoever may see them."""
    fields: dict[tuple[str, str], Source] = {}
    rows: dict[str, RowType] = {}
    variants: dict[str, Variants] = {}
    for name, type_ in schema._schema.type_map.items():
        definition = type_.extensions.get(DECLARATION)
        if not isinstance(definition, StrawberryObjectDefinition):
            continue
        marks = vars(definition.origin)
        if "__sql_variants__" in marks:
            variants[name] = marks["__sql_variants__"]
        if "__sql_row__" in marks:
            rows[name] = marks["__sql_row__"]
        if isinstance(type_, GraphQLObjectType):
            for field_name, field in type_.fields.items():
                if (source := _source(definition.origin, field)) is not None:
                    fields[name, field_name] = source
    sources = Sources(fields, rows, variants, permissions_of(schema))
    for type_ in schema._schema.type_map.values():
        _bind_type(type_, sources, schema)
    guard(schema._schema, sources.permissions)
    return sources


def _source(origin: type, field: GraphQLField) -> Source | None:
    declaration = field.extensions.get(DECLARATION)
    if not isinstance(declaration, StrawberryField):
        return None
    metadata: Mapping[Any, Any] = declaration.metadata or {}
    source = metadata.get(SOURCE)
    if isinstance(source, OwnColumn):
        table: Table = vars(origin)["__sql_table__"]
        column: Column[Any] = table.c[source.name or declaration.python_name]
        return Leaf("{it}." + column.name, column)
    if source is None or isinstance(source, Source):
        return source
    raise TypeError(f"{origin.__name__}.{declaration.python_name} declares {source!r}, which is no source")


def _bind_type(type_: Any, sources: Sources, schema: strawberry.Schema) -> None:
    if isinstance(type_, GraphQLInterfaceType):
        otherwise = type_.resolve_type
        type_.resolve_type = lambda value, info, of: (
            value.type_name if isinstance(value, RowObject | Prefetched) else otherwise and otherwise(value, info, of)
        )
    if not isinstance(type_, GraphQLObjectType):
        return
    if type_.name in sources.rows:
        type_.is_type_of = None
    for field_name, field in type_.fields.items():
        source = sources.fields.get((type_.name, field_name))
        if isinstance(source, Member):
            field.resolve = _member_resolver(source, sources)
        elif isinstance(source, Stream | Live):
            field.resolve = lambda root, info, **_: root[info.field_name]
        elif isinstance(source, Needs):
            field.resolve = _needing_resolver(source, sources, field, schema)
        else:
            field.resolve = _resolver(source, sources, field.resolve)


def _resolver(source: Source | None, sources: Sources, otherwise: Resolver | None) -> Resolver:
    """Read from whatever holds the field: a mixed object, a row, or a Python object that knows nothing of Postgres."""

    def resolve(parent: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
        key = info.path.key
        if isinstance(parent, Prefetched) and key in parent.members:
            return parent.member(str(key))
        if isinstance(parent, RowObject):
            return resolve_row_field(parent, source, sources, info, arguments)
        if source is not None:
            return resolve_row_field(None, source, sources, info, arguments)
        return otherwise(parent, info, **arguments) if otherwise else None

    return resolve


def _needing_resolver(source: Needs, sources: Sources, field: GraphQLField, schema: strawberry.Schema) -> Resolver:
    """Hand a resolver of another backend what it starts from, instead of the object that holds its field.

    Its arguments are the same for every object of a list, and are converted for the first of them.
    """
    declaration = field.extensions.get(DECLARATION)
    if not isinstance(declaration, StrawberryField) or declaration.base_resolver is None:
        raise TypeError("A field that needs something has no resolver to use it")
    answer: Resolver = declaration.base_resolver.wrapped_func  # type: ignore[assignment]  # never a class method here
    parent = declaration.base_resolver.parent_parameter
    if parent is None:
        raise TypeError(f"{declaration.python_name} does not say as what it takes that which it needs")
    name = parent.name
    scalars = schema.schema_converter.scalar_registry

    async def resolve(parent: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
        if isinstance(parent, Prefetched):
            needs = parent.needs(str(info.path.key))
        else:
            needs = await read_needs(parent, source, sources, info)
        context: RequestContext = info.context
        about: strawberry.Info[Any] = strawberry.Info(_raw_info=info, _field=declaration)
        key = (id(source), id(info.field_nodes[0]))  # Both live longer than the request.
        converted = context.converted_arguments.get(key)
        if converted is None:
            converted = convert_arguments(arguments, declaration.arguments, scalars, schema.config, about)
            context.converted_arguments[key] = converted
        return await answer(**{name: needs, "info": about}, **converted)

    return resolve


def _member_resolver(source: Member, sources: Sources) -> Resolver:
    """Read an object by the id that the Python object around it has, in one statement."""

    async def resolve(parent: Any, info: GraphQLResolveInfo[Any]) -> Any:
        key = getattr(parent, source.attribute)
        context: RequestContext = info.context
        running = context.running
        if key is None:
            return None
        if running is None:
            return await read_member(source, key, sources, info)
        place = tuple(info.path.as_list())
        try:
            statement = running.prepared.member_statement(place, running.shape, running.variables, info, source)
            arguments = statement.values(Bindings(running.variables, context.now, key))
            text = await context.read(statement.sql, arguments)
        except (Uncompilable, asyncpg.PostgresError, asyncpg.InterfaceError):
            return await read_member(source, key, sources, info)
        if text is None:
            return None
        return Prefetched.parse(text) if statement.mixed else orjson.Fragment(text)

    return resolve
