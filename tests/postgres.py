"""What every test can ask for: one Postgres per session, one migrated database per test."""

import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from db.database import Database
from db.embedded import EmbeddedPostgres
from migrations.upgrade import upgrade

# Nothing of a test's outlives it, so nothing has to survive a power cut.
FORGETFUL = {
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_senders": "0",
    "synchronous_commit": "off",
    "wal_level": "minimal",
}
TEMPLATE = "migrated"

LOCK_INCIDENTS = "begin; lock table incidents in access exclusive mode"
# A job of the server's own may wait as well, to commit: that takes another lock.
READERS_OF_INCIDENTS_THAT_WAIT = """
    select count(*) from pg_locks join pg_database on pg_database.oid = database
    where datname = current_database() and relation = 'incidents'::regclass and mode = 'AccessShareLock' and not granted
"""

_numbers = count(1)


@pytest.fixture(scope="session")
def session_folder() -> Iterator[Path]:
    """A folder that the account of an embedded Postgres can enter: pytest's own are closed to it when root runs it."""
    with tempfile.TemporaryDirectory(prefix="reliability-studio-tests-", dir=_memory()) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def folder(session_folder: Path) -> Iterator[Path]:
    """A name for a new folder, which does not exist yet and is gone afterwards."""
    path = session_folder / f"folder-{next(_numbers)}"
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
async def postgres(session_folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """The Postgres of this session, with a migrated database to copy."""
    async with EmbeddedPostgres(session_folder / "postgres", settings=FORGETFUL) as server:
        await run_sql(server.url, f"create database {TEMPLATE}")
        await upgrade(server.url_of(TEMPLATE))
        yield server


@pytest.fixture
async def empty_database_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """The URL of a new database without tables."""
    name = f"empty_{next(_numbers)}"
    await run_sql(postgres.url, f"create database {name}")
    yield postgres.url_of(name)
    await run_sql(postgres.url, f"drop database {name} with (force)")


@pytest.fixture
async def database_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """The URL of a new, migrated database."""
    name = f"test_{next(_numbers)}"
    await run_sql(postgres.url, f"create database {name} template {TEMPLATE} strategy file_copy")
    yield postgres.url_of(name)
    await run_sql(postgres.url, f"drop database {name} with (force)")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A new, migrated database, connected."""
    connected = await Database.connect(database_url)
    yield connected
    await connected.close()


def _memory() -> Path | None:
    """Where files are kept in memory, if there is enough of it: databases are made there several times as fast."""
    path = Path("/dev/shm")  # noqa: S108  # a folder with a name of its own is made in it
    return path if path.is_dir() and shutil.disk_usage(path).free > 2 * 1024**3 else None


async def run_sql(url: str, sql: str) -> None:
    """Run statements on a connection of their own, outside of any transaction."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


def crash(server: EmbeddedPostgres) -> None:
    """Stop a Postgres at once, as `pg_ctl stop -m immediate` does: no goodbyes, and recovery at the next start."""
    os.kill(int((server.cluster / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
