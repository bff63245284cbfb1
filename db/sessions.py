"""Connections that somebody has for themselves: to hold a lock of the session, to listen, to move events."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from typing import Any

import asyncpg

from db.connecting import open_connection
from db.observing import Nobody, Observer, tell_of


class Repeated:
    """A prepared statement for what is done many times a second: the driver's own log costs as much as such a run."""

    __slots__ = ("_name", "_observer", "_sql", "_statement")

    def __init__(self, statement: Any, sql: str, name: str, observer: Observer) -> None:
        self._statement = statement
        self._sql = sql
        self._name = name
        self._observer = observer

    async def fetch(self, *values: object) -> list[asyncpg.Record]:
        """Run it, and tell of that. Raises what the driver raises."""
        began = perf_counter()
        try:
            rows: list[asyncpg.Record] = await self._statement.fetch(*values)
        except BaseException as error:
            self._observer.statement_ended(self._name, self._sql, perf_counter() - began, error)
            raise
        self._observer.statement_ended(self._name, self._sql, perf_counter() - began, None)
        return rows


class Session(asyncpg.Connection):
    """A connection whose statements are told of as those of a pool with its name. Not to be prepared but `repeated`."""

    __slots__ = ("name", "observer")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.name = ""
        self.observer: Observer = Nobody()

    async def repeated(self, sql: str) -> Repeated:
        """Prepare a statement."""
        return Repeated(await self.prepare(sql), sql, self.name, self.observer)


@asynccontextmanager
async def session(
    url: str, name: str, *, settings: Mapping[str, str], observer: Observer | None = None
) -> AsyncGenerator[Session]:
    """A connection for as long as the block lasts. `url` as the driver wants it. Raises DatabaseUnavailable."""
    connection = await open_connection(url, settings=settings, connection_class=Session)
    connection.name, connection.observer = name, observer or Nobody()
    connection.add_query_logger(partial(tell_of, connection.observer, name))
    try:
        yield connection
    finally:
        connection.terminate()
