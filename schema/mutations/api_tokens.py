"""Writes about API tokens."""

from typing import Annotated

import strawberry
from strawberry import argument

from domain.access import TokenScope
from domain.errors import NotFound
from domain.permissions import OWN_TOKENS
from domain.references import parse_id
from resolvers import api_tokens
from resolvers.mutations import Written, or_none
from schema.api_tokens import ApiToken
from schema.mutations.declarations import input_type, mutation, optional, required
from schema.mutations.payloads import Info, Payload


@strawberry.type(description="What came of a write to an API token.")
class ApiTokenPayload(Payload):
    """What came of a write to an API token."""

    api_token: ApiToken | None = strawberry.field(
        default=None, description="The token as it is now. Null when nothing was written."
    )


@strawberry.type(description="What came of making an API token.")
class CreateApiTokenPayload(ApiTokenPayload):
    """What came of making an API token."""

    secret: str | None = strawberry.field(
        default=None, description="The token itself, for the header Authorization: Bearer. It is shown this once."
    )


@input_type
class CreateApiTokenInput:
    """What a token is for."""

    name: str = required("What it is for, in your words.")
    scopes: list[TokenScope] = required("What it may be used for: one or more.")
    expires_in_days: int | None = optional("When it stops working by itself: 1 to 3650; by default never.")


@strawberry.type
class ApiTokenMutations:
    """Writes about API tokens."""

    @mutation(OWN_TOKENS)
    async def create_api_token(
        self, info: Info, input: Annotated[CreateApiTokenInput, argument(description="What it is for.")]
    ) -> CreateApiTokenPayload:
        """Make a token for a machine, which acts as you do, within its scopes."""
        made = await api_tokens.create(info.context, input.name, input.scopes, or_none(input.expires_in_days))
        if not isinstance(made, tuple):
            return CreateApiTokenPayload.refused(made, "input")
        written, secret = made
        token = ApiToken.of(await api_tokens.token(info.context, written.id))
        return CreateApiTokenPayload(row_id=written.id, event_seq=None, errors=[], api_token=token, secret=secret)

    @mutation(OWN_TOKENS)
    async def revoke_api_token(
        self, info: Info, id: Annotated[strawberry.ID, argument(description="The token's id.")]
    ) -> ApiTokenPayload:
        """End a token, one's own or, for admins, anybody's. It stops working within seconds, on open streams too."""
        known = parse_id(id)
        outcome = NotFound("API token", id, ("id",)) if known is None else await api_tokens.revoke(info.context, known)
        if not isinstance(outcome, Written):
            return ApiTokenPayload.refused(outcome)
        token = ApiToken.of(await api_tokens.token(info.context, outcome.id))
        return ApiTokenPayload(row_id=outcome.id, event_seq=None, errors=[], api_token=token)
