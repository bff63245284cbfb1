"""The roots of the schema, and the schema."""

from typing import Annotated

import strawberry
from graphql import GraphQLDeferDirective

from db.tables import metadata
from domain.access import TokenScope
from domain.permissions import ADMINISTRATION, ANYBODY, OWN_TOKENS, READ_DELIVERIES, TELEMETRY_QUERY
from feed.cursor import AS_OF_CURSOR_SQL
from resolvers import sql
from resolvers.compile.permissions import PERMISSION, permissions_of
from resolvers.context import RequestContext
from resolvers.limits.weights import BACKEND_CALL, SIMULATION, Weight, costing
from resolvers.sql import Given
from schema.alert_deliveries import DELIVERY_ORDER, AlertAudit, AlertDelivery, AlertDeliveryFilter
from schema.alerts import Alert
from schema.analyses import COMPARED_ANALYSES, JUDGED_ANALYSES, AnalysisComparison, AnalysisQuality
from schema.api_tokens import all_tokens, own_tokens
from schema.audit import AUDIT_ORDER, AuditEntry, AuditLogFilter
from schema.detection import DETECTION_RULE_ORDER, DetectionRule
from schema.detection_trials import detection_trial
from schema.errors import MUTATION_ERRORS
from schema.events import ALL_EVENTS, ON_A_PAGE, Event
from schema.filters import (
    ALERT_ORDER,
    EVENT_ORDER,
    INCIDENT_ORDER,
    SERVICE_ORDER,
    SLO_ORDER,
    AlertFilter,
    EventFilter,
    IncidentFilter,
    IncidentOrder,
    ServiceFilter,
    ServiceOrder,
    SLOFilter,
    SLOOrder,
)
from schema.health import SystemHealth, system_health
from schema.incidents import Incident
from schema.logs import LINES, loki_query
from schema.maintenance import WINDOW_ORDER, MaintenanceWindow, MaintenanceWindowFilter
from schema.mutations.alerts import AlertMutations
from schema.mutations.api_tokens import ApiTokenMutations
from schema.mutations.detection import DetectionMutations
from schema.mutations.incidents import IncidentMutations
from schema.mutations.investigation import InvestigationMutations
from schema.mutations.services import ServiceMutations
from schema.mutations.silences import SilenceMutations
from schema.mutations.slo_imports import SLOImportMutations
from schema.mutations.slos import SLOMutations
from schema.nodes import Connection, Node, TimeRange
from schema.people import Viewer
from schema.prometheus import prometheus_query
from schema.scalars import CONFIG, DateTime
from schema.services import Service
from schema.silences import all_silences
from schema.slo_explanation import SLOTrial
from schema.slo_formats import SLOFormatQueries
from schema.slo_trials import TestSLOInput, tried_slo
from schema.slos import SLO
from schema.statistics import IncidentStatistics
from schema.subscriptions import Subscription
from schema.timeline import TimelineEvent, timeline
from schema.traceql import TraceQLQueries
from schema.traces import TraceQueries

NODE_TABLES = {
    "Incident": "incidents",
    "Service": "services",
    "TimelineEvent": "timeline_events",
    "SLO": "slos",
    "Alert": "alerts",
    "AlertDelivery": "alert_deliveries",
    "MaintenanceWindow": "maintenance_windows",
    "Correlation": "correlations",
    "IncidentAnalysis": "analyses",
    "Hypothesis": "investigation_hypotheses",
    "InvestigationStep": "investigation_steps",
    "IncidentTask": "incident_tasks",
    "Deployment": "deployments",
    "DetectionRule": "detection_rules",
    "Team": "teams",
    "User": "users",
    "AuditEntry": "audit_log",
}
BY_ID = {"id": Given(strawberry.ID, "Its id.", "uuid")}


@strawberry.type(description="Everything that can be read.")
class Query(TraceQueries, TraceQLQueries, SLOFormatQueries):
    """Everything that can be read."""

    node: Node | None = sql.lookup("The object with an id, whatever it is.", NODE_TABLES, BY_ID)
    nodes: list[Node | None] = sql.lookup(
        "The objects with these ids, in their order; null where there is none.",
        NODE_TABLES,
        {"ids": Given(list[strawberry.ID], "Their ids.", "uuid[]")},
        many=True,
    )
    incident: Incident | None = sql.one("An incident by id.", "incidents {it}", "{it}.id = {id}", BY_ID)
    incident_by_number: Incident | None = sql.one(
        "An incident by its number.",
        "incidents {it}",
        "{it}.number = {number}",
        {"number": Given(int, "Its number, as in INC-42.", "integer")},
    )
    incidents: Connection[Incident] = sql.connection(
        "Incidents, the latest first.",
        "incidents {it}",
        "true",
        INCIDENT_ORDER,
        filter=IncidentFilter,
        order_by=IncidentOrder,
    )
    incident_statistics: IncidentStatistics = sql.aggregate(
        "Incidents in numbers: how many, how fast acknowledged and resolved.",
        "incidents {it}",
        "{it}.started_at",
        IncidentFilter,
        {
            "range": Given(TimeRange, "When they started."),
            "bucket_seconds": Given(int | None, "The length of a bucket, a day by default; at most 1000 buckets."),
        },
    )
    analysis_quality: AnalysisQuality = sql.aggregate(
        "How often analyses were right, by what people have confirmed and rejected.",
        JUDGED_ANALYSES,
        "{it}.started_at",
        None,
        {"range": Given(TimeRange, "When the incidents started.")},
    )
    compare_analyses: AnalysisComparison | None = sql.one(
        "Two analyses side by side, by their ids. Null where there is none with one of them.",
        COMPARED_ANALYSES,
        "{it}.a_id = {a} and {it}.b_id = {b}",
        {
            "a": Given(strawberry.ID, "The first analysis.", "uuid"),
            "b": Given(strawberry.ID, "The second analysis.", "uuid"),
        },
    )
    service: Service | None = sql.one("A service by id.", "services {it}", "{it}.id = {id}", BY_ID)
    service_by_name: Service | None = sql.one(
        "A service by its name, in any case.",
        "services {it}",
        "lower({it}.name) = lower({name})",
        {"name": Given(str, "Its name.", "text")},
    )
    services: Connection[Service] = sql.connection(
        "Services by name.", "services {it}", "true", SERVICE_ORDER, filter=ServiceFilter, order_by=ServiceOrder
    )
    slo: SLO | None = sql.one("An SLO by id.", "slos {it}", "{it}.id = {id}", BY_ID)
    slos: Connection[SLO] = sql.connection(
        "SLOs by name.", "slos {it}", "true", SLO_ORDER, filter=SLOFilter, order_by=SLOOrder
    )
    alerts: Connection[Alert] = sql.connection(
        "Alerts, the latest first.", "alerts {it}", "true", ALERT_ORDER, filter=AlertFilter
    )
    alert_delivery: AlertDelivery | None = sql.one(
        "What a webhook brought, by its receipt.",
        "alert_deliveries {it}",
        "{it}.id = {receipt}",
        {"receipt": Given(strawberry.ID, "What its sender was answered.", "uuid")},
        permission=READ_DELIVERIES,
    )
    alert_deliveries: Connection[AlertDelivery] = sql.connection(
        "What webhooks brought, the latest first.",
        "alert_deliveries {it}",
        "true",
        DELIVERY_ORDER,
        filter=AlertDeliveryFilter,
        permission=READ_DELIVERIES,
    )
    alert_audit: AlertAudit | None = sql.one(
        "Whether every alert that came in is accounted for. Null before it was counted.",
        "alert_audits {it}",
        "{it}.id = (select id from alert_audits order by audited_at desc limit 1)",
    )
    maintenance_windows: Connection[MaintenanceWindow] = sql.connection(
        "Times in which nobody is told of some alerts, the latest first.",
        "maintenance_windows {it}",
        "true",
        WINDOW_ORDER,
        filter=MaintenanceWindowFilter,
    )
    timeline_events: Connection[TimelineEvent] = timeline("What happened to all incidents, oldest first.", "true")
    detection_rules: Connection[DetectionRule] = sql.connection(
        "What the built-in detection watches, by name.", "detection_rules {it}", "true", DETECTION_RULE_ORDER
    )
    test_detection_rule = strawberry.field(
        detection_trial,
        description="When a detection rule would have fired in the past, evaluated at every moment of a range. "
        "Nothing is kept and nobody is told.",
        metadata={PERMISSION: TELEMETRY_QUERY, **costing(SIMULATION)},
    )
    events: Connection[Event] = sql.connection(
        "What happened, oldest first, for clients that poll. Its cursors are those of subscriptions, and go on there.",
        ON_A_PAGE + " {it}",
        "true",
        EVENT_ORDER,
        filter=EventFilter,
        backward=False,
    )

    @strawberry.field(description="Who asks.", metadata={PERMISSION: ANYBODY})
    def viewer(self, info: strawberry.Info[RequestContext]) -> Viewer:
        """The actor of the request."""
        actor = info.context.actor
        return Viewer(
            user_id=actor.id,
            name=actor.name,
            role=actor.role,
            scopes=None if actor.scopes is None else [scope for scope in TokenScope if scope in actor.scopes],
            expires_at=None if actor.expires_at is None else DateTime(actor.expires_at),
        )

    api_tokens = strawberry.field(
        own_tokens,
        description="One's own API tokens, the newest first; 500 at most.",
        metadata={PERMISSION: OWN_TOKENS},
    )
    all_api_tokens = strawberry.field(
        all_tokens,
        description="Everybody's API tokens, the newest first; 500 at most.",
        metadata={PERMISSION: ADMINISTRATION},
    )

    @strawberry.field(description="How well the server and what it depends on serve.", metadata=costing(Weight(base=5)))
    async def system_health(self, info: strawberry.Info[RequestContext]) -> SystemHealth:
        """The health of the process that answers."""
        if info.context.health is None:
            raise RuntimeError("nobody watches the health of this process")
        return system_health(await info.context.health())

    @strawberry.field(
        description="What another promise would have said over a range of time, and when its alerts would have fired. "
        "Nothing is saved.",
        metadata={PERMISSION: TELEMETRY_QUERY, **costing(SIMULATION)},
    )
    async def test_slo(
        self,
        info: strawberry.Info[RequestContext],
        input: Annotated[TestSLOInput, strawberry.argument(description="The other promise.")],
        range: Annotated[TimeRange, strawberry.argument(description="When.")],
    ) -> SLOTrial | None:
        """A trial of a promise."""
        return await tried_slo(info.context, input, range)

    prometheus = strawberry.field(
        prometheus_query,
        description="What PromQL gives, now or over a range.",
        metadata={PERMISSION: TELEMETRY_QUERY, **costing(BACKEND_CALL)},
    )
    loki = strawberry.field(
        loki_query,
        description="What LogQL returns over a time range, from Loki: lines, or numbers.",
        metadata={PERMISSION: TELEMETRY_QUERY, **costing(LINES)},
    )
    silences = strawberry.field(
        all_silences,
        description="The silences that Alertmanager keeps; those that end last first.",
        metadata=costing(BACKEND_CALL),
    )

    audit_log: Connection[AuditEntry] = sql.connection(
        "Who did what, the latest first. For admins.",
        "audit_log {it}",
        "true",
        AUDIT_ORDER,
        filter=AuditLogFilter,
        permission=ADMINISTRATION,
    )
    as_of_cursor: str = sql.expression(
        "Joins what this query reads to a subscription: `after` it comes exactly what this query has not seen.",
        AS_OF_CURSOR_SQL,
    )


@strawberry.type(description="Everything that can be changed. Each field is a transaction of its own, in their order.")
class Mutation(
    AlertMutations,
    ApiTokenMutations,
    DetectionMutations,
    IncidentMutations,
    InvestigationMutations,
    ServiceMutations,
    SilenceMutations,
    SLOMutations,
    SLOImportMutations,
):
    """Everything that can be changed."""


def build_schema() -> strawberry.Schema:
    """The schema. Raises when a declaration does not make sense."""
    if missing := set(NODE_TABLES.values()) - metadata.tables.keys():
        raise ValueError(f"There are no tables {sorted(missing)}")
    schema = strawberry.Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=(*ALL_EVENTS, *MUTATION_ERRORS),
        config=CONFIG,
    )
    # Strawberry's own switch would promise `@stream` as well.
    schema._schema.directives += (GraphQLDeferDirective,)
    permissions_of(schema)
    return schema
