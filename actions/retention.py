"""What is not kept for ever."""

from datetime import datetime
from typing import Final

from sqlalchemy import text

from db.database import Transaction
from db.event_log import FORGET_SQL, RETENTION_LOCK

BATCH_ROWS: Final = 5_000


async def forget_events(tx: Transaction, *, recorded_before: datetime, most: int = BATCH_ROWS) -> int:
    """Delete up to `most` of the oldest events of the log, without a gap; return how many.

    Positions go on where they were, even when none is left: whoever resumes from a forgotten one is told so. Does
    nothing while another process is at it.
    """
    if not (await tx.execute(text("select pg_try_advisory_xact_lock(:lock)"), {"lock": RETENTION_LOCK})).scalar_one():
        return 0
    return (await tx.execute(text(FORGET_SQL), {"recorded_before": recorded_before, "most": most})).rowcount
