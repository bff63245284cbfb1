"""The rows that an action starts from, with errors that lead to the field that named them."""

from uuid import UUID

from sqlalchemy import RowMapping, Table, select

from db.database import Transaction
from db.nouns import noun
from domain.errors import Conflict, NotFound, ValidationFailed


async def lock(tx: Transaction, table: Table, id: UUID, *path: str) -> RowMapping:
    """The row that the action changes, which nobody else changes meanwhile. Raises NotFound."""
    try:
        return await tx.lock(table, id)
    except NotFound as missing:
        raise NotFound(missing.noun, id, path) from missing


async def get(tx: Transaction, table: Table, id: UUID, *path: str) -> RowMapping:
    """The row that the action is about. Raises NotFound."""
    row = await tx.get(table, id)
    if row is None:
        raise NotFound(noun(table), id, path)
    return row


async def required(tx: Transaction, table: Table, id: UUID, *path: str) -> RowMapping:
    """The row (`id`, `name`) that an input points at, there until the transaction ends. Raises ValidationFailed."""
    statement = select(table.c.id, table.c.name).where(table.c.id == id).with_for_update(read=True, key_share=True)
    row = (await tx.execute(statement)).mappings().first()
    if row is None:
        raise ValidationFailed(f"There is no {noun(table)} {id}", path)
    return row


async def optional(tx: Transaction, table: Table, id: UUID | None, *path: str) -> RowMapping | None:
    """The row that an input points at, or None when it points at nothing. Raises ValidationFailed."""
    return None if id is None else await required(tx, table, id, *path)


def require_version(row: RowMapping, expected_version: int | None, subject: str) -> None:
    """Raise Conflict when the row has moved on since its reader saw `expected_version`. `subject` starts a sentence."""
    if expected_version is not None and expected_version != row["version"]:
        raise Conflict(
            f"{subject} is at version {row['version']} now, not {expected_version}: read it again and decide anew",
            row["version"],
            ("expectedVersion",),
        )
