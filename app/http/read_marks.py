"""Reading one's own writes, where compiled reads go to a replica.

The answer to a write carries a mark: the primary's position in its write-ahead log. Who brings it back with later
reads gets a state that has the write in it. API clients send the header back, browsers the cookie by themselves, and on
a WebSocket nobody has to send anything. "primary" is a mark as well: that of somebody who wants no replica to answer.
"""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from starlette.types import Scope

from db.database import Database
from db.replica import ALWAYS_PRIMARY

HEADER: Final = b"x-read-after"

_PRIMARY: Final = b"primary"
_COOKIE: Final = re.compile(rb"(?:^|;)\s*read_after=([0-9A-Za-z/]{1,20})\s*(?:;|$)")
_POSITION: Final = re.compile(rb"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_COOKIE_SECONDS: Final = 60  # Far longer than a replica may be behind.

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(slots=True)
class Mark:
    """What the reads of one request, or of one socket, have to see: the primary's log up to a position."""

    position: int


_mark: ContextVar[Mark | None] = ContextVar("read_mark", default=None)
"""That of the request or the socket which is being served."""


class ReadMarks:
    """The marks of one database. Without a replica, nobody needs any."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, scope: Scope) -> None:
        """Take the mark that a request, or the request for a socket, has brought."""
        if self._database.replica is not None:
            _mark.set(Mark(_brought(dict(scope["headers"]))))

    @property
    def position(self) -> int:
        """The position that reads have to see, 0 for whatever there is."""
        mark = _mark.get()
        return 0 if mark is None else mark.position

    async def after_write(self) -> Headers:
        """Remember that a write was made, and give the headers that tell its client."""
        if (mark := _mark.get()) is None:
            return ()
        mark.position = position = await self._database.position()
        text = _PRIMARY if position == ALWAYS_PRIMARY else b"%X/%X" % (position >> 32, position & 0xFFFF_FFFF)
        cookie = b"read_after=%b; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax" % (text, _COOKIE_SECONDS)
        return (HEADER, text), (b"set-cookie", cookie)

    def follow_events(self) -> None:
        """From now on read from the primary: who is told of events asks about them, sooner than a replica has them."""
        if (mark := _mark.get()) is not None:
            mark.position = ALWAYS_PRIMARY


def _brought(headers: Mapping[bytes, bytes]) -> int:
    """The mark of a request; what cannot be read is none of ours, and none."""
    mark = headers.get(HEADER)
    if mark is None and (found := _COOKIE.search(headers.get(b"cookie", b""))) is not None:
        mark = found[1]
    if mark is None:
        return 0
    if mark == _PRIMARY:
        return ALWAYS_PRIMARY
    found = _POSITION.fullmatch(mark)
    return 0 if found is None else (int(found[1], 16) << 32) + int(found[2], 16)
