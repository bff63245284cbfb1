"""What a request brings along for its resolvers."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self

from db.database import Database
from db.read_connection import ReadConnection
from domain.access import Actor
from domain.errors import DatabaseUnavailable
from domain.health import SystemHealth
from domain.time import Deadline
from feed.log import EventLog
from resolvers.batching import Batcher
from resolvers.compile.documents import PreparedOperation
from resolvers.log_tails import LogTails
from telemetry_clients.instances import Telemetry


class Reading(Protocol):
    """Somewhere to read single text values from."""

    async def fetch_text(self, sql: str, arguments: Sequence[Any], *, timeout_seconds: float) -> bytes | None:
        """The single text value of the single row that a statement returns."""
        ...


@dataclass(frozen=True, slots=True)
class Running:
    """The operation that is being executed, with its coerced variables and their shape."""

    prepared: PreparedOperation
    variables: Mapping[str, Any]
    shape: Hashable


@dataclass(frozen=True, slots=True)
class Remark:
    """What a backend remarked about the answer to a field that it nevertheless gave.

    `code` is that of an error which cost a part of the answer.
    """

    path: tuple[str | int, ...]
    backend: str
    message: str
    code: str | None = None


@dataclass(slots=True)
class RequestContext:
    """One operation's surroundings. `now` is the time of the request, for everything in it."""

    database: Database
    actor: Actor
    deadline: Deadline
    request_id: str
    now: datetime
    read_after: int = 0
    """The position in the primary's write-ahead log that a replica has to have replayed to answer."""
    event_log: EventLog | None = None
    telemetry: Telemetry = field(default_factory=Telemetry)
    scrape_interval_seconds: float = 15
    health: Callable[[], Awaitable[SystemHealth]] | None = None
    reading: Reading | None = None
    running: Running | None = None
    batcher: Batcher = field(default_factory=Batcher)
    log_tails: LogTails = field(default_factory=LogTails)
    remarks: dict[Remark, None] = field(default_factory=dict)
    converted_arguments: dict[Hashable, dict[str, Any]] = field(default_factory=dict)

    async def read(self, sql: str, arguments: Sequence[Any]) -> bytes | None:
        """The text value that a statement returns, within the deadline."""
        source = self.reading or self.database.reads
        return await source.fetch_text(sql, arguments, timeout_seconds=self.deadline.remaining_seconds())

    async def read_at_leisure(self, sql: str, arguments: Sequence[Any]) -> bytes | None:
        """The same of a state that may be some seconds old, but has what the asker wrote: from a replica, if any."""
        if self.reading is not None:
            return await self.read(sql, arguments)
        seconds = self.deadline.remaining_seconds()
        return await self.database.fetch_text(sql, arguments, timeout_seconds=seconds, after=self.read_after)


class Snapshot:
    """Reads that all see one state of the database, on one connection that is opened by the first of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._resources = AsyncExitStack()
        self._connection: ReadConnection | None = None
        self._turn = asyncio.Lock()
        self._reader: asyncio.Task[Any] | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Where one field's error is the whole answer, the executor lets fields that still wait end in the background.
        self._is_closed = True
        if self._reader is not None:
            self._reader.cancel()
        async with self._turn:
            with suppress(DatabaseUnavailable):  # What was read is true, whatever became of the connection.
                await self._resources.aclose()

    async def fetch_text(self, sql: str, arguments: Sequence[Any], *, timeout_seconds: float) -> bytes | None:
        """The single text value of the single row that a statement returns."""
        async with self._turn:
            if self._is_closed:
                raise RuntimeError("The answer was given without what this would read")
            self._reader = asyncio.current_task()
            try:
                if self._connection is None:
                    connecting = self._database.reads.connection(timeout_seconds=timeout_seconds)
                    self._connection = await self._resources.enter_async_context(connecting)
                return await self._connection.fetch_text(sql, arguments)
            finally:
                self._reader = None
