"""The guard of every field that asks for a permission: before its resolver, at one place.

What is forbidden is never read. A field that is null for those who may not see it says so by an error with the code
FORBIDDEN and its path; where it cannot be null, what is around it is, as the specification wants it. A mutation answers
its payload with a `ForbiddenError`, and does nothing. A subscription is refused as a whole
(`resolvers/subscriptions.py`).
"""

from collections.abc import Callable
from typing import Any, Protocol

from graphql import GraphQLField, GraphQLObjectType, GraphQLResolveInfo, GraphQLSchema, get_named_type
from strawberry.types.base import StrawberryObjectDefinition

from domain.errors import Forbidden
from resolvers.compile.declarations import DECLARATION
from resolvers.compile.permissions import Permissions, Place
from resolvers.context import RequestContext
from resolvers.rendering import GUARDED

Resolver = Callable[..., Any]


class Refusing(Protocol):
    """The type of a payload that can say why nothing was done."""

    def refused(self, refusal: Forbidden, /) -> Any:
        """The payload of a mutation that is forbidden."""
        ...


def guard(schema: GraphQLSchema, permissions: Permissions) -> None:
    """Let every field that asks for a permission be resolved only for those who have it."""
    for place in permissions.guarded:
        type_name, name = place
        type_ = schema.type_map[type_name]
        if not isinstance(type_, GraphQLObjectType) or type_ is schema.subscription_type:
            continue
        field = type_.fields[name]
        field.extensions[GUARDED] = True
        payload = _payload(field) if type_ is schema.mutation_type else None
        field.resolve = _guarded(field.resolve, place, permissions, payload)


def _guarded(resolve: Resolver | None, place: Place, permissions: Permissions, payload: Refusing | None) -> Resolver:
    if resolve is None:
        raise TypeError(f"{'.'.join(place)} has no resolver to guard")

    def guarded(parent: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
        context: RequestContext = info.context
        try:
            permissions.require(context.actor, place, info.field_nodes)
            if context.running is not None and place in context.running.prepared.forbidden:
                # Elsewhere in the operation it was asked for with an argument that takes more.
                raise Forbidden("The same operation asks for this with an argument that takes another permission")
        except Forbidden as refusal:
            if payload is None:
                raise
            return payload.refused(refusal)
        return resolve(parent, info, **arguments)

    return guarded


def _payload(field: GraphQLField) -> Refusing | None:
    """The type of a mutation's payload, where it knows how to refuse."""
    definition = get_named_type(field.type).extensions.get(DECLARATION)
    origin: Any = definition.origin if isinstance(definition, StrawberryObjectDefinition) else None
    return origin if hasattr(origin, "refused") else None
