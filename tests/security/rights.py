"""The written matrix of rights: `python -m tests.security.rights` writes it anew, and the tests hold it against what
happens.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from graphql import GraphQLInterfaceType, GraphQLObjectType
from starlette.routing import Route
from starlette.types import Scope

from app.alert_intake import AlertIntake
from app.http.rest import rest_routes
from app.http.routes import GuardedRoute
from app.http.webhooks import Senders, webhook_routes
from db.database import Database
from domain.access import Actor, Permission, Role, TokenScope
from domain.errors import Unauthenticated
from resolvers.compile.permissions import Permissions
from resolvers.operations import Operations
from schema.root import build_schema

MATRIX = Path(__file__).with_name("rights.md")
ANY_SCOPE = "any"

_HEAD = """\
# Who may do what

Written by `python -m tests.security.rights`. A role includes those before it: VIEWER, RESPONDER, ADMIN. A token that
has scopes needs the scope as well; one without scopes, and a person, need the role alone. Webhooks take the tokens of
WEBHOOK_TOKENS beside those.

## Fields, mutations, subscriptions and routes that take something

| what | role | scope |
|---|---|---|
"""
_REST = """
## Everything else

Whoever may select what leads to an object may select these of its fields, with these arguments.

| type | fields |
|---|---|
"""


class Right(NamedTuple):
    """A line of the matrix: what something takes. `scope` is None where any token will do."""

    what: str
    role: Role
    scope: TokenScope | None

    def permits(self, role: Role, scopes: frozenset[TokenScope] | None) -> bool:
        """Whether it is enough to have this role, by a token with these scopes."""
        order = ["VIEWER", "RESPONDER", "ADMIN"]
        has_scope = scopes is None or self.scope is None or self.scope in scopes
        return order.index(role) >= order.index(self.role) and has_scope


def written() -> list[Right]:
    """The lines of the matrix, read from its file."""
    lines = MATRIX.read_text().partition("|---|---|---|\n")[2].partition("\n\n")[0].splitlines()
    return [_right(*(cell.strip(" `") for cell in line.strip("|").split("|"))) for line in lines]


def matrix(operations: Operations) -> str:
    """The matrix as it should be written."""
    permissions = operations.sources.permissions
    rows = [*_fields(operations, permissions), *_routes()]
    taken = "".join(f"| `{what}` | {taken.role} | {taken.scope or ANY_SCOPE} |\n" for what, taken in rows)
    return _HEAD + taken + _REST + "".join(_others(operations, permissions))


def rest_paths(database: Database) -> list[GuardedRoute]:
    """The routes of the REST façade."""
    routes = rest_routes(database, None, most_body_bytes=10_000)
    return [route for route in routes if isinstance(route, GuardedRoute)]


def webhook_paths(intake: AlertIntake, actor: Actor | None) -> list[Route]:
    """The routes of webhooks, where this actor sends a token, or nobody that is known."""

    async def identify(_scope: Scope, _headers: Mapping[bytes, bytes]) -> Actor:
        if actor is None:
            raise Unauthenticated("Nobody is known")
        return actor

    return webhook_routes(intake, {}, identify=identify, most_body_bytes=10_000)


def _right(what: str, role: str, scope: str) -> Right:
    return Right(what, Role(role), None if scope == ANY_SCOPE else TokenScope(scope))


def _fields(operations: Operations, permissions: Permissions) -> Iterator[tuple[str, Permission]]:
    for type_ in _types(operations):
        for name, field in type_.fields.items():
            place = (type_.name, name)
            for permission in permissions.fields.get(place, ()):
                yield f"{type_.name}.{name}", permission
                own = permissions.arguments.get(place, {})
                for argument in field.args:
                    yield f"{type_.name}.{name}({argument})", own.get(argument, permission)


def _routes() -> Iterator[tuple[str, Permission]]:
    for route in rest_paths(cast("Database", None)):  # None of them is called.
        for method, permission in route.permissions.items():
            yield f"{method} {route.path}", permission
    for webhook in webhook_paths(cast("AlertIntake", None), None):
        yield f"POST {webhook.path}", Senders.permission


def _others(operations: Operations, permissions: Permissions) -> Iterator[str]:
    for type_ in _types(operations):
        names = [
            name + (f"({', '.join(field.args)})" if field.args else "")
            for name, field in type_.fields.items()
            if (type_.name, name) not in permissions.fields
        ]
        if names:
            yield f"| `{type_.name}` | {', '.join(names)} |\n"


def _types(operations: Operations) -> Sequence[GraphQLObjectType]:
    schema = operations.schema
    roots = [schema.query_type, schema.mutation_type, schema.subscription_type]
    types = [each for each in schema.type_map.values() if isinstance(each, GraphQLObjectType | GraphQLInterfaceType)]
    others = sorted((each for each in types if isinstance(each, GraphQLObjectType)), key=lambda each: each.name)
    named = [each for each in roots if each is not None]
    return [*named, *(each for each in others if each not in named and not each.name.startswith("__"))]


if __name__ == "__main__":
    MATRIX.write_text(matrix(Operations(build_schema())))
