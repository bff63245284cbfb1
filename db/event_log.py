"""The event log: every event at its dense position, in the one order that all subscribers see."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, SmallInteger, Table, Uuid, text

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
    CheckConstraint("id = 1", name="single_row"),
)

CHANNEL = "event_log"
RELAY_LOCK = 0x5253_0001  # The session-level advisory lock of whoever relays.
RETENTION_LOCK = 0x5253_0003  # That of the transaction that forgets.

_COPIED = "xid, seq, type, incident_id, service_ids, severity, subject_id, payload, actor_id, occurred_at"
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

TAIL_SQL = """
select position, xid::text::bigint as xid, seq, type::text, incident_id, service_ids, severity::text,
  least((select min(xid) from outbox), pg_snapshot_xmin(pg_current_snapshot()))::text::bigint as floor
from event_log where position > $1 order by position limit $2
"""
"""What comes after a position, and which transactions it can be from that comes after that: `floor` or later ones."""

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
