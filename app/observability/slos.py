"""What becomes of the evaluation of SLOs, in metrics."""

from collections.abc import Iterable
from typing import Final

import orjson
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from actions.slos.cycle import Cycle
from app.observability.histograms import WORK_BOUNDS, Durations
from db.database import Database
from db.slos import EVALUATED_SQL

_PATIENCE_SECONDS: Final = 1.0


class EvaluationMetrics:
    """Counts what this process evaluates in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._durations = Durations(
            "slo_evaluation_cycle_duration_seconds",
            "Time that one evaluation of all SLOs took.",
            (),
            WORK_BOUNDS,
            registry=registry,
        ).labels()
        self._evaluated = Counter("slo_evaluation_evaluated", "Evaluations of single SLOs.", registry=registry)
        self._queries = Counter("slo_evaluation_queries", "Queries that Prometheus was asked.", registry=registry)
        self._failures = Counter("slo_evaluation_failures", "Evaluations without Prometheus.", registry=registry)

    def observe(self, cycle: Cycle) -> None:
        """Count one evaluation."""
        self._durations.observe(cycle.duration_seconds)
        self._evaluated.inc(cycle.evaluated)
        self._queries.inc(cycle.queries)
        if cycle.failure is not None:
            self._failures.inc()


class EvaluationLag(Collector):
    """How late SLOs are and which cannot be evaluated, which only the database knows: any process may have evaluated
    them last, or none.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._state: tuple[float, float] | None = None

    async def sample(self) -> None:
        """Ask the database. What it does not tell within a second is not told, and the reason raised."""
        try:
            text = await self._database.reads.fetch_text(EVALUATED_SQL, (), timeout_seconds=_PATIENCE_SECONDS)
            lag_seconds, quarantined = orjson.loads(text or b"[0, 0]")
            self._state = max(0.0, lag_seconds), quarantined
        except Exception:
            self._state = None
            raise

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks for on each scrape."""
        if self._state is None:
            return
        lag_seconds, quarantined = self._state
        yield GaugeMetricFamily(
            "slo_evaluation_lag_seconds",
            "For how long the next slice of the latest SLO has been over, whichever server evaluates.",
            value=lag_seconds,
        )
        yield GaugeMetricFamily("slo_evaluation_quarantined", "SLOs that cannot be evaluated.", value=quarantined)
