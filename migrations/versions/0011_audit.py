"""Let the audit log be added to, and nothing else."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_KEPT_FOR_CERTAIN = "30 days"
"""What retention cannot be set to forget either (the least that AUDIT_RETENTION_DAYS can be)."""

_REFUSE = f"""
create function refuse_audit_change() returns trigger language plpgsql as $$
declare
    kept_since timestamptz := nullif(current_setting('reliability_studio.audit_kept_since', true), '')::timestamptz;
begin
    if tg_op = 'DELETE' then
        if kept_since is not null and old.occurred_at < least(kept_since, now() - interval '{_KEPT_FOR_CERTAIN}') then
            return old;
        end if;
    end if;
    raise exception 'the audit log is only added to: % is refused', tg_op using errcode = 'insufficient_privilege';
end
$$
"""


def upgrade() -> None:
    """Bring the database to this revision."""
    op.create_index("ix_audit_log_actor_name_occurred_at_id", "audit_log", ["actor_name", "occurred_at", "id"])
    op.create_index("ix_audit_log_action_occurred_at_id", "audit_log", ["action", "occurred_at", "id"])
    op.execute(_REFUSE)
    op.execute(
        "create trigger audit_log_only_added_to before update or delete on audit_log"
        " for each row execute function refuse_audit_change()"
    )
    op.execute(
        "create trigger audit_log_never_truncated before truncate on audit_log"
        " for each statement execute function refuse_audit_change()"
    )
    # Also where a session calls itself a replica, for which ordinary triggers do not fire.
    op.execute("alter table audit_log enable always trigger audit_log_only_added_to")
    op.execute("alter table audit_log enable always trigger audit_log_never_truncated")


def downgrade() -> None:
    """Take the database back to the revision before."""
    op.execute("drop trigger audit_log_never_truncated on audit_log")
    op.execute("drop trigger audit_log_only_added_to on audit_log")
    op.execute("drop function refuse_audit_change()")
    op.drop_index("ix_audit_log_action_occurred_at_id", "audit_log")
    op.drop_index("ix_audit_log_actor_name_occurred_at_id", "audit_log")
