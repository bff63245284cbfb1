"""Many subscribers over WebSockets in a process of its own, cheap enough not to be what is measured.

Raw sockets and epoll: what comes in is cut into frames, and of each is noted which change it tells of and when it came.
Times are those of `time.monotonic`, which on Linux is one clock for all processes.
"""

import multiprocessing
import re
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import orjson

from app.server import allow_many_connections

_HANDSHAKE = (
    "GET /graphql HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
)
_CHANGE = re.compile(rb'"to": ?"Change (\d+)"')
_RECEIVE_BYTES = 1 << 18
_AT_A_TIME = 50
_PATIENCE_SECONDS = 60
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA

Arrival = tuple[int, float]
"""The number of a change, and when somebody heard of it."""


class Lost(Exception):
    """A server closed a connection, or did not answer."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What has come so far."""

    frames: int
    subscribers: int
    """How many have heard anything."""


class Subscribers:
    """The other process, from here."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def open(self, port: int, requests: Sequence[dict[str, Any]]) -> None:
        """Connect one subscriber for each of the payloads of `subscribe`. Raises Lost."""
        self._ask("open", port, requests)

    def heard(self) -> Heard:
        """What has come since they were opened, or since `take`. Raises Lost."""
        heard: Heard = self._ask("heard")
        return heard

    def take(self) -> list[Arrival]:
        """What has come, each change as often as somebody heard of it, and forget it. Raises Lost."""
        arrivals: list[Arrival] = self._ask("take")
        return arrivals

    def cpu_seconds(self) -> float:
        """The CPU time of that process so far."""
        seconds: float = self._ask("cpu_seconds")
        return seconds

    def close(self) -> None:
        """Hang up."""
        self._ask("close")

    def _ask(self, command: str, *arguments: Any) -> Any:
        self._connection.send((command, arguments))
        if not self._connection.poll(_PATIENCE_SECONDS):
            raise Lost(f"the subscribers do not answer to {command!r}")
        answer = self._connection.recv()
        if isinstance(answer, Lost):
            raise answer
        return answer


@contextmanager
def subscribers() -> Iterator[Subscribers]:
    """The process, for as long as the block lasts."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_run, args=(there,), daemon=True)
    process.start()
    try:
        yield Subscribers(here)
    finally:
        process.terminate()
        process.join()


def _run(commands: Connection) -> None:
    allow_many_connections()
    crowd = _Crowd()
    poll = crowd.poll
    poll.register(commands.fileno(), select.EPOLLIN)
    while True:
        for descriptor, _ in poll.poll():
            try:
                if descriptor != commands.fileno():
                    crowd.receive(descriptor)
                    continue
                command, arguments = commands.recv()
                answer = getattr(crowd, command)(*arguments)
            except EOFError:
                return
            except (Lost, OSError) as error:
                crowd.lost = Lost(str(error))
                answer = crowd.lost
                if descriptor != commands.fileno():
                    crowd.forget(descriptor)
                    continue
            commands.send(answer)


class _Crowd:
    """All subscribers, in their process."""

    def __init__(self) -> None:
        self.poll = select.epoll()
        self.lost: Lost | None = None
        self._sockets: dict[int, socket.socket] = {}
        self._rest: dict[int, bytes] = {}
        self._silent: set[int] = set()
        self._arrivals: list[Arrival] = []

    def open(self, port: int, requests: Sequence[dict[str, Any]]) -> None:
        self.lost = None
        for start in range(0, len(requests), _AT_A_TIME):
            batch = requests[start : start + _AT_A_TIME]
            opened = [socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS) for _ in batch]
            for each in opened:
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                each.sendall(_HANDSHAKE.format(port=port).encode())
            for each in opened:
                _expect(each, b"\r\n\r\n", b"HTTP/1.1 101")
                each.sendall(_frame(_TEXT, b'{"type":"connection_init"}'))
            for each, payload in zip(opened, batch, strict=True):
                _expect(each, b"connection_ack", b"\x81")
                each.sendall(_frame(_TEXT, orjson.dumps({"id": "1", "type": "subscribe", "payload": payload})))
                each.setblocking(False)
                self._sockets[each.fileno()] = each
                self._rest[each.fileno()] = b""
                self._silent.add(each.fileno())
                self.poll.register(each.fileno(), select.EPOLLIN)

    def heard(self) -> Heard:
        if self.lost is not None:
            raise self.lost
        return Heard(len(self._arrivals), len(self._sockets) - len(self._silent))

    def take(self) -> list[Arrival]:
        if self.lost is not None:
            raise self.lost
        arrivals, self._arrivals = self._arrivals, []
        return arrivals

    def cpu_seconds(self) -> float:
        return time.process_time()

    def close(self) -> None:
        for descriptor in list(self._sockets):
            self.forget(descriptor)
        self._arrivals = []

    def forget(self, descriptor: int) -> None:
        self.poll.unregister(descriptor)
        self._sockets.pop(descriptor).close()
        self._silent.discard(descriptor)
        del self._rest[descriptor]

    def receive(self, descriptor: int) -> None:
        received = self._sockets[descriptor].recv(_RECEIVE_BYTES)
        if not received:
            raise Lost("the server closed a connection")
        now = time.monotonic()
        data = self._rest[descriptor] + received
        at, end = 0, len(data)
        while at + 2 <= end:
            size, start = data[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4]), at + 4
            elif size == 127:
                size, start = int.from_bytes(data[at + 2 : at + 10]), at + 10
            if start + size > end:
                break
            self._take(descriptor, data[at] & 0xF, data[start : start + size], now)
            at = start + size
        self._rest[descriptor] = data[at:]

    def _take(self, descriptor: int, kind: int, body: bytes, now: float) -> None:
        if (change := _CHANGE.search(body)) is not None:
            self._arrivals.append((int(change[1]), now))
            self._silent.discard(descriptor)
        elif kind == _PING:
            self._sockets[descriptor].send(_frame(_PONG, body))
        elif kind == _CLOSE or b'"error' in body:
            raise Lost(f"the server said {body[:500]!r}")
        elif b'"ping"' in body:
            self._sockets[descriptor].send(_frame(_TEXT, b'{"type":"pong"}'))


def _frame(kind: int, body: bytes) -> bytes:
    """A frame of a client, whose mask is zero and so changes nothing."""
    size = len(body)
    length = bytes((0x80 | size,)) if size < 126 else bytes((0x80 | 126,)) + size.to_bytes(2)
    return bytes((0x80 | kind,)) + length + bytes(4) + body


def _expect(opened: socket.socket, last: bytes, first: bytes) -> None:
    received = b""
    while last not in received:
        chunk = opened.recv(4096)
        received += chunk
        if not chunk:
            raise Lost(f"the server closed a connection after {received[:500]!r}")
    if not received.startswith(first):
        raise Lost(f"the server answered {received[:500]!r}")
