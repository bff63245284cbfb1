"""Where a GraphQL type, field or argument keeps the declaration that it was made from."""

from typing import Final

from strawberry.schema.schema_converter import GraphQLCoreConverter

DECLARATION: Final = GraphQLCoreConverter.DEFINITION_BACKREF
"""The key among its extensions."""
