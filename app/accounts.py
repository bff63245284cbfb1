"""What operators do with users and tokens at the command line, on the database that the settings name."""

from collections.abc import Awaitable, Callable
from secrets import token_urlsafe
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy import select

from actions import sign_in
from actions.api_tokens import create_api_token, revoke_api_token
from actions.people import create_user
from app.asgi import open_database
from app.auth.passwords import Passwords
from app.clock import now
from app.postgres import migrate, postgres
from app.settings import Settings
from db.credentials import api_tokens
from db.database import Transaction
from db.people import users
from domain.access import Actor, Role, TokenScope
from domain.credentials import digest, new_password
from domain.errors import NotFound
from resolvers.api_tokens import new_api_token

Result = TypeVar("Result")

_OPERATOR: Final = Actor(None, "command line", Role.ADMIN)


async def add_user(settings: Settings, email: str, name: str, role: Role, password: str | None) -> str:
    """Add a user and return their password, which is a new one where none is given.

    Raises ValidationFailed, Conflict, DatabaseUnavailable.
    """
    chosen = _chosen(password)
    password_hash = await _hash(chosen)

    async def add(tx: Transaction) -> None:
        id = await create_user(tx, email, name, role=role, actor=_OPERATOR)
        await sign_in.set_password(tx, id, password_hash, actor=_OPERATOR)

    await _write(settings, add)
    return chosen


async def set_password(settings: Settings, email: str, password: str | None) -> str:
    """Give a user another password and return it; their sessions end. Raises as `add_user` does, and NotFound."""
    chosen = _chosen(password)
    password_hash = await _hash(chosen)

    async def change(tx: Transaction) -> None:
        await sign_in.set_password(tx, await _user(tx, email), password_hash, actor=_OPERATOR)

    await _write(settings, change)
    return chosen


async def set_active(settings: Settings, email: str, is_active: bool) -> None:
    """Let a user in, or no longer. Raises NotFound, DatabaseUnavailable."""

    async def change(tx: Transaction) -> None:
        await sign_in.set_active(tx, await _user(tx, email), is_active, actor=_OPERATOR)

    await _write(settings, change)


async def set_role(settings: Settings, email: str, role: Role) -> None:
    """Let a user do more, or less. Raises NotFound, DatabaseUnavailable."""

    async def change(tx: Transaction) -> None:
        await sign_in.set_role(tx, await _user(tx, email), role, actor=_OPERATOR)

    await _write(settings, change)


async def add_token(
    settings: Settings, email: str, name: str, scopes: list[TokenScope], expires_in_days: int | None
) -> tuple[UUID, str]:
    """Make an API token of a user's; return its id and the token itself, which nobody can find out later.

    Raises ValidationFailed, Conflict, NotFound, DatabaseUnavailable.
    """
    secret = new_api_token()

    async def add(tx: Transaction) -> UUID:
        return await create_api_token(
            tx,
            name,
            scopes,
            user_id=await _user(tx, email),
            token_hash=digest(secret),
            expires_in_days=expires_in_days,
            actor=_OPERATOR,
        )

    return await _write(settings, add), secret


async def revoke_token(settings: Settings, id: UUID) -> None:
    """End an API token. Raises NotFound, DatabaseUnavailable."""

    async def end(tx: Transaction) -> None:
        await revoke_api_token(tx, id, actor=_OPERATOR)

    await _write(settings, end)


async def list_users(settings: Settings) -> list[tuple[str, ...]]:
    """Email, name, role, and whether they may come in and have a password. Raises DatabaseUnavailable."""
    wanted = select(users).order_by(users.c.email)

    async def read(tx: Transaction) -> list[tuple[str, ...]]:
        rows = (await tx.execute(wanted)).mappings()
        return [
            (
                row["email"],
                row["name"],
                row["role"].lower(),
                "yes" if row["is_active"] else "disabled",
                "yes" if row["password_hash"] else "no",
            )
            for row in rows
        ]

    return await _write(settings, read)


async def list_tokens(settings: Settings) -> list[tuple[str, ...]]:
    """Id, owner, name, scopes, and when each expires, was used last and was revoked. Raises DatabaseUnavailable."""
    tokens = api_tokens.c
    wanted = select(api_tokens, users.c.email).join(users, users.c.id == tokens.user_id).order_by(tokens.created_at)

    async def read(tx: Transaction) -> list[tuple[str, ...]]:
        rows = (await tx.execute(wanted)).mappings()
        times = ("expires_at", "last_used_at", "revoked_at")
        return [
            (
                str(row["id"]),
                row["email"],
                row["name"],
                " ".join(row["scopes"]),
                *("" if row[time] is None else f"{row[time]:%Y-%m-%d %H:%M}" for time in times),
            )
            for row in rows
        ]

    return await _write(settings, read)


def _chosen(password: str | None) -> str:
    return token_urlsafe(18) if password is None else new_password(password, "password")


async def _hash(password: str) -> str:
    passwords = Passwords()
    try:
        return await passwords.hash(password)
    finally:
        passwords.close()


async def _user(tx: Transaction, email: str) -> UUID:
    user = await sign_in.find_user(tx, email)
    if user is None:
        raise NotFound("user", email)
    return user.id


async def _write(settings: Settings, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
    async with postgres(settings) as found:
        await migrate(found.url)
        database = await open_database(settings, found.url)
        try:
            return await database.transact(work, now=now())
        finally:
            await database.close()
