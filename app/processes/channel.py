"""What a worker and its supervisor tell each other: lines of JSON on a pair of sockets.

The end of the other's process ends the channel, however that came about: nobody is left alone without noticing.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import asdict, dataclass
from socket import socket
from typing import Any, Self

import orjson


@dataclass(frozen=True, slots=True)
class Staffing:
    """How many workers there should be, and how many of them serve."""

    wanted: int
    serving: int


class Channel:
    """One end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket) -> Self:
        """On one of a pair of sockets, which becomes ours."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    def tell_ready(self) -> None:
        """Tell the supervisor that this worker serves."""
        self._send({"ready": True})

    def tell(self, staffing: Staffing) -> None:
        """Tell a worker how many there are."""
        self._send(asdict(staffing))

    async def messages(self) -> AsyncGenerator[dict[str, Any]]:
        """What the other tells, until its end."""
        with suppress(OSError):
            while line := await self._reader.readline():
                yield orjson.loads(line)

    def close(self) -> None:
        """Stop listening to the other."""
        self._writer.transport.abort()

    def _send(self, message: object) -> None:
        # A few bytes once in a while. Who has gone needs none of them.
        if not self._writer.is_closing():
            self._writer.write(orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE))
