"""Clients that take their time, send too much, or come in their thousands: others are answered all the same.

`SECURITY_TEST_SOCKETS` says how many connections come at once, 1500 by default.
"""

import asyncio
import os
import re
import resource
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress

import httpx
import pytest

from tests.http.graphql_socket import SUBPROTOCOL, connect
from tests.servers import ServerProcess

QUERY = b'{"query":"{ __typename }"}'
SOCKETS = int(os.environ.get("SECURITY_TEST_SOCKETS", "1500"))
ROOM = 200
"""For streams that last, in the server that is overrun."""

POST = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HANDSHAKE = (
    b"GET /graphql HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: "
    + SUBPROTOCOL.encode()
    + b"\r\n\r\n"
)


async def converse(server: ServerProcess, *parts: bytes) -> bytes:
    """Everything that the server says to these parts, until it closes, or has said nothing for long."""
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(server.url).port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def statuses(said: bytes) -> list[int]:
    """The status codes of the answers in what a server said."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", said)]


class TestBodies:
    async def test_one_that_trickles_has_the_time_of_the_request_and_no_more(
        self, strict_server: ServerProcess
    ) -> None:
        for path in (b"/graphql", b"/api/incidents", b"/api/webhooks/generic"):
            head = POST.replace(b"/graphql", path) + b"Content-Length: 100\r\n\r\n"
            reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(strict_server.url).port)
            writer.write(head)

            async def trickle(writer: asyncio.StreamWriter = writer) -> None:
                for _ in range(90):
                    writer.write(b" ")
                    await asyncio.sleep(0.05)

            trickling = asyncio.create_task(trickle())
            try:
                status = await asyncio.wait_for(reader.readline(), 20)
            finally:
                trickling.cancel()
                writer.close()

            assert int(status[9:12]) in (408, 504), path

    async def test_one_in_chunks_is_counted_as_it_comes(self, strict_server: ServerProcess) -> None:
        chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
        for path in (b"/graphql", b"/api/incidents"):
            head = POST.replace(b"/graphql", path) + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            said = await converse(strict_server, head, chunk * 5)

            assert statuses(said) == [413], path

    async def test_whoever_looks_for_the_answer_after_sending_all_of_it_finds_it(self, server: ServerProcess) -> None:
        for path in (b"/graphql", b"/api/incidents"):
            head = POST.replace(b"/graphql", path) + b"Connection: close\r\nContent-Length: 3000000\r\n\r\n"
            said = await converse(server, head, *[b" " * 1_000_000] * 3)

            assert statuses(said) == [413], path

    @pytest.mark.parametrize("length", [b"99999999999999999999", b"9" * 1000])
    async def test_one_that_is_announced_too_large_is_not_waited_for(
        self, strict_server: ServerProcess, length: bytes
    ) -> None:
        said = await converse(strict_server, POST + b"Connection: close\r\nContent-Length: " + length + b"\r\n\r\n")

        assert statuses(said)[0] in (400, 413)

    async def test_one_that_is_packed_is_not_unpacked(self, http: httpx.AsyncClient) -> None:
        packed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        for path in ("/graphql", "/api/incidents", "/api/webhooks/generic"):
            assert (await http.post(path, content=b"\x1f\x8b", headers=packed)).status_code == 415


class TestHeads:
    async def test_many_small_headers_are_too_many(self, server: ServerProcess) -> None:
        headers = b"".join(b"X-%d: 1\r\n" % number for number in range(200))
        said = await converse(server, b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n")

        assert statuses(said) == [431]
        assert b"128 headers" in said

    async def test_as_many_as_anybody_needs_are_read(self, server: ServerProcess) -> None:
        headers = b"".join(b"X-%d: 1\r\n" % number for number in range(100))
        said = await converse(
            server, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers + b"\r\n"
        )

        assert statuses(said) == [200]

    @pytest.mark.parametrize(
        "head",
        [
            b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X" * 70_000 + b": 1\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nCookie: " + b"a" * 70_000 + b"\r\n\r\n",
        ],
        ids=["URL", "name", "value"],
    )
    async def test_a_giant_one_is_refused(self, server: ServerProcess, head: bytes) -> None:
        assert statuses(await converse(server, head)) == [431]


class TestSmuggling:
    """What a proxy in front may read as one request and we as two, or the other way round."""

    @pytest.mark.parametrize(
        "headers",
        [
            b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            b"Content-Length: 4\r\nContent-Length: 30\r\n",
            b"Content-Length: 4, 30\r\n",
            b"Content-Length: +4\r\n",
            b"Content-Length: 0x4\r\n",
            b"Content-Length: -1\r\n",
            b"Content-Length : 4\r\n",
            b"Transfer-Encoding: xchunked\r\n",
            b"Transfer-Encoding: chunked, identity\r\n",
            b"Transfer-Encoding : chunked\r\n",
            b"X: a\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding:\x0bchunked\r\n",
            b"X: a\x00b\r\n",
            b" Folded: 1\r\n",
        ],
        ids=repr,
    )
    async def test_a_length_that_can_be_read_in_two_ways_gets_one_refusal(
        self, server: ServerProcess, headers: bytes
    ) -> None:
        hidden = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
        said = await converse(server, POST + headers + b"\r\n0\r\n\r\n" + hidden)

        assert statuses(said) in ([400], [501])
        assert b"reliability_studio" not in said

    @pytest.mark.parametrize("size", [b"-1", b"0x1", b"1 ", b"zz", b"fffffffffffffffff"])
    async def test_chunks_of_odd_sizes_are_refused(self, server: ServerProcess, size: bytes) -> None:
        said = await converse(server, POST + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n \r\n0\r\n\r\n")

        assert statuses(said) == [400]

    @pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: b\r\n"], ids=["none", "two"])
    async def test_a_request_is_for_one_host(self, server: ServerProcess, hosts: bytes) -> None:
        assert statuses(await converse(server, b"GET /health HTTP/1.1\r\n" + hosts + b"\r\n")) == [400]

    async def test_requests_that_follow_without_waiting_are_answered_in_their_order(
        self, server: ServerProcess
    ) -> None:
        one = POST + b"Content-Length: %d\r\n\r\n" % len(QUERY) + QUERY
        last = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        said = await converse(server, one * 50 + b"GET /api/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n" + last)

        assert statuses(said) == [200] * 50 + [404, 200]

    async def test_thousands_that_follow_without_waiting_keep_nobody_else_from_an_answer(
        self, server: ServerProcess, http: httpx.AsyncClient
    ) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(server.url).port)
        try:
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20_000)  # And its answers are not taken.
            answer = await http.get("/health", timeout=20)
        finally:
            writer.transport.abort()

        assert answer.status_code == 200


@pytest.fixture(scope="module")
async def overrun_server(served_database_url: str) -> AsyncIterator[ServerProcess]:
    """A server that has room for a few streams, and waits a second for headers and for the beginning of a socket."""
    async with ServerProcess(
        DATABASE_URL=served_database_url,
        MAX_STREAMS=str(ROOM),
        MAX_STREAMS_PER_ADDRESS="100000",
        HEADER_TIMEOUT_SECONDS="5",
        SOCKET_INIT_TIMEOUT_SECONDS="5",
    ) as running:
        yield running


async def many(server: ServerProcess, said: bytes, stack: ExitStack) -> list[socket.socket]:
    """Open as many connections as `SOCKETS` says, or as this process may have files open, and say this on each."""
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (usual, most))
    loop, port = asyncio.get_running_loop(), httpx.URL(server.url).port
    connections = []
    for _ in range(min(SOCKETS, most - 500)):
        connections.append(stack.enter_context(socket.socket()))
        connections[-1].setblocking(False)
        await loop.sock_connect(connections[-1], ("127.0.0.1", port))
        await loop.sock_sendall(connections[-1], said)
    return connections


async def everything(connection: socket.socket) -> bytes:
    """What a server says until it closes, or hangs up."""
    said = b""
    with suppress(ConnectionResetError):
        while data := await asyncio.get_running_loop().sock_recv(connection, 4096):
            said += data
    return said


async def is_answered(server: ServerProcess) -> bool:
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
        answer = await client.post("/graphql", content=QUERY, headers={"Content-Type": "application/json"})
        return answer.status_code == 200


async def test_thousands_of_connections_that_ask_nothing_keep_nobody_from_an_answer(
    overrun_server: ServerProcess,
) -> None:
    with ExitStack() as stack:
        connections = await many(overrun_server, b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", stack)

        assert len(connections) > ROOM
        assert await is_answered(overrun_server)

        async with asyncio.timeout(120):
            ends = [await everything(connection) for connection in connections]
        assert {*map(tuple, map(statuses, ends))} <= {(408,), ()}
        assert await is_answered(overrun_server)


async def test_thousands_of_sockets_get_the_room_that_there_is_and_the_others_are_told_to_come_back(
    overrun_server: ServerProcess,
) -> None:
    with ExitStack() as stack:
        connections = await many(overrun_server, HANDSHAKE, stack)
        assert await is_answered(overrun_server)

        async with asyncio.timeout(120):
            ends = [await everything(connection) for connection in connections]
        codes = Counter(int.from_bytes(frames[2:4]) for _, _, frames in (end.partition(b"\r\n\r\n") for end in ends))
        assert codes.keys() <= {4408, 1013, 0}, "silent for too long, no room, or too late to be heard at all"
        assert codes[1013] > 0
        assert codes[4408] > 0

    async with connect(overrun_server.url) as client:
        assert await client.ask("1", "{ __typename }") == {"data": {"__typename": "Query"}}
