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
