"""API tokens."""

from typing import Self
from uuid import UUID

import strawberry
from sqlalchemy import RowMapping

from domain.access import TokenScope
from resolvers import api_tokens, sql
from resolvers.context import RequestContext
from schema.people import User
from schema.scalars import DateTime


@strawberry.type(
    description="What a machine proves with who it is. It may do no more than its user and its scopes allow."
)
class ApiToken:
    """What a machine proves with who it is."""

    id: strawberry.ID = strawberry.field(description="The id, which is no secret.")
    user_id: strawberry.Private[UUID]
    name: str = strawberry.field(description="What it is for, in the words of whoever made it.")
    scopes: list[TokenScope] = strawberry.field(description="What it may be used for.")
    created_at: DateTime = strawberry.field(description="When it was made.")
    expires_at: DateTime | None = strawberry.field(description="When it stops working by itself, if ever.")
    last_used_at: DateTime | None = strawberry.field(description="When it was used last, to the minute.")
    revoked_at: DateTime | None = strawberry.field(description="When it was revoked, if it was.")
    user: User | None = sql.member("Whose it is.", "users {it}", "user_id")

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """A row as clients see it."""
        return cls(
            id=strawberry.ID(str(row["id"])),
            user_id=row["user_id"],
            name=row["name"],
            scopes=[TokenScope(scope) for scope in row["scopes"]],
            created_at=row["created_at"],
            expires_at=row["expires_at"],
            last_used_at=row["last_used_at"],
            revoked_at=row["revoked_at"],
        )


async def own_tokens(info: strawberry.Info[RequestContext]) -> list[ApiToken]:
    """The tokens of whoever asks."""
    return [ApiToken.of(row) for row in await api_tokens.tokens(info.context, everybodys=False)]


async def all_tokens(info: strawberry.Info[RequestContext]) -> list[ApiToken]:
    """Everybody's tokens."""
    return [ApiToken.of(row) for row in await api_tokens.tokens(info.context, everybodys=True)]
