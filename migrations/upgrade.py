"""Bringing a database to the tables that this version of the program wants, and back."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from db.connecting import driver_url, milliseconds, open_connection
from migrations.compatibility import remember, remembered

# One lock for all who migrate this database, in the space of numbers that nobody else's lock is likely to use.
LOCK = 0x52_53_6D_69_67_72_61_74
_POLL_SECONDS = 0.2
_LOCK_SECONDS = 3.0  # How long a migration makes everybody wait who needs a table that it waits for.
_PAUSE_SECONDS = 1.0
_ATTEMPTS = 30


class MigrationError(Exception):
    """The database cannot be brought to the wanted revision; says why, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One migration of several was applied."""

    number: int
    total: int
    revision: str
    description: str


async def upgrade(url: str, revision: str = "head", progress: Callable[[Step], None] | None = None) -> list[str]:
    """Apply the migrations up to a revision, each in a transaction, and return the revisions that were applied.

    Safe when several processes do it at once: one migrates, the others wait and find nothing left to do. Raises
    MigrationError, and DatabaseUnavailable.

    Nothing is applied to a database that a newer version has migrated, on which this one can still run.
    """
    return await _migrate(url, command.upgrade, revision, progress)


async def downgrade(url: str, revision: str, progress: Callable[[Step], None] | None = None) -> list[str]:
    """Take back the migrations after a revision ("base": all of them) with the data that only they can hold."""
    return await _migrate(url, command.downgrade, revision, progress)


async def current(url: str) -> str | None:
    """The revision that the database is at, or None for one that was never migrated."""
    async with connect(url) as connection:
        return await connection.run_sync(_current)


def head() -> str:
    """The newest revision, which this version of the program needs."""
    revision = ScriptDirectory.from_config(configuration()).get_current_head()
    if revision is None:
        raise MigrationError("There are no migrations")
    return revision


def configuration(**attributes: Any) -> Config:
    """Alembic's configuration, which needs no file."""
    config = Config(attributes=attributes)
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return config


@asynccontextmanager
async def connect(url: str) -> AsyncGenerator[AsyncConnection]:
    address = driver_url(url)

    async def open_for_migrations() -> asyncpg.Connection:
        # A migration takes as long as it takes, whatever the server's own limits for statements.
        settings = {"statement_timeout": "0", "lock_timeout": milliseconds(_LOCK_SECONDS)}
        return await open_connection(address, connection_class=asyncpg.Connection, settings=settings)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=open_for_migrations, poolclass=NullPool)
    async with engine.connect() as connection:
        yield connection


async def _migrate(
    url: str, run: Callable[[Config, str], None], revision: str, progress: Callable[[Step], None] | None
) -> list[str]:
    for _ in range(_ATTEMPTS - 1):
        try:
            return await _try(url, run, revision, progress)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != asyncpg.LockNotAvailableError.sqlstate:
                raise
        # Whoever waits for a table makes all others wait behind it: better to let them through, and try again.
        await asyncio.sleep(_PAUSE_SECONDS)
    return await _try(url, run, revision, progress)


async def _try(
    url: str, run: Callable[[Config, str], None], revision: str, progress: Callable[[Step], None] | None
) -> list[str]:
    async with connect(url) as connection, _lock(connection):
        return await connection.run_sync(_apply, run, revision, progress)


@asynccontextmanager
async def _lock(connection: AsyncConnection) -> AsyncGenerator[None]:
    # Asked for again and again rather than waited for: a waiting statement holds a snapshot, and the migration that is
    # waited for may itself wait for all snapshots to end (CREATE INDEX CONCURRENTLY).
    while not await _ask(connection, f"select pg_try_advisory_lock({LOCK})"):  # noqa: ASYNC110  # it is another process
        await asyncio.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        if not connection.invalidated:
            await _ask(connection, f"select pg_advisory_unlock({LOCK})")


async def _ask(connection: AsyncConnection, question: str) -> bool:
    answer: bool = (await connection.execute(text(question))).scalar_one()
    await connection.commit()
    return answer


def _apply(
    connection: Connection,
    run: Callable[[Config, str], None],
    revision: str,
    progress: Callable[[Step], None] | None,
) -> list[str]:
    applied: list[str] = []

    def on_version_apply(*, ctx: Any, step: Any, heads: set[str], **_: Any) -> None:
        script = step.up_revision
        applied.append(script.revision)
        remember(ctx.connection, scripts, next(iter(heads), None))
        if progress is not None:
            progress(Step(len(applied), total, script.revision, script.doc))

    config = configuration(connection=connection, on_version_apply=on_version_apply)
    scripts = ScriptDirectory.from_config(config)
    found = _current(connection)
    known = {script.revision for script in scripts.walk_revisions()}
    if found is not None and found not in known:
        if run is command.upgrade and remembered(connection) in known:
            return []
        raise MigrationError(
            f"The database is at revision {found}, which this version does not know: a newer version migrated it, and "
            "this one cannot run on it any more. Use that version, or restore the backup made before."
        )
    try:
        ends = (revision, found) if run is command.upgrade else (found, revision)
        total = sum(1 for _ in scripts.iterate_revisions(*ends, implicit_base=True)) if found != revision else 0
        run(config, revision)
    except (CommandError, RevisionError) as error:
        raise MigrationError(f"The database cannot be brought to revision {revision}: {error}") from error
    return applied


def _current(connection: Connection) -> str | None:
    revision = MigrationContext.configure(connection).get_current_revision()
    connection.commit()
    return revision
