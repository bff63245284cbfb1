"""Events that were written together with the change they tell of, and wait for their place in the log."""

from typing import Any

from sqlalchemy import BigInteger, Column, Identity, Table, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import UserDefinedType

from db.columns import enum, json_object, timestamp, traceparent
from db.metadata import metadata
from domain.feed import EventType
from domain.incidents import Severity


class Xid8(UserDefinedType[int]):
    """Postgres' 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The type's name in SQL."""
        return "xid8"


def event_columns() -> list[Any]:
    """What an event says, in the outbox and in the log alike. No foreign keys: an event outlives what it tells of."""
    return [
        enum("type", EventType),
        Column("incident_id", Uuid),
        Column("service_ids", ARRAY(Uuid), nullable=False, server_default=text("'{}'::uuid[]")),
        enum("severity", Severity, nullable=True),
        Column("subject_id", Uuid),
        *json_object("payload"),
        Column("actor_id", Uuid),
        timestamp("occurred_at"),
        traceparent(),
    ]


outbox = Table(
    "outbox",
    metadata,
    # In this order: the relay has to know that whoever drew a number has a transaction id.
    Column("xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    *event_columns(),
)

WRITE_EVENTS_SQL = """
with written as (
  insert into outbox (type, incident_id, service_ids, severity, subject_id, payload, actor_id, occurred_at, traceparent)
  select type, incident_id, service_ids, severity, subject_id, payload, cast(:actor_id as uuid), :now,
    cast(:traceparent as text)
  from jsonb_to_recordset(cast(:rows as jsonb)) as told(type event_type, incident_id uuid, service_ids uuid[],
    severity severity, subject_id uuid, payload jsonb)
  returning seq
)
select max(seq) from written
"""
"""Writes events in the order in which they are given, and says where the last of them stands."""
