"""Tell a restored event log from the one that it was copied from."""

import sqlalchemy as sa
from alembic import op

revision = "0002_event_log"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Remember who wrote the log and what it was called before; drop an index that nothing reads any more."""
    op.add_column("event_log_head", sa.Column("cluster", sa.Text))
    op.create_table(
        "event_log_epochs",
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("epoch", sa.Uuid, nullable=False, unique=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.drop_index("ix_outbox_xid_seq", "outbox")


def downgrade() -> None:
    """Forget both."""
    op.create_index("ix_outbox_xid_seq", "outbox", ["xid", "seq"])
    op.drop_table("event_log_epochs")
    op.drop_column("event_log_head", "cluster")
