"""Let a dependency have a latency, as it was last seen in traces."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("service_dependencies", sa.Column("latency_p95_seconds", sa.Float(53)))
    op.create_check_constraint(
        "latency_p95_seconds_finite",
        "service_dependencies",
        "latency_p95_seconds > '-Infinity' and latency_p95_seconds < 'Infinity'",
    )


def downgrade() -> None:
    """Drop it, and what is known of latencies."""
    op.drop_column("service_dependencies", "latency_p95_seconds")
