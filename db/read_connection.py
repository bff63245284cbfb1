"""A connection for compiled reads: statements stay prepared, and answers stay bytes."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import asyncpg
from asyncpg.protocol import NO_TIMEOUT

from db.connecting import is_lost
from db.observing import READS, Nobody, Observer

_REPLAYED_SQL = "select coalesce((pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint, 0)::text"


class Behind(Exception):
    """The standby has not replayed what the read has to see."""


class ReadConnection(asyncpg.Connection):
    """A connection that keeps the statements it has run prepared, the least recently used of too many excepted."""

    __slots__ = (
        "cancellations",
        "deadline",
        "is_overdue",
        "is_retired",
        "observer",
        "prepared",
        "replayed",
        "retirement",
        "statement_limit",
        "statements",
        "task",
    )

    _protocol: Any

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.statements: OrderedDict[str, Any] = OrderedDict()
        self.statement_limit = 1
        self.prepared = 0
        """How many statements were prepared so far, which names the next."""
        self.task: asyncio.Task[Any] | None = None
        """Who uses this connection, until `deadline` on the event loop's clock."""
        self.deadline = 0.0
        self.is_overdue = False
        """Whether the task was cancelled because its time was up."""
        self.cancellations = 0
        """How often others had cancelled it by then."""
        self.is_retired = False
        """To be closed rather than used again."""
        self.retirement: asyncio.TimerHandle | None = None
        self.observer: Observer = Nobody()
        self.replayed = 0
        """How far the standby had replayed the primary's log when it was asked last: it never goes back."""

    async def fetch_text_after(self, position: int, sql: str, arguments: Sequence[object]) -> bytes | None:
        """The same on a standby that has replayed the log up to a position. Raises Behind."""
        if self.replayed < position:
            # Asked before the read, not in it: the snapshot of a statement is older than what it asks for.
            self.replayed = int(await self.fetch_text(_REPLAYED_SQL, ()) or b"0")
            if self.replayed < position:
                raise Behind
        return await self.fetch_text(sql, arguments)

    async def fetch_text(self, sql: str, arguments: Sequence[object]) -> bytes | None:
        """The single text value of the single row, as UTF-8, or None for no row or NULL."""
        began = perf_counter()
        try:
            statement = self.statements.get(sql)
            if statement is None:
                statement = await self.prepare_text(sql)
            else:
                self.statements.move_to_end(sql)
            # The driver's inner call: its public wrappers cost a fifth of the whole read.
            rows = await self._protocol.bind_execute(statement._state, arguments, "", 0, False, NO_TIMEOUT)
        except BaseException as error:
            self.observer.statement_ended(READS, sql, perf_counter() - began, error)
            raise
        self.observer.statement_ended(READS, sql, perf_counter() - began, None)
        return rows[0][0] if rows else None

    def is_spoilt_by(self, error: BaseException) -> bool:
        """Whether this connection is of no use after a driver's error, although the same read may work on another."""
        if isinstance(error, asyncpg.InterfaceError):
            return self.is_closed()
        return is_lost(error) or isinstance(
            error, asyncpg.InvalidCachedStatementError | asyncpg.InvalidSQLStatementNameError
        )

    async def prepare_text(self, sql: str) -> Any:
        """Prepare a statement and keep it. The driver deallocates those that were let go when it prepares the next."""
        while len(self.statements) >= self.statement_limit:
            self.statements.popitem(last=False)
        self.prepared += 1
        statement = await self.prepare(sql, name=f"read_{self.prepared}")
        self.statements[sql] = statement
        return statement
