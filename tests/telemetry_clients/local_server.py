"""An HTTP server inside the test's own process that answers exactly what a test says, however badly."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    parameters: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes = b""


Behaviour = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class LocalServer:
    """Give it another `behaviour` at any time; `requests` is all that it was asked."""

    behaviour: Behaviour
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    conversations: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def open_connections(self) -> int:
        return len(self.conversations)

    @property
    def address(self) -> str:
        return self.url.partition("://")[2]

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.conversations.add(task)
        try:
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                await self.behaviour(request, writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client hung up, as the one under test does on bad days
        except asyncio.CancelledError:
            pass  # the server is stopping; asyncio's streams would log the cancellation as an error
        finally:
            self.conversations.discard(task)
            writer.close()


@contextlib.asynccontextmanager
async def local_server(behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[LocalServer]:
    """Serve on a free port of 127.0.0.1; every connection is closed at the end."""
    server = LocalServer(behaviour)
    listener = await asyncio.start_server(server._converse, "127.0.0.1", 0, ssl=tls)
    host, port = listener.sockets[0].getsockname()
    server.url = f"{'http' if tls is None else 'https'}://{host}:{port}"
    try:
        yield server
    finally:
        listener.close()
        conversations = list(server.conversations)
        for conversation in conversations:
            conversation.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)
        await listener.wait_closed()


def http_answer(
    body: bytes, *, status: int = 200, content_type: str = "application/json", headers: dict[str, str] | None = None
) -> bytes:
    """A whole HTTP answer. `headers` may contradict the body on purpose."""
    lines = {"Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Status\r\n{head}\r\n".encode() + body


def answering(answer: bytes) -> Behaviour:
    """The behaviour that says the same to everything."""

    async def behaviour(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return behaviour


def answering_in_turn(*answers: bytes) -> Behaviour:
    """The behaviour that says one after the other, and the last one from then on."""
    left = list(answers)

    async def behaviour(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return behaviour


def reset(writer: asyncio.StreamWriter) -> None:
    """Hang up with a TCP reset instead of a goodbye."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.rstrip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    url = urlsplit(target)
    is_form = headers.get("content-type") == "application/x-www-form-urlencoded"
    sent = "&".join(filter(None, (url.query, body.decode() if is_form else "")))
    return Request(method, url.path, parse_qs(sent, keep_blank_values=True), headers, body)
