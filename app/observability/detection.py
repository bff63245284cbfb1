"""What becomes of the evaluation of detection rules, in metrics."""

from collections.abc import Iterable
from typing import Final

import orjson
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.observability.histograms import WORK_BOUNDS, Durations
from db.database import Database
from db.detection import EVALUATED_SQL

_PATIENCE_SECONDS: Final = 1.0


class DetectionMetrics:
    """Counts evaluations in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._durations = Durations(
            "detection_rule_evaluation_duration_seconds",
            "Time that one evaluation of one detection rule took, for all services.",
            (),
            WORK_BOUNDS,
            registry=registry,
        ).labels()
        self._failures = Counter(
            "detection_rule_failures", "Evaluations of single rules that failed for some or all services.",
            registry=registry,
        )  # fmt: skip

    def rule_evaluated(self, seconds: float, *, failed: bool) -> None:
        """Count one evaluation of one rule."""
        self._durations.observe(seconds)
        if failed:
            self._failures.inc()


class DetectionLag(Collector):
    """How late detection is and which rules fail, which only the database knows."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lag_seconds: float | None = None
        self._failing: int | None = None

    async def sample(self) -> None:
        """Ask the database. What it does not tell within a second is not told, nor is the lag of no rule, and the
        reason raised.
        """
        try:
            text = await self._database.reads.fetch_text(EVALUATED_SQL, (), timeout_seconds=_PATIENCE_SECONDS)
            self._lag_seconds, self._failing = orjson.loads(text or b"[null, 0]")
        except Exception:
            self._lag_seconds, self._failing = None, None
            raise

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks for on each scrape."""
        if self._lag_seconds is not None:
            yield GaugeMetricFamily(
                "detection_lag_seconds",
                "Time since the enabled detection rule was evaluated that has waited longest, by whichever server.",
                value=max(0.0, self._lag_seconds),
            )
        if self._failing is not None:
            yield GaugeMetricFamily(
                "detection_rules_failing",
                "Enabled detection rules whose last evaluation failed for some or all services.",
                value=self._failing,
            )
