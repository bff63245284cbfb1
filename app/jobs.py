"""Works on the jobs that wait in Postgres, beside the requests of this process."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from time import perf_counter
from typing import Final, Protocol

import structlog

from actions import jobs
from actions.jobs import Job
from db.database import Database, Transaction
from domain.errors import Conflict, DomainError
from domain.tracing import SpanKind, Tracer, Value, recording
from telemetry_clients.errors import TelemetryError

log = structlog.get_logger("reliability_studio.jobs")

EVERYTHING: Final = "everything"
LEASE_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.5
CONCURRENT_JOBS: Final = 4
_ATTEMPTS: Final = 3
_FIRST_BACKOFF_SECONDS: Final = 5.0
_LONGEST_BACKOFF_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How jobs of one kind are done.

    `run` raises to fail; it is tried `most_attempts` times, with growing pauses. Work that recurs (`every_seconds`) has
    one subject, "everything", and is done at every multiple of the interval, by one server of the fleet; what fails is
    tried again at its next time.
    """

    run: Callable[[Job], Awaitable[None]]
    timeout_seconds: float
    every_seconds: float | None = None
    most_attempts: int = 5


class Observer(Protocol):
    """Whoever wants to know what becomes of jobs."""

    def job_started(self, kind: str) -> None:
        """A job of this kind is worked on."""
        ...

    def job_taken_over(self, kind: str) -> None:
        """It was left by a server that died."""
        ...

    def job_ended(self, kind: str, outcome: str, seconds: float) -> None:
        """A job of this kind is "done", "failed", "retried" or "lost", after so many seconds."""
        ...


class Workers:
    """Up to `concurrency` jobs at a time, for as long as `run` is not cancelled."""

    def __init__(
        self,
        database: Database,
        works: Mapping[str, Work],
        *,
        name: str,
        now: Callable[[], datetime],
        observer: Observer | None = None,
        tracer: Tracer | None = None,
        concurrency: int = CONCURRENT_JOBS,
        lease_seconds: float = LEASE_SECONDS,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """`name` tells this process from all others of the fleet, also from one that had its place before."""
        self._database = database
        self._works = works
        self._name = name
        self._now = now
        self._observer = observer
        self._tracer = tracer
        self._concurrency = concurrency
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds
        self._running: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled; then what runs is let go, for others to take. A lost database is waited for."""
        try:
            is_scheduled = False
            while True:
                try:
                    if not is_scheduled:
                        await self._database.transact(self._schedule, now=self._now())
                        is_scheduled = True
                    await self._take()
                except DomainError as error:
                    log.warning("jobs cannot be claimed, trying again", reason=error.code)
                await self._pause()
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _schedule(self, tx: Transaction) -> None:
        for kind, work in self._works.items():
            if work.every_seconds is not None:
                await jobs.schedule(tx, kind, EVERYTHING, run_at=_next_time(tx.now, work.every_seconds))

    async def _take(self) -> None:
        free = self._concurrency - len(self._running)
        if free <= 0:
            return
        claim = partial(
            jobs.claim, kinds=list(self._works), worker=self._name, lease_seconds=self._lease_seconds, most=free
        )
        for job in await self._database.transact(claim, now=self._now()):
            task = asyncio.create_task(self._traced(job), name=f"job {job.kind} {job.subject}")
            self._running.add(task)
            task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._ended.set()
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, DomainError):
            log.warning("a job's end could not be recorded, its claim will run out", reason=error.code)
        else:
            log.error("a job's end could not be recorded, its claim will run out", exc_info=error)

    async def _pause(self) -> None:
        """Until the next look: at once when a job has ended, since another may wait for its place."""
        self._ended.clear()
        try:
            async with asyncio.timeout(self._poll_seconds):
                await self._ended.wait()
        except TimeoutError:
            return

    async def _traced(self, job: Job) -> None:
        if self._tracer is None:
            await self._work_on(job)
            return
        attributes: dict[str, Value] = {"job.kind": job.kind, "job.subject": job.subject, "job.attempt": job.attempt}
        origins = [job.traceparent]
        with self._tracer.work(f"job {job.kind}", SpanKind.CONSUMER, origins=origins, attributes=attributes):
            await self._work_on(job)

    async def _work_on(self, job: Job) -> None:
        work = self._works[job.kind]
        started = perf_counter()
        if self._observer is not None:
            self._observer.job_started(job.kind)
            if job.was_left:
                self._observer.job_taken_over(job.kind)
        error: str | None = None
        doing = asyncio.create_task(_within(work, job))
        keeping = asyncio.create_task(self._keep(job))
        try:
            await asyncio.wait((doing, keeping), return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                log.warning("a job was lost to another server", kind=job.kind, subject=job.subject)
                self._observe(job, "lost", started)
                return
            error = _what_went_wrong(job, doing)
        except asyncio.CancelledError:
            # Shutting down: the next server need not wait for the claim to run out.
            await _settle(doing, keeping)
            self._observe(job, "lost", started)
            await self._patiently(partial(jobs.postpone, job=job, run_at=self._now(), attempts=job.attempt - 1))
            raise
        finally:
            await _settle(doing, keeping)
        outcome = "lost"
        try:
            outcome = await self._record(job, work, error)
        finally:
            self._observe(job, outcome, started)

    async def _record(self, job: Job, work: Work, error: str | None) -> str:
        now = self._now()
        end: Callable[[Transaction], Awaitable[bool]]
        if work.every_seconds is not None:
            outcome = "done" if error is None else "failed"
            end = partial(jobs.finish, job=job, next_run_at=_next_time(now, work.every_seconds), error=error)
        elif error is None or job.attempt >= work.most_attempts:
            outcome = "done" if error is None else "failed"
            end = partial(jobs.finish, job=job, error=error)
        else:
            outcome = "retried"
            end = partial(jobs.postpone, job=job, run_at=now + _backoff(job.attempt), error=error)
        return outcome if await self._patiently(end) else "lost"

    async def _patiently(self, end: Callable[[Transaction], Awaitable[bool]]) -> bool:
        """Record an end, again when somebody asks for the same work at the same moment."""
        for _ in range(_ATTEMPTS - 1):
            with suppress(Conflict):
                return await self._database.transact(end, now=self._now())
        return await self._database.transact(end, now=self._now())

    async def _keep(self, job: Job) -> None:
        """Renew the claim for as long as it is ours."""
        renew = partial(jobs.renew, job=job, lease_seconds=self._lease_seconds)
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            try:
                if not await self._database.transact(renew, now=self._now()):
                    return
            except DomainError as error:
                log.warning("a claim could not be renewed", kind=job.kind, reason=error.code)

    def _observe(self, job: Job, outcome: str, started: float) -> None:
        if outcome != "done" and (span := recording()) is not None:
            span.error = outcome
        if self._observer is not None:
            self._observer.job_ended(job.kind, outcome, perf_counter() - started)


async def _within(work: Work, job: Job) -> None:
    async with asyncio.timeout(work.timeout_seconds):
        await work.run(job)


def _what_went_wrong(job: Job, doing: asyncio.Task[None]) -> str | None:
    error = doing.exception()
    if error is None:
        return None
    if isinstance(error, TimeoutError):
        log.warning("a job took too long", kind=job.kind, subject=job.subject, attempt=job.attempt)
        return "It took too long"
    if isinstance(error, DomainError | TelemetryError):
        log.warning("a job failed", kind=job.kind, subject=job.subject, attempt=job.attempt, reason=error.message)
        return error.message
    log.error("a job failed unexpectedly", kind=job.kind, subject=job.subject, attempt=job.attempt, exc_info=error)
    return f"Unexpectedly: {type(error).__name__}, see the log"


async def _settle(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _next_time(now: datetime, every_seconds: float) -> datetime:
    """The next multiple of the interval: the same on every server, however long the work took."""
    return datetime.fromtimestamp((now.timestamp() // every_seconds + 1) * every_seconds, UTC)


def _backoff(attempt: int) -> timedelta:
    seconds = min(_FIRST_BACKOFF_SECONDS * 2 ** (attempt - 1), _LONGEST_BACKOFF_SECONDS)
    return timedelta(seconds=seconds * random.uniform(0.8, 1.2))  # noqa: S311 # so that not all try again at once
