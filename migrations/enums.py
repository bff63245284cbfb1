"""Comparing the labels of enums, which Alembic leaves out."""

from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import comparators
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops

_LABELS = sa.text(
    "select typname, array_agg(enumlabel::text order by enumsortorder) from pg_enum"
    " join pg_type on pg_type.oid = enumtypid where typnamespace = current_schema()::regnamespace group by typname"
)


class AddLabel(ops.ExecuteSQLOp):
    """A label that an enum gains. Going back leaves it there, because Postgres cannot drop labels."""

    def __init__(self, enum: str, label: str, place: str) -> None:
        super().__init__(f"alter type {enum} add value if not exists '{label}' {place}")

    def reverse(self) -> ops.MigrateOperation:
        """Nothing to do."""
        return ops.ModifyTableOps("", [])


@comparators.dispatch_for("schema")
def compare_enum_labels(context: AutogenContext, upgrade_ops: ops.UpgradeOps, schemas: Any) -> None:
    """Add the labels that are new. Postgres cannot drop or reorder labels, so that is refused: write it by hand."""
    if context.connection is None or not isinstance(context.metadata, sa.MetaData):
        return  # Alembic writes SQL without a database, or without tables to compare.
    stored = {name: list(labels) for name, labels in context.connection.execute(_LABELS)}
    for enum in declared_enums(context.metadata):
        labels = stored.get(enum.name or "", enum.enums)
        if [label for label in enum.enums if label in labels] != labels:
            raise ValueError(f"The labels of {enum.name} were {labels} and are {enum.enums}: write this change by hand")
        for position, label in enumerate(enum.enums):
            if label not in labels:
                place = f"after '{enum.enums[position - 1]}'" if position else f"before '{labels[0]}'"
                upgrade_ops.ops.append(AddLabel(enum.name or "", label, place))


def declared_enums(metadata: sa.MetaData) -> list[sa.Enum]:
    """The Postgres enums of the tables, by name."""
    found = {
        column.type.name: column.type
        for table in metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, sa.Enum)
    }
    return [found[name] for name in sorted(filter(None, found))]
