"""Background work, claimed by whichever server is alive, once at a time per subject."""

from sqlalchemy import Column, Index, Integer, Table, Text, text

from db.columns import enum, id_column, json_object, name, prose, timestamp
from db.metadata import metadata
from domain.jobs import JobStatus

jobs = Table(
    "jobs",
    metadata,
    id_column(),
    *name("kind"),
    *name("subject"),
    *json_object("payload"),
    enum("status", JobStatus, default=JobStatus.QUEUED),
    timestamp("run_at"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("claimed_by", Text),
    timestamp("claimed_until", nullable=True),
    *prose("last_error", nullable=True),
    timestamp("created_at"),
    timestamp("finished_at", nullable=True),
    Index("ix_jobs_waiting", "run_at", "id", postgresql_where=text("status = 'QUEUED'")),
    Index("ix_jobs_claimed", "claimed_until", postgresql_where=text("status = 'RUNNING'")),
    Index("uq_jobs_waiting", "kind", "subject", unique=True, postgresql_where=text("status = 'QUEUED'")),
    Index("uq_jobs_running", "kind", "subject", unique=True, postgresql_where=text("status = 'RUNNING'")),
)
