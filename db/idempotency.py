"""The first answer to each keyed request, so that a retry gets it again."""

from sqlalchemy import Column, Index, LargeBinary, Table, Text, Uuid

from db.columns import key, timestamp
from db.metadata import metadata

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("scope", Text, primary_key=True),
    *key("key", primary_key=True),
    Column("input_digest", LargeBinary, nullable=False),
    Column("answer_id", Uuid, nullable=False),
    timestamp("created_at"),
    Index(None, "created_at"),
)
