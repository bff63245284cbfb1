"""Who did what to what, before and after.

A trigger refuses everything but adding to it, and forgetting what is old: rows from before the time in `KEPT_SINCE`,
and never those of the last 30 days.
"""

from typing import Final

from sqlalchemy import Column, Index, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from db.columns import id_column, name, timestamp
from db.metadata import metadata

KEPT_SINCE: Final = "reliability_studio.audit_kept_since"
"""A setting of the transaction that forgets: the time before which it may."""

audit_log = Table(
    "audit_log",
    metadata,
    id_column(),
    timestamp("occurred_at"),
    Column("actor_id", Uuid),
    *name("actor_name"),
    # Whom an issuer vouched for, and who was no user here: by their name alone, people cannot be told apart.
    Column("actor_subject", Text),
    *name("action"),
    *name("subject_type"),
    Column("subject_id", Uuid),
    Column("before", JSONB),
    Column("after", JSONB),
    Column("request_id", Text),
    Column("address", Text),
    Index(None, "occurred_at", "id"),
    Index(None, "subject_id", "occurred_at", "id"),
    Index(None, "actor_id", "occurred_at", "id"),
    Index(None, "actor_name", "occurred_at", "id"),
    Index(None, "action", "occurred_at", "id"),
)

WRITE_AUDITS_SQL = """
insert into audit_log (id, occurred_at, actor_id, actor_name, actor_subject, action, subject_type, subject_id, before,
  after, request_id, address)
select id, occurred_at, actor_id, actor_name, actor_subject, action, subject_type, subject_id, before,
  after, request_id, address
from jsonb_to_recordset(cast(:rows as jsonb)) as told(id uuid, occurred_at timestamptz, actor_id uuid, actor_name text,
  actor_subject text, action text, subject_type text, subject_id uuid, before jsonb, after jsonb, request_id text,
  address text)
"""
