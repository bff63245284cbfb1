"""A job: keeps the dependencies between services as traces show them."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import select

from actions.jobs import Job, hold
from actions.service_graph import Renewal, renew
from app.health import Dependency
from app.jobs import Work
from db.database import Database, Transaction
from db.jobs import jobs
from domain.access import Actor, Role
from domain.service_graph import ServiceCall
from domain.time import Deadline
from engines.service_graph import calls_of_traces, merged_calls
from engines.traces import TraceTree, trace_tree
from telemetry_clients.errors import TelemetryError, TelemetryUnavailable
from telemetry_clients.instances import Telemetry
from telemetry_clients.prometheus.service_graph import calls_from_prometheus
from telemetry_clients.tempo import FoundTrace, Tempo

log = structlog.get_logger("reliability_studio.service_graph")

KIND: Final = "service_graph"
MOST_CALLS: Final = 2_000
SAMPLED_TRACES: Final = 100

_ACTOR: Final = Actor(id=None, name="service graph", role=Role.ADMIN)
_SOURCE_SECONDS: Final = 20.0
_TIMEOUT_SECONDS: Final = 60.0
_SHORTEST_WINDOW_SECONDS: Final = 300.0
_FETCHES_AT_ONCE: Final = 4


class ServiceGraph:
    """Reads who calls whom from Prometheus, or from Tempo where Prometheus does not know, and writes it down."""

    def __init__(
        self,
        database: Database,
        telemetry: Telemetry,
        *,
        now: Callable[[], datetime],
        interval_seconds: float,
        retention_hours: float,
    ) -> None:
        self._database = database
        self._telemetry = telemetry
        self._now = now
        self._interval_seconds = interval_seconds
        self._retention = timedelta(hours=retention_hours)
        self._window_seconds = max(interval_seconds, _SHORTEST_WINDOW_SECONDS)

    @property
    def work(self) -> Work:
        """How often and how long it is done."""
        return Work(run=self.renew, timeout_seconds=_TIMEOUT_SECONDS, every_seconds=self._interval_seconds)

    async def renew(self, job: Job) -> None:
        """Read the graph and write it down. Raises TelemetryError when nobody who could know it answered."""
        calls = await self._calls()

        async def write(tx: Transaction) -> Renewal:
            await hold(tx, job)
            return await renew(tx, calls, forget_before=tx.now - self._retention, actor=_ACTOR)

        renewal = await self._database.transact(write, now=self._now())
        log.info(
            "service graph renewed",
            seen=renewal.seen,
            added=renewal.added,
            forgotten=renewal.forgotten,
            unnamed=renewal.unnamed,
        )

    async def _calls(self) -> list[ServiceCall]:
        """Who calls whom, those who call most. Raises TelemetryError when nobody who could know answered."""
        failures: list[TelemetryError] = []
        calls: list[ServiceCall] = []
        deadline = Deadline.after(_SOURCE_SECONDS)
        for _, prometheus in self._telemetry.prometheus:
            try:
                calls += await calls_from_prometheus(
                    prometheus, at=self._now(), window_seconds=self._window_seconds, deadline=deadline
                )
            except TelemetryError as error:
                failures.append(error)
        deadline = Deadline.after(_SOURCE_SECONDS)  # a Prometheus that hangs must leave some time
        for _, tempo in self._telemetry.tempo if not calls else ():
            try:
                calls += await self._sampled(tempo, deadline)
            except TelemetryError as error:
                failures.append(error)
        if not calls and failures:
            raise failures[0]
        for failure in failures:
            log.warning("a backend did not tell its part of the service graph", reason=failure.message)
        calls = merged_calls(calls)
        if len(calls) > MOST_CALLS:
            log.warning("there are too many calls between services, the rarest are left out", found=len(calls))
            calls = sorted(calls, key=lambda call: -(call.request_rate or 0))[:MOST_CALLS]
        return calls

    async def _sampled(self, tempo: Tempo, deadline: Deadline) -> list[ServiceCall]:
        """The calls within some of the latest traces. Rates are known only where those are all that there are."""
        end = self._now()
        found = await tempo.search(
            "{ }",
            start=end - timedelta(seconds=self._window_seconds),
            end=end,
            limit=SAMPLED_TRACES,
            deadline=deadline,
        )
        turn = asyncio.Semaphore(_FETCHES_AT_ONCE)

        async def fetch(trace: FoundTrace) -> TraceTree | None:
            async with turn:
                spans = await tempo.trace(trace.trace_id, deadline=deadline)
            return await asyncio.to_thread(trace_tree, spans or [])

        # A trace of one service holds no calls between services.
        wanted = [trace for trace in found if trace.services is None or len(trace.services) > 1]
        tasks = [asyncio.create_task(fetch(trace)) for trace in wanted]
        try:
            trees = [tree for tree in await asyncio.gather(*tasks) if tree is not None]
        finally:
            for task in tasks:
                task.cancel()
        window_seconds = self._window_seconds if len(found) < SAMPLED_TRACES else None
        return calls_of_traces(trees, window_seconds=window_seconds)


def service_graph_dependency(database: Database) -> Dependency:
    """Whether the service graph was renewed the last time that it should have been, by any process."""

    async def ask(_deadline: Deadline) -> str:
        async with database.reading() as connection:
            latest = select(jobs.c.last_error).where(jobs.c.kind == KIND).order_by(jobs.c.id.desc()).limit(1)
            error = await connection.scalar(latest)
        if error is not None:
            raise TelemetryUnavailable("service graph", f"It was not renewed the last time. {error}")
        return ""

    return Dependency(KIND, ask)
