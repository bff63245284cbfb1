"""A load generator for HTTP/1.1 with keep-alive, cheap enough not to be what is measured: select, and no event loop.

`Saturation` keeps every connection busy (a closed loop); `at_rate` sends on a clock whether or not the earlier answers
have come (an open loop), so that its latencies include the time that requests wait for a busy server.
"""

import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

_RECEIVE_BYTES = 1 << 20


class UnexpectedAnswer(Exception):
    """A server answered something else than it did when its answers were verified, or stopped answering."""


@dataclass(frozen=True, slots=True)
class Request:
    """The bytes of one request, and how long the body of its verified answer was."""

    payload: bytes
    answer_bytes: int


def http_post(port: int, path: str, body: bytes, token: str | None = None) -> bytes:
    """A POST of JSON as it goes over the wire, by who has this bearer token."""
    proof = "" if token is None else f"Authorization: Bearer {token}\r\n"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{proof}Content-Type: application/json\r\n"
        f"Accept: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """One connection with at most one request in flight."""

    __slots__ = ("_expected", "_head", "_left", "_socket", "due")

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._expected = 0
        self._head = b""
        self._left = 0
        self.due = 0.0

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def send(self, request: Request) -> None:
        """Send a request. The one before must have been answered."""
        self._expected = request.answer_bytes
        self._head = b""
        self._left = -1
        self._socket.sendall(request.payload)

    def receive(self) -> bool:
        """Take what has arrived and tell whether the answer is complete. Raises UnexpectedAnswer."""
        data = self._socket.recv(_RECEIVE_BYTES)
        if not data:
            raise UnexpectedAnswer("the server closed the connection")
        if self._left >= 0:
            self._left -= len(data)
            return self._left == 0
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            return False
        length = _content_length(self._head[:end])
        if length != self._expected:
            raise UnexpectedAnswer(
                f"an answer of {length} bytes came in place of {self._expected}: {self._head[:500]!r}"
            )
        self._left = end + 4 + length - len(self._head)
        return self._left == 0

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def _content_length(head: bytes) -> int:
    if not head.startswith(b"HTTP/1.1 200"):
        raise UnexpectedAnswer(f"the server answered {head[:80]!r}")
    lower = head.lower()
    start = lower.find(b"\r\ncontent-length:")
    if start < 0:
        raise UnexpectedAnswer(f"an answer without Content-Length: {head!r}")
    start += len(b"\r\ncontent-length:")
    end = lower.find(b"\r\n", start)
    return int(lower[start:] if end < 0 else lower[start:end])


def ask(port: int, path: str, body: bytes, token: str | None = None) -> bytes:
    """Send one request on a connection of its own and return the body of the answer, whatever its length."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(http_post(port, path, body, token))
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += _some(connection)
        length = _content_length(received[:end])
        while len(received) < end + 4 + length:
            received += _some(connection)
        return received[end + 4 :]


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(_RECEIVE_BYTES)
    if not data:
        raise UnexpectedAnswer("the server closed the connection")
    return data


class Saturation:
    """A closed loop that can be run in stretches: the connections stay busy from one to the next."""

    def __init__(self, port: int, requests: Sequence[Request], connections: int) -> None:
        self._requests: Iterator[Request] = cycle(requests)
        self._connections = [Connection(port) for _ in range(connections)]
        for connection in self._connections:
            connection.send(next(self._requests))

    def run(self, seconds: float) -> tuple[int, float]:
        """Requests that were answered, and the seconds that it took."""
        answered = 0
        start = now = time.perf_counter()
        while now - start < seconds:
            readable, _, _ = select.select(self._connections, (), (), 30)
            if not readable:
                raise UnexpectedAnswer("the server has not answered for 30 seconds")
            for connection in readable:
                if connection.receive():
                    answered += 1
                    connection.send(next(self._requests))
            now = time.perf_counter()
        return answered, now - start

    def stop(self) -> None:
        """Wait for the answers on their way, so that the server is idle when the next measurement starts."""
        waiting = set(self._connections)
        while waiting:
            readable, _, _ = select.select(waiting, (), (), 30)
            if not readable:
                raise UnexpectedAnswer("the server has not answered for 30 seconds")
            waiting -= {connection for connection in readable if connection.receive()}
        for connection in self._connections:
            connection.close()


def at_rate(
    port: int, requests: Sequence[Request], requests_per_second: float, seconds: float, connections: int
) -> list[float]:
    """Send at even intervals and return each request's latency in seconds, counted from when it was due."""
    total = max(1, int(requests_per_second * seconds))
    idle = deque(Connection(port) for _ in range(connections))
    everyone = list(idle)
    busy: set[Connection] = set()
    latencies: list[float] = []
    upcoming = cycle(requests)
    start = time.perf_counter() + 0.01
    sent = 0
    while len(latencies) < total:
        now = time.perf_counter()
        while sent < total and idle and (due := start + sent / requests_per_second) <= now:
            connection = idle.popleft()
            connection.due = due
            connection.send(next(upcoming))
            busy.add(connection)
            sent += 1
        # select, unlike epoll, waits for microseconds, not for whole milliseconds.
        wait = max(0.0, start + sent / requests_per_second - now) if sent < total and idle else 30.0
        readable, _, _ = select.select(busy, (), (), wait)
        if not readable and wait == 30.0:
            raise UnexpectedAnswer("the server has not answered for 30 seconds")
        for connection in readable:
            if connection.receive():
                latencies.append(time.perf_counter() - connection.due)
                busy.discard(connection)
                idle.append(connection)
    for connection in everyone:
        connection.close()
    return latencies
