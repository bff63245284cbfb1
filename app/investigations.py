"""A job: analyses incidents, with the backends and Grafana that the settings name."""

from collections.abc import Callable, Mapping
from datetime import datetime
from time import perf_counter
from typing import Final

import structlog

from actions.analyses import KIND
from actions.investigate import Investigation
from actions.jobs import Job
from app.jobs import Work
from app.observability.analyses import AnalysisMetrics
from app.settings import Settings
from db.database import Database
from domain.explore import Explore
from domain.telemetry import TelemetryBackend
from telemetry_clients.instances import Telemetry

log = structlog.get_logger("reliability_studio.correlation")

# For arithmetic and writing, after everybody has answered or is late.
_AFTER_DEADLINE_SECONDS: Final = 60.0
_MOST_ATTEMPTS: Final = 3


def investigation_works(
    settings: Settings,
    database: Database,
    telemetry: Telemetry,
    *,
    now: Callable[[], datetime],
    metrics: AnalysisMetrics,
) -> Mapping[str, Work]:
    """How analyses are done, by the kind of their jobs."""
    investigation = Investigation(
        database=database,
        telemetry=telemetry,
        now=now,
        explore=Explore(
            settings.grafana_url,
            {
                TelemetryBackend.PROMETHEUS: settings.grafana_prometheus_uid,
                TelemetryBackend.LOKI: settings.grafana_loki_uid,
                TelemetryBackend.TEMPO: settings.grafana_tempo_uid,
            },
        ),
        scrape_interval_seconds=settings.prometheus_scrape_interval_seconds,
        deadline_seconds=settings.analysis_deadline_seconds,
        observer=metrics,
    )
    timeout_seconds = settings.analysis_deadline_seconds + _AFTER_DEADLINE_SECONDS

    async def run(job: Job) -> None:
        began_seconds = perf_counter()
        await investigation.run(job)
        log.info("analysis", incident_id=job.subject, duration_seconds=round(perf_counter() - began_seconds, 3))

    return {KIND: Work(run=run, timeout_seconds=timeout_seconds, most_attempts=_MOST_ATTEMPTS)}
