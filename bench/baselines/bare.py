"""The limit: a bare ASGI app that looks a request body up, runs our compiler's statement for it and sends the bytes.

It parses nothing, checks nothing and knows only the bodies of the benchmark; what a server costs beyond it is what
serving GraphQL costs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from bench.baselines.serve import serve
from bench.compiled import compiled_statement
from bench.data import incident_ids
from bench.documents import documents, request_body

CONNECTIONS = 10

Message = MutableMapping[str, Any]
Statements = Mapping[bytes, tuple[str, Sequence[Any]]]


@dataclass(frozen=True, slots=True)
class PreparedConnection:
    """A connection with every statement of the benchmark prepared on it."""

    connection: asyncpg.Connection
    prepared: Mapping[str, Any]


class Bare:
    """The application. The connections are last in, first out, and nothing is reset between two requests."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._statements: Statements = {}
        self._connections: asyncio.LifoQueue[PreparedConnection] = asyncio.LifoQueue()

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        sql, arguments = self._statements[body]
        connection = await self._connections.get()
        try:
            answer = await connection.prepared[sql].fetchval(*arguments)
        finally:
            self._connections.put_nowait(connection)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _live(
        self, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        await receive()
        self._statements = await _statements(self._database_url)
        for _ in range(CONNECTIONS):
            self._connections.put_nowait(await _connect(self._database_url, self._statements))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        while not self._connections.empty():
            await self._connections.get_nowait().connection.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _statements(database_url: str) -> Statements:
    return {
        request_body(document.query, variables): compiled_statement(document.query, variables)
        for document in documents(await incident_ids(database_url))
        for variables in document.variables
    }


async def _connect(database_url: str, statements: Statements) -> PreparedConnection:
    connection = await asyncpg.connect(
        database_url, server_settings={"jit": "off", "timezone": "UTC", "plan_cache_mode": "force_generic_plan"}
    )
    for text in ("text", "json"):
        await connection.set_type_codec(text, schema="pg_catalog", encoder=str.encode, decoder=bytes, format="binary")
    distinct = {sql for sql, _ in statements.values()}
    return PreparedConnection(connection, {sql: await connection.prepare(sql) for sql in distinct})


if __name__ == "__main__":
    serve(Bare)
