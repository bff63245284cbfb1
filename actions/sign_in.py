"""Signing in and out: sessions, passwords, and how often somebody tried.

A session is a family of refresh tokens, of which the newest alone is good for another access token. When one comes for
the second time, somebody has a copy, and nobody knows who is who: the whole family ends (RFC 9700, section 4.14.2).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import RowMapping, case, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from actions.recording import audit
from actions.rows import get, lock
from db.arrays import among
from db.credentials import refresh_tokens, sign_in_attempts, signing_keys
from db.database import Transaction
from db.identifiers import new_id
from db.people import users
from domain.access import Actor, Role
from domain.errors import NotFound
from domain.people import could_be_an_address, is_same_address

WINDOW: Final = timedelta(minutes=5)
"""How long attempts to sign in are counted together."""


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has signed in, until when the session can be continued."""

    id: UUID
    user_id: UUID
    name: str
    role: Role
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SignInUser:
    """A user as signing in needs them."""

    id: UUID
    name: str
    role: Role
    password_hash: str | None
    is_active: bool


async def count_attempt(tx: Transaction, keys: dict[bytes, int]) -> float:
    """Count an attempt for each key, and return for how many seconds none is allowed, 0 where this one is.

    `keys` are keys with how many attempts each has within WINDOW. What is not allowed is not counted either, so that
    whoever goes on trying does not keep others out for ever.
    """
    blocked_seconds = 0.0
    for key, most in sorted(keys.items()):  # in one order, so that no two wait for each other
        stored = sign_in_attempts.c
        is_over = stored.since <= tx.now - WINDOW
        row = insert(sign_in_attempts).values(key=key, attempts=1, since=tx.now)
        row = row.on_conflict_do_update(
            index_elements=[stored.key],
            set_={
                "attempts": case((is_over, 1), else_=func.least(stored.attempts + 1, most + 1)),
                "since": case((is_over, tx.now), else_=stored.since),
            },
        )
        counted = (await tx.execute(row.returning(stored.attempts, stored.since))).one()
        if counted.attempts > most:
            blocked_seconds = max(blocked_seconds, (counted.since + WINDOW - tx.now).total_seconds())
    return blocked_seconds


async def forget_attempts(tx: Transaction, keys: list[bytes]) -> None:
    """Count no attempts any more that turned out to be somebody's own."""
    lowered = update(sign_in_attempts).where(among(sign_in_attempts.c.key, keys), sign_in_attempts.c.attempts > 0)
    await tx.execute(lowered.values(attempts=sign_in_attempts.c.attempts - 1))


async def find_user(tx: Transaction, email: str) -> SignInUser | None:
    """The user with an address, in any case."""
    if not could_be_an_address(email):
        return None
    wanted = select(users.c.id, users.c.name, users.c.role, users.c.password_hash, users.c.is_active, users.c.email)
    row = (await tx.execute(wanted.where(func.lower(users.c.email) == func.lower(email)))).one_or_none()
    if row is None or not is_same_address(row.email, email):
        return None
    return SignInUser(row.id, row.name, row.role, row.password_hash, row.is_active)


async def fail(tx: Transaction, user_id: UUID | None, *, actor: Actor) -> None:
    """Write down that somebody tried in vain. Names that are nobody's are not kept: people type passwords there."""
    await audit(tx, actor=actor, action="user.sign_in_failed", subject_id=user_id)


async def fail_to_change_password(tx: Transaction, user_id: UUID, *, actor: Actor) -> None:
    """Write down that somebody did not know the password that they wanted to change."""
    await audit(tx, actor=actor, action="user.set_password_failed", subject_id=user_id)


async def start_session(
    tx: Transaction,
    user: SignInUser,
    token_hash: bytes,
    *,
    expires_at: datetime,
    new_hash: str | None,
    actor: Actor,
) -> Session | None:
    """Begin a session for whoever has shown the password of `user`; None where that holds no more.

    It takes a while to compare passwords, and meanwhile somebody may have changed this one, or disabled the user.
    `new_hash` replaces a hash of the password that was made with other parameters.
    """
    user_id, found = user.id, await _alone(tx, user.id)
    if found is None or not found["is_active"] or found["password_hash"] != user.password_hash:
        return None
    if new_hash is not None:
        await tx.execute(update(users).where(users.c.id == user_id).values(password_hash=new_hash))
    family_id = new_id()
    await _add_token(tx, user_id, family_id, token_hash, expires_at)
    await audit(tx, actor=actor, action="user.sign_in", subject_id=user_id)
    return Session(family_id, user_id, found["name"], found["role"], expires_at)


async def continue_session(
    tx: Transaction, token_hash: bytes, next_hash: bytes, *, expires_at: datetime, actor: Actor
) -> Session | None:
    """Exchange a refresh token for the next one of its session; None where it is no good.

    One that was exchanged before ends its session.
    """
    family = await session_of(tx, token_hash)
    user = None if family is None else await _alone(tx, family["user_id"])
    wanted = select(refresh_tokens).where(refresh_tokens.c.token_hash == token_hash)
    token = (await tx.execute(wanted)).mappings().one_or_none()
    if token is None or token["revoked_at"] is not None or token["expires_at"] <= tx.now:
        return None
    if token["used_at"] is not None:
        await _end(tx, token["family_id"])
        await audit(tx, actor=actor, action="user.refresh_token_reused", subject_id=token["user_id"])
        return None
    if user is None or not user["is_active"]:
        return None
    await tx.execute(update(refresh_tokens).where(refresh_tokens.c.id == token["id"]).values(used_at=tx.now))
    await _add_token(tx, token["user_id"], token["family_id"], next_hash, expires_at)
    return Session(token["family_id"], user["id"], user["name"], user["role"], expires_at)


async def end_session(tx: Transaction, session_id: UUID, *, actor: Actor) -> None:
    """Sign out: neither the session's refresh tokens nor its access tokens are good for anything any more."""
    whose = select(refresh_tokens.c.user_id).where(refresh_tokens.c.family_id == session_id).limit(1)
    if (owner := (await tx.execute(whose)).scalar_one_or_none()) is not None:
        await _alone(tx, owner)
    if (user_id := await _end(tx, session_id)) is not None:
        await audit(tx, actor=actor, action="user.sign_out", subject_id=user_id)


async def user_of(tx: Transaction, user_id: UUID) -> RowMapping:
    """A user's row. Raises NotFound."""
    return await get(tx, users, user_id)


async def session_of(tx: Transaction, token_hash: bytes) -> RowMapping | None:
    """The session (`family_id`, `user_id`) that a refresh token belongs to, whether or not it is good."""
    wanted = select(refresh_tokens.c.family_id, refresh_tokens.c.user_id)
    return (await tx.execute(wanted.where(refresh_tokens.c.token_hash == token_hash))).mappings().one_or_none()


async def set_password(
    tx: Transaction, user_id: UUID, password_hash: str, *, actor: Actor, keep: UUID | None = None
) -> None:
    """Give a user another password, and end their sessions but the one to `keep`. Raises NotFound."""
    await lock(tx, users, user_id)
    await tx.execute(update(users).where(users.c.id == user_id).values(password_hash=password_hash, updated_at=tx.now))
    await _end_all(tx, user_id, keep)
    await audit(tx, actor=actor, action="user.set_password", subject_id=user_id)


async def set_active(tx: Transaction, user_id: UUID, is_active: bool, *, actor: Actor) -> None:
    """Let a user in, or no longer: then their sessions end, and their API tokens do not work. Raises NotFound."""
    user = await lock(tx, users, user_id)
    if user["is_active"] == is_active:
        return
    await tx.update(users, user, is_active=is_active)
    if not is_active:
        await _end_all(tx, user_id, None)
    action = "user.enable" if is_active else "user.disable"
    before, after = {"is_active": not is_active}, {"is_active": is_active}
    await audit(tx, actor=actor, action=action, subject_id=user_id, before=before, after=after)


async def set_role(tx: Transaction, user_id: UUID, role: Role, *, actor: Actor) -> None:
    """Let a user do more, or less. Raises NotFound."""
    user = await lock(tx, users, user_id)
    changes = await tx.update(users, user, role=role)
    if changes:
        before, after = {"role": user["role"]}, {"role": role}
        await audit(tx, actor=actor, action="user.set_role", subject_id=user_id, before=before, after=after)


async def signing_key(tx: Transaction, name: str, candidate: bytes) -> tuple[bytes, bool]:
    """The key with this name, made of `candidate` where there was none; and whether that was so."""
    row = insert(signing_keys).values(name=name, secret=candidate, created_at=tx.now)
    is_new = (await tx.execute(row.on_conflict_do_nothing().returning(signing_keys.c.name))).first() is not None
    secret = (await tx.execute(select(signing_keys.c.secret).where(signing_keys.c.name == name))).scalar_one()
    return bytes(secret), is_new


async def has_signing_key(tx: Transaction, name: str) -> bool:
    """Whether there is a key with this name."""
    wanted = select(signing_keys.c.name).where(signing_keys.c.name == name)
    return (await tx.execute(wanted)).first() is not None


async def anybody_has_a_password(tx: Transaction) -> bool:
    """Whether there is a user who could sign in."""
    wanted = select(users.c.id).where(users.c.password_hash.is_not(None)).limit(1)
    return (await tx.execute(wanted)).first() is not None


async def forget_sign_ins(tx: Transaction, *, most: int) -> int:
    """Delete attempts and refresh tokens that say nothing any more; return how many rows that were."""
    attempts = select(sign_in_attempts.c.key).where(sign_in_attempts.c.since <= tx.now - WINDOW).limit(most)
    tokens = select(refresh_tokens.c.id).where(refresh_tokens.c.expires_at <= tx.now).limit(most)
    forgotten = (await tx.execute(delete(sign_in_attempts).where(sign_in_attempts.c.key.in_(attempts)))).rowcount
    return forgotten + (await tx.execute(delete(refresh_tokens).where(refresh_tokens.c.id.in_(tokens)))).rowcount


async def _alone(tx: Transaction, user_id: UUID) -> RowMapping | None:
    """A user, whose sessions nobody else continues or ends until the transaction ends.

    Otherwise the token that follows another in this moment would not be seen by who ends the session.
    """
    try:
        return await tx.lock(users, user_id)
    except NotFound:
        return None


async def _add_token(tx: Transaction, user_id: UUID, family_id: UUID, token_hash: bytes, expires_at: datetime) -> None:
    await tx.insert(refresh_tokens, user_id=user_id, family_id=family_id, token_hash=token_hash, expires_at=expires_at)


async def _end(tx: Transaction, family_id: UUID) -> UUID | None:
    """End a session, and return whose it was, where it had not ended before."""
    open_ones = (refresh_tokens.c.family_id == family_id, refresh_tokens.c.revoked_at.is_(None))
    ended = update(refresh_tokens).where(*open_ones).values(revoked_at=tx.now).returning(refresh_tokens.c.user_id)
    return next(iter((await tx.execute(ended)).scalars()), None)


async def _end_all(tx: Transaction, user_id: UUID, keep: UUID | None) -> None:
    theirs = (refresh_tokens.c.user_id == user_id, refresh_tokens.c.revoked_at.is_(None))
    ended = update(refresh_tokens).where(*theirs).values(revoked_at=tx.now)
    await tx.execute(ended if keep is None else ended.where(refresh_tokens.c.family_id != keep))
