"""Users and teams."""

from uuid import UUID

import strawberry

from db.people import team_members, teams, users
from domain.access import Role, TokenScope
from domain.permissions import ADMINISTRATION
from resolvers import sql
from resolvers.context import RequestContext
from schema.nodes import Node
from schema.references import ServiceRef, TeamRef
from schema.scalars import DateTime


@sql.type(users)
class User(Node):
    """A person."""

    name: str = sql.column("What people call them.")
    email: str = sql.column("Where to reach them. For admins; `viewer` has one's own.", permission=ADMINISTRATION)
    teams: list[TeamRef] = sql.many(
        "The teams that they belong to.",
        f"{teams.name} {{it}} join {team_members.name} {{it}}_of on {{it}}_of.team_id = {{it}}.id",
        "{it}_of.user_id = {parent}.id",
        "lower({it}.name)",
    )
    created_at: DateTime = sql.column("When they were added.")


@sql.type(teams)
class Team(Node):
    """People who own services together."""

    name: str = sql.column("What the team is called.")
    description: str = sql.column("What it is for.")
    members: list[User] = sql.many(
        "The people in it.",
        f"{users.name} {{it}} join {team_members.name} {{it}}_of on {{it}}_of.user_id = {{it}}.id",
        "{it}_of.team_id = {parent}.id",
        "lower({it}.name), {it}.id",
    )
    services: list[ServiceRef] = sql.many(
        "The services that it owns.", "services {it}", "{it}.team_id = {parent}.id", "{it}.name, {it}.id"
    )
    created_at: DateTime = sql.column("When it was added.")


@strawberry.type(description="Who asks.")
class Viewer:
    """Who asks."""

    user_id: strawberry.Private[UUID | None]
    name: str = strawberry.field(description="What they are called.")
    role: Role = strawberry.field(description="What they may do.")
    scopes: list[TokenScope] | None = strawberry.field(
        description="What their token may be used for. Null where nothing narrows what they may do."
    )
    expires_at: DateTime | None = strawberry.field(description="When what proved who they are expires, if ever.")
    user: User | None = sql.member("The person behind them, if any.", "users {it}", "user_id")

    @strawberry.field(description="Where to reach them. Null where no user stands behind them.")
    async def email(self, info: strawberry.Info[RequestContext]) -> str | None:
        """The address of whoever asks."""
        if self.user_id is None:
            return None
        found = await info.context.read("select email from users where id = $1", [self.user_id])
        return None if found is None else found.decode()
