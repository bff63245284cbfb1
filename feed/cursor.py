"""A place in the event log, as clients hold it: opaque to them, and good on every server of the fleet.

It names the log it belongs to, since a restored database starts another one whose positions mean other events. A cursor
that was taken together with a snapshot also says which events of the outbox the snapshot had seen: what they tell of is
in the snapshot already, although they get a later place.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from db.event_log import SHARED_SQL
from domain.errors import InvalidCursor


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The transactions that a Postgres snapshot has seen: all before `lowest`, none from `next_` on (`pg_snapshot`)."""

    lowest: int
    next_: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> "Snapshot":
        """From Postgres' own notation, "xmin:xmax:xid,xid". Raises ValueError."""
        lowest, next_, running = text.split(":")
        return cls(int(lowest), int(next_), frozenset(int(xid) for xid in running.split(",") if xid))

    def __str__(self) -> str:
        return f"{self.lowest}:{self.next_}:{','.join(map(str, sorted(self.running)))}"

    def includes(self, xid: int) -> bool:
        """Whether what a transaction did is part of the snapshot."""
        return xid < self.lowest or (xid < self.next_ and xid not in self.running)


@dataclass(frozen=True, slots=True)
class Seen:
    """The events of the outbox that a snapshot had seen: those up to number `last` of the snapshot's transactions.

    The transactions alone would not do. A crash takes back the ids of those that were rolled back shortly before, and
    gives them to others, whose events nobody has seen. But these have higher numbers than what had been committed.
    """

    last: int
    snapshot: Snapshot

    def includes(self, seq: int, xid: int) -> bool:
        """Whether an event was seen, by its number in the outbox and its transaction."""
        return seq <= self.last and self.snapshot.includes(xid)


class Reach(NamedTuple):
    """How far a log has been read: up to this position, whose event had this number in the outbox (0: not known).

    Whatever comes later has higher ones.
    """

    epoch: UUID
    position: int
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything up to `position` is known, and so are the events of the outbox that a snapshot had `seen`."""

    epoch: UUID
    position: int
    seen: Seen | None = None

    def at(self, reach: Reach) -> "Cursor":
        """This cursor moved on. What the snapshot had seen needs no mention any more once the log is past it."""
        is_past = self.seen is not None and reach.seq >= self.seen.last
        return Cursor(reach.epoch, reach.position, None if is_past else self.seen)

    def lacks(self, position: int, seq: int, xid: int) -> bool:
        """Whether the event at a position is still to come."""
        return position > self.position and not (self.seen is not None and self.seen.includes(seq, xid))


def encode(cursor: Cursor) -> str:
    """A cursor as clients get it. `CURSOR_SQL` and `AS_OF_CURSOR_SQL` make the same text."""
    seen = "" if cursor.seen is None else f', {cursor.seen.last}, "{cursor.seen.snapshot}"'
    return base64.b64encode(f'["{cursor.epoch}", {cursor.position}{seen}]'.encode()).decode()


def decode(text: str, argument: str = "after") -> Cursor:
    """The cursor that a client gave. Raises InvalidCursor for what no server of ours has made."""
    try:
        epoch, position, *seen = orjson.loads(base64.b64decode(text, validate=True))
        return Cursor(UUID(epoch), _number(position), _seen(*seen) if seen else None)
    except (binascii.Error, ValueError, TypeError, AttributeError) as error:
        raise InvalidCursor(f"`{argument}` is not a cursor of the event log", [argument]) from error


def _seen(last: Any, snapshot: Any) -> Seen:
    if not isinstance(snapshot, str):
        raise TypeError("a snapshot is text")
    return Seen(_number(last), Snapshot.parse(snapshot))


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("not a number of the log")
    return value


def _text_sql(json: str) -> str:
    return f"translate(encode(convert_to({json}::text, 'UTF8'), 'base64'), E'\\n', '')"


CURSOR_SQL = _text_sql("json_build_array((select epoch from event_log_head), {position})")
_TELLING = _text_sql("json_build_array((select epoch from event_log_head), {position}, {last}, {snapshot})")
CARRYING_CURSOR_SQL = f"case when {{last}} > {{seq}} then {_TELLING} else {CURSOR_SQL} end"
"""The cursor of an event that is read after a cursor which tells of a snapshot, for as long as that matters."""
_AS_OF = _text_sql(
    "(case when last is null then json_build_array(epoch, position)"
    " else json_build_array(epoch, position, last, pg_current_snapshot()::text) end)"
)
AS_OF_CURSOR_SQL = f"(select {_AS_OF} from event_log_head, (select max(seq) as last from outbox) waiting)"  # noqa: S608 # of constants
"""The cursor of what the statement sees: the log, and what waits in the outbox for its place there."""

REFUSAL_SQL = f"""(
  select case
    when {{position}} > head.position or {{epoch}} <> head.epoch and not coalesce(
      {{last}} is null and {{position}} <= ({SHARED_SQL}), false) then ''
    when {{position}} < oldest - 1 then {CURSOR_SQL.format(position="oldest - 1")}
  end
  from event_log_head head,
    lateral (select coalesce((select min(position) from event_log), head.position + 1) as oldest) kept
)"""  # noqa: S608 # of constants
"""Null for a cursor to go on from, the oldest one for a cursor that is too old, the empty text for one of another log.

What waited in the outbox of another log need not be what waits in this one, so a cursor that tells of it is foreign.
"""
