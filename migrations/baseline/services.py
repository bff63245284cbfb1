"""The catalog, and what changes in it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

from migrations.baseline.kinds import DEPENDENCY_SOURCE, DEPLOYMENT_OUTCOME, SERVICE_STATUS


def create() -> None:
    """Create the tables, each after those it points to."""
    _create_services()
    _create_deployments()


def _create_services() -> None:
    op.create_table(
        "services",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("tier", sa.SmallInteger),
        sa.Column("team_id", sa.Uuid),
        sa.Column("status", SERVICE_STATUS, nullable=False, server_default=sa.text("'UNKNOWN'")),
        sa.Column("repository_url", sa.Text),
        sa.Column("documentation_url", sa.Text),
        sa.Column("runbook_url", sa.Text),
        sa.Column("labels", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("selectors", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("discovered_at", sa.DateTime(timezone=True)),
        sa.Column("version", sa.Integer, nullable=False, server_default=sa.text("1")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "search",
            TSVECTOR,
            sa.Computed(
                "setweight(to_tsvector('english', name), 'A') || "
                "setweight(to_tsvector('english', display_name), 'B') || "
                "setweight(to_tsvector('english', description), 'C')",
                persisted=True,
            ),
        ),
        sa.CheckConstraint("char_length(name) between 1 and 200", name="name_length"),
        sa.CheckConstraint("char_length(display_name) between 1 and 200", name="display_name_length"),
        sa.CheckConstraint("char_length(description) between 0 and 20000", name="description_length"),
        sa.CheckConstraint("tier between 1 and 5", name="tier_range"),
        sa.CheckConstraint("char_length(repository_url) between 1 and 2000", name="repository_url_length"),
        sa.CheckConstraint("char_length(documentation_url) between 1 and 2000", name="documentation_url_length"),
        sa.CheckConstraint("char_length(runbook_url) between 1 and 2000", name="runbook_url_length"),
        sa.CheckConstraint("jsonb_typeof(labels) = 'object'", name="labels_object"),
        sa.CheckConstraint("jsonb_typeof(selectors) = 'object'", name="selectors_object"),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], ondelete="SET NULL"),
    )
    op.create_index(
        "ix_services_labels",
        "services",
        ["labels"],
        postgresql_using="gin",
        postgresql_ops={"labels": "jsonb_path_ops"},
    )
    op.create_index("ix_services_name_id", "services", ["name", "id"])
    op.create_index("ix_services_search", "services", ["search"], postgresql_using="gin")
    op.create_index("ix_services_status_id", "services", ["status", "id"])
    op.create_index("ix_services_team_id", "services", ["team_id"])
    op.create_index("ix_services_tier_id", "services", [sa.text("coalesce(tier, 6)"), "id"])
    op.create_index("ix_services_updated_at_id", "services", ["updated_at", "id"])
    op.create_index("uq_services_name", "services", [sa.text("lower(name)")], unique=True)

    op.create_table(
        "service_dependencies",
        sa.Column("service_id", sa.Uuid, primary_key=True),
        sa.Column("depends_on_id", sa.Uuid, primary_key=True),
        sa.Column("source", DEPENDENCY_SOURCE, nullable=False, server_default=sa.text("'DECLARED'")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True)),
        sa.Column("request_rate", sa.Float(53)),
        sa.Column("error_ratio", sa.Float(53)),
        sa.CheckConstraint("request_rate > '-Infinity' and request_rate < 'Infinity'", name="request_rate_finite"),
        sa.CheckConstraint("error_ratio between 0 and 1", name="error_ratio_ratio"),
        sa.CheckConstraint("service_id <> depends_on_id", name="no_self_loop"),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["depends_on_id"], ["services.id"], ondelete="CASCADE"),
    )
    op.create_index("ix_service_dependencies_depends_on_id", "service_dependencies", ["depends_on_id"])


def _create_deployments() -> None:
    op.create_table(
        "deployments",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("service_id", sa.Uuid, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("commit", sa.Text),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("outcome", DEPLOYMENT_OUTCOME, nullable=False),
        sa.Column("url", sa.Text),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(version) between 1 and 200", name="version_length"),
        sa.CheckConstraint("char_length(commit) between 1 and 200", name="commit_length"),
        sa.CheckConstraint("char_length(environment) between 1 and 200", name="environment_length"),
        sa.CheckConstraint("char_length(description) between 0 and 20000", name="description_length"),
        sa.CheckConstraint("char_length(url) between 1 and 2000", name="url_length"),
        sa.CheckConstraint("finished_at >= started_at", name="finished_after_start"),
        sa.CheckConstraint("(outcome = 'IN_PROGRESS') = (finished_at is null)", name="finished_when_over"),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], ondelete="CASCADE"),
    )
    op.create_index("ix_deployments_service_id_started_at_id", "deployments", ["service_id", "started_at", "id"])
