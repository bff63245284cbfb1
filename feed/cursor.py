"""A place in the event log, as clients hold it: opaque to them, and good on every server of the fleet.

It names the log it belongs to, since a restored database starts another one whose positions mean other events. A cursor
that was taken together with a snapshot also says which transactions the snapshot had seen: what they did is in the
snapshot already, although their events may get a later place.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

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

    def has_seen(self, xid: int) -> bool:
        """Whether what a transaction did is part of the snapshot."""
        return xid < self.lowest or (xid < self.next_ and xid not in self.running)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything up to `position` has been seen, and whatever `snapshot` has seen."""

    epoch: UUID
    position: int
    snapshot: Snapshot | None = None

    def at(self, position: int, floor: int = 0) -> "Cursor":
        """This cursor moved to a position, from which on no transaction before `floor` comes: then a snapshot of older
        ones needs no mention.
        """
        is_past = self.snapshot is not None and floor >= self.snapshot.next_
        return Cursor(self.epoch, position, None if is_past else self.snapshot)


def encode(cursor: Cursor) -> str:
    """A cursor as clients get it. `CURSOR_SQL` and `AS_OF_CURSOR_SQL` make the same text."""
    seen = "" if cursor.snapshot is None else f', "{cursor.snapshot}"'
    return base64.b64encode(f'["{cursor.epoch}", {cursor.position}{seen}]'.encode()).decode()


def decode(text: str, argument: str = "after") -> Cursor:
    """The cursor that a client gave. Raises InvalidCursor for what no server of ours has made."""
    try:
        epoch, position, *more = orjson.loads(base64.b64decode(text, validate=True))
        snapshot = Snapshot.parse(_only(more)) if more else None
        if type(position) is not int or not 0 <= position < 2**63:
            raise ValueError("not a position")
        return Cursor(UUID(epoch), position, snapshot)
    except (binascii.Error, ValueError, TypeError, AttributeError) as error:
        raise InvalidCursor(f"`{argument}` is not a cursor of the event log", [argument]) from error


def _only(items: list[Any]) -> str:
    (item,) = items
    if not isinstance(item, str):
        raise TypeError("a snapshot is text")
    return item


EPOCH_SQL = "(select epoch from event_log_head)"
CURSOR_SQL = (
    f"translate(encode(convert_to(json_build_array({EPOCH_SQL}, {{position}})::text, 'UTF8'), 'base64'), E'\\n', '')"
)
AS_OF_CURSOR_SQL = (
    "(select translate(encode(convert_to("
    "json_build_array(epoch, position, pg_current_snapshot()::text)::text, 'UTF8'), 'base64'), E'\\n', '')"
    " from event_log_head)"
)
