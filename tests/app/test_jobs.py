"""Background work: done by some server of the fleet, one at a time for each subject, whatever dies meanwhile."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from actions import jobs
from actions.jobs import Job
from app.jobs import Work, Workers
from db.database import Database
from db.jobs import jobs as table
from domain.errors import Conflict, ValidationFailed
from tests.waiting import until


class Clock:
    """The time, which only tests move."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def wait(self, **duration: float) -> None:
        self.time += timedelta(**duration)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@asynccontextmanager
async def working(
    database: Database, clock: Clock, works: Mapping[str, Work], *, name: str = "server 1", lease_seconds: float = 30
) -> AsyncGenerator[asyncio.Task[None]]:
    workers = Workers(database, works, name=name, now=clock, lease_seconds=lease_seconds, poll_seconds=0.01)
    task = asyncio.create_task(workers.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def work(run: Callable[[Job], Awaitable[None]], **options: Any) -> Work:
    return Work(run=run, timeout_seconds=options.pop("timeout_seconds", 20), **options)


async def enqueue(database: Database, clock: Clock, subject: str, **options: Any) -> None:
    async with database.writing(clock()) as tx:
        await jobs.enqueue(tx, "count", subject, **options)


async def rows(database: Database) -> list[dict[str, Any]]:
    async with database.reading() as connection:
        found = await connection.execute(select(table).order_by(table.c.subject, table.c.id))
        return [dict(row) for row in found.mappings()]


async def statuses(database: Database) -> list[str]:
    return [row["status"] for row in await rows(database)]


async def test_what_was_asked_for_is_done_with_its_payload(database: Database, clock: Clock) -> None:
    done: list[Job] = []

    async def run(job: Job) -> None:
        done.append(job)

    await enqueue(database, clock, "a", payload={"why": "new alerts"})
    async with working(database, clock, {"count": work(run)}):
        await until(lambda: _all(database, "DONE"))
    assert [(job.subject, job.payload, job.attempt) for job in done] == [("a", {"why": "new alerts"}, 1)]


async def _all(database: Database, status: str) -> bool:
    return {*await statuses(database)} == {status}


async def test_what_is_asked_for_twice_is_done_once_and_at_the_earlier_time(database: Database, clock: Clock) -> None:
    await enqueue(database, clock, "a", run_at=clock() + timedelta(minutes=5))
    await enqueue(database, clock, "a", run_at=clock() + timedelta(minutes=1), payload={"newest": True})
    await enqueue(database, clock, "a", run_at=clock() + timedelta(minutes=9))
    [waiting] = await rows(database)
    assert waiting["run_at"] == clock() + timedelta(minutes=1)


async def test_servers_never_work_on_one_subject_at_the_same_time(database: Database, clock: Clock) -> None:
    now_running: dict[str, int] = {}
    most: dict[str, int] = {}
    ran: list[str] = []

    async def run(job: Job) -> None:
        now_running[job.subject] = now_running.get(job.subject, 0) + 1
        most[job.subject] = max(most.get(job.subject, 0), now_running[job.subject])
        await enqueue_again(job)
        now_running[job.subject] -= 1
        ran.append(job.subject)

    async def enqueue_again(job: Job) -> None:
        if job.payload["left"]:
            await enqueue(database, clock, job.subject, payload={"left": job.payload["left"] - 1})

    for subject in "abc":
        await enqueue(database, clock, subject, payload={"left": 5})
    async with (
        working(database, clock, {"count": work(run)}, name="server 1"),
        working(database, clock, {"count": work(run)}, name="server 2"),
    ):
        await until(lambda: len(ran) == 18)
    assert most == {"a": 1, "b": 1, "c": 1}


async def test_a_failure_is_tried_again_later_and_then_given_up(database: Database, clock: Clock) -> None:
    attempts: list[int] = []

    async def run(job: Job) -> None:
        attempts.append(job.attempt)
        raise ValidationFailed(f"not yet, {job.attempt}")

    await enqueue(database, clock, "a")
    async with working(database, clock, {"count": work(run, most_attempts=3)}):
        for attempt in (1, 2, 3):
            await until(lambda attempt=attempt: _is_told(database, f"not yet, {attempt}"))
            clock.wait(minutes=10)
    assert attempts == [1, 2, 3]
    assert await statuses(database) == ["FAILED"]


async def _is_told(database: Database, error: str) -> bool:
    return [row["last_error"] for row in await rows(database)] == [error]


async def test_what_was_not_foreseen_is_told_without_its_text(database: Database, clock: Clock) -> None:
    async def run(_: Job) -> None:
        raise RuntimeError("password is hunter2")

    await enqueue(database, clock, "a")
    async with working(database, clock, {"count": work(run, most_attempts=1)}):
        await until(lambda: _all(database, "FAILED"))
    [row] = await rows(database)
    assert row["last_error"] == "Unexpectedly: RuntimeError, see the log"


async def test_a_job_that_takes_too_long_is_ended(database: Database, clock: Clock) -> None:
    async def run(_: Job) -> None:
        await asyncio.Event().wait()

    await enqueue(database, clock, "a")
    async with working(database, clock, {"count": work(run, timeout_seconds=0.05, most_attempts=1)}):
        await until(lambda: _is_told(database, "It took too long"))


async def test_recurring_work_is_done_at_every_multiple_of_its_interval_by_one_server(
    database: Database, clock: Clock
) -> None:
    times: list[datetime] = []

    async def run(_: Job) -> None:
        times.append(clock())
        if len(times) == 2:
            raise ValidationFailed("only this time")

    minutely = {"count": work(run, every_seconds=60)}
    clock.wait(seconds=10)
    async with working(database, clock, minutely), working(database, clock, minutely, name="server 2"):
        for count in (0, 1, 2, 3):
            await until(lambda count=count: _waits_after(database, times, count))
            [row] = await rows(database)
            assert row["run_at"] == datetime(2026, 3, 1, 12, count + 1, tzinfo=UTC)
            assert row["last_error"] == ("only this time" if count == 2 else None)
            clock.wait(seconds=60)


async def _waits_after(database: Database, times: list[datetime], count: int) -> bool:
    return len(times) == count and await _all(database, "QUEUED")


async def test_the_work_of_a_dead_server_is_taken_over(database: Database, clock: Clock) -> None:
    await enqueue(database, clock, "a")
    async with database.writing(clock()) as tx:
        [lost] = await jobs.claim(tx, ["count"], worker="dead server", lease_seconds=0.01, most=1)
    done: list[int] = []

    async def run(job: Job) -> None:
        done.append(job.attempt)

    async with working(database, clock, {"count": work(run)}):
        await until(lambda: _all(database, "DONE"))
    assert done == [2]
    async with database.writing(clock()) as tx:
        assert not await jobs.finish(tx, lost)
        with pytest.raises(Conflict):
            await jobs.hold(tx, lost)


async def test_who_loses_a_claim_is_stopped(database: Database, clock: Clock) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def run(_: Job) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    await enqueue(database, clock, "a")
    async with working(database, clock, {"count": work(run)}, lease_seconds=0.3):
        await started.wait()
        async with database.writing(clock()) as tx:
            await tx.execute(table.update().values(claimed_by="another server"))
        await asyncio.wait_for(stopped.wait(), 20)


async def test_a_server_that_stops_leaves_its_work_to_others_at_once(database: Database, clock: Clock) -> None:
    started = asyncio.Event()

    async def run(_: Job) -> None:
        started.set()
        await asyncio.Event().wait()

    await enqueue(database, clock, "a")
    async with working(database, clock, {"count": work(run)}):
        await started.wait()
    [row] = await rows(database)
    assert (row["status"], row["attempts"], row["claimed_by"]) == ("QUEUED", 0, None)


async def test_what_was_asked_for_again_while_it_failed_waits_once(database: Database, clock: Clock) -> None:
    async def run(_: Job) -> None:
        await enqueue(database, clock, "a", payload={"again": True}, run_at=clock() + timedelta(hours=1))
        raise ValidationFailed("no")

    await enqueue(database, clock, "a")
    async with working(database, clock, {"count": work(run)}):
        await until(lambda: _all(database, "QUEUED"))
        await until(lambda: _has_payload(database, {"again": True}))
    [row] = await rows(database)
    assert row["run_at"] == clock() + timedelta(hours=1)


async def _has_payload(database: Database, payload: dict[str, Any]) -> bool:
    return [row["payload"] for row in await rows(database)] == [payload]


async def test_jobs_that_ended_long_ago_are_forgotten(database: Database, clock: Clock) -> None:
    async def run(_: Job) -> None:
        return

    await enqueue(database, clock, "a")
    async with working(database, clock, {"count": work(run)}):
        await until(lambda: _all(database, "DONE"))
    await enqueue(database, clock, "b")
    async with database.writing(clock()) as tx:
        assert await jobs.forget_jobs(tx, finished_before=clock(), most=10) == 0
        assert await jobs.forget_jobs(tx, finished_before=clock() + timedelta(seconds=1), most=10) == 1
    assert await statuses(database) == ["QUEUED"]
