"""The catalog: services, what depends on what, and what was deployed."""

from db.deployments import deployments
from db.services import service_dependencies, services
from domain.services import DependencySource, DeploymentOutcome, ServiceStatus
from resolvers import sql
from resolvers.compile.sources import Order, OrderKey
from resolvers.limits.weights import Weight
from schema.filters import ALERT_ORDER, INCIDENT_ORDER, AlertFilter, IncidentFilter, IncidentOrder
from schema.logs import LINES, LogEntry, LogPattern, service_log_patterns, service_logs
from schema.nodes import Connection, Node
from schema.people import Team
from schema.references import AlertRef, IncidentRef, ServiceRef, SLORef
from schema.scalars import JSON, URL, DateTime
from schema.telemetry import MetricSeries, service_metrics
from schema.traces import TRACES, Trace, service_traces

DEPLOYMENT_ORDER = Order({"STARTED_AT": OrderKey("{it}.started_at", "timestamptz")}, "STARTED_AT")


PROMETHEUS_SELECTOR = "coalesce(nullif({it}.selectors->'prometheus', 'null'), jsonb_build_object('service', {it}.name))"
TEMPO_SELECTOR = "coalesce({it}.selectors->>'tempo', {it}.name)"


@sql.type(deployments)
class Deployment(Node):
    """A change of a running thing."""

    service: ServiceRef = sql.one("What was changed.", "services {it}", "{it}.id = {parent}.service_id")
    version: str = sql.column("What was deployed.")
    commit: str | None = sql.column("The commit that it was built from.")
    environment: str = sql.column("Where to.")
    description: str = sql.column("What changed.")
    outcome: DeploymentOutcome = sql.column("How it ended, so far.")
    url: URL | None = sql.column("Where to read more.")
    started_at: DateTime = sql.column("When it began.")
    finished_at: DateTime | None = sql.column("When it was over.")


@sql.type(service_dependencies)
class ServiceDependency:
    """A service depends on another."""

    service: ServiceRef = sql.one("The one that depends.", "services {it}", "{it}.id = {parent}.service_id")
    depends_on: ServiceRef = sql.one("The one that it depends on.", "services {it}", "{it}.id = {parent}.depends_on_id")
    source: DependencySource = sql.column("How this is known.")
    last_seen_at: DateTime | None = sql.column("When it was last seen in traces.")
    request_rate: float | None = sql.column("Requests per second along it, when last seen.")
    error_ratio: float | None = sql.column("Failed requests of all along it, 0 to 1, when last seen.")
    latency_p95_seconds: float | None = sql.column(
        "How long 95 % of the requests along it took at most, by the clock of the service that answers, when last seen."
    )


@sql.type()
class ServiceSelectors:
    """How a service is named in each backend."""

    prometheus: JSON = sql.expression(
        "Label matchers: label names and their values. Where none are declared, Prometheus is asked which of "
        "`service`, `service_name`, `job` and `app` has the service's name as its value.",
        PROMETHEUS_SELECTOR,
    )
    loki: JSON = sql.expression(
        "Label matchers of its log streams. Where none are declared, Loki is asked which of the labels `service_name`, "
        "`service`, `app`, `job` and `container` has the service's name.",
        "coalesce(nullif({it}.selectors->'loki', 'null'), jsonb_build_object('service_name', {it}.name))",
    )
    tempo: str = sql.expression("The `service.name` of its traces.", TEMPO_SELECTOR)
    signals: JSON = sql.expression(
        "PromQL that is asked for some golden signals, by signal, instead of looking for the usual metrics.",
        "coalesce(nullif({it}.selectors->'signals', 'null'), '{{}}')",
    )


@sql.type(services)
class Service(Node):
    """A thing that is run and can hurt."""

    name: str = sql.column("Its unique name.")
    display_name: str = sql.column("What people call it.")
    description: str = sql.column("What it does.")
    tier: int | None = sql.column("How much depends on it: 1 is the most important.")
    team: Team | None = sql.one("Who owns it.", "teams {it}", "{it}.id = {parent}.team_id")
    status: ServiceStatus = sql.column("What open alerts and incidents say about it.")
    repository_url: URL | None = sql.column("Where its code is.")
    documentation_url: URL | None = sql.column("Where it is explained.")
    runbook_url: URL | None = sql.column("What to do when it hurts.")
    labels: JSON = sql.column("Labels, a flat object of strings.")
    selectors: ServiceSelectors = sql.embedded("How it is named in each backend.")
    telemetry_instances: JSON = sql.column(
        "Which instance of each backend knows it; the default one of those that are missing."
    )
    discovered_at: DateTime | None = sql.column("When it was first heard of, where nobody declared it.")
    version: int = sql.column("Counts its changes.")
    created_at: DateTime = sql.column("When it was added.")
    updated_at: DateTime = sql.column("When it was last changed.")
    dependencies: list[ServiceDependency] = sql.many(
        "What it depends on.",
        "service_dependencies {it} join services {it}_to on {it}_to.id = {it}.depends_on_id",
        "{it}.service_id = {parent}.id",
        "{it}_to.name, {it}.depends_on_id",
    )
    dependents: list[ServiceDependency] = sql.many(
        "What depends on it.",
        "service_dependencies {it} join services {it}_of on {it}_of.id = {it}.service_id",
        "{it}.depends_on_id = {parent}.id",
        "{it}_of.name, {it}.service_id",
    )
    incidents: Connection[IncidentRef] = sql.connection(
        "The incidents that hurt it, the latest first.",
        "incidents {it} join incidents_services {it}_hurts on {it}_hurts.incident_id = {it}.id",
        "{it}_hurts.service_id = {parent}.id",
        INCIDENT_ORDER,
        filter=IncidentFilter,
        order_by=IncidentOrder,
    )
    alerts: Connection[AlertRef] = sql.connection(
        "Its alerts, the latest first.",
        "alerts {it}",
        "{it}.service_id = {parent}.id",
        ALERT_ORDER,
        filter=AlertFilter,
        backward=False,
    )
    slos: list[SLORef] = sql.many("Its objectives.", "slos {it}", "{it}.service_id = {parent}.id", "{it}.name, {it}.id")
    metrics: list[MetricSeries] | None = sql.elsewhere(
        "Its golden signals over a time range, from Prometheus.",
        service_metrics,
        name="{it}.name",
        selectors="{it}.selectors",
        instance="{it}.telemetry_instances->'prometheus'",
    )
    traces: list[Trace] | None = sql.elsewhere(
        "Traces with spans of it, from Tempo.",
        service_traces,
        weight=TRACES,
        selector=TEMPO_SELECTOR,
        instance="{it}.telemetry_instances->>'tempo'",
    )
    logs: list[LogEntry] | None = sql.elsewhere(
        "Its lines over a time range, the latest first, from Loki.",
        service_logs,
        weight=LINES,
        name="{it}.name",
        selectors="{it}.selectors",
        instance="{it}.telemetry_instances->'loki'",
    )
    log_patterns: list[LogPattern] | None = sql.elsewhere(
        "Its lines over a time range in groups that look alike, the largest first, from Loki. Where Loki finds none "
        "itself, or only some levels are wanted, they are found among the latest 2000 lines.",
        service_log_patterns,
        weight=Weight(base=40),
        name="{it}.name",
        selectors="{it}.selectors",
        instance="{it}.telemetry_instances->'loki'",
    )
    deployments: Connection[Deployment] = sql.connection(
        "What was deployed, the latest first.",
        "deployments {it}",
        "{it}.service_id = {parent}.id",
        DEPLOYMENT_ORDER,
        backward=False,
    )
