"""Background work, claimed by whichever server is alive, once at a time per subject."""

from sqlalchemy import Column, Index, Integer, Table, Text, text

from db.columns import enum, id_column, json_object, name, prose, timestamp, traceparent
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
    traceparent(),
    Index("ix_jobs_waiting", "run_at", "id", postgresql_where=text("status = 'QUEUED'")),
    Index("ix_jobs_claimed", "claimed_until", postgresql_where=text("status = 'RUNNING'")),
    Index("uq_jobs_waiting", "kind", "subject", unique=True, postgresql_where=text("status = 'QUEUED'")),
    Index("uq_jobs_running", "kind", "subject", unique=True, postgresql_where=text("status = 'RUNNING'")),
)

_LEFT = "The server that worked on it has died"

SCHEDULE_SQL = """
insert into jobs (id, kind, subject, run_at, created_at)
select cast(:id as uuid), cast(:kind as text), cast(:subject as text), cast(:run_at as timestamptz), :now
where not exists (select from jobs where kind = :kind and subject = :subject and status = 'RUNNING')
on conflict do nothing
"""
"""Lets work wait on a subject, unless it waits or runs already."""

EXPIRE_SQL = f"""
with expired as (
  select id, kind, subject from jobs
  where status = 'RUNNING' and claimed_until < clock_timestamp()
  for update skip locked
),
superseded as (
  delete from jobs using expired where jobs.id = expired.id and exists (
    select from jobs waiting
    where waiting.kind = expired.kind and waiting.subject = expired.subject and waiting.status = 'QUEUED'
  )
  returning jobs.id
)
update jobs set status = 'QUEUED', claimed_by = null, claimed_until = null,
  last_error = '{_LEFT}'
from expired
where jobs.id = expired.id and not exists (select from superseded where superseded.id = jobs.id)
"""
"""Lets jobs wait again whose claims have run out, unless the same waits already."""

CLAIM_SQL = f"""
update jobs set status = 'RUNNING', attempts = attempts + 1, claimed_by = :worker,
  claimed_until = clock_timestamp() + :lease
where id in (
  select id from jobs waiting
  where status = 'QUEUED' and run_at <= :now and kind = any(:kinds) and not exists (
    select from jobs running
    where running.kind = waiting.kind and running.subject = waiting.subject and running.status = 'RUNNING'
  )
  order by run_at, id limit :most for update skip locked
)
returning id, kind, subject, payload, attempts, traceparent, coalesce(last_error = '{_LEFT}', false) as was_left
"""
"""Takes jobs that are due and whose subject nobody works on."""

_OURS = "id = :id and status = 'RUNNING' and claimed_by = :worker and attempts = :attempt"

RENEW_SQL = f"update jobs set claimed_until = clock_timestamp() + :lease where {_OURS}"
HOLD_SQL = f"select 1 from jobs where {_OURS} for share"
FINISH_SQL = f"""
update jobs set status = cast(:status as job_status), finished_at = :now, claimed_by = null, claimed_until = null,
  last_error = :error
where {_OURS}
"""
POSTPONE_SQL = f"""
with ours as (select id, kind, subject from jobs where {_OURS} for update),
superseded as (
  delete from jobs using ours where jobs.id = ours.id and exists (
    select from jobs waiting
    where waiting.kind = ours.kind and waiting.subject = ours.subject and waiting.status = 'QUEUED'
  )
  returning jobs.id
),
postponed as (
  update jobs set status = 'QUEUED', run_at = :run_at, attempts = :attempts, finished_at = :now,
    claimed_by = null, claimed_until = null, last_error = :error
  from ours
  where jobs.id = ours.id and not exists (select from superseded where superseded.id = jobs.id)
  returning jobs.id
)
select id from superseded union all select id from postponed
"""
"""Lets a job of ours wait again, or go where the same waits already."""

WAITING_SQL = """
select coalesce(json_agg(json_build_array(kind, count, seconds)), '[]')::text from (
  select kind, count(*), extract(epoch from clock_timestamp() - min(run_at)) as seconds
  from jobs where status = 'QUEUED' and run_at <= clock_timestamp() group by kind
) due
"""
"""How many jobs of each kind are due that nobody works on, and for how many seconds the first of them has been."""

FORGET_SQL = """
delete from jobs where id in (
  select id from jobs where status in ('DONE', 'FAILED') and finished_at < :finished_before limit :most
)
"""
