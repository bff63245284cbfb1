"""A load balancer as one would put it before several servers: round robin, and no more retries than are safe."""

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Self

_IDEMPOTENT = {b"GET", b"HEAD", b"OPTIONS"}
_BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Proxy:
    """Passes each request to the next server; a WebSocket or an event stream is a tunnel to one.

    Another server is tried where nothing was sent yet (nobody listens), and where nothing came back of what may be
    asked twice. A POST that was sent and not answered is the client's to judge, so it gets a 502.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self._turn = count()
        self.url = ""
        self.bad_gateways = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_length(head))
                if b"upgrade: websocket" in head.lower() or b"accept: text/event-stream" in head.lower():
                    await self._tunnel(head + body, reader, writer)
                    return
                writer.write(await self._answer(head, body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The client has gone.
        finally:
            writer.close()

    async def _answer(self, head: bytes, body: bytes) -> bytes:
        for _ in self._ports:
            try:
                upstream_reader, upstream = await self._connect()
            except OSError:
                continue  # Nobody listens there.
            try:
                upstream.write(head + body)
                answer_head = await upstream_reader.readuntil(b"\r\n\r\n")
                return _keeping(answer_head) + await upstream_reader.readexactly(_length(answer_head))
            except (asyncio.IncompleteReadError, ConnectionError):
                if head.partition(b" ")[0] not in _IDEMPOTENT:
                    break
            finally:
                upstream.close()
        self.bad_gateways += 1
        return _BAD_GATEWAY

    async def _tunnel(self, beginning: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in self._ports:
            try:
                upstream_reader, upstream = await self._connect()
                break
            except OSError:
                continue
        else:
            writer.write(_BAD_GATEWAY)
            return
        upstream.write(beginning)
        await asyncio.gather(_pump(reader, upstream), _pump(upstream_reader, writer))

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._ports[next(self._turn) % len(self._ports)])


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
    except ConnectionError:
        pass
    finally:
        target.close()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _keeping(head: bytes) -> bytes:
    """Our connection to the client is not the one that the server closes."""
    return b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:"))
