"""Find the alerts that people keep apart from incidents, before incidents are merged."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the database to this revision."""
    op.create_index("ix_alerts_apart", "alerts", ["id"], postgresql_where=sa.text("apart_from <> '{}'::uuid[]"))


def downgrade() -> None:
    """Take the database back to the revision before."""
    op.drop_index("ix_alerts_apart", "alerts")
