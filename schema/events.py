"""Events: what happened to incidents and services, in the one order that all clients see."""

from db.event_log import event_log
from domain.feed import EventType
from domain.slos import SLOStatus
from feed.cursor import CARRYING_CURSOR_SQL, CURSOR_SQL
from resolvers import sql
from schema.alerts import Alert
from schema.correlation import Correlation, IncidentAnalysis
from schema.investigation import Hypothesis, IncidentTask, InvestigationStep
from schema.people import User
from schema.references import IncidentRef, ServiceRef
from schema.scalars import JSON, DateTime
from schema.services import Deployment
from schema.slos import SLO
from schema.timeline import TimelineEvent

ON_A_STREAM = f"(select *, {CURSOR_SQL.format(position='position')} as cursor, null::text as previous from event_log)"
_CURSOR = CARRYING_CURSOR_SQL.format(position="position", seq="seq", last="{last}", snapshot="{snapshot}")
ON_A_PAGE = f"(select *, {_CURSOR} as cursor, null::text as previous from event_log)"
"""With the cursors of whoever polls, who may have begun with a snapshot (see the parts of EVENT_ORDER's cursors)."""
SUBJECT = "{it}.id = {parent}.subject_id"
STATUS = (
    "(select label from unnest(enum_range(null::slo_status)) label"
    " where label::text = {{it}}.payload->'changes'->0->>'{which}')"
)

EVENT_TYPES = {
    EventType.INCIDENT_CREATED: "IncidentCreated",
    EventType.INCIDENT_UPDATED: "IncidentUpdated",
    EventType.TIMELINE_EVENT_ADDED: "TimelineEventAdded",
    EventType.CORRELATION_FOUND: "CorrelationFound",
    EventType.ANALYSIS_COMPLETED: "AnalysisCompleted",
    EventType.HYPOTHESIS_CHANGED: "HypothesisChanged",
    EventType.STEP_CHANGED: "StepChanged",
    EventType.TASK_CHANGED: "TaskChanged",
    EventType.ALERT_FIRED: "AlertFired",
    EventType.ALERT_RESOLVED: "AlertResolved",
    EventType.SLO_STATUS_CHANGED: "SLOStatusChanged",
    EventType.SERVICE_IMPACT_CHANGED: "ServiceImpactChanged",
    EventType.SERVICE_CHANGED: "ServiceChanged",
    EventType.DEPLOYMENT_RECORDED: "DeploymentRecorded",
    EventType.CHECKPOINT: "Checkpoint",
}


@sql.interface("{it}.type", EVENT_TYPES)
class Event:
    """Something that happened, and its place in the log."""

    cursor: str = sql.expression("Its place in the log, to resume after.", "{it}.cursor")
    previous_cursor: str | None = sql.expression(
        "The cursor of what came before it on this stream: who has seen that has missed nothing.",
        "{it}.previous",
    )
    type: EventType = sql.column("What happened.")
    occurred_at: DateTime = sql.column("When.")
    actor: User | None = sql.one("Who did it.", "users {it}", "{it}.id = {parent}.actor_id")
    incident: IncidentRef | None = sql.one(
        "The incident that it is about.", "incidents {it}", "{it}.id = {parent}.incident_id"
    )
    service: ServiceRef | None = sql.one(
        "The service that it is about, the first where it is about several.",
        "services {it}",
        "{it}.id = {parent}.service_ids[1]",
    )


@sql.type(record='field text, "from" jsonb, "to" jsonb')
class FieldChange:
    """A field that changed."""

    field: str = sql.expression("Its name.", "{it}.field")
    from_: JSON | None = sql.expression("What it was.", '{it}."from"', name="from")
    to: JSON | None = sql.expression("What it is now.", '{it}."to"')


CHANGES = (
    "jsonb_to_recordset(coalesce({parent}.payload->'changes', '[]')) as {it}(field text, \"from\" jsonb, \"to\" jsonb)",
    "true",
    "{it}.field",
)


@sql.type(event_log, relation=ON_A_STREAM)
class IncidentCreated(Event):
    """An incident became known."""


@sql.type(event_log, relation=ON_A_STREAM)
class IncidentUpdated(Event):
    """Fields of an incident changed."""

    changes: list[FieldChange] = sql.many("What changed.", *CHANGES)


@sql.type(event_log, relation=ON_A_STREAM)
class TimelineEventAdded(Event):
    """Something was added to a timeline."""

    timeline_event: TimelineEvent | None = sql.one("The new entry.", "timeline_events {it}", SUBJECT)


@sql.type(event_log, relation=ON_A_STREAM)
class CorrelationFound(Event):
    """The correlation engine found something."""

    correlation: Correlation | None = sql.one("What it found.", "correlations {it}", SUBJECT)


@sql.type(event_log, relation=ON_A_STREAM)
class AnalysisCompleted(Event):
    """A run of the correlation engine is over."""

    analysis: IncidentAnalysis | None = sql.one("The analysis.", "analyses {it}", SUBJECT)


@sql.type(event_log, relation=ON_A_STREAM)
class HypothesisChanged(Event):
    """A hypothesis was made or changed."""

    hypothesis: Hypothesis | None = sql.one("The hypothesis.", "investigation_hypotheses {it}", SUBJECT)
    changes: list[FieldChange] = sql.many("What changed.", *CHANGES)


@sql.type(event_log, relation=ON_A_STREAM)
class StepChanged(Event):
    """An investigation step was made or changed."""

    step: InvestigationStep | None = sql.one("The step.", "investigation_steps {it}", SUBJECT)
    changes: list[FieldChange] = sql.many("What changed.", *CHANGES)


@sql.type(event_log, relation=ON_A_STREAM)
class TaskChanged(Event):
    """A task was made or changed."""

    task: IncidentTask | None = sql.one("The task.", "incident_tasks {it}", SUBJECT)
    changes: list[FieldChange] = sql.many("What changed.", *CHANGES)


@sql.type(event_log, relation=ON_A_STREAM)
class AlertFired(Event):
    """An alert fires."""

    alert: Alert | None = sql.one("The alert.", "alerts {it}", SUBJECT)


@sql.type(event_log, relation=ON_A_STREAM)
class AlertResolved(Event):
    """An alert fires no more."""

    alert: Alert | None = sql.one("The alert.", "alerts {it}", SUBJECT)


@sql.type(event_log, relation=ON_A_STREAM)
class SLOStatusChanged(Event):
    """The status of an SLO changed."""

    slo: SLO | None = sql.one("The SLO.", "slos {it}", SUBJECT)
    from_: SLOStatus | None = sql.expression("What it was.", STATUS.format(which="from"), name="from")
    to: SLOStatus | None = sql.expression("What it is now.", STATUS.format(which="to"))
    changes: list[FieldChange] = sql.many("What changed.", *CHANGES)


@sql.type(event_log, relation=ON_A_STREAM)
class ServiceImpactChanged(Event):
    """An incident was found to hurt a service, or not."""

    changes: list[FieldChange] = sql.many("What changed.", *CHANGES)


@sql.type(event_log, relation=ON_A_STREAM)
class ServiceChanged(Event):
    """A service was made or changed."""

    changes: list[FieldChange] = sql.many("What changed.", *CHANGES)


@sql.type(event_log, relation=ON_A_STREAM)
class DeploymentRecorded(Event):
    """Something was deployed."""

    deployment: Deployment | None = sql.one("The deployment.", "deployments {it}", SUBJECT)


@sql.type(event_log, relation=ON_A_STREAM)
class Checkpoint(Event):
    """Nothing happened that the filter lets through, and the cursor moves on."""


ALL_EVENTS = (
    IncidentCreated,
    IncidentUpdated,
    TimelineEventAdded,
    CorrelationFound,
    AnalysisCompleted,
    HypothesisChanged,
    StepChanged,
    TaskChanged,
    AlertFired,
    AlertResolved,
    SLOStatusChanged,
    ServiceImpactChanged,
    ServiceChanged,
    DeploymentRecorded,
    Checkpoint,
)
