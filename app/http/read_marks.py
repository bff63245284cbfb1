"""Reading one's own writes, where compiled reads go to a replica.

The answer to a write carries a mark: the primary's position in its write-ahead log. Who brings it back with later
reads gets a state that has the write in it. API clients send the header back, browsers the cookie by themselves, and on
a WebSocket nobody has to send anything. "primary" is a mark as well: that of somebody who wants no replica to answer.
"""

import re
from collections.abc import Mapping
from typing import Final

from starlette.types import Scope

from db.database import Database
from db.replica import ALWAYS_PRIMARY

HEADER: Final = b"x-read-after"

_PRIMARY: Final = b"primary"
_COOKIE: Final = re.compile(rb"(?:^|;)\s*read_after=([0-9A-Za-z/]{1,20})\s*(?:;|$)")
_POSITION: Final = re.compile(rb"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_COOKIE_SECONDS: Final = 60  # Far longer than a replica may be behind.
_KEY: Final = "reliability_studio.read_after"

Headers = tuple[tuple[bytes, bytes], ...]


class ReadMarks:
    """The marks of one database. Without a replica, nobody needs any."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, scope: Scope) -> int:
        """The position that reads of a request, or of a socket, have to see."""
        if self._database.replica is None:
            return 0
        known = scope.get(_KEY)
        if known is None:
            known = scope[_KEY] = _brought(dict(scope["headers"]))
        return int(known)

    async def after_write(self, scope: Scope) -> Headers:
        """Remember that a write was made, and give the headers that tell its client."""
        if self._database.replica is None:
            return ()
        position = scope[_KEY] = await self._database.position()
        mark = _PRIMARY if position == ALWAYS_PRIMARY else b"%X/%X" % (position >> 32, position & 0xFFFF_FFFF)
        cookie = b"read_after=%b; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax" % (mark, _COOKIE_SECONDS)
        return (HEADER, mark), (b"set-cookie", cookie)

    def follow_events(self, scope: Scope) -> None:
        """From now on read from the primary: who is told of events asks about them, sooner than a replica has them."""
        scope[_KEY] = ALWAYS_PRIMARY


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
