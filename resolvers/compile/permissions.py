"""What the fields of a schema ask of whoever selects them, and what an operation therefore asks for as a whole.

A permission is declared beside the field, the type or the argument that asks for it. A field asks for its own, that of
its type, and those of the arguments that are given to it. Nothing is declared twice: fields of queries ask for `READ`
where they declare nothing else; mutations and subscriptions always declare theirs, or the schema is not built.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import strawberry
from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
)
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

from domain.access import Actor, Permission, require
from domain.permissions import READ
from resolvers.compile.declarations import DECLARATION
from resolvers.compile.selection import Document

PERMISSION: Final = "permission"
"""The key of a permission in the metadata of a field or an argument."""

_TYPENAME: Final = "__typename"

Place = tuple[str, str]
"""A type's name and a field's; the type itself is its `__typename`."""

NOWHERE: Final[frozenset[Place]] = frozenset()


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the fields, types and arguments of a schema declare, by GraphQL names."""

    fields: Mapping[Place, tuple[Permission, ...]]
    types: Mapping[str, Permission]
    arguments: Mapping[Place, Mapping[str, Permission]]

    def of(self, place: Place, nodes: Iterable[FieldNode]) -> Iterable[Permission]:
        """What a field asks for, as it is selected."""
        yield from self.fields.get(place, ())
        if place in self.arguments:
            declared = self.arguments[place]
            names = (argument.name.value for node in nodes for argument in node.arguments or ())
            yield from (declared[name] for name in names if name in declared)

    def require(self, actor: Actor, place: Place, nodes: Iterable[FieldNode]) -> None:
        """Raise Forbidden unless the actor may select a field in this way."""
        for permission in self.of(place, nodes):
            require(actor, permission)

    @property
    def guarded(self) -> frozenset[Place]:
        """The fields that ask for something."""
        return frozenset(self.fields) | frozenset(self.arguments)


def permissions_of(schema: strawberry.Schema) -> Permissions:
    """What a schema declares. Raises ValueError for mutations and subscriptions that declare nothing."""
    roots = schema._schema
    fields: dict[Place, tuple[Permission, ...]] = {}
    types: dict[str, Permission] = {}
    arguments: dict[Place, dict[str, Permission]] = {}
    undeclared: list[str] = []
    for name, type_ in roots.type_map.items():
        definition = type_.extensions.get(DECLARATION)
        if not isinstance(type_, GraphQLObjectType) or not isinstance(definition, StrawberryObjectDefinition):
            continue
        of_type = vars(definition.origin).get("__permission__")
        if of_type is not None:
            types[name] = of_type
        for field_name, field in type_.fields.items():
            own = _declared(field)
            if own is None and type_ is roots.query_type:
                own = READ
            if own is None and type_ in (roots.mutation_type, roots.subscription_type):
                undeclared.append(f"{name}.{field_name}")
            if needed := tuple(each for each in (of_type, own) if each is not None):
                fields[name, field_name] = needed
            if of_arguments := _declared_by_arguments(field):
                arguments[name, field_name] = of_arguments
    if undeclared:
        raise ValueError(f"These have to declare the permission that they take: {', '.join(sorted(undeclared))}")
    return Permissions(fields, types, arguments)


def _declared(field: GraphQLField) -> Permission | None:
    declaration = field.extensions.get(DECLARATION)
    metadata = declaration.metadata if isinstance(declaration, StrawberryField) else None
    return None if metadata is None else _permission(metadata.get(PERMISSION))


def _declared_by_arguments(field: GraphQLField) -> dict[str, Permission]:
    found = {}
    for name, argument in field.args.items():
        declaration = argument.extensions.get(DECLARATION)
        if isinstance(declaration, StrawberryArgument):
            permission = _permission(declaration.metadata.get(PERMISSION))
            if permission is not None:
                found[name] = permission
    return found


def _permission(declared: object) -> Permission | None:
    if declared is None or isinstance(declared, Permission):
        return declared
    raise TypeError(f"{declared!r} is no permission")


def requirements(
    document: Document, operation: OperationDefinitionNode, permissions: Permissions
) -> Mapping[Permission, frozenset[Place]]:
    """Each permission that an operation asks for, and the fields for which it does.

    Directives are not looked at: what is skipped is not selected, whatever is said of it here. Objects of a type that
    asks for something itself may be among those of an interface; then the type is named.
    """
    walk = _Walk(document, permissions)
    root = document.schema.get_root_type(operation.operation)
    if root is not None:
        walk.selection(root, operation.selection_set)
    return {permission: frozenset(places) for permission, places in walk.found.items()}


class _Walk:
    def __init__(self, document: Document, permissions: Permissions) -> None:
        self.found: dict[Permission, set[Place]] = {}
        self._document = document
        self._permissions = permissions
        self._visited: set[str] = set()

    def selection(self, type_: GraphQLNamedType, selection_set: SelectionSetNode) -> None:
        for node in selection_set.selections:
            match node:
                case FieldNode():
                    self._field(type_, node)
                case InlineFragmentNode():
                    condition = node.type_condition
                    inner = type_ if condition is None else self._document.schema.type_map[condition.name.value]
                    self.selection(inner, node.selection_set)
                case FragmentSpreadNode():
                    self._spread(node.name.value)

    def _spread(self, name: str) -> None:
        fragment = self._document.fragments[name]
        if name not in self._visited:
            self._visited.add(name)
            self.selection(self._document.schema.type_map[fragment.type_condition.name.value], fragment.selection_set)

    def _field(self, type_: GraphQLNamedType, node: FieldNode) -> None:
        if node.name.value.startswith("__"):
            return
        if not isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            return
        for runtime in self._runtime_types(type_):
            place = (runtime.name, node.name.value)
            for permission in self._permissions.of(place, [node]):
                self.found.setdefault(permission, set()).add(place)
        named = get_named_type(type_.fields[node.name.value].type)
        if isinstance(named, GraphQLObjectType | GraphQLInterfaceType):
            for runtime in self._runtime_types(named):
                of_type = self._permissions.types.get(runtime.name)
                if of_type is not None:
                    self.found.setdefault(of_type, set()).add((runtime.name, _TYPENAME))
        if node.selection_set is not None:
            self.selection(named, node.selection_set)

    def _runtime_types(self, type_: GraphQLObjectType | GraphQLInterfaceType) -> Iterable[GraphQLObjectType]:
        if isinstance(type_, GraphQLObjectType):
            return (type_,)
        return self._document.schema.get_possible_types(type_)


def is_hidden_type(type_name: str, forbidden: frozenset[Place]) -> bool:
    """Whether all objects of a type are hidden: they are not found, whatever their ids."""
    return (type_name, _TYPENAME) in forbidden
