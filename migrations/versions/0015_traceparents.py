"""Let jobs, events and deliveries of alerts say which span caused them."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0012"
branch_labels = None
depends_on = None

_TABLES = ("jobs", "outbox", "event_log", "alert_deliveries")


def upgrade() -> None:
    """Bring the database to this revision."""
    for table in _TABLES:
        op.add_column(table, sa.Column("traceparent", sa.Text(), nullable=True))


def downgrade() -> None:
    """Take the database back to the revision before."""
    for table in reversed(_TABLES):
        op.drop_column(table, "traceparent")
