"""Background work, kept in Postgres: asked for in the transaction of whatever needs it, and claimed by any server.

For one kind and subject at most one job runs at a time, and at most one waits. A server claims a job for a while, and
renews the claim while it works; when it dies, the claim runs out and another server takes the job over. Claims are
timed by the database's clock, because servers' clocks differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import CursorResult, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from db.database import Transaction
from db.identifiers import new_id
from db.jobs import CLAIM_SQL, EXPIRE_SQL, FINISH_SQL, FORGET_SQL, HOLD_SQL, POSTPONE_SQL, RENEW_SQL, SCHEDULE_SQL, jobs
from domain.errors import Conflict
from domain.jobs import JobStatus
from domain.limits import TEXT_CHARACTERS
from domain.text import clipped
from domain.tracing import origin


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job: its `attempt` counts from 1."""

    id: UUID
    kind: str
    subject: str
    payload: Mapping[str, Any]
    attempt: int
    worker: str
    traceparent: str | None = None
    """The span that asked for it, where that was recorded."""
    was_left: bool = False
    """Whether another server died over it."""


async def enqueue(
    tx: Transaction,
    kind: str,
    subject: str,
    *,
    payload: Mapping[str, Any] | None = None,
    run_at: datetime | None = None,
) -> None:
    """Ask for work on a subject, as soon as this transaction has committed or at `run_at`.

    One that waits already is kept, takes the new payload and runs at the earlier of both times.
    """
    row = {
        "id": new_id(),
        "kind": kind,
        "subject": subject,
        "payload": dict(payload or {}),
        "run_at": run_at or tx.now,
        "created_at": tx.now,
        "traceparent": origin(),
    }
    statement = insert(jobs).values(row)
    sooner = text("least(jobs.run_at, excluded.run_at)")
    await tx.execute(
        statement.on_conflict_do_update(
            index_elements=["kind", "subject"],
            index_where=text("status = 'QUEUED'"),
            set_={
                "payload": statement.excluded.payload,
                "run_at": sooner,
                "traceparent": statement.excluded.traceparent,
            },
        )
    )


async def cancel(tx: Transaction, kind: str, subject: str) -> None:
    """Forget the job that waits; one that runs goes on."""
    await tx.execute(
        jobs.delete().where(jobs.c.kind == kind, jobs.c.subject == subject, jobs.c.status == JobStatus.QUEUED)
    )


async def schedule(tx: Transaction, kind: str, subject: str, *, run_at: datetime) -> None:
    """Make sure that recurring work is waiting, from `run_at` on where it is new, or running."""
    values = {"id": new_id(), "kind": kind, "subject": subject, "run_at": run_at, "now": tx.now}
    await tx.execute(text(SCHEDULE_SQL), values)


async def claim(tx: Transaction, kinds: Sequence[str], *, worker: str, lease_seconds: float, most: int) -> list[Job]:
    """Take up to `most` jobs that are due, those that wait longest first. Raises Conflict when others do the same."""
    await _execute(tx, EXPIRE_SQL, {})
    rows = await tx.execute(
        text(CLAIM_SQL),
        {
            "kinds": list(kinds),
            "now": tx.now,
            "worker": worker,
            "lease": timedelta(seconds=lease_seconds),
            "most": most,
        },
    )
    return [
        Job(row.id, row.kind, row.subject, row.payload, row.attempts, worker, row.traceparent, row.was_left)
        for row in rows
    ]


async def renew(tx: Transaction, job: Job, *, lease_seconds: float) -> bool:
    """Keep a job for longer. False when it was lost: another server may work on it by now."""
    values = {**_claim(job), "lease": timedelta(seconds=lease_seconds)}
    return (await tx.execute(text(RENEW_SQL), values)).rowcount == 1


async def hold(tx: Transaction, job: Job) -> None:
    """Make sure that what this transaction writes is written while the job is still ours. Raises Conflict."""
    if (await tx.execute(text(HOLD_SQL), _claim(job))).first() is None:
        raise Conflict("Another server has taken this work over")


async def finish(tx: Transaction, job: Job, *, next_run_at: datetime | None = None, error: str | None = None) -> bool:
    """The end of a job: done, failed for good with an `error`, or, where it recurs, waiting for its next time.

    False when the job was lost, and nothing was changed. Raises Conflict as `postpone` does.
    """
    values = {
        **_claim(job),
        "now": tx.now,
        "status": JobStatus.FAILED if error is not None else JobStatus.DONE,
        "error": None if error is None else clipped(error, TEXT_CHARACTERS),
    }
    if next_run_at is None:
        return (await tx.execute(text(FINISH_SQL), values)).rowcount == 1
    return await postpone(tx, job, run_at=next_run_at, error=error, attempts=0)


async def postpone(
    tx: Transaction, job: Job, *, run_at: datetime, error: str | None = None, attempts: int | None = None
) -> bool:
    """Let a job wait again, until `run_at`. When somebody has asked for the same meanwhile, that one waits instead.

    False when the job was lost. Raises Conflict when somebody asks for the same right now: then try again.
    """
    values = {
        **_claim(job),
        "now": tx.now,
        "run_at": run_at,
        "attempts": job.attempt if attempts is None else attempts,
        "error": None if error is None else clipped(error, TEXT_CHARACTERS),
    }
    return (await _execute(tx, POSTPONE_SQL, values)).rowcount == 1


async def forget_jobs(tx: Transaction, *, finished_before: datetime, most: int) -> int:
    """Delete up to `most` jobs that ended long ago; return how many."""
    return (await tx.execute(text(FORGET_SQL), {"finished_before": finished_before, "most": most})).rowcount


async def _execute(tx: Transaction, sql: str, values: Mapping[str, Any]) -> CursorResult[Any]:
    """Run a statement that may meet the same job, asked for or taken by a transaction that ends only now."""
    try:
        return await tx.execute(text(sql), values)
    except IntegrityError as error:
        raise Conflict("The same work was asked for or taken at this moment, try again") from error


def _claim(job: Job) -> dict[str, Any]:
    return {"id": job.id, "worker": job.worker, "attempt": job.attempt}
