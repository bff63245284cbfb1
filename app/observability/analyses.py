"""What becomes of analyses, in metrics. Implements the Observer of `actions.investigate`."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from app.observability.histograms import WORK_BOUNDS, Durations
from domain.correlation import AnalysisStatus
from domain.telemetry import TelemetryBackend
from engines.correlation.evidence import Gap

_PREFIX: Final = "reliability_studio_"
_ENDS: Final = (AnalysisStatus.COMPLETE, AnalysisStatus.PARTIAL, AnalysisStatus.FAILED)
SUPERSEDED: Final = "superseded"


class AnalysisMetrics:
    """Counts analyses in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._durations = Durations(
            _PREFIX + "analysis_duration_seconds",
            "Time from the beginning of an analysis to its end. The outcome is complete, partial (a backend did not "
            "answer), failed, or superseded by a newer one.",
            ("outcome",),
            WORK_BOUNDS,
            registry=registry,
        )
        self._engine = Durations(
            _PREFIX + "correlation_engine_duration_seconds",
            "Time that the correlation engine took for one answer: of each analysis, one to all that was gathered, "
            "and those to what was there before.",
            (),
            WORK_BOUNDS,
            registry=registry,
        ).labels()
        self._gaps = Counter(
            _PREFIX + "analysis_gaps",
            "Gaps of analyses: what a backend was not, or could not be, asked. By the code of the reason.",
            ("backend", "code"),
            registry=registry,
        )
        for outcome in (*(status.lower() for status in _ENDS), SUPERSEDED):
            self._durations.labels(outcome)
        for backend in TelemetryBackend:
            self._gaps.labels(backend.lower(), "TELEMETRY_UNAVAILABLE")

    def analysis_ended(self, status: AnalysisStatus, gaps: Iterable[Gap], seconds: float) -> None:
        """Count an analysis as over."""
        self._durations.labels(status.lower()).observe(seconds)
        for gap in gaps:
            self._gaps.labels(gap.backend.lower(), gap.code).inc()

    def analysis_superseded(self, seconds: float) -> None:
        """Count an analysis that a newer one took the place of."""
        self._durations.labels(SUPERSEDED).observe(seconds)

    def engine_answered(self, seconds: float) -> None:
        """Count an answer of the engine."""
        self._engine.observe(seconds)
