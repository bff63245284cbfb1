"""Answers in parts over HTTP: multipart/mixed (GraphQL over HTTP, incremental delivery), one JSON object a part.

The delimiter follows each part at once, because a client takes a part only when it has seen where it ends.
"""

import asyncio
from contextlib import suppress
from typing import Final

from starlette.types import Receive, Scope, Send

from app.http.answer import Answer, send_answer
from app.protocols import ABORT
from resolvers.incremental import IncrementalAnswer, IncrementalForm

Headers = tuple[tuple[bytes, bytes], ...]

_TYPES: Final = {
    IncrementalForm.IDS: b'multipart/mixed; boundary="-"; incrementalSpec=v0.2',
    IncrementalForm.PATHS: b'multipart/mixed; boundary="-"; deferSpec=20220824',
}
_HEADERS: Headers = ((b"cache-control", b"no-store, no-transform"), (b"x-accel-buffering", b"no"))
_BEGINNING: Final = b"\r\n---\r\n"
_PART: Final = b"Content-Type: application/json; charset=utf-8\r\n\r\n%b\r\n---%b\r\n"
_TAKING_SECONDS = 10.0


async def send_multipart(
    scope: Scope, receive: Receive, send: Send, answer: IncrementalAnswer, *ours: tuple[bytes, bytes]
) -> None:
    """Send the parts as they come, until the last, or until the client is gone or takes nothing; close the answer."""
    loop = asyncio.get_running_loop()
    telling = loop.create_task(_tell(send, answer, ours))
    leaving = loop.create_task(_leaving(receive))
    try:
        await asyncio.wait(
            {telling, leaving},
            timeout=answer.remaining_seconds() + _TAKING_SECONDS,
            return_when=asyncio.FIRST_COMPLETED,
        )
    finally:
        is_told, is_gone = telling.done(), leaving.done()
        telling.cancel()
        leaving.cancel()
        await asyncio.wait({telling, leaving})
    if is_told:
        telling.result()
    elif not is_gone and (abort := scope.get("extensions", {}).get(ABORT)) is not None:
        abort["abort"]()


async def send_whole_or_in_parts(
    scope: Scope, receive: Receive, send: Send, answer: Answer | IncrementalAnswer, *ours: tuple[bytes, bytes]
) -> int:
    """Send an answer of either kind, with further headers; return its status."""
    if isinstance(answer, Answer):
        await send_answer(send, answer, *ours)
        return answer.status
    await send_multipart(scope, receive, send, answer, *ours)
    return 200


async def _tell(send: Send, answer: IncrementalAnswer, ours: Headers) -> None:
    async with answer:
        headers = [(b"content-type", _TYPES[answer.form]), *_HEADERS, *ours]
        with suppress(OSError):  # The client has gone.
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            before = _BEGINNING
            async for part in answer.parts():
                body = before + _PART % (part.body, b"--" if part.is_last else b"")
                await send({"type": "http.response.body", "body": body, "more_body": not part.is_last})
                before = b""


async def _leaving(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
