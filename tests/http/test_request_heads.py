"""Requests whose first line and headers are too slow, too large, or no HTTP at all."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import orjson
import pytest

from tests.servers import ServerProcess

QUERY = b'{"query":"{ __typename }"}'
TOO_MUCH = 70_000


@pytest.fixture(scope="module")
async def hasty_server(served_database_url: str) -> AsyncIterator[ServerProcess]:
    """A server that waits half a second for headers."""
    async with ServerProcess(DATABASE_URL=served_database_url, HEADER_TIMEOUT_SECONDS="0.5") as running:
        yield running


class Conversation:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def say(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> tuple[int, dict[str, str]]:
        """The status and the JSON of the next answer."""
        async with asyncio.timeout(20):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.rstrip().lower().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            body = await self._reader.readexactly(int(headers["content-length"]))
        return int(status.split()[1]), orjson.loads(body)

    async def is_closed(self) -> bool:
        async with asyncio.timeout(20):
            return await self._reader.read() == b""


@pytest.fixture
async def conversation(hasty_server: ServerProcess) -> AsyncIterator[Conversation]:
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(hasty_server.url).port)
    yield Conversation(reader, writer)
    writer.close()


def head(*, length: int, padding: int = 0) -> bytes:
    lines = (
        f"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    )
    return lines.encode() + (b"X-Padding: " + b"x" * padding + b"\r\n" if padding else b"") + b"\r\n"


async def test_headers_that_do_not_arrive_are_not_waited_for(conversation: Conversation) -> None:
    await conversation.say(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")

    status, body = await conversation.answer()
    assert status == 408
    assert "HEADER_TIMEOUT_SECONDS" in body["error"]
    assert await conversation.is_closed()


async def test_a_client_that_asks_nothing_is_sent_away(conversation: Conversation) -> None:
    assert await conversation.is_closed()


async def test_the_headers_of_a_later_request_are_not_waited_for_either(conversation: Conversation) -> None:
    await conversation.say(head(length=len(QUERY)) + QUERY)
    assert (await conversation.answer())[0] == 200
    await conversation.say(b"GET /health HTTP/1.1\r\n")

    assert (await conversation.answer())[0] == 408


async def test_a_body_has_the_time_of_the_whole_request(conversation: Conversation) -> None:
    await conversation.say(head(length=len(QUERY)))
    await asyncio.sleep(1)  # Longer than headers may take, which is what has to pass.
    await conversation.say(QUERY)

    assert await conversation.answer() == (200, {"data": {"__typename": "Query"}})


async def test_headers_without_end_are_refused_before_they_are_complete(conversation: Conversation) -> None:
    await conversation.say(b"GET /health HTTP/1.1\r\nX-Padding: " + b"x" * TOO_MUCH)

    status, body = await conversation.answer()
    assert status == 431
    assert "65536" in body["error"]
    assert await conversation.is_closed()


@pytest.mark.parametrize("padding", [TOO_MUCH, 3 * TOO_MUCH])
async def test_headers_that_are_too_large_are_refused(conversation: Conversation, padding: int) -> None:
    await conversation.say(head(length=len(QUERY), padding=padding) + QUERY)

    assert (await conversation.answer())[0] == 431


async def test_large_headers_before_a_large_body_are_read(conversation: Conversation) -> None:
    document = b'{"query":"{ __typename }' + b" " * TOO_MUCH + b'"}'
    await conversation.say(head(length=len(document), padding=30_000) + document)

    assert (await conversation.answer())[0] == 200


async def test_a_handshake_that_cannot_be_read_is_refused(conversation: Conversation) -> None:
    handshake = "GET /graphql HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    await conversation.say(handshake.encode() + b"Cookie: " + b"x" * 20_000 + b"\r\n\r\n")

    assert (await conversation.answer())[0] == 431
    assert await conversation.is_closed()


async def test_what_comes_after_a_request_does_not_cost_its_answer(conversation: Conversation) -> None:
    await conversation.say(head(length=len(QUERY)) + QUERY + b"hello\r\n\r\n")

    assert (await conversation.answer())[0] == 200
    assert await conversation.is_closed()


async def test_what_is_no_http_is_refused_in_the_shape_of_every_error(conversation: Conversation) -> None:
    await conversation.say(b"hello\r\n\r\n")

    status, body = await conversation.answer()
    assert (status, body.keys()) == (400, {"error"})
    assert await conversation.is_closed()
