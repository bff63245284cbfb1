"""The connections to one Postgres, and the one place where transactions begin and end."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Self, TypeVar
from uuid import UUID

import asyncpg
import orjson
from sqlalchemy import Column, CursorResult, Executable, Integer, RowMapping, Table, event, insert, select, text, update
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from db.connecting import OLDEST_MAJOR_VERSION, driver_url, is_lost, milliseconds, open_connection
from db.identifiers import new_id
from db.nouns import noun
from db.observing import READS, REPLICA, WRITES, Nobody, Observer, tell_of, watch
from db.read_pool import ReadPool
from db.replica import ALWAYS_PRIMARY, ANSWER_SECONDS, POSITION_SQL, NotHere, Replica
from domain.errors import Conflict, DatabaseUnavailable, DeadlineExceeded, NotFound
from domain.time import Deadline

Result = TypeVar("Result")

_PREPARED_STATEMENTS = 300
"""How many a connection for writes keeps: all that there are, or each would be prepared over and over in turn."""
_ATTEMPTS = 5
_FIRST_PAUSE_SECONDS = 0.005
_REPEATABLE = frozenset({"40001", "40P01"})  # Serialization failure and deadlock: Postgres asks to try again.


@dataclass(frozen=True, slots=True)
class Change:
    """What a column held, and what it holds now."""

    before: Any
    after: Any


class Transaction:
    """A write: what one action does to the database, together or not at all. Nobody calls commit."""

    def __init__(self, connection: AsyncConnection, now: datetime) -> None:
        self.connection = connection
        self.now = now
        """The time of everything that this transaction does."""
        self.last_event_seq: int | None = None
        """Where the last event that this transaction tells of stands in the outbox."""

    async def lock(self, table: Table, id: UUID) -> RowMapping:
        """The row, which nobody else changes until this transaction ends. Raises NotFound.

        Rows that point to it can still be written meanwhile (FOR NO KEY UPDATE): nobody waits for nothing, and two
        transactions that add to the same row and then change it do not wait for each other for ever.
        """
        statement = select(*_stored(table)).where(table.c.id == id).with_for_update(key_share=True)
        row = (await self.connection.execute(statement)).mappings().one_or_none()
        if row is None:
            raise NotFound(noun(table), id)
        return row

    async def get(self, table: Table, id: UUID) -> RowMapping | None:
        """The row as it is now, without a lock."""
        result = await self.connection.execute(select(*_stored(table)).where(table.c.id == id))
        return result.mappings().one_or_none()

    async def insert(self, table: Table, **values: Any) -> RowMapping:
        """Insert a row and return it whole. Its id and its `created_at` and `updated_at` come by themselves."""
        columns = table.c
        if "id" not in values and "id" in columns and columns.id.type.python_type is UUID:
            values["id"] = new_id()
        for stamp in ("created_at", "updated_at"):
            if stamp in columns:
                values.setdefault(stamp, self.now)
        result = await self.connection.execute(insert(table).values(values).returning(*_stored(table)))
        return result.mappings().one()

    async def update(self, table: Table, row: RowMapping, **changes: Any) -> dict[str, Change]:
        """Write what differs from the row, and say what that was. Nothing differs: nothing is written, and {} returned.

        Counts `version` up and sets `updated_at`, where the table has them. Raises Conflict when the row, read without
        a lock, was changed or deleted meanwhile.
        """
        differing = {name: Change(row[name], value) for name, value in changes.items() if row[name] != value}
        if not differing:
            return {}
        values = {name: change.after for name, change in differing.items()}
        statement = update(table).where(*(column == row[column.name] for column in table.primary_key))
        if "updated_at" in table.c:
            values.setdefault("updated_at", self.now)
        if counted := _counts_versions(table):
            values["version"] = row["version"] + 1
            statement = statement.where(table.c.version == row["version"])
        if (await self.connection.execute(statement.values(values))).rowcount == 0:
            current = await self.get(table, row["id"]) if counted else None
            message = f"The {noun(table)} was changed at the same time, read it again"
            raise Conflict(message, current["version"] if current else None)
        return differing

    async def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | list[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run any statement in this transaction."""
        return await self.connection.execute(statement, parameters)

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        """What the block writes is undone by itself when it raises, and the transaction can go on without it."""
        told = self.last_event_seq
        try:
            async with self.connection.begin_nested():
                yield
        except BaseException:
            self.last_event_seq = told
            raise


class Database:
    """The connections to one Postgres: SQLAlchemy's pool for writes, a lean asyncpg pool for compiled reads."""

    def __init__(
        self, engine: AsyncEngine, reads: ReadPool, replica: Replica | None = None, observer: Observer | None = None
    ) -> None:
        self.engine = engine
        self.reads = reads
        self.replica = replica
        self.observer = observer or Nobody()

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        read_url: str | None = None,
        replica_most_lag_seconds: float = 10,
        pool_size: int = 10,
        pool_max: int = 50,
        connection_lifetime_seconds: float = 1800,
        statement_timeout_seconds: float = 30,
        read_connections: int = 10,
        acquire_timeout_seconds: float = 10,
        observer: Observer | None = None,
    ) -> Self:
        """Open the pools, and make sure that Postgres answers and is new enough.

        `pool_size` connections for writes are kept open and up to `pool_max` are opened, for which a write waits up to
        `acquire_timeout_seconds`; `read_connections` come on top. `read_url` may name
        a standby for those reads that can do with a state of some seconds ago, `replica_most_lag_seconds` at most.
        Raises DatabaseUnavailable, whose `__cause__` is for the operator, and ValueError for an address that is none.
        """
        address = driver_url(url)

        async def open_for_writes() -> asyncpg.Connection:
            settings = {"statement_timeout": milliseconds(statement_timeout_seconds)}
            connection = await open_connection(address, connection_class=asyncpg.Connection, settings=settings)
            if observer is not None:  # of what begins and ends transactions, which SQLAlchemy says nothing of
                connection.add_query_logger(partial(tell_of, observer, WRITES))
            return connection

        def open_adapted() -> Any:
            # As `async_creator` does it, which leaves SQLAlchemy's limit as it is: fewer than there are.
            dialect: Any = engine.dialect
            return dialect.dbapi.connect(
                async_creator_fn=open_for_writes, prepared_statement_cache_size=_PREPARED_STATEMENTS
            )

        engine = create_async_engine(
            "postgresql+asyncpg://",
            creator=open_adapted,
            pool_size=min(pool_size, pool_max),
            max_overflow=max(0, pool_max - pool_size),
            pool_recycle=round(connection_lifetime_seconds),
            pool_timeout=acquire_timeout_seconds,
            pool_use_lifo=True,
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
        )
        event.listen(engine.sync_engine, "checkout", _refuse_closed)
        if observer is not None:
            watch(engine.sync_engine, observer)
        reads, others = (
            ReadPool(
                driver_url(each),
                connections=read_connections,
                connection_lifetime_seconds=connection_lifetime_seconds,
                statement_timeout_seconds=statement_timeout_seconds,
                name=name,
                observer=observer,
            )
            for each, name in ((url, READS), (read_url or url, REPLICA))
        )
        replica = Replica(others, reads, most_lag_seconds=replica_most_lag_seconds) if read_url else None
        database = cls(engine, reads, replica, observer)
        try:
            await database._require_version()
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        """Close every connection."""
        if self.replica is not None:
            await self.replica.reads.close()
        await self.reads.close()
        await self.engine.dispose()

    @asynccontextmanager
    async def writing(self, now: datetime) -> AsyncGenerator[Transaction]:
        """One transaction; commits when the block ends, rolls back when it raises.

        Raises DatabaseUnavailable, DeadlineExceeded (a statement took longer than allowed) and Conflict (Postgres chose
        this transaction to give way to another). `transact` repeats the last.
        """
        async with _translated(), self._begin(now) as transaction:
            yield transaction

    async def transact(self, work: Callable[[Transaction], Awaitable[Result]], *, now: datetime) -> Result:
        """Do some work in one transaction and return its result: the way to call actions.

        The work is done again, from its beginning, when Postgres ends the transaction in favour of another (a deadlock,
        a serialization failure), so it touches nothing but the transaction. Raises as `writing` does.
        """
        async with _translated():
            for attempt in range(_ATTEMPTS - 1):
                try:
                    async with self._begin(now) as transaction:
                        return await work(transaction)
                except DBAPIError as error:
                    if _state(error) not in _REPEATABLE:
                        raise
                self.observer.transaction_retried()
                await asyncio.sleep(_FIRST_PAUSE_SECONDS * 2**attempt)
            async with self._begin(now) as transaction:
                return await work(transaction)

    async def write_at_once(self, statement: Executable, parameters: Mapping[str, Any]) -> None:
        """Run one statement, which is a transaction of its own and committed when this returns.

        For what somebody waits for: one exchange with Postgres instead of the three of a transaction that begins, does
        one thing and commits. Raises as `writing` does.
        """
        async with _translated(), self.engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(statement, parameters)

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncConnection]:
        """One snapshot for all statements of the block. Postgres itself refuses a write. Raises as `writing` does."""
        async with _translated(), self.engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            async with connection.begin():
                yield connection

    async def fetch_text(
        self, sql: str, arguments: Sequence[object], *, timeout_seconds: float, after: int = 0
    ) -> bytes | None:
        """As `ReadPool.fetch_text`, from the replica where there is one that has everything up to the position `after`.

        Otherwise, or when it fails, from the primary. `after` is what `position` said, 0 for whatever there is.
        """
        if self.replica is None:
            return await self.reads.fetch_text(sql, arguments, timeout_seconds=timeout_seconds)
        deadline = Deadline.after(timeout_seconds)
        try:
            return await self.replica.fetch_text(sql, arguments, timeout_seconds=timeout_seconds, after=after)
        except NotHere:
            return await self.reads.fetch_text(sql, arguments, timeout_seconds=deadline.remaining_seconds())

    async def position(self) -> int:
        """Where the primary's write-ahead log ends, for who has just written and wants to read that.

        What does not answer within a moment is as good as never replayed.
        """
        try:
            text = await self.reads.fetch_text(POSITION_SQL, (), timeout_seconds=ANSWER_SECONDS)
        except (DatabaseUnavailable, DeadlineExceeded):
            return ALWAYS_PRIMARY
        return int(text or ALWAYS_PRIMARY)

    async def ping(self, timeout_seconds: float) -> float:
        """How long Postgres takes to answer, in seconds. Raises DatabaseUnavailable."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(timeout_seconds), _translated(), self.engine.connect() as connection:
                await connection.execute(text("select 1"))
        except (TimeoutError, DeadlineExceeded) as error:
            raise DatabaseUnavailable(f"The database did not answer within {timeout_seconds:g} s") from error
        return loop.time() - started

    @asynccontextmanager
    async def _begin(self, now: datetime) -> AsyncGenerator[Transaction]:
        async with self.engine.connect() as connection, connection.begin():
            yield Transaction(connection, now)

    async def _require_version(self) -> None:
        async with self.reading() as connection:
            version = (await connection.execute(text("show server_version_num"))).scalar_one()
        if int(version) // 10_000 < OLDEST_MAJOR_VERSION:
            raise DatabaseUnavailable(
                f"PostgreSQL {OLDEST_MAJOR_VERSION} or newer is needed, this is {int(version) // 10_000}"
            )


def may_pass(error: BaseException) -> bool:
    """Whether an error of a transaction has to do with the database or with others at the same moment, and not with
    what is written: the connection was lost, the time was up, another transaction went first.
    """
    if isinstance(error, DBAPIError):
        is_lost = error.connection_invalidated or _is_lost(error)
        return is_lost or _state(error) in _REPEATABLE or took_too_long(error)
    if isinstance(error, Conflict):
        return isinstance(error.__cause__, DBAPIError) and may_pass(error.__cause__)
    return isinstance(error, DatabaseUnavailable | DeadlineExceeded | PoolTimeout)


def took_too_long(error: BaseException) -> bool:
    """Whether an error of a transaction is that a statement was stopped, because it took longer than allowed."""
    if isinstance(error, DBAPIError):
        return _state(error) == asyncpg.QueryCanceledError.sqlstate
    return isinstance(error, DeadlineExceeded)


def _counts_versions(table: Table) -> bool:
    """Whether `version` counts the changes of a row; that of a deployment says what was deployed."""
    return "version" in table.c and isinstance(table.c.version.type, Integer)


def _stored(table: Table) -> list[Column[Any]]:
    """The columns that somebody wrote, without what Postgres derives from them for searching."""
    return [column for column in table.c if column.computed is None]


def _refuse_closed(connection: Any, record: object, proxy: object) -> None:
    """Let SQLAlchemy's pool replace a connection that the other end has closed, without asking Postgres each time."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


@asynccontextmanager
async def _translated() -> AsyncGenerator[None]:
    """The one place where the driver's errors become ours."""
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseUnavailable("Too many writes are waiting for the database, try again") from error
    except DBAPIError as error:
        if error.connection_invalidated or _is_lost(error):
            raise DatabaseUnavailable from error
        if took_too_long(error):
            raise DeadlineExceeded from error
        if _state(error) in _REPEATABLE:
            raise Conflict("Somebody else changed the same at the same time, try again") from error
        raise


def _state(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _is_lost(error: DBAPIError) -> bool:
    cause = error.orig.__cause__ if error.orig else None
    return cause is not None and is_lost(cause)
