"""`python -m migrations.write "Add a column"`: a migration from what differs between the tables and the migrations."""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from alembic import command
from alembic.script import Script, ScriptDirectory

from db.embedded import EmbeddedPostgres
from migrations.upgrade import configuration, connect, upgrade


async def write(message: str, folder: Path) -> Path | None:
    """Write the migration with a throwaway Postgres in `folder`; return its file, or None when nothing differs."""
    async with EmbeddedPostgres(folder, settings={"fsync": "off"}) as postgres:
        await upgrade(postgres.url)
        async with connect(postgres.url) as connection:
            return await connection.run_sync(_write, message)


def _write(connection: Any, message: str) -> Path | None:
    config = configuration(connection=connection)
    numbers = [
        int(script.revision.partition("_")[0]) for script in ScriptDirectory.from_config(config).walk_revisions()
    ]

    def drop_empty(context: object, revision: object, directives: list[Any]) -> None:
        if directives[0].upgrade_ops.is_empty():
            directives.clear()

    script = command.revision(
        config,
        message,
        autogenerate=True,
        rev_id=f"{max(numbers, default=0) + 1:04}",
        process_revision_directives=drop_empty,
    )
    return Path(script.path) if isinstance(script, Script) else None


def main() -> None:
    """Write a migration and say where it is."""
    if len(sys.argv) != 2 or not sys.argv[1].strip():
        sys.exit('Say what the migration does: make migration MESSAGE="Add a column"')
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # As root, Postgres runs as another account.
        path = asyncio.run(write(sys.argv[1].strip().rstrip("."), Path(folder) / "postgres"))
    if path is None:
        sys.exit("Tables and migrations agree, there is nothing to write.")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.lstrip().startswith("# ###")))
    ruff = Path(sys.executable).with_name("ruff")
    subprocess.run([ruff, "check", "--select", "I", "--fix", "--quiet", path], check=True)  # noqa: S603  # our own
    subprocess.run([ruff, "format", "--quiet", path], check=True)  # noqa: S603  # our own
    sys.stdout.write(f"Written: {path}. Read it, and complete what Alembic cannot see (data, CHECK constraints).\n")


if __name__ == "__main__":
    main()
