"""A real standby of a real Postgres, by streaming replication."""

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from db.embedded import USER, EmbeddedPostgres
from db.embedded_programs import find_account, find_programs
from migrations.upgrade import upgrade
from tests.postgres import run_sql

REPLICATING = {"fsync": "off", "autovacuum": "off"}
"""Settings that let others follow."""


@dataclass(frozen=True)
class Pair:
    """A primary and its standby."""

    primary: EmbeddedPostgres
    standby: EmbeddedPostgres

    async def pause(self) -> None:
        """Let the standby fall behind."""
        await run_sql(self.standby.url, "select pg_wal_replay_pause()")

    async def resume(self) -> None:
        """Let it catch up."""
        await run_sql(self.standby.url, "select pg_wal_replay_resume()")


@asynccontextmanager
async def replicated(folder: Path) -> AsyncIterator[Pair]:
    """A migrated primary and a standby that follows it."""
    async with EmbeddedPostgres(folder / "primary", settings=REPLICATING) as primary:
        await upgrade(primary.url)
        async with standby_of(primary, folder / "standby") as standby:
            yield Pair(primary, standby)


@asynccontextmanager
async def standby_of(primary: EmbeddedPostgres, directory: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A standby that follows it."""
    _copy(primary, directory)
    async with EmbeddedPostgres(directory, settings=REPLICATING) as standby:
        yield standby


def _copy(primary: EmbeddedPostgres, directory: Path) -> None:
    """What `pg_basebackup` makes of it, set up to follow."""
    account = find_account(primary.cluster)
    directory.mkdir(mode=0o755)
    program = find_programs(account, primary.directory) / "pg_basebackup"
    if account is not None:
        os.chown(directory, account.uid, account.gid)
    subprocess.run(
        [program, "-D", directory / "cluster", "-h", primary.cluster, "-U", USER, "-R", "--checkpoint=fast"],
        check=True,
        capture_output=True,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        cwd=directory,
    )
    for copied in (directory / "cluster").glob(".s.PGSQL.*.lock"):
        copied.unlink()  # The primary's socket is in its folder, and so was copied with it.
