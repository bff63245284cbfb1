"""A lean pool of connections for compiled reads.

The hot path of the product: the driver's own pool costs more time than the statements it carries. So connections are
not reset between reads (nothing dirties them: each statement is a transaction of its own, and Postgres refuses writes),
the last one given back is the first one used again (its caches are warm), statements stay prepared, answers stay
bytes, and one timer watches the deadlines of all reads instead of one timer for each.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import asyncpg

from db.connecting import CONNECT_TIMEOUT_SECONDS, DRIVER_ERRORS, milliseconds, open_connection
from db.observing import READS, Nobody, Observer, tell_of
from db.read_connection import ReadConnection
from domain.errors import DatabaseUnavailable, DeadlineExceeded

_WATCH_SECONDS = 0.05
"""How often deadlines are looked at, so how late an overdue read is stopped at most."""
_RECOVERY_SECONDS = 5.0


class ReadPool:
    """Connections to one Postgres that only read. Everything that waits, waits in order and until its deadline."""

    def __init__(
        self,
        url: str,
        *,
        connections: int = 10,
        waiting_limit: int = 1000,
        statement_limit: int = 200,
        connection_lifetime_seconds: float = 1800,
        statement_timeout_seconds: float = 30,
        observer: Observer | None = None,
    ) -> None:
        """`url` as the driver wants it. No connection is opened before it is needed."""
        self._url = url
        self._observer = observer or Nobody()
        self._limit = connections
        self._waiting_limit = waiting_limit
        self._statement_limit = statement_limit
        self._lifetime_seconds = connection_lifetime_seconds
        self._settings = {
            "default_transaction_read_only": "on",
            "jit": "off",
            "plan_cache_mode": "force_generic_plan",
            # Disks that seek are gone: look rows up by index where that reads fewer of them.
            "random_page_cost": "1.1",
            "statement_timeout": milliseconds(statement_timeout_seconds),
        }
        self._loop = asyncio.get_running_loop()
        self._places = connections
        """How many more connections may be opened."""
        self._connections: set[ReadConnection] = set()
        self._idle: list[ReadConnection] = []
        self._waiting: deque[asyncio.Future[ReadConnection | None]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._recoveries: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @property
    def limit(self) -> int:
        """How many connections there may be."""
        return self._limit

    @property
    def in_use(self) -> int:
        """How many connections are busy, being opened or being cleaned up."""
        return self._limit - self._places - len(self._idle)

    @property
    def idle(self) -> int:
        """How many connections wait for something to do."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """How many reads wait for a connection."""
        return len(self._waiting)

    async def fetch_text(
        self, sql: str, arguments: Sequence[object], *, timeout_seconds: float, after: int = 0
    ) -> bytes | None:
        """Run one statement and return the single text value of its single row, as UTF-8; None for no row or NULL.

        Raises DeadlineExceeded (Postgres has been told to stop), DatabaseUnavailable, and asyncpg's own errors for a
        statement or an argument that is wrong; on a standby that has not replayed the position `after`, Behind.
        """
        deadline = self._loop.time() + timeout_seconds
        was_idle = bool(self._idle)
        connection = self._idle.pop() if was_idle else await self._acquire(deadline)
        connection.task = asyncio.current_task()
        connection.deadline = deadline
        if self._watch is None:
            self._watch = self._loop.call_later(_WATCH_SECONDS, self._stop_overdue)
        try:
            if after:
                text = await connection.fetch_text_after(after, sql, arguments)
            else:
                text = await connection.fetch_text(sql, arguments)
        except BaseException as error:
            if not (was_idle and connection.is_spoilt_by(error)):
                self._settle(connection, error)
                raise
        else:
            connection.task = None
            if self._waiting or connection.is_retired:
                self._release(connection)
            else:
                self._idle.append(connection)
            return text
        # It broke while nobody looked, or is breaking now. Repeating a read is safe.
        connection = await self._replace(connection, deadline)
        async with self._busy(connection, deadline):
            return await connection.fetch_text_after(after, sql, arguments)

    def break_off(self) -> None:
        """Close all connections at once: what runs on them ends in DatabaseUnavailable, and what comes opens others."""
        for connection in list(self._connections):
            if connection in self._idle:
                self._retire(connection)
            else:
                connection.is_retired = True
                connection.terminate()

    @asynccontextmanager
    async def connection(self, *, timeout_seconds: float) -> AsyncGenerator[ReadConnection]:
        """A connection in a read-only transaction with one snapshot for all statements of the block.

        The time counts for the whole block, which is cancelled when it is up. Raises as `fetch_text` does.
        """
        deadline = self._loop.time() + timeout_seconds
        connection = self._idle.pop() if self._idle else await self._acquire(deadline)
        async with self._busy(connection, deadline):
            await connection.execute("begin isolation level repeatable read, read only")
            yield connection
            await connection.execute("commit")

    async def close(self) -> None:
        """Close the connections. Reads that still wait or run end in DatabaseUnavailable."""
        self._is_closed = True
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(DatabaseUnavailable())
        idle, self._idle = self._idle, []
        await asyncio.gather(
            *(connection.close(timeout=_RECOVERY_SECONDS) for connection in idle), return_exceptions=True
        )
        for connection in list(self._connections):
            self._forget(connection)
        await asyncio.gather(*self._recoveries)
        if self._watch is not None:
            self._watch.cancel()

    async def _acquire(self, deadline: float) -> ReadConnection:
        """An idle connection, a new one, or the next one that is given back, in this order."""
        if self._is_closed:
            raise DatabaseUnavailable
        if self._idle:
            return self._idle.pop()
        if self._places > 0:
            self._places -= 1
            return await self._open(deadline)
        if len(self._waiting) >= self._waiting_limit:
            raise DatabaseUnavailable("Too many reads are waiting for the database, try again")
        waiter: asyncio.Future[ReadConnection | None] = self._loop.create_future()
        self._waiting.append(waiter)
        timer = self._loop.call_at(deadline, _expire, waiter)
        try:
            connection = await waiter
        except BaseException:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif not waiter.cancelled() and waiter.exception() is None:
                self._pass_on(waiter.result())  # It came in the moment in which this task was cancelled.
            raise
        finally:
            timer.cancel()
        return await self._open(deadline) if connection is None else connection

    async def _open(self, deadline: float) -> ReadConnection:
        """Open a connection on a place that the caller holds; a failure gives the place back."""
        try:
            seconds = deadline - self._loop.time()
            if seconds <= 0:
                raise DeadlineExceeded
            connection = await open_connection(
                self._url,
                settings=self._settings,
                connection_class=ReadConnection,
                timeout_seconds=min(seconds, CONNECT_TIMEOUT_SECONDS),
                statement_cache_size=0,
            )
        except BaseException as error:
            self._pass_on(None)
            if isinstance(error, DatabaseUnavailable) and self._loop.time() >= deadline:
                raise DeadlineExceeded from error
            raise
        for kind in ("text", "varchar", "json"):
            await connection.set_type_codec(
                kind, schema="pg_catalog", encoder=str.encode, decoder=bytes, format="binary"
            )
        connection.statement_limit = self._statement_limit
        connection.observer = self._observer
        connection.add_query_logger(partial(tell_of, self._observer, READS))
        connection.retirement = self._loop.call_later(self._lifetime_seconds, self._retire, connection)
        connection.add_termination_listener(lambda _: self._retire(connection))
        self._connections.add(connection)
        if self._is_closed:
            self._drop(connection)
            raise DatabaseUnavailable
        return connection

    async def _replace(self, connection: ReadConnection, deadline: float) -> ReadConnection:
        """A fresh connection in the place of a broken one."""
        self._forget(connection)
        return await self._open(deadline)

    @asynccontextmanager
    async def _busy(self, connection: ReadConnection, deadline: float) -> AsyncGenerator[None]:
        """Use a connection in a block that is cancelled at the deadline, and settle how it ended."""
        connection.task = asyncio.current_task()
        connection.deadline = deadline
        connection.is_overdue = False
        if self._watch is None:
            self._watch = self._loop.call_later(_WATCH_SECONDS, self._stop_overdue)
        try:
            yield
        except BaseException as error:
            self._settle(connection, error)
            raise
        connection.task = None
        connection.is_overdue = False  # Whatever was cancelled at the last moment, the block has ended well.
        self._release(connection)

    def _stop_overdue(self) -> None:
        """Cancel whoever has used a connection for longer than allowed, which also stops the statement in Postgres."""
        now = self._loop.time()
        is_needed = False
        for connection in self._connections:
            if connection.task is not None:
                is_needed = True
                if now >= connection.deadline and not connection.is_overdue:
                    connection.is_overdue = True
                    connection.cancellations = connection.task.cancelling()
                    connection.task.cancel()
        self._watch = self._loop.call_later(_WATCH_SECONDS, self._stop_overdue) if is_needed else None

    def _settle(self, connection: ReadConnection, error: BaseException) -> None:
        """Keep, clean or drop a connection whose use ended in an error; raise what the error means, if it is ours."""
        task, connection.task = connection.task, None
        is_overdue, connection.is_overdue = connection.is_overdue, False
        if is_overdue and task is not None and task.uncancel() > connection.cancellations:
            is_overdue = False  # Somebody else wants the task to end as well.
        if connection.is_spoilt_by(error):
            self._drop(connection)
            raise DatabaseUnavailable from error
        if connection.is_closed():
            self._drop(connection)
        elif _is_unfinished(error) or connection.is_in_transaction():
            recovery = self._loop.create_task(self._recover(connection))
            self._recoveries.add(recovery)
            recovery.add_done_callback(self._recoveries.discard)
        else:
            self._release(connection)
        if is_overdue or isinstance(error, asyncpg.QueryCanceledError):
            raise DeadlineExceeded from error

    async def _recover(self, connection: ReadConnection) -> None:
        """Wait until Postgres is done with the unfinished statement, end the transaction, give the connection back."""
        try:
            # The driver sends nothing before the answer to the cancelled statement has come.
            ending = "rollback" if connection.is_in_transaction() else "select 1"
            await connection.execute(ending, timeout=_RECOVERY_SECONDS)
            if connection.is_in_transaction():  # The statement that was cancelled began it.
                await connection.execute("rollback", timeout=_RECOVERY_SECONDS)
        except DRIVER_ERRORS:
            self._drop(connection)
        except BaseException:
            self._drop(connection)
            raise
        else:
            self._release(connection)

    def _release(self, connection: ReadConnection) -> None:
        if connection.is_retired or self._is_closed:
            self._drop(connection)
        else:
            self._pass_on(connection)

    def _retire(self, connection: ReadConnection) -> None:
        """Close a connection that is too old or was closed by the other end, now or when it is given back."""
        connection.is_retired = True
        if connection in self._idle:
            self._idle.remove(connection)
            self._drop(connection)

    def _drop(self, connection: ReadConnection) -> None:
        self._forget(connection)
        self._pass_on(None)

    def _forget(self, connection: ReadConnection) -> None:
        self._connections.discard(connection)
        if connection.retirement is not None:
            connection.retirement.cancel()
        connection.statements.clear()
        connection.terminate()

    def _pass_on(self, connection: ReadConnection | None) -> None:
        """Give a connection, or for None the place to open one, to whoever has waited longest."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        if connection is None:
            self._places += 1
        else:
            self._idle.append(connection)


def _expire(waiter: asyncio.Future[ReadConnection | None]) -> None:
    if not waiter.done():
        waiter.set_exception(DeadlineExceeded())


def _is_unfinished(error: BaseException) -> bool:
    """Whether Postgres may still be in the middle of the statement that ended in an error here."""
    # The driver's own errors about values: it has prepared the statement by then, and not ended the exchange.
    refused = isinstance(error, asyncpg.InterfaceError) or type(error) is asyncpg.DataError
    return refused or isinstance(error, asyncio.CancelledError)
