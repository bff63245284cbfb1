"""Let a service say which instance of each telemetry backend knows it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002_event_log"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column: every service is known to the default instances."""
    op.add_column(
        "services", sa.Column("telemetry_instances", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb"))
    )
    op.create_check_constraint("telemetry_instances_object", "services", "jsonb_typeof(telemetry_instances) = 'object'")


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("services", "telemetry_instances")
