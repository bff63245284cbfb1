"""Evaluates SLOs over and over: one process of the fleet at a time, whichever holds the lock."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, nullcontext
from datetime import datetime
from typing import Any, Final

import asyncpg
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from actions.slos.cycle import Cycle
from actions.slos.evaluation import SLOEvaluator
from db.connecting import DRIVER_ERRORS, driver_url, open_connection
from db.database import Database
from db.slos import EVALUATION_LOCK
from domain.errors import DomainError
from domain.time import Deadline
from domain.tracing import SpanKind, Tracer
from telemetry_clients.instances import Instances
from telemetry_clients.prometheus import Prometheus

log = structlog.get_logger("reliability_studio.slo_evaluation")

_CANDIDACY_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 1.0
_CYCLES_OF_A_DEADLINE: Final = 5


class EvaluationMetrics:
    """What `/metrics` tells about the evaluation of SLOs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.duration = Histogram(
            "slo_evaluation_cycle_duration_seconds", "Time that one evaluation of all SLOs took.", registry=registry
        )
        self.lag = Gauge(
            "slo_evaluation_lag_seconds", "Age of what the latest SLO was evaluated by.", registry=registry
        )
        self.quarantined = Gauge("slo_evaluation_quarantined", "SLOs whose own query fails.", registry=registry)
        self.evaluated = Counter("slo_evaluation_evaluated", "Evaluations of single SLOs.", registry=registry)
        self.queries = Counter("slo_evaluation_queries", "Queries that Prometheus was asked.", registry=registry)
        self.failures = Counter("slo_evaluation_failures", "Evaluations without Prometheus.", registry=registry)

    def observe(self, cycle: Cycle) -> None:
        """Count one evaluation."""
        self.duration.observe(cycle.duration_seconds)
        self.lag.set(cycle.lag_seconds)
        self.quarantined.set(cycle.quarantined)
        self.evaluated.inc(cycle.evaluated)
        self.queries.inc(cycle.queries)
        if cycle.failure is not None:
            self.failures.inc()


class SLOEvaluation:
    """Runs for leadership for as long as the process lives, and evaluates while it leads."""

    def __init__(
        self,
        database: Database,
        database_url: str,
        prometheus: Instances[Prometheus],
        *,
        interval_seconds: float,
        scrape_interval_seconds: float,
        query_timeout_seconds: float,
        metrics: EvaluationMetrics,
        now: Callable[[], datetime],
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._database = database
        self._url = driver_url(database_url)
        self._prometheus = prometheus
        self._interval_seconds = interval_seconds
        self._scrape_interval_seconds = scrape_interval_seconds
        self._query_timeout_seconds = query_timeout_seconds
        self._metrics = metrics
        self._now = now

    async def run(self) -> None:
        """Until cancelled. A lost database is waited for."""
        while True:
            try:
                async with _connection(self._url) as connection:
                    await self._stand(connection)
            except (DomainError, *DRIVER_ERRORS) as error:
                log.warning("the evaluation of SLOs lost the database, trying again", reason=type(error).__name__)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _stand(self, connection: "asyncpg.Connection[Any]") -> None:
        while not await connection.fetchval("select pg_try_advisory_lock($1)", EVALUATION_LOCK):  # noqa: ASYNC110 # held elsewhere
            await asyncio.sleep(_CANDIDACY_SECONDS)
        log.info("this process evaluates SLOs now")
        evaluator = SLOEvaluator(
            self._database,
            self._prometheus,
            scrape_interval_seconds=self._scrape_interval_seconds,
            query_timeout_seconds=self._query_timeout_seconds,
        )
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            deadline = Deadline.after(max(self._query_timeout_seconds, _CYCLES_OF_A_DEADLINE * self._interval_seconds))
            with nullcontext() if self._tracer is None else self._tracer.work("slo evaluation", SpanKind.INTERNAL):
                cycle = await evaluator.cycle(self._now(), deadline)
            self._metrics.observe(cycle)
            if cycle.failure is not None:
                log.warning("SLOs could not be evaluated, trying again", reason=cycle.failure)
            await asyncio.sleep(max(0.0, self._interval_seconds - (loop.time() - began)))
            await connection.fetchval("select 1")  # Whose session is gone holds the lock no longer.


@asynccontextmanager
async def _connection(url: str) -> AsyncGenerator["asyncpg.Connection[Any]"]:
    connection = await open_connection(url, connection_class=asyncpg.Connection, settings={})
    try:
        yield connection
    finally:
        connection.terminate()
