"""What becomes of background jobs, in metrics. Implements the Observer of `app.jobs`."""

from collections.abc import Iterable, Sequence
from typing import Final

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.observability.histograms import WORK_BOUNDS, Durations
from db.database import Database
from db.jobs import WAITING_SQL

_PREFIX: Final = "reliability_studio_"
_PATIENCE_SECONDS: Final = 1.0


class JobMetrics:
    """Counts jobs in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._durations = Durations(
            _PREFIX + "job_run_duration_seconds",
            "Time that one run of a background job took. The outcome is done, failed, retried or lost.",
            ("kind", "outcome"),
            WORK_BOUNDS,
            registry=registry,
        )
        self._running = Gauge(
            _PREFIX + "jobs_running", "Background jobs that this process works on.", ["kind"], registry=registry
        )
        self._takeovers = Counter(
            _PREFIX + "job_takeovers",
            "Background jobs that this process found left by a server that died.",
            ["kind"],
            registry=registry,
        )

    def opened(self, kinds: Sequence[str]) -> None:
        """Show all kinds from the start."""
        for kind in kinds:
            self._running.labels(kind)
            self._takeovers.labels(kind)
            self._durations.labels(kind, "done")
            self._durations.labels(kind, "failed")

    def job_started(self, kind: str) -> None:
        """Count a job as under way."""
        self._running.labels(kind).inc()

    def job_ended(self, kind: str, outcome: str, seconds: float) -> None:
        """Count a job as over."""
        self._running.labels(kind).dec()
        self._durations.labels(kind, outcome).observe(seconds)

    def job_taken_over(self, kind: str) -> None:
        """Count a job that a dead server left."""
        self._takeovers.labels(kind).inc()


class JobQueue(Collector):
    """How many jobs are due that nobody works on, which only the database knows."""

    def __init__(self, database: Database, kinds: Sequence[str]) -> None:
        self._database = database
        self._kinds = kinds
        self._waiting: dict[str, tuple[float, float]] | None = None

    async def sample(self) -> None:
        """Ask the database. What it does not tell within a second is not told, and the reason raised."""
        try:
            text = await self._database.reads.fetch_text(WAITING_SQL, (), timeout_seconds=_PATIENCE_SECONDS)
            self._waiting = {kind: (count, seconds) for kind, count, seconds in orjson.loads(text or b"[]")}
        except Exception:
            self._waiting = None
            raise

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks for on each scrape."""
        if self._waiting is None:
            return
        waiting = GaugeMetricFamily(
            _PREFIX + "jobs_waiting",
            "Background jobs of the fleet that are due and that nobody works on.",
            labels=("kind",),
        )
        oldest = GaugeMetricFamily(
            _PREFIX + "jobs_oldest_waiting_seconds", "For how long the first of them has been due.", labels=("kind",)
        )
        for kind in {**dict.fromkeys(self._kinds), **self._waiting}:
            count, seconds = self._waiting.get(kind, (0, 0))
            waiting.add_metric((kind,), count)
            oldest.add_metric((kind,), max(0.0, seconds))
        yield from (waiting, oldest)
