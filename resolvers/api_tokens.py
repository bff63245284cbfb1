"""API tokens, as their owners and admins see them."""

from collections.abc import Sequence
from secrets import token_urlsafe
from typing import Final
from uuid import UUID

from sqlalchemy import RowMapping, select

from actions.api_tokens import create_api_token, revoke_api_token
from db.credentials import api_tokens
from db.database import Transaction
from domain.access import Actor, TokenScope
from domain.credentials import API_TOKEN_PREFIX, SECRET_BYTES, digest
from resolvers.context import RequestContext
from resolvers.mutations import REFUSALS, Refusal, Written

_MOST: Final = 500


async def tokens(context: RequestContext, *, everybodys: bool) -> Sequence[RowMapping]:
    """One's own tokens, or everybody's, the newest first."""
    wanted = select(api_tokens).order_by(api_tokens.c.created_at.desc(), api_tokens.c.id).limit(_MOST)
    if not everybodys:
        wanted = wanted.where(api_tokens.c.user_id == context.actor.id)
    async with context.database.reading() as connection:
        return (await connection.execute(wanted)).mappings().all()


async def token(context: RequestContext, id: UUID) -> RowMapping:
    """A token that was just written."""
    async with context.database.reading() as connection:
        return (await connection.execute(select(api_tokens).where(api_tokens.c.id == id))).mappings().one()


async def create(
    context: RequestContext, name: str, scopes: Sequence[TokenScope], expires_in_days: int | None
) -> tuple[Written, str] | Refusal:
    """Make a token of one's own: what was written, and the token itself. What is refused is returned."""
    secret = new_api_token()

    async def work(tx: Transaction, actor: Actor) -> UUID:
        return await create_api_token(
            tx,
            name,
            scopes,
            user_id=actor.id,
            token_hash=digest(secret),
            expires_in_days=expires_in_days,
            actor=actor,
        )

    try:
        id = await context.database.transact(lambda tx: work(tx, context.actor), now=context.now)
    except REFUSALS as refusal:
        return refusal
    return Written(id, None), secret


async def revoke(context: RequestContext, id: UUID) -> Written | Refusal:
    """End a token. What is refused is returned."""
    try:
        await context.database.transact(lambda tx: revoke_api_token(tx, id, actor=context.actor), now=context.now)
    except REFUSALS as refusal:
        return refusal
    return Written(id, None)


def new_api_token() -> str:
    """A token that nobody can guess, and that scanners for leaked secrets recognise."""
    return API_TOKEN_PREFIX + token_urlsafe(SECRET_BYTES)
