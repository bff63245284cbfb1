"""The event log: every event at its dense position, in the one order that all subscribers see."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Identity, Index, SmallInteger, Table, Text, Uuid, text

from db.columns import timestamp
from db.metadata import metadata
from db.outbox import Xid8, event_columns

event_log = Table(
    "event_log",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    # Where it stood in the outbox: the transaction that wrote it, and its number there.
    Column("xid", Xid8, nullable=False),
    Column("seq", BigInteger, nullable=False, unique=True),
    *event_columns(),
    timestamp("recorded_at"),
    Index(None, "incident_id", "position"),
    Index(None, "type", "position"),
    Index(None, "severity", "position"),
    Index(None, "service_ids", postgresql_using="gin"),
    Index(None, "recorded_at"),
)

# The log's identity and newest position, kept apart from its rows: emptying the log never restarts the positions.
event_log_head = Table(
    "event_log_head",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False, server_default=text("1")),
    Column("epoch", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("position", BigInteger, nullable=False, server_default=text("0")),
    # Which Postgres wrote it last: its system identifier, timeline, database and table, not all of which a restored or
    # promoted one has.
    Column("cluster", Text),
    CheckConstraint("id = 1", name="single_row"),
)

# The identities that the log had before, each with the newest position that it had when another took its place.
event_log_epochs = Table(
    "event_log_epochs",
    metadata,
    Column("number", BigInteger, Identity(always=True), primary_key=True),
    Column("epoch", Uuid, nullable=False, unique=True),
    Column("position", BigInteger, nullable=False),
    timestamp("ended_at"),
)

CHANNEL = "event_log"
RELAY_LOCK = 0x5253_0001  # The session-level advisory lock of whoever relays.
RETENTION_LOCK = 0x5253_0003  # That of the transaction that forgets.

_COPIED = "xid, seq, type, incident_id, service_ids, severity, subject_id, payload, actor_id, occurred_at, traceparent"
MOVE_SQL = f"""
with head as (select position from event_log_head for update),
moving as (
  delete from outbox
  where seq in (select seq from outbox where seq <= $3 order by seq limit $1)
  returning {_COPIED}
),
placed as (
  insert into event_log (position, recorded_at, {_COPIED})
  select (select position from head) + row_number() over (order by seq), clock_timestamp(), {_COPIED} from moving
  returning position
),
counted as (select count(*)::integer as moved, max(position) as newest from placed),
advanced as (
  update event_log_head set position = counted.newest from counted where counted.moved > 0 returning counted.newest
)
select counted.moved, pg_current_xact_id()::text::bigint from counted left join advanced on true
left join lateral (select pg_notify($2, advanced.newest::text) where advanced.newest is not null) on true
"""
"""Moves up to $1 rows of the outbox, none numbered above $3, into the log, and tells channel $2 the newest position.
Returns how many, and which transaction this was.
"""

OUTBOX_SQL = """
select
  exists (select from outbox) as waits,
  (select last_value from outbox_seq_seq) as drawn,
  pg_snapshot_xmin(pg_current_snapshot())::text::bigint as oldest
"""
"""Whether events wait, the last number that any was given, and the oldest transaction that still runs."""

HEAD_SQL = "select epoch, position, coalesce((select min(position) from event_log), position + 1) from event_log_head"
"""The log's identity, its newest position, and the oldest that is still there (the next, in an empty log)."""

EPOCH_SQL = "select epoch from event_log_head"

SHARED_SQL = """
select min(position) from event_log_epochs
where number >= (select number from event_log_epochs where epoch = {epoch})
"""
"""The newest position that the log has in common with a former one; null where it does not go on from that."""

BEGIN_EPOCH_SQL = """
with head as (select epoch, position from event_log_head for update),
former as (
  insert into event_log_epochs (epoch, position, ended_at) select epoch, position, clock_timestamp() from head
)
update event_log_head set epoch = gen_random_uuid(), cluster = $2
from head, pg_notify($1, '') returning event_log_head.epoch, event_log_head.position
"""
"""Gives the log another identity from its newest position on, tells channel $1, and remembers the cluster $2."""

CLUSTER_SQL = """
select concat_ws('/',
  system_identifier, left(pg_walfile_name(pg_current_wal_lsn()), 8), d.oid, 'event_log_head'::regclass::oid
)
from pg_control_system(), pg_database d where d.datname = current_database()
"""
"""Which Postgres this is: the cluster, the timeline that it is on, the database, and the table, which pg_restore makes
anew.
"""

REMEMBERED_SQL = "select epoch, position, cluster from event_log_head"
REMEMBER_SQL = "update event_log_head set cluster = $1"
"""Which Postgres wrote the log last."""

TAIL_SQL = """
select (select epoch from event_log_head) as epoch, position, xid::text::bigint as xid, seq, type::text, incident_id,
  service_ids, severity::text, traceparent
from event_log where position > $1 order by position limit $2
"""
"""What comes after a position, and of which log that is."""

SEQ_SQL = "select seq from event_log where position = $1"
"""The number in the outbox of the event at a position."""

POSITION_SQL = "select position from event_log where seq = $1"
"""Where an event of the outbox stands, once it has been moved."""

FORGET_SQL = """
delete from event_log where position in (
  select position from event_log
  where position < coalesce(
    (select min(position) from event_log where recorded_at >= :recorded_before),
    (select position + 1 from event_log_head)
  )
  order by position limit :most
)
"""
"""Deletes the oldest events, up to the first that was recorded later: what is left has no gap, whatever clocks did."""

BACKLOG_SQL = """
select json_build_array(
  (select position from event_log_head),
  coalesce((select extract(epoch from clock_timestamp() - occurred_at) from outbox order by seq limit 1), 0)
)::text
"""
"""The log's newest position, and the age in seconds of the oldest event that waits for its place (0 for none)."""
