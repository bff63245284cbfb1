"""The event log, the audit log, and the work behind the scenes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from migrations.baseline.kinds import EVENT_TYPE, JOB_STATUS, SEVERITY, Xid8


def create() -> None:
    """Create the tables, each after those it points to."""
    _create_outbox()
    _create_event_log()
    _create_audit()
    _create_idempotency()
    _create_jobs()


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("xid", Xid8, nullable=False, server_default=sa.text("pg_current_xact_id()")),
        sa.Column("seq", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("type", EVENT_TYPE, nullable=False),
        sa.Column("incident_id", sa.Uuid),
        sa.Column("service_ids", ARRAY(sa.Uuid), nullable=False, server_default=sa.text("'{}'::uuid[]")),
        sa.Column("severity", SEVERITY),
        sa.Column("subject_id", sa.Uuid),
        sa.Column("payload", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("actor_id", sa.Uuid),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("jsonb_typeof(payload) = 'object'", name="payload_object"),
    )
    op.create_index("ix_outbox_xid_seq", "outbox", ["xid", "seq"])


def _create_event_log() -> None:
    op.create_table(
        "event_log",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("xid", Xid8, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False, unique=True),
        sa.Column("type", EVENT_TYPE, nullable=False),
        sa.Column("incident_id", sa.Uuid),
        sa.Column("service_ids", ARRAY(sa.Uuid), nullable=False, server_default=sa.text("'{}'::uuid[]")),
        sa.Column("severity", SEVERITY),
        sa.Column("subject_id", sa.Uuid),
        sa.Column("payload", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("actor_id", sa.Uuid),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("jsonb_typeof(payload) = 'object'", name="payload_object"),
    )
    op.create_index("ix_event_log_incident_id_position", "event_log", ["incident_id", "position"])
    op.create_index("ix_event_log_recorded_at", "event_log", ["recorded_at"])
    op.create_index("ix_event_log_service_ids", "event_log", ["service_ids"], postgresql_using="gin")
    op.create_index("ix_event_log_severity_position", "event_log", ["severity", "position"])
    op.create_index("ix_event_log_type_position", "event_log", ["type", "position"])

    op.create_table(
        "event_log_head",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False, server_default=sa.text("1")),
        sa.Column("epoch", sa.Uuid, nullable=False, server_default=sa.text("gen_random_uuid()")),
        sa.Column("position", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.CheckConstraint("id = 1", name="single_row"),
    )


def _create_audit() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.Uuid),
        sa.Column("actor_name", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject_type", sa.Text, nullable=False),
        sa.Column("subject_id", sa.Uuid),
        sa.Column("before", JSONB),
        sa.Column("after", JSONB),
        sa.Column("request_id", sa.Text),
        sa.Column("address", sa.Text),
        sa.CheckConstraint("char_length(actor_name) between 1 and 200", name="actor_name_length"),
        sa.CheckConstraint("char_length(action) between 1 and 200", name="action_length"),
        sa.CheckConstraint("char_length(subject_type) between 1 and 200", name="subject_type_length"),
    )
    op.create_index("ix_audit_log_actor_id_occurred_at_id", "audit_log", ["actor_id", "occurred_at", "id"])
    op.create_index("ix_audit_log_occurred_at_id", "audit_log", ["occurred_at", "id"])
    op.create_index("ix_audit_log_subject_id_occurred_at_id", "audit_log", ["subject_id", "occurred_at", "id"])


def _create_idempotency() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("scope", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("input_digest", sa.LargeBinary, nullable=False),
        sa.Column("answer_id", sa.Uuid, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(key) between 1 and 200", name="key_length"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("payload", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("status", JOB_STATUS, nullable=False, server_default=sa.text("'QUEUED'")),
        sa.Column("run_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("claimed_by", sa.Text),
        sa.Column("claimed_until", sa.DateTime(timezone=True)),
        sa.Column("last_error", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("char_length(kind) between 1 and 200", name="kind_length"),
        sa.CheckConstraint("char_length(subject) between 1 and 200", name="subject_length"),
        sa.CheckConstraint("jsonb_typeof(payload) = 'object'", name="payload_object"),
        sa.CheckConstraint("char_length(last_error) between 0 and 20000", name="last_error_length"),
    )
    op.create_index("ix_jobs_claimed", "jobs", ["claimed_until"], postgresql_where=sa.text("status = 'RUNNING'"))
    op.create_index("ix_jobs_waiting", "jobs", ["run_at", "id"], postgresql_where=sa.text("status = 'QUEUED'"))
    op.create_index(
        "uq_jobs_running", "jobs", ["kind", "subject"], unique=True, postgresql_where=sa.text("status = 'RUNNING'")
    )
    op.create_index(
        "uq_jobs_waiting", "jobs", ["kind", "subject"], unique=True, postgresql_where=sa.text("status = 'QUEUED'")
    )
