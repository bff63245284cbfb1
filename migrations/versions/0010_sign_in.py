"""Let people sign in: the key that signs access tokens, and how often somebody tried."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both tables, and what a session is bound to."""
    op.create_table(
        "signing_keys",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(name) between 1 and 200", name="name_length"),
    )
    op.create_table(
        "sign_in_attempts",
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_sign_in_attempts_since", "sign_in_attempts", ["since"])
    op.create_index("ix_refresh_tokens_expires_at", "refresh_tokens", ["expires_at"])


def downgrade() -> None:
    """Drop them. Everybody has to sign in again."""
    op.drop_index("ix_refresh_tokens_expires_at", "refresh_tokens")
    op.drop_table("sign_in_attempts")
    op.drop_table("signing_keys")
