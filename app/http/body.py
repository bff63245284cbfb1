"""Reading a request's body, whole and bounded."""

from typing import Final

from starlette.types import Receive

_DISCARDED_TIMES: Final = 4
"""How much of a body that is too large, and says how long it is, is read all the same, in multiples of what is allowed:
many clients look for the answer when they have sent everything, and lose it where the connection was closed before.
"""


class BodyTooLarge(Exception):
    """The body has more bytes than allowed."""


class ClientGone(Exception):
    """The client closed the connection before its request was complete. Nobody waits for an answer."""


async def read_body(receive: Receive, *, declared_length: bytes | None, most_bytes: int) -> bytes:
    """The body. Raises BodyTooLarge, for what is out of all proportion as early as that is known, and ClientGone."""
    most_read = most_bytes
    # Twenty digits tell enough, and a number of a million digits would take the interpreter seconds to read.
    if declared_length is not None and declared_length.isdigit():
        most_read = _DISCARDED_TIMES * most_bytes
        if int(declared_length[:20]) > most_read:
            raise BodyTooLarge
    parts: list[bytes] = []
    size = 0
    more = True
    while more and size <= most_read:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(body)
        if size <= most_bytes:
            parts.append(body)
        else:
            parts.clear()
    if size > most_bytes:
        raise BodyTooLarge
    return parts[0] if len(parts) == 1 else b"".join(parts)
