"""The domain's enums, described for clients."""

from enum import StrEnum

import strawberry
from strawberry.types.enum import StrawberryEnumDefinition

from actions.slos.imports import SLOImportOutcomeKind
from domain.access import Role, TokenScope
from domain.alerts import AlertDisposition, AlertStatus, Comparison, DetectionKind, DetectionStatus, WebhookKind
from domain.correlation import AnalysisStatus, AnalysisTrigger, CorrelationKind, RecommendationKind, RootCauseKind
from domain.feed import EventType
from domain.health import CircuitState, HealthStatus
from domain.incidents import ImpactLevel, IncidentSource, IncidentStatus, Severity
from domain.investigation import HypothesisStatus, StepStatus, TaskStatus
from domain.objectives import CalendarUnit, CompositeRule
from domain.objectives import Comparison as ThresholdComparison
from domain.services import DependencySource, DeploymentOutcome, ServiceStatus
from domain.slos import AdjustmentKind, BudgetingMethod, BurnResponse, IndicatorKind, SLOStatus, WindowKind
from domain.suppressions import SuppressionKind
from domain.telemetry import GoldenSignal, LogLevel, PrometheusResultKind, SilenceState, TelemetryBackend
from domain.timeline import TimelineEventType
from domain.traces import SpanOrder, TraceOrder
from engines.slo.formats.reader import SpecificationFormat
from engines.slo.rules.files import RuleDialect
from engines.slo.rules.groups import RuleFormat


def describe(enum: type[StrEnum], name: str | None = None, /, **descriptions: str) -> None:
    """Make an enum known to the schema, as `name` where its own is taken.

    Raises ValueError when a value has no description.
    """
    strawberry.enum(enum, name=name, description=(enum.__doc__ or "").partition("\n")[0])
    definition: StrawberryEnumDefinition = vars(enum)["__strawberry_definition__"]
    if missing := {value.name for value in definition.values} ^ descriptions.keys():
        raise ValueError(f"{enum.__name__} and its descriptions differ in {sorted(missing)}")
    for value in definition.values:
        value.description = descriptions[value.name]


describe(
    Severity,
    LOW="Annoying, and can wait for working hours.",
    MEDIUM="Some users notice.",
    HIGH="Many users are hurt, or some badly.",
    CRITICAL="The business stands still.",
)
describe(
    IncidentStatus,
    OPEN="Known, and nobody acts yet.",
    INVESTIGATING="Somebody acts.",
    MITIGATED="Users are no longer hurt.",
    RESOLVED="The cause is removed.",
)
describe(
    IncidentSource,
    MANUAL="A person said so.",
    API="A program said so.",
    ALERT="An alert said so.",
    DETECTION="The built-in detection or correlation said so.",
)
describe(
    ImpactLevel,
    PRIMARY="Hurt itself.",
    SECONDARY="Suffers from another service.",
    SUSPECTED="Perhaps hurt.",
)
describe(
    ServiceStatus,
    HEALTHY="Nothing open.",
    DEGRADED="An open incident or alert hurts it.",
    DOWN="A critical incident hurts it directly.",
    UNKNOWN="Nothing has ever been said about it.",
)
describe(
    DependencySource,
    DECLARED="Somebody said so.",
    TRACES="Seen in traces.",
)
describe(
    DeploymentOutcome,
    IN_PROGRESS="Not over yet.",
    SUCCEEDED="The new version runs.",
    FAILED="The new version does not run.",
    ROLLED_BACK="The old version runs again.",
)
describe(
    TimelineEventType,
    DETECTED="The incident became known.",
    ALERT="An alert fired or resolved.",
    STATUS_CHANGE="The status changed.",
    SEVERITY_CHANGE="The severity changed.",
    FIELD_CHANGE="Another field changed.",
    NOTE="Somebody wrote something down.",
    METRIC_ANOMALY="A metric went astray.",
    LOG_ANOMALY="The logs said something new.",
    TRACE_ANOMALY="Requests failed or slowed down.",
    DEPLOYMENT="Something was deployed.",
    CORRELATION="The correlation engine found something.",
    HYPOTHESIS="A hypothesis was made or judged.",
    TASK="A task was made or finished.",
    MITIGATION="Users are no longer hurt.",
    RESOLUTION="The cause is removed.",
    IMPACT="A service was found to be hurt, or not.",
)
describe(
    WebhookKind,
    ALERTMANAGER="Alertmanager's webhook.",
    GRAFANA="Grafana's webhook.",
    PAGERDUTY="PagerDuty's Events API.",
    CLOUD_EVENTS="CloudEvents.",
    GENERIC="Any JSON.",
    DETECTION="Made by this server: detection, objectives.",
    RECONCILIATION="Found by comparing with the source, or because its time had come.",
)
describe(
    AlertDisposition,
    CREATED="An alert that was not known.",
    UPDATED="It changed what was known.",
    DUPLICATE="It said nothing new.",
    SUPPRESSED="It was kept, and nobody is told.",
    STALE="It was about something that had passed already.",
    REJECTED="It could not be kept.",
)
describe(
    SuppressionKind,
    MAINTENANCE="A maintenance window.",
    SILENCE="A silence of Alertmanager.",
    INHIBITION="Another alert or incident, which explains it.",
    MUTE="A time in which Alertmanager's route is mute.",
)
describe(
    HypothesisStatus,
    PROPOSED="Nobody looks at it yet.",
    INVESTIGATING="It is being tested.",
    CONFIRMED="It is what happened.",
    REJECTED="It is not what happened.",
)
describe(
    StepStatus,
    PENDING="Not begun.",
    IN_PROGRESS="Being done.",
    COMPLETED="Done.",
    SKIPPED="Will not be done.",
)
describe(
    TaskStatus,
    OPEN="Not begun.",
    IN_PROGRESS="Being done.",
    DONE="Done.",
    CANCELLED="Will not be done.",
)
describe(AlertStatus, FIRING="Its condition holds.", RESOLVED="Its condition holds no more.")
describe(
    DetectionKind,
    THRESHOLD="A value beyond a threshold, for some time.",
    RATE_OF_CHANGE="A value that changes too fast.",
    SEASONAL="A value unlike that of the same hour on earlier days.",
    ABSENCE="A value that is missing.",
    SLO_BURN="An error budget that burns too fast.",
    LOG_NOVELTY="Logs that say what they never said.",
)
describe(
    DetectionStatus,
    OK="Nothing is wrong.",
    PENDING="It is bad, but not for long enough yet.",
    FIRING="It is bad: there is an alert.",
    ERROR="Nothing was wrong, but now it cannot be evaluated.",
)
describe(Comparison, ABOVE="Greater than the threshold.", BELOW="Less than the threshold.")
describe(
    SLOStatus,
    HEALTHY="The budget lasts.",
    WARNING="It burns fast enough for a ticket.",
    CRITICAL="It burns fast enough to page somebody.",
    EXHAUSTED="Nothing is left of it.",
    NO_DATA="Nothing was measured.",
    ERROR="It could not be measured.",
)
describe(
    WindowKind,
    ROLLING="The last so many days.",
    CALENDAR="The present period of the calendar.",
)
describe(
    BudgetingMethod,
    OCCURRENCES="Good events of all events.",
    TIMESLICES="Good slices of time of all slices.",
    RATIO_TIMESLICES="The mean of the ratios of all slices of time.",
)
describe(
    IndicatorKind,
    RATIO="Good events, or bad ones, of all events.",
    LATENCY="Events that were faster than a threshold.",
    AVAILABILITY="Time in which a gauge said that the thing was up.",
    THRESHOLD="Time in which a gauge was on the right side of a threshold.",
    RAW_RATIO="A query that gives the ratio itself.",
    COMPOSITE="Other objectives, judged as one.",
)
describe(
    CalendarUnit,
    DAY="A day.",
    WEEK="A week, from Monday unless it starts on another day.",
    MONTH="A month.",
    QUARTER="Three months.",
    YEAR="A year.",
)
describe(
    ThresholdComparison,
    "ThresholdComparison",
    LESS="Less than the threshold is good.",
    LESS_OR_EQUAL="At most the threshold is good.",
    GREATER="More than the threshold is good.",
    GREATER_OR_EQUAL="At least the threshold is good.",
)
describe(
    CompositeRule,
    WEIGHTED="The mean of the members' ratios, weighted.",
    WORST_MEMBER="The ratio of the worst member.",
    ANY_BAD_SLICE="A slice is bad when any member's is.",
)
describe(
    AdjustmentKind,
    EXCLUSION="Time that counts for nothing.",
    CORRECTION="Events that are added or taken away.",
)
describe(
    SpecificationFormat,
    OPENSLO="OpenSLO v1 or v1alpha.",
    SLOTH="Sloth: prometheus/v1, or a PrometheusServiceLevel.",
    PYRRA="Pyrra: a ServiceLevelObjective.",
)
describe(
    SLOImportOutcomeKind,
    CREATED="It was not there before.",
    UPDATED="It was there, and something about it changed.",
    UNCHANGED="It was there already, just as it is said.",
    REFUSED="It cannot be.",
)
describe(
    RuleFormat,
    PLAIN="A rule file of Prometheus.",
    PROMETHEUS_RULE="A PrometheusRule object, for the operator in Kubernetes.",
)
describe(
    RuleDialect,
    SLOTH="The names and labels of Sloth.",
    PYRRA="The names and labels of Pyrra, for SLOs that plainly select metrics.",
)
describe(BurnResponse, PAGE="Wake somebody.", TICKET="Let somebody look at it in working hours.")
describe(
    CorrelationKind,
    METRIC="A metric.",
    LOG="Logs.",
    TRACE="Traces.",
    ALERT="An alert.",
    DEPLOYMENT="A deployment.",
    TOPOLOGY="What depends on what.",
    INCIDENT="Another incident.",
)
describe(
    AnalysisStatus,
    RUNNING="Not over yet.",
    COMPLETE="Everything was asked, and answered.",
    PARTIAL="Something could not be asked: see the gaps.",
    FAILED="Nothing came of it.",
)
describe(
    AnalysisTrigger,
    INCIDENT_CREATED="The incident became known.",
    INCIDENT_CHANGED="Its alerts or services changed.",
    REQUESTED="Somebody asked for it.",
)
describe(
    RecommendationKind,
    ROLL_BACK="Go back to the version before.",
    SCALE="Give it more instances or resources.",
    RESTART="Start it anew.",
    OPEN_CIRCUIT="Let callers do without it for a while.",
    CONTACT_OWNER="Call in whoever owns it.",
    FOLLOW_RUNBOOK="Do what is written down for such cases.",
    REPEAT_RESOLUTION="Do what ended a similar incident.",
    LOOK_CLOSER="Find out more: nothing that was asked tells.",
)
describe(
    RootCauseKind,
    RESOURCE="Something ran out.",
    LATENCY="Something became slow.",
    ERRORS="Something fails.",
    DEPLOYMENT="Something was changed.",
    DEPENDENCY="Something outside of the catalog that services depend on: a database, a broker, the API of others.",
    TRAFFIC="More, or fewer, requests than usual.",
    UNKNOWN="None of the others.",
)
describe(
    EventType,
    INCIDENT_CREATED="An incident became known.",
    INCIDENT_UPDATED="Fields of an incident changed.",
    TIMELINE_EVENT_ADDED="Something was added to a timeline.",
    CORRELATION_FOUND="The correlation engine found something.",
    ANALYSIS_COMPLETED="A run of the correlation engine is over.",
    HYPOTHESIS_CHANGED="A hypothesis was made or changed.",
    STEP_CHANGED="An investigation step was made or changed.",
    TASK_CHANGED="A task was made or changed.",
    ALERT_FIRED="An alert fires.",
    ALERT_RESOLVED="An alert fires no more.",
    SLO_STATUS_CHANGED="The status of an SLO changed.",
    SERVICE_IMPACT_CHANGED="An incident was found to hurt a service, or not.",
    SERVICE_CHANGED="A service was made or changed.",
    DEPLOYMENT_RECORDED="Something was deployed.",
    CHECKPOINT="Nothing happened; the cursor moves on.",
)
describe(
    TelemetryBackend,
    PROMETHEUS="Metrics.",
    LOKI="Logs.",
    TEMPO="Traces.",
)
describe(
    PrometheusResultKind,
    VECTOR="A value of each series at one time.",
    MATRIX="Values of each series over time.",
    SCALAR="A number: one series without labels.",
    STRING="A text.",
)
describe(
    SilenceState,
    PENDING="Not yet.",
    ACTIVE="It holds now.",
    EXPIRED="It has ended.",
)
describe(
    GoldenSignal,
    REQUEST_RATE="Requests per second.",
    ERROR_RATIO="Failed requests of all requests, 0 to 1.",
    LATENCY_P50="The duration that half of the requests stay below, in seconds.",
    LATENCY_P95="The duration that 95 % of the requests stay below, in seconds.",
    LATENCY_P99="The duration that 99 % of the requests stay below, in seconds.",
    SATURATION="How full the service is, 0 to 1.",
)
describe(
    LogLevel,
    TRACE="Every step.",
    DEBUG="What helps to find mistakes.",
    INFO="What happens as it should.",
    WARN="Something that may become a problem.",
    ERROR="Something failed.",
    FATAL="The process, or all of what it does, failed.",
    UNKNOWN="It does not say.",
)


describe(
    HealthStatus,
    HEALTHY="It serves.",
    DEGRADED="It serves, and something is missing.",
    UNHEALTHY="It does not serve.",
)
describe(
    CircuitState,
    CLOSED="Calls pass.",
    HALF_OPEN="One call passes, to see whether it answers again.",
    OPEN="No call passes for a while, because too many failed.",
)
describe(
    Role,
    VIEWER="May read.",
    RESPONDER="May also work on incidents.",
    ADMIN="May do everything.",
)


describe(
    TokenScope,
    READ="To read everything but telemetry.",
    TELEMETRY_QUERY="To ask telemetry backends.",
    INCIDENTS_WRITE="To open and change incidents.",
    CATALOG_WRITE="To change services, deployments and dependencies.",
    SLOS_WRITE="To change SLOs.",
    DETECTION_WRITE="To change detection rules.",
    ALERTS_WRITE="To post alerts, and to change them.",
    ADMIN="To read the audit log, and to make and revoke tokens.",
)


class OrderDirection(StrEnum):
    """Which way a list is sorted."""

    ASC = "ASC"
    DESC = "DESC"


describe(OrderDirection, ASC="The smallest or earliest first.", DESC="The greatest or latest first.")
describe(
    TraceOrder,
    START="The latest first.",
    DURATION="The slowest first.",
)
describe(
    SpanOrder,
    START="A parent before its children, children by their start.",
    DURATION="The longest first.",
    SELF_TIME="The longest self time first.",
)
