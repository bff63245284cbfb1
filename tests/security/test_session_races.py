"""What happens to sessions at the same moment as something else."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import pytest
from argon2 import PasswordHasher

from actions.people import create_user
from actions.sign_in import (
    Session,
    SignInUser,
    continue_session,
    end_session,
    find_user,
    set_password,
    start_session,
)
from app.accounts import add_user, set_active
from app.accounts import set_password as set_password_of
from app.auth.passwords import Passwords
from app.auth.sessions import Lifetimes, Limits, Sessions, anonymous
from app.auth.tokens import HS256, Key
from app.settings import Settings
from db.database import Database, Transaction
from domain.access import Role
from domain.credentials import digest
from domain.errors import Unauthenticated
from tests.security.signing import ADA, PASSWORD, SECRET
from tests.waiting import until

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=1)
NOBODY = anonymous(None, "192.0.2.1")
WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


async def begun(database: Database) -> Session:
    """A session of ADA's, whose refresh token is "first"."""

    async def begin(tx: Transaction) -> Session | None:
        id = await create_user(tx, ADA, "Ada", actor=NOBODY)
        user = SignInUser(id, "Ada", Role.VIEWER, None, True)
        return await start_session(tx, user, digest("first"), expires_at=LATER, new_hash=None, actor=NOBODY)

    session = await database.transact(begin, now=NOW)
    assert session is not None
    return session


async def somebody_waits(database: Database) -> bool:
    async with database.reading() as connection:
        return bool((await connection.exec_driver_sql(WAITING)).scalar_one())


async def sign_out(tx: Transaction, session: Session) -> None:
    await end_session(tx, session.id, actor=NOBODY)


async def choose_another_password(tx: Transaction, session: Session) -> None:
    await set_password(tx, session.user_id, "another", actor=NOBODY)


@pytest.mark.parametrize("end", [sign_out, choose_another_password])
async def test_a_session_that_is_continued_while_it_is_ended_has_ended(database: Database, end):
    session = await begun(database)

    async def go_on(tx: Transaction, shown: str, following: str) -> Session | None:
        return await continue_session(tx, digest(shown), digest(following), expires_at=LATER, actor=NOBODY)

    async with database.writing(NOW) as tx:
        assert await go_on(tx, "first", "second") is not None
        ending = asyncio.create_task(database.transact(lambda other: end(other, session), now=NOW))
        await until(lambda: somebody_waits(database))
    await ending
    assert await database.transact(lambda tx: go_on(tx, "second", "third"), now=NOW) is None


class Slow(PasswordHasher):
    """Compares passwords for real, and does not say what came of it before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.has_compared, self.may_tell = threading.Event(), threading.Event()

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        """Compare them, and wait."""
        try:
            return super().verify(hash, password)
        finally:
            self.has_compared.set()
            assert self.may_tell.wait(timeout=60)


@asynccontextmanager
async def signing_in(database: Database) -> AsyncIterator[asyncio.Task[dict[str, Any]]]:
    """Ada signs in: while the block lasts, her password has been compared, and nothing been made of that yet."""
    hasher = Slow()
    lifetimes = Lifetimes(access=timedelta(minutes=1), refresh=timedelta(days=1))
    sessions = Sessions(
        database, Key(HS256, SECRET), Passwords(hasher), lifetimes, Limits(100, 100), now=lambda: datetime.now(UTC)
    )
    answer = asyncio.create_task(sessions.sign_in(ADA, PASSWORD, asker=NOBODY))
    try:
        await until(hasher.has_compared.is_set)
        yield answer
    finally:
        hasher.may_tell.set()


@pytest.mark.parametrize("what", ["another password", "disabled"])
async def test_a_password_that_is_good_no_more_when_it_has_been_compared_begins_no_session(
    database: Database, database_url: str, what: str
):
    settings = Settings(database_url=database_url)
    await add_user(settings, ADA, "Ada", Role.ADMIN, PASSWORD)
    async with signing_in(database) as answer:
        if what == "disabled":
            await set_active(settings, ADA, False)
        else:
            await set_password_of(settings, ADA, "another horse battery")
    with pytest.raises(Unauthenticated, match="The email or the password is wrong"):
        await answer
    async with database.reading() as connection:
        assert (await connection.exec_driver_sql("select count(*) from refresh_tokens")).scalar_one() == 0


async def test_a_hash_that_is_replaced_by_a_better_one_meanwhile_keeps_nobody_out(
    database: Database, database_url: str
):
    await add_user(Settings(database_url=database_url), ADA, "Ada", Role.ADMIN, PASSWORD)
    async with signing_in(database) as answer:
        user = await database.transact(lambda tx: find_user(tx, ADA), now=NOW)
        assert user is not None
        await rehash(database, user.id, PasswordHasher().hash(PASSWORD))
    assert (await answer)["user"]["name"] == "Ada"


async def rehash(database: Database, user_id: UUID, password_hash: str) -> None:
    await database.transact(lambda tx: set_password(tx, user_id, password_hash, actor=NOBODY), now=NOW)
