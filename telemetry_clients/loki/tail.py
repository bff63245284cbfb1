"""Lines as they are written: over Loki's WebSocket, or by asking again and again where no WebSocket gets through.

A tail outlives its connections. Whatever was written while there was none is read before the next one, and what comes
twice is told once.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException

from domain.time import Deadline
from telemetry_clients.errors import (
    TelemetryBadQuery,
    TelemetryBadResponse,
    TelemetryLimited,
    TelemetryTimeout,
    TelemetryUnavailable,
)
from telemetry_clients.loki.answers import Labels, LogLine, log_lines
from telemetry_clients.loki.client import MOST_LINES, Loki
from telemetry_clients.loki.paging import Direction, in_order
from telemetry_clients.loki.refusals import refused_query, spoken_reason
from telemetry_clients.transport import without_credentials

_LATE_NS = 5_000_000_000
"""Lines of several streams do not arrive in the order of their times; this late ones are still found."""

_REMEMBERED_LINES = 50_000
_MOST_FRAME_BYTES = 16 * 1024 * 1024
_FIRST_WAIT_SECONDS = 0.25
_LONGEST_WAIT_SECONDS = 8.0
_HURRIED_CLOSES = 3
_HURRIED_SECONDS = 1.0
_PASSING = (TelemetryUnavailable, TelemetryTimeout, TelemetryLimited)


@dataclass(frozen=True, slots=True)
class TailedLines:
    """New lines, in order. `dropped` more were left out, because they came faster than Loki tells them."""

    lines: tuple[LogLine, ...]
    dropped: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class TailPace:
    """How often a tail asks where it has no WebSocket, how long a call may take, and how long Loki may be away."""

    poll_seconds: float = 1.0
    call_seconds: float = 10.0
    give_up_seconds: float = 60.0


class _Blocked(Exception):
    """No WebSocket gets through to Loki."""


class _Connect(connect):
    """A WebSocket that is opened where it was asked for, or not at all: a redirect would take credentials along."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def tail(
    loki: Loki,
    query: str,
    *,
    start_ns: int,
    now_ns: Callable[[], int],
    pace: TailPace | None = None,
    jitter: Callable[[], float] = random.random,
) -> AsyncGenerator[TailedLines]:
    """The lines that a query selects, from `start_ns` on and without end. Close the generator when done.

    Raises TelemetryError: at once for a query that Loki refuses, and when it has been away for `give_up_seconds`.
    """
    following = _Tail(loki, query, start_ns, now_ns, pace or TailPace())
    loop = asyncio.get_running_loop()
    last_well = loop.time()
    failures = 0
    while True:
        try:
            async with aclosing(following.lines()) as batches:
                async for batch in batches:
                    last_well, failures = loop.time(), 0
                    if batch.lines or batch.dropped:
                        yield batch
        except _PASSING:
            if loop.time() - last_well >= following.pace.give_up_seconds:
                raise
        failures += 1
        wait = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2 ** min(failures - 1, 10))
        await asyncio.sleep(wait * (0.5 + jitter() / 2))


class _Tail:
    """What a tail has told, and how it goes on from there."""

    def __init__(self, loki: Loki, query: str, start_ns: int, now_ns: Callable[[], int], pace: TailPace) -> None:
        self.pace = pace
        self._loki = loki
        self._query = query
        self._start_ns = start_ns
        self._reached_ns = start_ns
        self._now_ns = now_ns
        self._told: OrderedDict[tuple[int, int], list[Labels]] = OrderedDict()
        self._is_blocked = False
        self._hurried = 0

    async def lines(self) -> AsyncGenerator[TailedLines]:
        """What is new until the connection ends. An empty batch says that Loki is well."""
        async for batch in self._missed():
            yield batch
        if not self._is_blocked:
            try:
                async for batch in self._pushed():
                    yield batch
                return
            except _Blocked:
                self._is_blocked = True
        while True:
            await asyncio.sleep(self.pace.poll_seconds)
            async for batch in self._missed():
                yield batch

    async def _missed(self) -> AsyncGenerator[TailedLines]:
        """Everything that was written since the last line that was told, as far as it was not told."""
        start_ns = max(self._start_ns, self._reached_ns - _LATE_NS)
        end_ns = max(self._now_ns() + _LATE_NS, start_ns + 1)
        is_complete = False
        while not is_complete:
            found = await self._loki.query_range(
                self._query,
                start=start_ns,
                end=end_ns,
                limit=MOST_LINES,
                direction=Direction.FORWARD,
                deadline=Deadline.after(self.pace.call_seconds),
            )
            if found.series is not None:
                raise TelemetryBadQuery("Loki", "Only lines can be followed, and the query computes numbers of them.")
            yield TailedLines(self._new(found.lines))
            is_complete = found.is_complete
            if not is_complete:
                start_ns = max(start_ns + 1, found.lines[-1].time_ns)

    async def _pushed(self) -> AsyncGenerator[TailedLines]:
        """What Loki tells over a WebSocket, until it ends. Raises _Blocked, TelemetryError."""
        parameters = {"query": self._query, "start": str(self._reached_ns), "limit": str(MOST_LINES)}
        target = self._loki.transport.websocket_target("/loki/api/v1/tail", parameters)
        began = asyncio.get_running_loop().time()
        try:
            async with _Connect(
                target.url,
                additional_headers=target.headers,
                user_agent_header="reliability-studio",
                ssl=target.ssl,
                server_hostname=target.server_name,
                compression=None,
                proxy=None,
                open_timeout=self.pace.call_seconds,
                close_timeout=1.0,
                max_size=_MOST_FRAME_BYTES,
            ) as socket:
                async for frame in socket:
                    self._hurried = 0
                    yield self._batch(frame)
        except InvalidStatus as error:
            raise self._refused(error, target.headers) from error
        except InvalidHandshake as error:
            raise _Blocked from error
        except TimeoutError as error:
            raise _Blocked from error
        except ConnectionClosed:
            pass  # Loki restarts, or a proxy has had enough: what follows is read by the next connection
        except (OSError, WebSocketException) as error:
            raise TelemetryUnavailable(
                "Loki", f"The tail of {self._loki.transport.address} broke off. Try again."
            ) from error
        self._hurried = self._hurried + 1 if asyncio.get_running_loop().time() - began < _HURRIED_SECONDS else 0
        if self._hurried >= _HURRIED_CLOSES:
            raise _Blocked

    def _refused(self, error: InvalidStatus, sent: Mapping[str, str]) -> Exception:
        """What a refused handshake means: only 400 is about the query, 5xx passes, and the rest is in the way."""
        response = error.response
        said = without_credentials(bytes(response.body or b""), sent)
        reason = spoken_reason(response.headers.get("Content-Type", ""), said)
        if response.status_code == 400 and reason:
            refusal = refused_query(reason)
            return _Blocked() if isinstance(refusal, TelemetryLimited) else refusal
        if response.status_code >= 500:
            return TelemetryUnavailable("Loki", f"Loki refused to be tailed with HTTP {response.status_code}: {reason}")
        return _Blocked()

    def _batch(self, frame: str | bytes) -> TailedLines:
        try:
            said = orjson.loads(frame)
            lines = [line for stream in said.get("streams") or () for line in log_lines(stream)]
            return TailedLines(self._new(in_order(lines, Direction.FORWARD)), len(said.get("dropped_entries") or ()))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TelemetryBadResponse(
                "Loki", f"{self._loki.transport.address} told something else than lines, unlike Loki."
            ) from error

    def _new(self, lines: Sequence[LogLine]) -> tuple[LogLine, ...]:
        """The lines that were not told yet; they are told now."""
        new = []
        for line in lines:
            told = self._told.setdefault((line.time_ns, hash(line.line)), [])
            # The WebSocket leaves out the structured metadata that a query gives among the labels.
            if not any(
                labels.items() <= line.labels.items() or line.labels.items() <= labels.items() for labels in told
            ):
                told.append(line.labels)
                new.append(line)
                self._reached_ns = max(self._reached_ns, line.time_ns)
        while len(self._told) > _REMEMBERED_LINES:
            self._told.popitem(last=False)
        return tuple(new)
