"""Let older programs run beside newer ones, as long as nothing that they need is gone."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the database to this revision."""
    op.create_table(
        "schema_compatibility",
        sa.Column("id", sa.SmallInteger(), server_default=sa.text("1"), autoincrement=False, nullable=False),
        sa.Column("oldest_revision", sa.Text(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_schema_compatibility_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schema_compatibility")),
    )
    op.execute("insert into schema_compatibility (oldest_revision) values ('0016')")


def downgrade() -> None:
    """Bring the database back to the revision before."""
    op.drop_table("schema_compatibility")
