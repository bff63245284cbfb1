"""The tables as Python declares them and the tables as the migrations make them are the same."""

import enum
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations.ops import ExecuteSQLOp
from alembic.runtime.migration import MigrationContext

import migrations.enums  # noqa: F401  # teaches Alembic to compare the labels of enums
from db.tables import metadata
from migrations.upgrade import configuration, connect

Result = TypeVar("Result")

# Everything that a database knows about our tables, as it words it itself.
CATALOGS = {
    "columns": """
        select relname, attname, format_type(atttypid, atttypmod), attnotnull, attidentity::text, attgenerated::text,
            pg_get_expr(adbin, adrelid)
        from pg_attribute
            join pg_class on pg_class.oid = attrelid
            left join pg_attrdef on adrelid = attrelid and adnum = attnum
        where relnamespace = 'public'::regnamespace and relkind = 'r' and attnum > 0 and not attisdropped""",
    "constraints": """
        select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint
        where connamespace = 'public'::regnamespace""",
    "indexes": """
        select pg_get_indexdef(indexrelid) from pg_index join pg_class on pg_class.oid = indexrelid
        where relnamespace = 'public'::regnamespace""",
    "enums": """
        select enumtypid::regtype::text, array_agg(enumlabel::text order by enumsortorder) from pg_enum group by 1""",
}


async def run(url: str, work: Callable[[sa.Connection], Result]) -> Result:
    async with connect(url) as connection:
        result = await connection.run_sync(work)
        await connection.commit()
        return result


def read_catalogs(connection: sa.Connection) -> dict[str, set[Any]]:
    return {
        name: {
            tuple(tuple(value) if isinstance(value, list) else value for value in row)
            for row in connection.execute(sa.text(sql))
            if "alembic_version" not in str(row)
        }
        for name, sql in CATALOGS.items()
    }


async def test_migrations_make_exactly_the_declared_tables(database_url: str, empty_database_url: str) -> None:
    await run(empty_database_url, metadata.create_all)
    declared = await run(empty_database_url, read_catalogs)
    migrated = await run(database_url, read_catalogs)
    for catalog in CATALOGS:
        assert len(declared[catalog]) > 20
        assert declared[catalog] - migrated[catalog] == set(), f"{catalog} that no migration makes"
        assert migrated[catalog] - declared[catalog] == set(), f"{catalog} that db/ does not declare"


async def test_alembic_finds_nothing_to_migrate(database_url: str) -> None:
    await run(database_url, lambda connection: command.check(configuration(connection=connection)))


class Fruit(enum.Enum):
    APPLE = "apple"
    FIG = "fig"
    PEAR = "pear"


@pytest.mark.parametrize(
    ("stored", "added"),
    [
        ("'APPLE', 'FIG', 'PEAR'", []),
        ("'APPLE', 'PEAR'", ["alter type fruit add value if not exists 'FIG' after 'APPLE'"]),
        ("'FIG', 'PEAR'", ["alter type fruit add value if not exists 'APPLE' before 'FIG'"]),
        (
            "'APPLE'",
            [
                "alter type fruit add value if not exists 'FIG' after 'APPLE'",
                "alter type fruit add value if not exists 'PEAR' after 'FIG'",
            ],
        ),
    ],
)
async def test_a_label_that_an_enum_gained_becomes_a_migration(
    empty_database_url: str, stored: str, added: list[str]
) -> None:
    assert await run(empty_database_url, lambda connection: compare(connection, stored)) == added
    # What it says is also what Postgres understands.
    await run(empty_database_url, lambda connection: [connection.execute(sa.text(sql)) for sql in added])


@pytest.mark.parametrize("stored", ["'APPLE', 'KIWI', 'FIG', 'PEAR'", "'PEAR', 'FIG', 'APPLE'"])
async def test_a_label_that_an_enum_lost_or_moved_has_to_be_migrated_by_hand(
    empty_database_url: str, stored: str
) -> None:
    with pytest.raises(ValueError, match=r"The labels of fruit were .* write this change by hand"):
        await run(empty_database_url, lambda connection: compare(connection, stored))


def compare(connection: sa.Connection, stored: str) -> list[str]:
    """The statements that bring the enum `fruit` from its stored labels to the declared ones."""
    connection.execute(sa.text(f"create type fruit as enum ({stored})"))
    connection.execute(sa.text("create table basket (content fruit)"))
    declared = sa.MetaData()
    sa.Table("basket", declared, sa.Column("content", sa.Enum(Fruit, name="fruit")))
    script = produce_migrations(MigrationContext.configure(connection), declared)
    assert script.upgrade_ops is not None
    assert script.downgrade_ops is not None
    assert "op.drop_table" not in render_python_code(script.downgrade_ops)
    statements = [str(step.sqltext) for step in script.upgrade_ops.ops if isinstance(step, ExecuteSQLOp)]
    assert render_python_code(script.upgrade_ops).count("op.execute") == len(statements)
    return statements
