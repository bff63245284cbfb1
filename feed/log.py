"""The event log as one process reads it: its tail as it grows, and pages of what came before."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

import structlog

from db.connecting import DRIVER_ERRORS, driver_url, milliseconds
from db.database import Database
from db.event_log import CHANNEL, EPOCH_SQL, HEAD_SQL, POSITION_SQL, SEQ_SQL, SHARED_SQL, TAIL_SQL
from db.observing import EVENT_LOG
from db.read_connection import ReadConnection
from db.sessions import Session, session
from domain.errors import CursorExpired, DatabaseUnavailable, InvalidCursor
from feed.cursor import REFUSAL_SQL, Cursor, Reach
from feed.filter import PAGE_SQL, EventFilter, LoggedEvent

log = structlog.get_logger("reliability_studio.log")

BATCH_ROWS = 1_000
POLL_SECONDS = 1.0
RETRY_SECONDS = 0.5
STATEMENT_SECONDS = 30.0

_SETTINGS: Final = {"statement_timeout": milliseconds(STATEMENT_SECONDS)}
_REFUSAL = REFUSAL_SQL.format(epoch="$1::uuid", position="$2::bigint", last="$3::bigint")
REQUIRE_SQL = f"select epoch, {_REFUSAL} from event_log_head"  # noqa: S608 # of constants

Listener = Callable[[Sequence[LoggedEvent]], None]
Hearer = Callable[[str | None], None]
"""Is told what was said on a channel, and None where some of it may have been missed."""
Succession = Callable[[bool], None]
"""Is told when another log has taken the place of the one that was followed, and whether that has all that was told."""


class EventLog:
    """One reader for a whole process. Whoever listens is told of every event, in order, from the start of `run` on."""

    def __init__(self, database: Database, url: str) -> None:
        self._database = database
        self._url = driver_url(url)
        self._grown = asyncio.Event()
        self._started: asyncio.Future[UUID] | None = None
        self._waiters: dict[int, asyncio.Future[int]] = {}
        self.listeners: list[Listener] = []
        self.successions: list[Succession] = []
        self._hearers: dict[str, Hearer] = {}
        self.reach: Reach | None = None
        """What listeners have been told of."""

    @property
    def position(self) -> int:
        """The newest position that listeners have been told of."""
        return 0 if self.reach is None else self.reach.position

    @property
    def epoch(self) -> UUID | None:
        """The identity of the log that is followed."""
        return None if self.reach is None else self.reach.epoch

    async def run(self) -> None:
        """Follow the log until cancelled. A lost database is waited for, and nothing that happened meanwhile missed."""
        while True:
            try:
                await self._follow()
            except (DatabaseUnavailable, *DRIVER_ERRORS) as error:
                log.warning("the log's reader lost the database, trying again", reason=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)

    def hear(self, channel: str, hearer: Hearer) -> None:
        """Listen to a channel of the database as well, from the start of `run` on.

        What is said there is heard before listeners are told of any event that was written later.
        """
        self._hearers[channel] = hearer

    async def started(self) -> UUID:
        """The log's identity, once it is being followed."""
        if self.epoch is None:
            if self._started is None:
                self._started = asyncio.get_running_loop().create_future()
            return await asyncio.shield(self._started)
        return self.epoch

    async def position_of(self, seq: int) -> int:
        """The place that an event of the outbox gets, as soon as it has one. Raises DatabaseUnavailable."""
        waiter = self._waiters.setdefault(seq, asyncio.get_running_loop().create_future())
        try:
            # It may have got its place before anybody waited for it.
            async with self._database.reads.connection(timeout_seconds=STATEMENT_SECONDS) as connection:
                found = await connection.fetch(POSITION_SQL, seq)
            return int(found[0][0]) if found else await asyncio.shield(waiter)
        finally:
            self._waiters.pop(seq, None)

    async def require(self, cursor: Cursor) -> Cursor:
        """The cursor as one of the log that there is now, where it comes from one that this log goes on from.

        Raises InvalidCursor for a place that this log never had, CursorExpired for one that it has forgotten.
        """
        async with self._database.reads.connection(timeout_seconds=STATEMENT_SECONDS) as connection:
            return await self._require(cursor, connection)

    async def page(self, filter_: EventFilter, cursor: Cursor, *, until: int, limit: int) -> list[Cursor]:
        """Where the next events stand that the filter lets through, up to `until`. Raises as `require` does."""
        values = (*filter_.values(cursor), until, limit)
        async with self._database.reads.connection(timeout_seconds=STATEMENT_SECONDS) as connection:
            rows = await connection.fetch(PAGE_SQL, *values)
            # In one snapshot with the page: what was forgotten meanwhile would be missing from it.
            cursor = await self._require(cursor, connection)
        return [cursor.at(Reach(cursor.epoch, *row)) for row in rows]

    @staticmethod
    async def _require(cursor: Cursor, connection: ReadConnection) -> Cursor:
        last = None if cursor.seen is None else cursor.seen.last
        ((epoch, oldest),) = await connection.fetch(REQUIRE_SQL, cursor.epoch, cursor.position, last)
        if oldest is not None:
            if not oldest:
                raise InvalidCursor("`after` is a cursor of another event log, read a fresh snapshot", ["after"])
            raise CursorExpired(oldest.decode(), ["after"])
        return Cursor(epoch, cursor.position, cursor.seen)

    async def _follow(self) -> None:
        async with session(self._url, EVENT_LOG, settings=_SETTINGS, observer=self._database.observer) as connection:
            connection.add_termination_listener(self._wake)
            await connection.add_listener(CHANNEL, self._wake)
            for channel, hearer in self._hearers.items():
                await connection.add_listener(channel, self._hear)
                hearer(None)
            await self._open(connection)
            tail = await connection.repeated(TAIL_SQL)
            while True:
                self._grown.clear()
                rows = await tail.fetch(self.position, BATCH_ROWS)
                epoch = rows[0]["epoch"] if rows else await connection.fetchval(EPOCH_SQL)
                if epoch != self.epoch:
                    await self._open(connection)
                    continue
                if rows:
                    self._tell([LoggedEvent(**{**row, "service_ids": tuple(row["service_ids"])}) for row in rows])
                if len(rows) < BATCH_ROWS:
                    await self._wait()

    async def _open(self, connection: Session) -> None:
        """Go on where this process was, or else where the log stands: at first, and when the database was replaced."""
        head = await connection.fetchrow(HEAD_SQL)
        if head is None:
            raise DatabaseUnavailable("The event log has no head: run `reliability-studio migrate`")
        former, epoch, newest = self.reach, head["epoch"], head["position"]
        if former is None or former.epoch != epoch:
            shared = None if former is None else await connection.fetchval(SHARED_SQL.format(epoch="$1"), former.epoch)
            is_whole = former is not None and shared is not None and former.position <= shared
            position = former.position if former is not None and is_whole else newest
            self.reach = Reach(epoch, position, await connection.fetchval(SEQ_SQL, position) or 0)
            if former is not None:
                log.warning("the event log was replaced", epoch=str(epoch), position=newest, goes_on=is_whole)
                for succeed in self.successions:
                    succeed(is_whole)
        if self._started is not None and not self._started.done():
            self._started.set_result(epoch)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._grown.wait()
        except TimeoutError:
            return

    def _wake(self, *_: object) -> None:
        self._grown.set()

    def _hear(self, *said: object) -> None:
        _, _, channel, payload = said
        self._hearers[str(channel)](str(payload))

    def _tell(self, events: Sequence[LoggedEvent]) -> None:
        self.reach = events[-1].reach
        if self._waiters:
            for event in events:
                if (waiter := self._waiters.pop(event.seq, None)) is not None and not waiter.done():
                    waiter.set_result(event.position)
        for listener in self.listeners:
            listener(events)
