"""Runs of the correlation engine and what they found. A new run replaces the shown one and keeps the old."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from db.columns import (
    enum,
    id_column,
    json_array,
    json_object,
    name,
    number,
    prose,
    ratio,
    reference,
    timestamp,
    title,
    url,
)
from db.metadata import metadata
from domain.correlation import AnalysisStatus, AnalysisTrigger, CorrelationKind, RecommendationKind, RootCauseKind
from domain.limits import QUERY_CHARACTERS
from domain.telemetry import TelemetryBackend

analyses = Table(
    "analyses",
    metadata,
    id_column(),
    reference("incident_id", "incidents.id", on_delete="CASCADE"),
    enum("status", AnalysisStatus),
    enum("trigger", AnalysisTrigger, default=AnalysisTrigger.REQUESTED),
    Column("is_superseded", Boolean, nullable=False, server_default=text("false")),
    Column("is_shown", Boolean, nullable=False, server_default=text("false")),
    *name("engine_version"),
    timestamp("started_at"),
    timestamp("completed_at", nullable=True),
    *ratio("confidence"),
    *prose("summary"),
    *prose("why_not"),
    *json_array("impacts"),
    *json_array("gaps"),
    CheckConstraint("completed_at >= started_at", name="completed_after_start"),
    CheckConstraint("(status = 'RUNNING') = (completed_at is null)", name="completed_when_over"),
    Index(None, "incident_id", "started_at", "id"),
    Index("uq_analyses_shown", "incident_id", unique=True, postgresql_where=text("is_shown")),
)

analysis_records = Table(
    "analysis_records",
    metadata,
    # What a run was told and what it answered, word for word: the answer can be given again from the evidence.
    reference("analysis_id", "analyses.id", on_delete="CASCADE", primary_key=True),
    Column("evidence", LargeBinary, nullable=False),
    *name("evidence_digest"),
    Column("answer", LargeBinary, nullable=False),
    *name("answer_digest"),
    timestamp("created_at"),
)

correlations = Table(
    "correlations",
    metadata,
    id_column(),
    reference("incident_id", "incidents.id", on_delete="CASCADE"),
    reference("analysis_id", "analyses.id", on_delete="CASCADE"),
    enum("kind", CorrelationKind),
    *title("name", nullable=True),
    reference("related_incident_id", "incidents.id", on_delete="CASCADE", nullable=True),
    reference("service_id", "services.id", on_delete="SET NULL", nullable=True),
    *prose("summary"),
    *ratio("score"),
    *json_array("score_components"),
    timestamp("started_at", nullable=True),
    timestamp("ended_at", nullable=True),
    *number("lag_seconds", nullable=True),
    enum("backend", TelemetryBackend, nullable=True),
    Column("query", Text),
    CheckConstraint(f"char_length(query) <= {QUERY_CHARACTERS}", name="query_length"),
    *url("link"),
    *json_object("evidence"),
    timestamp("created_at"),
    Index(None, "incident_id", "score", "id"),
    Index(None, "analysis_id"),
    Index(None, "service_id", "kind", "name"),
    Index(None, "related_incident_id"),
)

root_causes = Table(
    "root_causes",
    metadata,
    id_column(),
    reference("analysis_id", "analyses.id", on_delete="CASCADE"),
    Column("rank", Integer, nullable=False),
    CheckConstraint("rank > 0", name="rank_positive"),
    reference("service_id", "services.id", on_delete="RESTRICT"),
    enum("kind", RootCauseKind),
    *number("score"),
    CheckConstraint("score >= 0", name="score_positive"),
    *json_array("score_components"),
    timestamp("started_at", nullable=True),
    *ratio("confidence"),
    *prose("explanation"),
    Column("evidence_ids", ARRAY(Uuid), nullable=False, server_default=text("'{}'::uuid[]")),
    UniqueConstraint("analysis_id", "rank"),
    Index(None, "service_id"),
)

recommendations = Table(
    "recommendations",
    metadata,
    id_column(),
    reference("analysis_id", "analyses.id", on_delete="CASCADE"),
    Column("rank", Integer, nullable=False),
    enum("kind", RecommendationKind, nullable=True),
    *title(),
    *prose("rationale"),
    *prose("action"),
    *url("runbook_url"),
    Column("evidence_ids", ARRAY(Uuid), nullable=False, server_default=text("'{}'::uuid[]")),
    UniqueConstraint("analysis_id", "rank"),
)
