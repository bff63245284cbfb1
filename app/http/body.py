"""Reading a request's body, whole and bounded."""

from starlette.types import Receive


class BodyTooLarge(Exception):
    """The body has more bytes than allowed."""


class ClientGone(Exception):
    """The client closed the connection before its request was complete. Nobody waits for an answer."""


async def read_body(receive: Receive, *, declared_length: bytes | None, most_bytes: int) -> bytes:
    """The body. Raises BodyTooLarge as early as that is known, and ClientGone."""
    # Twenty digits tell enough, and a number of a million digits would take the interpreter seconds to read.
    if declared_length is not None and declared_length.isdigit() and int(declared_length[:20]) > most_bytes:
        raise BodyTooLarge
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= most_bytes:
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body", False) and size <= most_bytes:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > most_bytes:
        raise BodyTooLarge
    return b"".join(parts)
