"""Changes of running things."""

from sqlalchemy import CheckConstraint, Index, Table

from db.columns import enum, id_column, key, name, prose, reference, timestamp, url
from db.metadata import metadata
from domain.services import DeploymentOutcome

deployments = Table(
    "deployments",
    metadata,
    id_column(),
    reference("service_id", "services.id", on_delete="CASCADE"),
    *name("version"),
    *key("commit", nullable=True),
    *name("environment"),
    *prose("description"),
    enum("outcome", DeploymentOutcome),
    *url("url"),
    timestamp("started_at"),
    timestamp("finished_at", nullable=True),
    timestamp("created_at"),
    CheckConstraint("finished_at >= started_at", name="finished_after_start"),
    CheckConstraint("(outcome = 'IN_PROGRESS') = (finished_at is null)", name="finished_when_over"),
    Index(None, "service_id", "started_at", "id"),
)
