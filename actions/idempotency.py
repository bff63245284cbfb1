"""A retry of a creation gets the first answer instead of a second thing."""

from datetime import timedelta
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from db.database import Transaction
from db.idempotency import idempotency_keys
from domain import text
from domain.access import Actor
from domain.errors import IdempotencyKeyReused

REMEMBERED_FOR: Final = timedelta(hours=24)


async def first_answer(
    tx: Transaction, key: str | None, *, operation: str, input: Any, answer_id: UUID, actor: Actor
) -> UUID:
    """The id to answer with: `answer_id` when this request is the first with its key (or has none), else the id that
    the first one answered, and then there is nothing left to do.

    A key belongs to one actor and one operation. `input` is what was asked for, valid by now. While another
    transaction holds the key, this waits for its end. Raises IdempotencyKeyReused when the first request asked for
    something else, ValidationFailed for a key that is none.
    """
    if key is None:
        return answer_id
    row = {
        "scope": f"{actor.id or actor.name} {operation}",
        "key": text.key(key, "Idempotency key", "idempotencyKey"),
        "input_digest": sha256(orjson.dumps(input, option=orjson.OPT_SORT_KEYS)).digest(),
        "answer_id": answer_id,
        "created_at": tx.now,
    }
    stored = idempotency_keys.c
    claim = insert(idempotency_keys).values(row)
    forgotten = stored.created_at <= tx.now - REMEMBERED_FOR
    claim = claim.on_conflict_do_update(index_elements=["scope", "key"], set_=row, where=forgotten)
    if (await tx.execute(claim.returning(stored.answer_id))).first() is not None:
        return answer_id
    find = select(stored.answer_id, stored.input_digest)
    first = (await tx.execute(find.where(stored.scope == row["scope"], stored.key == row["key"]))).one()
    if first.input_digest != row["input_digest"]:
        raise IdempotencyKeyReused(
            "This idempotency key came before with another input: use a new key for a new request", ("idempotencyKey",)
        )
    known: UUID = first.answer_id
    return known
