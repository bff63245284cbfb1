"""Old and new programs on one database, side by side, while one replaces the other.

Migrations expand: they add, and leave everything that the program before them reads and writes as it is. What nothing
uses any more is taken away by a later one (contract), which says in `oldest_revision` which programs it needs: those
that know the revision since which it was not used. The database remembers that, and so tells a program that has never
heard of the newest migrations whether it can run all the same.
"""

from typing import Final

from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, text

SINCE: Final = "0016"
"""The revision that brought the table. Programs from before do not ask."""


def oldest_program(scripts: ScriptDirectory, revision: str | None) -> str | None:
    """The revision that a program has to know to run on the tables of a revision. None from before there was one."""
    applied: list[Script] = [] if revision is None else list(scripts.iterate_revisions(revision, "base"))
    if SINCE not in {script.revision for script in applied}:
        return None
    needs = (getattr(script.module, "oldest_revision", None) for script in applied)
    return next((each for each in needs if each is not None), SINCE)


def remember(connection: Connection, scripts: ScriptDirectory, revision: str | None) -> None:
    """Write down which programs can run on the tables of a revision, which has just been reached."""
    if (oldest := oldest_program(scripts, revision)) is not None:
        connection.execute(text("update schema_compatibility set oldest_revision = :oldest"), {"oldest": oldest})


def remembered(connection: Connection) -> str | None:
    """The revision that a program has to know to run on this database, if it says so."""
    if connection.execute(text("select to_regclass('schema_compatibility')")).scalar_one() is None:
        return None
    found: str | None = connection.execute(text("select oldest_revision from schema_compatibility")).scalar()
    return found
