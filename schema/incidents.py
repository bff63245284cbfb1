"""Incidents and the services that they hurt."""

from db.incidents import incidents, incidents_services
from domain.correlation import CorrelationKind
from domain.incidents import ImpactLevel, IncidentSource, IncidentStatus, Severity
from resolvers import sql
from resolvers.compile.sources import Condition, Order, OrderKey
from resolvers.sql import Given
from schema.alerts import Alert
from schema.analyses import SIMILAR_TO_PARENT, SimilarIncident
from schema.correlation import SHOWN, Correlation, IncidentAnalysis
from schema.filters import ALERT_ORDER
from schema.investigation import Hypothesis, IncidentTask, InvestigationStep
from schema.logs import LINES, LogEntry, incident_logs
from schema.nodes import Connection, Node
from schema.people import User
from schema.scalars import JSON, URL, DateTime
from schema.services import TEMPO_SELECTOR, Service
from schema.silences import Silence, incident_silences
from schema.slo_explanation import IncidentBudgetBurn, incident_budget_burns
from schema.slos import SLO
from schema.telemetry import MetricSeries, incident_metrics
from schema.timeline import TimelineEvent, timeline
from schema.traces import TRACES, Trace, incident_traces

CORRELATION_ORDER = Order({"SCORE": OrderKey("{it}.score", "double precision")}, "SCORE")
ANALYSIS_ORDER = Order({"STARTED_AT": OrderKey("{it}.started_at", "timestamptz")}, "STARTED_AT")
HURT = "from services hurt join incidents_services link on link.service_id = hurt.id where link.incident_id = {it}.id"
HURT_IN_TRACES = (
    f"(select coalesce(json_agg(json_build_array(hurt.telemetry_instances->>'tempo',"
    f" {TEMPO_SELECTOR.replace('{it}', 'hurt')}) order by hurt.name), '[]') {HURT})"
)
BY_LEVEL = "{it}_hurts.level, {it}.name, {it}.id"


def by_hurt_service(expression: str) -> str:
    """SQL for a JSON object with an expression about each service that an incident hurts, by the service's name."""
    return f"(select coalesce(json_object_agg(hurt.name, {expression}), '{{{{}}}}') {HURT})"


@sql.type(incidents_services)
class ServiceImpact:
    """An incident hurts a service."""

    service: Service = sql.one("The service.", "services {it}", "{it}.id = {parent}.service_id")
    level: ImpactLevel = sql.column("How it is hurt.")
    source: IncidentSource = sql.column("Who says so.")
    score: float | None = sql.column("How sure that is, 0 to 1, where it was computed.")
    since: DateTime = sql.column("Since when.")


@sql.type(incidents)
class Incident(Node):
    """Something is wrong, and people act on it."""

    number: int = sql.column("A short number for people, as in INC-42.")
    title: str = sql.column("What is wrong, in a line.")
    description: str = sql.column("What else is known.")
    severity: Severity = sql.column("How much it hurts.")
    status: IncidentStatus = sql.column("Where the work on it stands.")
    source: IncidentSource = sql.column("Who said that something is wrong.")
    started_at: DateTime = sql.column("When users began to be hurt.")
    detected_at: DateTime | None = sql.column("When it became known.")
    acknowledged_at: DateTime | None = sql.column("When somebody began to act.")
    mitigated_at: DateTime | None = sql.column("When users were no longer hurt.")
    resolved_at: DateTime | None = sql.column("When the cause was removed.")
    created_at: DateTime = sql.column("When it was added.")
    updated_at: DateTime = sql.column("When it was last changed.")
    version: int = sql.column("Counts its changes; give it back as `expectedVersion` to overwrite nobody's work.")
    time_to_acknowledge_seconds: float | None = sql.expression(
        "Seconds from the start until somebody acted.",
        "extract(epoch from {it}.acknowledged_at - {it}.started_at)::double precision",
    )
    time_to_resolve_seconds: float | None = sql.expression(
        "Seconds from the start until the cause was removed.",
        "extract(epoch from {it}.resolved_at - {it}.started_at)::double precision",
    )
    duration_seconds: float = sql.expression(
        "Seconds from the start until it was resolved, or until now.",
        "extract(epoch from coalesce({it}.resolved_at, greatest({now}, {it}.started_at)) - {it}.started_at)"
        "::double precision",
    )
    commander: User | None = sql.one("Who leads the work.", "users {it}", "{it}.id = {parent}.commander_id")
    root_cause: str | None = sql.column("Why it happened.")
    resolution: str | None = sql.column("What ended it.")
    postmortem_url: URL | None = sql.column("Where it is written up.")
    labels: JSON = sql.column("Labels, a flat object of strings.")
    services: list[Service] = sql.many(
        "The services that it hurts, those hurt directly first.",
        "services {it} join incidents_services {it}_hurts on {it}_hurts.service_id = {it}.id",
        "{it}_hurts.incident_id = {parent}.id",
        BY_LEVEL,
    )
    impacts: list[ServiceImpact] = sql.many(
        "How it hurts which service.",
        "incidents_services {it} join services {it}_of on {it}_of.id = {it}.service_id",
        "{it}.incident_id = {parent}.id",
        "{it}.level, {it}_of.name, {it}.service_id",
    )
    timeline: Connection[TimelineEvent] = timeline("What happened, oldest first.", "{it}.incident_id = {parent}.id")
    alerts: Connection[Alert] = sql.connection(
        "The alerts that belong to it, the latest first.",
        "alerts {it}",
        "{it}.id in (select alert_id from alert_occurrences where incident_id = {parent}.id)",
        ALERT_ORDER,
        backward=False,
    )
    correlations: Connection[Correlation] = sql.connection(
        "What the correlation engine found, the strongest first.",
        "correlations {it}",
        f"{{it}}.incident_id = {{parent}}.id and {SHOWN}",
        CORRELATION_ORDER,
        arguments={
            "kind": Given(
                list[CorrelationKind] | None,
                "Of one of these kinds.",
                Condition("{it}.kind = any({value})", "correlation_kind[]"),
            ),
            "min_score": Given(
                float | None,
                "With at least this score, 0 to 1.",
                Condition("{it}.score >= {value}", "double precision"),
            ),
        },
        backward=False,
    )
    analysis: IncidentAnalysis | None = sql.one(
        "The present analysis of why it happened.",
        "analyses {it}",
        "{it}.incident_id = {parent}.id and {it}.is_shown",
    )
    analyses: Connection[IncidentAnalysis] = sql.connection(
        "All analyses of it that there were, the latest first.",
        "analyses {it}",
        "{it}.incident_id = {parent}.id",
        ANALYSIS_ORDER,
        backward=False,
    )
    similar_incidents: list[SimilarIncident] = sql.many(
        "Up to five resolved incidents that were like it, with what ended them, the most similar first.",
        SIMILAR_TO_PARENT,
        "true",
        "{it}.score desc, {it}.incident_id",
    )
    hypotheses: list[Hypothesis] = sql.many(
        "What people and the engine think happened.",
        "investigation_hypotheses {it}",
        "{it}.incident_id = {parent}.id",
        "{it}.created_at, {it}.id",
    )
    steps: list[InvestigationStep] = sql.many(
        "What is done to find out.",
        "investigation_steps {it}",
        "{it}.incident_id = {parent}.id",
        "{it}.created_at, {it}.id",
    )
    tasks: list[IncidentTask] = sql.many(
        "What has to be done.", "incident_tasks {it}", "{it}.incident_id = {parent}.id", "{it}.created_at, {it}.id"
    )
    slos: list[SLO] = sql.many(
        "The objectives of the services that it hurts.",
        "slos {it}",
        "{it}.service_id in (select service_id from incidents_services where incident_id = {parent}.id)",
        "{it}.name, {it}.id",
    )
    budget_burns: list[IncidentBudgetBurn] = sql.elsewhere(
        "What it took of the budgets of the services that it hurts, most first.",
        incident_budget_burns,
        id="{it}.id",
        started_at="{it}.started_at",
        resolved_at="{it}.resolved_at",
    )
    metrics: list[MetricSeries] | None = sql.elsewhere(
        "The golden signals of the services that it hurts, from Prometheus.",
        incident_metrics,
        started_at="{it}.started_at",
        resolved_at="{it}.resolved_at",
        selectors=by_hurt_service("hurt.selectors"),
        instances=by_hurt_service("hurt.telemetry_instances->'prometheus'"),
    )
    traces: list[Trace] | None = sql.elsewhere(
        "Traces with spans of the services that it hurts, from Tempo, in one search.",
        incident_traces,
        weight=TRACES,
        started_at="{it}.started_at",
        resolved_at="{it}.resolved_at",
        services=HURT_IN_TRACES,
    )
    logs: list[LogEntry] | None = sql.elsewhere(
        "The lines of the services that it hurts, the latest first, from Loki.",
        incident_logs,
        weight=LINES,
        started_at="{it}.started_at",
        resolved_at="{it}.resolved_at",
        selectors=by_hurt_service("hurt.selectors"),
        instances=by_hurt_service("hurt.telemetry_instances->'loki'"),
    )
    silences: list[Silence] | None = sql.elsewhere(
        "The silences for it, from Alertmanager; those that end last first.", incident_silences, number="{it}.number"
    )
