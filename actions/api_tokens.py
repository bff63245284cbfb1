"""Tokens for machines. They belong to a user, and may do no more than that user and their own scopes allow."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import func, select, update

from actions.recording import audit
from actions.rows import lock
from db.credentials import api_tokens
from db.database import Transaction
from db.people import users
from domain import text
from domain.access import Actor, Permission, Role, TokenScope, permits
from domain.credentials import MOST_TOKEN_DAYS, require_may_hand_on, token_scopes
from domain.errors import Conflict, Forbidden, NotFound, ValidationFailed
from domain.permissions import ADMINISTRATION

MOST_TOKENS: Final = 100
"""How many tokens one user has at the same time."""


async def create_api_token(
    tx: Transaction,
    name: object,
    scopes: Sequence[TokenScope],
    *,
    user_id: UUID | None,
    token_hash: bytes,
    expires_in_days: int | None,
    actor: Actor,
) -> UUID:
    """Make a token of which only the hash is known here. Raises ValidationFailed, Forbidden, Conflict, NotFound."""
    if user_id is None:
        raise ValidationFailed("A token belongs to a user, and you are none here: ask an admin to add you")
    chosen = token_scopes(scopes, "scopes")
    if expires_in_days is not None and not 1 <= expires_in_days <= MOST_TOKEN_DAYS:
        raise ValidationFailed(f"A token expires in 1 to {MOST_TOKEN_DAYS} days, or never", ("expiresInDays",))
    expires_at = None if expires_in_days is None else tx.now + timedelta(days=expires_in_days)
    require_may_hand_on(actor, chosen, expires_at)
    owner = await lock(tx, users, user_id)
    if not permits(actor.role, None, Permission(Role(owner["role"]), None)):
        raise Forbidden(
            f"The token would act with the role {owner['role']}, and whoever vouches for you says that yours is "
            f"{actor.role}: ask an admin"
        )
    held = select(func.count()).where(api_tokens.c.user_id == user_id, api_tokens.c.revoked_at.is_(None))
    if (await tx.execute(held)).scalar_one() >= MOST_TOKENS:
        raise Conflict(f"A user has {MOST_TOKENS} tokens at most: revoke one that is not needed")
    values = {
        "name": text.name(name, "Name", "name"),
        "scopes": [scope.value for scope in chosen],
        "expires_at": expires_at,
    }
    row = await tx.insert(api_tokens, user_id=user_id, token_hash=token_hash, **values)
    id: UUID = row["id"]
    await audit(tx, actor=actor, action="api_token.create", subject_id=id, after={"user_id": user_id, **values})
    return id


async def revoke_api_token(tx: Transaction, id: UUID, *, actor: Actor) -> UUID:
    """End a token. One that has ended stays as it is. Raises NotFound, also for tokens of others, but for admins."""
    token = await lock(tx, api_tokens, id, "id")
    if token["user_id"] != actor.id and not permits(actor.role, actor.scopes, ADMINISTRATION):
        raise NotFound("API token", id, ("id",))
    if token["revoked_at"] is None:
        await tx.execute(update(api_tokens).where(api_tokens.c.id == id).values(revoked_at=tx.now))
        before = {"user_id": token["user_id"], "name": token["name"], "scopes": token["scopes"]}
        await audit(tx, actor=actor, action="api_token.revoke", subject_id=id, before=before)
    return id


async def mark_used(tx: Transaction, id: UUID) -> None:
    """Remember that a token was used now."""
    await tx.execute(update(api_tokens).where(api_tokens.c.id == id).values(last_used_at=tx.now))
