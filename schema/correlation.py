"""What the correlation engine found: analyses, correlations, root causes and advice."""

from db.correlation import analyses, correlations, recommendations, root_causes
from domain.correlation import AnalysisStatus, AnalysisTrigger, CorrelationKind, RecommendationKind, RootCauseKind
from domain.telemetry import TelemetryBackend
from resolvers import sql
from schema.nodes import Node
from schema.references import CorrelationRef, IncidentRef, ServiceImpactRef, ServiceRef
from schema.scalars import JSON, URL, DateTime

EVIDENCE_ORDER = "{it}.score desc, {it}.id"
SHOWN = "{it}.analysis_id = (select id from analyses where incident_id = {parent}.id and is_shown)"
OF_INCIDENT = ("incidents {it}", "{it}.id = {parent}.incident_id")
SCORE_COMPONENT = "name text, weight double precision, value double precision, explanation text, evidence_ids uuid[]"
SCORE_COMPONENTS = (
    f"jsonb_to_recordset({{parent}}.score_components) as {{it}}({SCORE_COMPONENT})",
    "true",
    "{it}.weight * {it}.value desc, {it}.name",
)


@sql.type(record=SCORE_COMPONENT)
class ScoreComponent:
    """A part of a score. The products of weight and value add up to the score."""

    name: str = sql.expression("What was looked at.", "{it}.name")
    weight: float = sql.expression("How much it counts.", "{it}.weight")
    value: float = sql.expression("What came out, 0 or more.", "{it}.value")
    explanation: str = sql.expression("Why.", "{it}.explanation")
    evidence: list[CorrelationRef] = sql.many(
        "What it rests on; nothing where the correlation itself does.",
        "correlations {it}",
        "{it}.id = any({parent}.evidence_ids)",
        EVIDENCE_ORDER,
    )


@sql.type(correlations)
class Correlation(Node):
    """Something that moved together with an incident."""

    incident: IncidentRef = sql.one("The incident.", *OF_INCIDENT)
    kind: CorrelationKind = sql.column("What kind of signal it rests on.")
    service: ServiceRef | None = sql.one(
        "The service that it was seen at.", "services {it}", "{it}.id = {parent}.service_id"
    )
    name: str | None = sql.column("What it was seen in: a signal, the pattern of a log, an operation.")
    related_incident: IncidentRef | None = sql.one(
        "The other incident, where it is one that moved along.",
        "incidents {it}",
        "{it}.id = {parent}.related_incident_id",
    )
    summary: str = sql.column("What was seen, in a sentence.")
    score: float = sql.column("How strong it is, 0 to 1.")
    score_components: list[ScoreComponent] = sql.many("What the score is made of.", *SCORE_COMPONENTS)
    started_at: DateTime | None = sql.column("When it began.")
    ended_at: DateTime | None = sql.column("When it was over.")
    lag_seconds: float | None = sql.column(
        "Seconds from the beginning of the incident to its own; negative: it came first."
    )
    backend: TelemetryBackend | None = sql.column("Where it was asked for.")
    query: str | None = sql.column("The query that shows it.")
    link: URL | None = sql.column("Where a person can look at it.")
    evidence: JSON = sql.column("What was seen, bounded.")
    created_at: DateTime = sql.column("When it was found.")


@sql.type(record="backend telemetry_backend, code text, message text")
class TelemetryGap:
    """Something that could not be asked."""

    backend: TelemetryBackend = sql.expression("Who did not answer.", "{it}.backend")
    code: str = sql.expression("Why not, for programs.", "{it}.code")
    message: str = sql.expression("Why not, for people.", "{it}.message")


@sql.type(root_causes)
class RootCause:
    """A probable reason."""

    rank: int = sql.column("Its place in the ranking, from 1.")
    service: ServiceRef = sql.one("Where it began.", "services {it}", "{it}.id = {parent}.service_id")
    kind: RootCauseKind = sql.column("What kind of thing went wrong.")
    score: float = sql.column("How much speaks for it, in weights: to compare it with others of the same analysis.")
    confidence: float = sql.column("How likely it is, 0 to 1.")
    score_components: list[ScoreComponent] = sql.many(
        "What the score is made of, each part with what it rests on.", *SCORE_COMPONENTS
    )
    started_at: DateTime | None = sql.column("When it began, as far as it showed.")
    explanation: str = sql.column("Why it is thought so.")
    evidence: list[Correlation] = sql.many(
        "What speaks for it.", "correlations {it}", "{it}.id = any({parent}.evidence_ids)", EVIDENCE_ORDER
    )


@sql.type(recommendations)
class Recommendation:
    """What to do next."""

    kind: RecommendationKind | None = sql.column("What kind of thing to do.")
    title: str = sql.column("The advice, in a line.")
    rationale: str = sql.column("Why.")
    action: str = sql.column("How.")
    runbook_url: URL | None = sql.column("Where it is described.")
    evidence: list[Correlation] = sql.many(
        "What it rests on.", "correlations {it}", "{it}.id = any({parent}.evidence_ids)", EVIDENCE_ORDER
    )


@sql.type(analyses)
class IncidentAnalysis(Node):
    """A run of the correlation engine over an incident."""

    incident: IncidentRef = sql.one("The incident.", *OF_INCIDENT)
    status: AnalysisStatus = sql.column("How it stands.")
    trigger: AnalysisTrigger = sql.column("Why it began.")
    is_shown: bool = sql.column("Whether it is the present one.")
    is_superseded: bool = sql.column("Whether a newer one took its place before it ended.")
    engine_version: str = sql.column("The engine that ran.")
    evidence_digest: str | None = sql.expression(
        "What tells the evidence that it was given from any other; null while it runs.",
        "(select evidence_digest from analysis_records where analysis_id = {it}.id)",
    )
    started_at: DateTime = sql.column("When it began.")
    completed_at: DateTime | None = sql.column("When it was over.")
    duration_seconds: float | None = sql.expression(
        "How long it took.", "extract(epoch from {it}.completed_at - {it}.started_at)::double precision"
    )
    confidence: float = sql.column("How likely the first root cause is, 0 to 1.")
    summary: str = sql.column("What was found, in a few sentences.")
    why_not: str = sql.column("Why it is not the runner-up. Empty where there is none.")
    root_causes: list[RootCause] = sql.many(
        "Probable reasons, the likeliest first.", "root_causes {it}", "{it}.analysis_id = {parent}.id", "{it}.rank"
    )
    impacts: list[ServiceImpactRef] = sql.many(
        "Who is hurt, by the evidence.",
        "jsonb_populate_recordset(null::incidents_services, {parent}.impacts) as {it}",
        "true",
        "{it}.level, {it}.service_id",
    )
    recommendations: list[Recommendation] = sql.many(
        "What to do next.", "recommendations {it}", "{it}.analysis_id = {parent}.id", "{it}.rank"
    )
    gaps: list[TelemetryGap] = sql.many(
        "What could not be asked.",
        "jsonb_to_recordset({parent}.gaps) as {it}(backend telemetry_backend, code text, message text)",
        "true",
        "{it}.backend, {it}.code",
    )
    correlations: list[Correlation] = sql.many(
        "What it found, the strongest first.", "correlations {it}", "{it}.analysis_id = {parent}.id", EVIDENCE_ORDER
    )
    merge_suggestions: list[Correlation] = sql.many(
        "Incidents that seem to have the same cause, with the reasons. Nobody merges them but people.",
        "correlations {it}",
        "{it}.analysis_id = {parent}.id and {it}.kind = 'INCIDENT' and {it}.evidence @> '{{\"isSameCause\": true}}'",
        EVIDENCE_ORDER,
    )
