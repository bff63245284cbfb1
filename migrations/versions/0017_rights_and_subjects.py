"""Tell everybody at once whose rights have changed, and the audit log whom others vouched for."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# The argument is the column with the user's id.
_TELL = """
create function tell_right_change() returns trigger language plpgsql as $$
begin
    perform pg_notify('rights', to_jsonb(old) ->> tg_argv[0]);
    return null;
end
$$
"""

# Refresh tokens that have expired are deleted all the time, and give nobody any right.
_TRIGGERS = {
    "users_right_changed": (
        "users",
        "update of role, is_active, email",
        "(old.role, old.is_active, old.email) is distinct from (new.role, new.is_active, new.email)",
    ),
    "users_right_lost": ("users", "delete", None),
    "api_tokens_right_changed": (
        "api_tokens",
        "update of user_id, token_hash, scopes, expires_at, revoked_at",
        "(old.user_id, old.token_hash, old.scopes, old.expires_at, old.revoked_at)"
        " is distinct from (new.user_id, new.token_hash, new.scopes, new.expires_at, new.revoked_at)",
    ),
    "api_tokens_right_lost": ("api_tokens", "delete", None),
    "refresh_tokens_right_changed": (
        "refresh_tokens",
        "update of revoked_at",
        "old.revoked_at is distinct from new.revoked_at",
    ),
    "refresh_tokens_right_lost": ("refresh_tokens", "delete", "old.revoked_at is null and old.expires_at > now()"),
}


def upgrade() -> None:
    """Bring the database to this revision."""
    op.add_column("audit_log", sa.Column("actor_subject", sa.Text(), nullable=True))
    op.execute(_TELL)
    for name, (table, change, condition) in _TRIGGERS.items():
        when = "" if condition is None else f" when ({condition})"
        whose = "id" if table == "users" else "user_id"
        op.execute(
            f"create trigger {name} after {change} on {table} for each row{when}"
            f" execute function tell_right_change('{whose}')"
        )


def downgrade() -> None:
    """Bring the database back to the revision before."""
    for name, (table, *_) in _TRIGGERS.items():
        op.execute(f"drop trigger {name} on {table}")
    op.execute("drop function tell_right_change()")
    op.drop_column("audit_log", "actor_subject")
