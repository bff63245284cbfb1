"""What is sent back, as a plain value."""

from typing import NamedTuple

import orjson
from starlette.types import Send

from app.http.security_headers import UNCACHED

Headers = list[tuple[bytes, bytes]]

JSON_TYPE = (b"content-type", b"application/json")
GRAPHQL_RESPONSE_TYPE = (b"content-type", b"application/graphql-response+json; charset=utf-8")
CLOSE = (b"connection", b"close")


class Answer(NamedTuple):
    """A whole HTTP response: `headers` without content-length and request id, which `send_answer` adds."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def error_answer(status: int, message: str, *headers: tuple[bytes, bytes]) -> Answer:
    """The one shape of an error outside GraphQL: `{"error": message}`."""
    return Answer(status, (JSON_TYPE, UNCACHED, *headers), orjson.dumps({"error": message}))


async def send_answer(send: Send, answer: Answer, *headers: tuple[bytes, bytes]) -> None:
    """Send it whole, with further headers."""
    length = (b"content-length", b"%d" % len(answer.body))
    await send({"type": "http.response.start", "status": answer.status, "headers": [*answer.headers, length, *headers]})
    await send({"type": "http.response.body", "body": answer.body})
