"""What is not kept for ever."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, select, text, tuple_

from actions.idempotency import REMEMBERED_FOR
from actions.jobs import forget_jobs
from actions.sign_in import forget_sign_ins
from db.audit import KEPT_SINCE, audit_log
from db.database import Transaction
from db.event_log import FORGET_SQL, RETENTION_LOCK
from db.idempotency import idempotency_keys
from db.slos import slo_slices

BATCH_ROWS: Final = 5_000
SLICES_KEPT_FOR: Final = timedelta(days=400)
"""The longest window of an SLO, and a month to look back from its start."""

JOBS_KEPT_FOR: Final = timedelta(days=30)
"""After their end: long enough to ask why one failed."""

LEAST_AUDIT: Final = timedelta(days=30)
"""For how long the database itself refuses to forget entries of the audit log."""


async def forget_events(tx: Transaction, *, recorded_before: datetime, most: int = BATCH_ROWS) -> int:
    """Delete up to `most` of the oldest events of the log, without a gap; return how many.

    Positions go on where they were, even when none is left: whoever resumes from a forgotten one is told so. Does
    nothing while another process is at it.
    """
    if not await _is_alone(tx):
        return 0
    return (await tx.execute(text(FORGET_SQL), {"recorded_before": recorded_before, "most": most})).rowcount


async def forget_keys(tx: Transaction, *, most: int = BATCH_ROWS) -> int:
    """Delete up to `most` of the idempotency keys that are remembered no longer; return how many.

    Does nothing while another process is at it.
    """
    if not await _is_alone(tx):
        return 0
    stored = idempotency_keys.c
    old = select(stored.scope, stored.key).where(stored.created_at <= tx.now - REMEMBERED_FOR)
    old = old.order_by(stored.created_at).limit(most)
    return (await tx.execute(delete(idempotency_keys).where(tuple_(stored.scope, stored.key).in_(old)))).rowcount


async def forget_proofs(tx: Transaction, *, most: int = BATCH_ROWS) -> int:
    """Delete up to `most` attempts to sign in, and refresh tokens, that say nothing any more; return how many.

    Does nothing while another process is at it.
    """
    return await forget_sign_ins(tx, most=most) if await _is_alone(tx) else 0


async def forget_slices(tx: Transaction, *, most: int = BATCH_ROWS) -> int:
    """Delete up to `most` days of slices of SLOs that are older than the longest window; return how many.

    Does nothing while another process is at it.
    """
    if not await _is_alone(tx):
        return 0
    kept = slo_slices.c
    old = select(kept.slo_id, kept.group_key, kept.day).where(kept.day < (tx.now - SLICES_KEPT_FOR).date())
    old = old.order_by(kept.day).limit(most)
    key = tuple_(kept.slo_id, kept.group_key, kept.day)
    return (await tx.execute(delete(slo_slices).where(key.in_(old)))).rowcount


async def forget_ended_jobs(tx: Transaction, *, most: int = BATCH_ROWS) -> int:
    """Delete up to `most` jobs that ended long ago; return how many. Does nothing while another process is at it."""
    return await forget_jobs(tx, finished_before=tx.now - JOBS_KEPT_FOR, most=most) if await _is_alone(tx) else 0


async def forget_audit_entries(tx: Transaction, *, occurred_before: datetime, most: int = BATCH_ROWS) -> int:
    """Delete up to `most` of the oldest entries of the audit log, but none of the last 30 days; return how many.

    Does nothing while another process is at it.
    """
    if not await _is_alone(tx):
        return 0
    before = occurred_before.isoformat()
    await tx.execute(select(func.set_config(KEPT_SINCE, before, True)))
    entry = audit_log.c
    old = select(entry.id).where(entry.occurred_at < occurred_before, entry.occurred_at < func.now() - LEAST_AUDIT)
    old = old.order_by(entry.occurred_at).limit(most)
    forgotten = (await tx.execute(delete(audit_log).where(entry.id.in_(old)))).rowcount
    await tx.execute(select(func.set_config(KEPT_SINCE, "", True)))
    return forgotten


async def _is_alone(tx: Transaction) -> bool:
    lock = text("select pg_try_advisory_xact_lock(:lock)")
    is_ours: bool = (await tx.execute(lock, {"lock": RETENTION_LOCK})).scalar_one()
    return is_ours
