"""A client of event streams that shows everything it is told."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

EVENT_STREAM = "text/event-stream"

_PATIENCE_SECONDS = 20


@dataclass
class Told:
    """One block of a stream: its fields, and its comments under the name ""."""

    fields: dict[str, list[str]] = field(default_factory=dict)

    @property
    def event(self) -> str | None:
        """The type of an event."""
        return self.fields.get("event", [None])[0]

    @property
    def id(self) -> str | None:
        """What the client remembers as the last event's id."""
        return self.fields.get("id", [None])[0]

    @property
    def data(self) -> Any:
        """The result in a `next` event."""
        (line,) = self.fields["data"]
        return orjson.loads(line)

    def add(self, line: str) -> None:
        """Take a line."""
        name, _, value = line.partition(":")
        self.fields.setdefault(name, []).append(value.removeprefix(" "))


class EventStream:
    """An open stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._blocks = self._read()

    async def hear(self) -> Told:
        """The next block, whatever is in it. Raises StopAsyncIteration at the end of the stream."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await anext(self._blocks)

    async def hear_event(self) -> Told:
        """The next event; comments and ids without an event are passed over."""
        while (told := await self.hear()).event is None:
            pass
        return told

    async def rest(self) -> list[Told]:
        """Everything up to the end of the stream."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return [told async for told in self._blocks]

    async def _read(self) -> AsyncIterator[Told]:
        told = Told()
        async for line in self.response.aiter_lines():
            if line:
                told.add(line)
            else:
                yield told
                told = Told()


@asynccontextmanager
async def listen(
    http: httpx.AsyncClient, query: str, *, last_event_id: str | None = None, **parameters: Any
) -> AsyncGenerator[EventStream]:
    """A stream that was asked for with POST. The status has to be 200."""
    headers = {"Accept": EVENT_STREAM} | ({"Last-Event-ID": last_event_id} if last_event_id is not None else {})
    async with http.stream("POST", "/graphql", json={"query": query, **parameters}, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"] == f"{EVENT_STREAM}; charset=utf-8"
        yield EventStream(response)
