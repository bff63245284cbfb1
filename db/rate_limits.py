"""What the processes of a fleet have taken from token buckets together."""

from collections.abc import Mapping

from sqlalchemy import Column, DateTime, Index, Table, Text, delete, func, text

from db.database import Transaction
from db.metadata import metadata

rate_limits = Table(
    "rate_limits",
    metadata,
    Column("key", Text, primary_key=True),
    # When the bucket will be full again (see engines/token_bucket.py).
    Column("full_at", DateTime(timezone=True), nullable=False),
    Index(None, "full_at"),
    # What is in it is worth nothing a minute later: no write-ahead log, and empty after a crash of Postgres.
    prefixes=["UNLOGGED"],
)

# Rows are locked in the order of their keys, so that two processes never wait for each other.
_TAKE = text(
    """
    insert into rate_limits as kept (key, full_at)
    select key, now() + make_interval(secs => seconds)
    from unnest(cast(:keys as text[]), cast(:seconds as double precision[])) as taken(key, seconds)
    order by key
    on conflict (key) do update
    set full_at = greatest(kept.full_at, now()) + (excluded.full_at - now())
    returning key, extract(epoch from full_at - now())::double precision as seconds
    """
)


async def take(tx: Transaction, taken: Mapping[str, float]) -> dict[str, float]:
    """Move the moments at which buckets are full again by so many seconds; return how far ahead of now they are."""
    rows = await tx.execute(_TAKE, {"keys": list(taken), "seconds": list(taken.values())})
    return {row.key: row.seconds for row in rows}


async def forget_full(tx: Transaction) -> None:
    """Remove the buckets that are full: to have none means the same."""
    await tx.execute(delete(rate_limits).where(rate_limits.c.full_at < func.now()))
