"""Everything that the workers of a fleet do beside the requests, put together in one place."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from app.alert_intake import AlertIntake
from app.alert_reconciliation import KIND as RECONCILIATION
from app.alert_reconciliation import Reconciliation
from app.alert_works import AlertWorks
from app.backends import Backends
from app.clock import now
from app.detection import KIND as DETECTION
from app.detection import Detection
from app.investigations import investigation_works
from app.jobs import Work, Workers
from app.observability.analyses import AnalysisMetrics
from app.observability.detection import DetectionLag, DetectionMetrics
from app.observability.jobs import JobQueue
from app.observability.metrics import Metrics
from app.observability.slos import EvaluationLag, EvaluationMetrics
from app.retention import KIND as RETENTION
from app.retention import Retention
from app.service_graph import KIND as SERVICE_GRAPH
from app.service_graph import ServiceGraph
from app.settings import Settings
from app.slo_evaluation import SLOEvaluation
from db.database import Database
from db.identifiers import new_id
from domain.grouping import GroupingRules
from domain.tracing import Tracer
from feed.relay import Relay

Running = Callable[[], Awaitable[None]]


def workers(
    settings: Settings,
    database: Database,
    database_url: str,
    *,
    backends: Backends,
    metrics: Metrics,
    relay: Relay,
    alerts: AlertIntake,
    tracer: Tracer | None = None,
) -> dict[str, Running]:
    """What runs for as long as the process does, by name: some of it in one process of the fleet at a time."""
    works = jobs(settings, database, backends, metrics)
    metrics.jobs.opened([*works])
    metrics.sampled_collectors.add("jobs", JobQueue(database, [*works]))
    running: dict[str, Running] = {
        "relay": relay.run,
        "alerts": alerts.run,
        "jobs": Workers(database, works, name=str(new_id()), now=now, observer=metrics.jobs, tracer=tracer).run,
    }
    if backends.telemetry.prometheus:
        running["SLO evaluation"] = SLOEvaluation(
            database,
            database_url,
            backends.telemetry.prometheus,
            interval_seconds=settings.slo_evaluation_interval_seconds,
            scrape_interval_seconds=settings.prometheus_scrape_interval_seconds,
            query_timeout_seconds=settings.slo_query_timeout_seconds,
            metrics=EvaluationMetrics(metrics.registry),
            now=now,
            tracer=tracer,
        ).run
        metrics.sampled_collectors.add("slo_evaluation", EvaluationLag(database))
    return running


def jobs(settings: Settings, database: Database, backends: Backends, metrics: Metrics) -> dict[str, Work]:
    """The jobs by kind, as far as the settings ask for them and somebody can be asked."""
    telemetry = backends.telemetry
    found: dict[str, Work] = {}
    alerts = AlertWorks(
        database,
        grouping_rules(settings),
        now=now,
        retention_days=settings.alert_delivery_retention_days,
    )
    found |= alerts.works(upkeep_seconds=settings.alert_upkeep_seconds)
    found[RETENTION] = Retention(
        database,
        events_days=settings.event_log_retention_days,
        audit_days=settings.audit_log_retention_days,
        now=now,
    ).work
    if settings.alert_reconciliation_seconds > 0 and (telemetry.alertmanager or telemetry.prometheus):
        found[RECONCILIATION] = Reconciliation(
            database,
            telemetry,
            now=now,
            interval_seconds=settings.alert_reconciliation_seconds,
            source=settings.alert_reconciliation_source,
            receiver=settings.alert_reconciliation_receiver,
            grace_seconds=settings.alert_reconciliation_grace_seconds,
        ).work
    if settings.detection_interval_seconds > 0 and (telemetry.prometheus or telemetry.loki):
        found[DETECTION] = Detection(
            database,
            telemetry,
            now=now,
            interval_seconds=settings.detection_interval_seconds,
            metrics=DetectionMetrics(metrics.registry),
        ).work
        metrics.sampled_collectors.add("detection", DetectionLag(database))
    found |= investigation_works(settings, database, telemetry, now=now, metrics=AnalysisMetrics(metrics.registry))
    if has_service_graph(settings, backends):
        found[SERVICE_GRAPH] = ServiceGraph(
            database,
            telemetry,
            now=now,
            interval_seconds=settings.service_graph_interval_seconds,
            retention_hours=settings.traced_dependency_retention_hours,
        ).work
    return found


def has_service_graph(settings: Settings, backends: Backends) -> bool:
    """Whether anybody can be asked who calls whom, and is."""
    asks = settings.service_graph_interval_seconds > 0
    return asks and bool(backends.telemetry.prometheus or backends.telemetry.tempo)


def grouping_rules(settings: Settings) -> GroupingRules:
    """How alerts become incidents."""
    return GroupingRules(
        window=timedelta(seconds=settings.alert_grouping_window_seconds),
        dependency_window=timedelta(seconds=settings.alert_dependency_window_seconds),
        hold=timedelta(seconds=settings.alert_hold_seconds),
        flapping_firings=settings.alert_flapping_firings,
        flapping_window=timedelta(seconds=settings.alert_flapping_seconds),
    )
