"""Sends spans and log lines to a collector, by OTLP over HTTP, from a thread of its own.

Whoever has something to send never waits: it takes its place in a bounded queue, where the oldest gives way. While the
collector is away the thread tries again, more and more seldom; what gave way is counted.
"""

import gzip
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from itertools import islice
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from domain.redaction import redact
from domain.tracing import Value

Item = TypeVar("Item")
Encode = Callable[[Sequence[Item]], Message]

CAPACITY: Final = 8_192
BATCH: Final = 512
INTERVAL_SECONDS: Final = 1.0
TIMEOUT_SECONDS: Final = 5.0
_LONGEST_PAUSE_SECONDS: Final = 15.0
_FIRST_PAUSE_SECONDS: Final = 0.5
_PASSING: Final = frozenset({429, 502, 503, 504})  # What OTLP's specification lets clients try again.


class Exporter(Generic[Item]):
    """One signal's way to its collector. `exported` and `dropped` count items since the start."""

    def __init__(
        self,
        endpoint: str,
        encode: Encode[Item],
        *,
        headers: Mapping[str, str],
        capacity: int = CAPACITY,
        interval_seconds: float = INTERVAL_SECONDS,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`told` hears, in the thread, when the collector stops taking what is sent, and when it takes it again."""
        url = urlsplit(endpoint)
        self._path = url.path or "/"
        self._host, self._port, self._is_secure = url.hostname or "", url.port, url.scheme == "https"
        self._headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip", **headers}
        self._encode = encode
        self._capacity = capacity
        self._interval_seconds = interval_seconds
        self._told = told
        self._queue: deque[Item] = deque()
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._closing = threading.Event()
        self._closes_at = float("inf")
        self._connection: HTTPConnection | None = None
        self._is_refused = False
        self.exported = 0
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name=f"OTLP to {self._host}{self._path}", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Send it, soon. Never waits; when too much waits already, what has waited longest is dropped."""
        with self._lock:
            self._queue.append(item)
            waiting = len(self._queue)
            if waiting > self._capacity:
                self._queue.popleft()
                self.dropped += 1
        if waiting == BATCH:
            self._awake.set()

    def stop(self, *, within_seconds: float) -> None:
        """Begin to end: send what waits, for so long and no longer; what is left then is dropped."""
        self._closes_at = time.monotonic() + within_seconds
        self._closing.set()
        self._awake.set()

    def join(self) -> None:
        """Wait for the end, which `stop` has begun."""
        self._thread.join(max(0.0, self._remaining_seconds()) + TIMEOUT_SECONDS)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._awake.wait(self._interval_seconds)
            self._awake.clear()
            self._send_all()
        self._send_all()
        with self._lock:
            self.dropped += len(self._queue)
            self._queue.clear()
        self._disconnect()

    def _send_all(self) -> None:
        while self._queue and self._remaining_seconds() > 0:
            with self._lock:
                batch = list(islice(self._queue, BATCH))
                for _ in batch:
                    self._queue.popleft()
            if self._is_delivered(batch):
                self.exported += len(batch)
            else:
                with self._lock:
                    self.dropped += len(batch)

    def _is_delivered(self, batch: Sequence[Item]) -> bool:
        """Send a batch until it is taken, refused for good, or time is up."""
        try:
            content = gzip.compress(self._encode(batch).SerializeToString(), compresslevel=1)
        except (ValueError, TypeError) as error:  # text that is no UTF-8, a number that is too long
            self._complain(f"what it was to get cannot be written: {error}")
            return False
        pause_seconds = _FIRST_PAUSE_SECONDS
        while (remaining_seconds := self._remaining_seconds()) > 0:
            try:
                status = self._post(content, min(TIMEOUT_SECONDS, remaining_seconds))
            except (OSError, HTTPException) as error:
                self._disconnect()
                self._complain(f"it cannot be reached: {type(error).__name__}")
            else:
                if 200 <= status < 300:
                    self._praise()
                    return True
                self._complain(f"it answered HTTP {status}")
                if status not in _PASSING:
                    return False
            self._closing.wait(min(pause_seconds, max(0.0, self._remaining_seconds())))
            if self._closing.is_set():
                time.sleep(min(0.05, max(0.0, self._remaining_seconds())))  # The last attempts come one after another.
            pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
        return False

    def _post(self, content: bytes, timeout_seconds: float) -> int:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._connect(timeout_seconds)
        connection.timeout = timeout_seconds
        if connection.sock is not None:
            connection.sock.settimeout(timeout_seconds)
        connection.request("POST", self._path, content, self._headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    def _connect(self, timeout_seconds: float) -> HTTPConnection:
        if self._is_secure:
            trust = ssl.create_default_context()
            return HTTPSConnection(self._host, self._port, timeout=timeout_seconds, context=trust)
        return HTTPConnection(self._host, self._port, timeout=timeout_seconds)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _remaining_seconds(self) -> float:
        return self._closes_at - time.monotonic()

    def _complain(self, reason: str) -> None:
        if not self._is_refused:
            self._is_refused = True
            self._told(reason)

    def _praise(self) -> None:
        if self._is_refused:
            self._is_refused = False
            self._told("")


def resource_of(attributes: Mapping[str, str]) -> Resource:
    """Who sends, as OTLP has it."""
    return Resource(attributes=pairs(attributes))


def scope_of(name: str, version: str = "") -> InstrumentationScope:
    """Which part of it."""
    return InstrumentationScope(name=name, version=version)


def pairs(attributes: Mapping[str, Value]) -> list[KeyValue]:
    """Attributes as OTLP has them."""
    return [
        _kept_pair(name, value) if type(value) is str or type(value) is int else _pair(name, value)
        for name, value in attributes.items()
    ]


def _pair(name: str, value: Value) -> KeyValue:
    return KeyValue(key=name, value=any_value(value))


# Most are the same again and again, and making one takes longer than everything else about a span.
_kept_pair = lru_cache(maxsize=4_096)(_pair)


def any_value(value: Value) -> AnyValue:
    """A value as OTLP has it, without what looks like a secret."""
    match value:
        case str():
            return AnyValue(string_value=redact(value))
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
    return AnyValue(array_value=ArrayValue(values=[any_value(each) for each in value]))
