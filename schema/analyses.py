"""What analyses say taken together: similar incidents, two runs side by side, and how often they were right."""

from db.analysis_reports import (
    COMPARED_ANALYSES_SQL,
    COMPARED_CAUSES_SQL,
    ENOUGH_JUDGED,
    JUDGED_ANALYSES_SQL,
    SIMILAR_INCIDENTS_SQL,
)
from domain.correlation import RootCauseKind
from resolvers import sql
from schema.correlation import IncidentAnalysis
from schema.references import IncidentRef, ServiceRef

SIMILAR_TO_PARENT = SIMILAR_INCIDENTS_SQL.replace("{incident}", "{parent}.id") + " {it}"
COMPARED_ANALYSES = COMPARED_ANALYSES_SQL + " {it}"
COMPARED_CAUSES = COMPARED_CAUSES_SQL.replace("{a}", "{parent}.a_id").replace("{b}", "{parent}.b_id") + " {it}"
JUDGED_ANALYSES = JUDGED_ANALYSES_SQL + " {it}"

_IS_FIRST = "coalesce({it}.place = 1, false)::int"
_IS_AMONG_THREE = "coalesce({it}.place <= 3, false)::int"


@sql.type(
    record="id uuid, incident_id uuid, score double precision, shared_services integer, has_same_cause boolean,"
    " shared_patterns integer, resolution text"
)
class SimilarIncident:
    """A resolved incident that was like another one."""

    incident: IncidentRef = sql.one("The incident.", "incidents {it}", "{it}.id = {parent}.incident_id")
    score: float = sql.expression("How similar it is, 0 to 1.", "{it}.score")
    shared_services: int = sql.expression("How many services both hurt.", "{it}.shared_services")
    has_same_cause: bool = sql.expression(
        "Whether the most probable cause of both is the same service in the same way.", "{it}.has_same_cause"
    )
    shared_patterns: int = sql.expression("How many patterns of logs stood out in both.", "{it}.shared_patterns")
    resolution: str | None = sql.expression("What ended it.", "{it}.resolution")


@sql.type(
    record="service_id uuid, kind root_cause_kind, rank_a integer, rank_b integer, score_a double precision,"
    " score_b double precision, confidence_a double precision, confidence_b double precision"
)
class CauseComparison:
    """A root cause in two analyses; null where one of them does not have it."""

    service: ServiceRef = sql.one("Where it began.", "services {it}", "{it}.id = {parent}.service_id")
    kind: RootCauseKind = sql.expression("What kind of thing went wrong.", "{it}.kind")
    rank_a: int | None = sql.expression("Its place in the first.", "{it}.rank_a")
    rank_b: int | None = sql.expression("Its place in the second.", "{it}.rank_b")
    score_a: float | None = sql.expression("Its score in the first.", "{it}.score_a")
    score_b: float | None = sql.expression("Its score in the second.", "{it}.score_b")
    confidence_a: float | None = sql.expression("How likely it was in the first.", "{it}.confidence_a")
    confidence_b: float | None = sql.expression("How likely it was in the second.", "{it}.confidence_b")


@sql.type(
    record="id uuid, a_id uuid, b_id uuid, has_same_incident boolean, has_other_engine boolean,"
    " has_same_evidence boolean, has_same_answer boolean"
)
class AnalysisComparison:
    """Two analyses side by side."""

    a: IncidentAnalysis = sql.one("The first.", "analyses {it}", "{it}.id = {parent}.a_id")
    b: IncidentAnalysis = sql.one("The second.", "analyses {it}", "{it}.id = {parent}.b_id")
    has_same_incident: bool = sql.expression("Whether both are of one incident.", "{it}.has_same_incident")
    has_other_engine: bool = sql.expression("Whether another version of the engine ran.", "{it}.has_other_engine")
    has_same_evidence: bool = sql.expression("Whether both were told the same.", "{it}.has_same_evidence")
    has_same_answer: bool = sql.expression("Whether both answered the same.", "{it}.has_same_answer")
    causes: list[CauseComparison] = sql.many(
        "The causes of either, by their place in the second, then in the first.",
        COMPARED_CAUSES,
        "true",
        "{it}.rank_b nulls last, {it}.rank_a, {it}.service_id, {it}.kind",
    )


@sql.type()
class CalibrationBucket:
    """Analyses that were about as sure as each other."""

    confidence_from: float = sql.expression("How sure they were at least.", "{it}_bucket.step / 5.0::double precision")
    confidence_to: float = sql.expression(
        "How sure they were less than, but in the last.", "({it}_bucket.step + 1) / 5.0::double precision"
    )
    count: int = sql.expression("How many there are.", "count({it}.id)")
    mean_confidence: float | None = sql.expression("How sure they were on average.", "avg({it}.confidence)")
    top1_ratio: float | None = sql.expression(
        "How many of them were right, 0 to 1.",
        f"avg({_IS_FIRST}) filter (where {{it}}.id is not null)::double precision",
    )


def _if_enough(value: str) -> str:
    return f"case when count(*) >= {ENOUGH_JUDGED} then ({value})::double precision end"


@sql.type()
class AnalysisQuality:
    """How often analyses were right, by what people have confirmed and rejected."""

    count: int = sql.expression("How many incidents people have judged.", "count(*)")
    top1_ratio: float | None = sql.expression(
        f"How many times the true service came first, 0 to 1. Null with fewer than {ENOUGH_JUDGED} incidents.",
        _if_enough(f"avg({_IS_FIRST})"),
    )
    top3_ratio: float | None = sql.expression(
        f"How many times it was among the first three, 0 to 1. Null with fewer than {ENOUGH_JUDGED} incidents.",
        _if_enough(f"avg({_IS_AMONG_THREE})"),
    )
    brier_score: float | None = sql.expression(
        "How far confidence was from being right, squared, on average: 0 is perfect, 0.25 is a coin. Null with fewer "
        f"than {ENOUGH_JUDGED} incidents.",
        _if_enough(f"avg(({{it}}.confidence - {_IS_FIRST}) ^ 2)"),
    )
    calibration: list[CalibrationBucket] = sql.groups(
        "By how sure they were: where confidence is honest, it is how many were right.",
        f"generate_series(0, 4) as {{it}}_bucket(step) left join {JUDGED_ANALYSES}"
        " on least(floor({it}.confidence * 5), 4) = {it}_bucket.step and {scope}",
        "{it}_bucket.step",
    )
