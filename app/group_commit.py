"""Deliveries that arrive at the same time are stored together: one statement, one commit, one wait for the disk."""

import asyncio
from collections import deque
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Final

from actions.alerts.deliveries import Accepted, accept
from db.database import Database, may_pass

MOST_GROUPS: Final = 2
"""How many are written at the same time: a large one holds nobody up, and the rest of the pool is for others."""
MOST_BYTES: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class _Arrival:
    accepted: Accepted
    stored: asyncio.Future[None]
    context: Context = field(default_factory=copy_context)

    def settle(self, error: Exception | None = None) -> None:
        """Tell whoever waits, if they still do."""
        if self.stored.done():
            return
        if error is None:
            self.stored.set_result(None)
        else:
            self.stored.set_exception(error)


class GroupCommit:
    """Stores deliveries, in groups of all that wait whenever one can be written, of `most_bytes` or a single one."""

    def __init__(self, database: Database, *, most_groups: int = MOST_GROUPS, most_bytes: int = MOST_BYTES) -> None:
        self._database = database
        self._most_groups = most_groups
        self._most_bytes = most_bytes
        self._waiting: deque[_Arrival] = deque()
        self._groups: set[asyncio.Task[None]] = set()

    async def store(self, accepted: Accepted) -> None:
        """Returns when a delivery is committed. Raises DatabaseUnavailable and DeadlineExceeded, and then it is not."""
        arrival = _Arrival(accepted, asyncio.get_running_loop().create_future())
        self._waiting.append(arrival)
        self._begin()
        await arrival.stored

    def _begin(self) -> None:
        if self._waiting and len(self._groups) < self._most_groups:
            # In the context of the first of them, so that its trace has the statement.
            group = asyncio.create_task(self._write(), context=self._waiting[0].context)
            self._groups.add(group)
            group.add_done_callback(self._end)

    def _end(self, group: asyncio.Task[None]) -> None:
        self._groups.discard(group)
        self._begin()

    async def _write(self) -> None:
        group = self._next()
        try:
            await self._commit(group)
        finally:
            for arrival in group:
                arrival.stored.cancel()  # No longer possible for those that were told, which are all but at the end.

    async def _commit(self, group: list[_Arrival]) -> None:
        if not group:
            return
        try:
            await accept(self._database, [arrival.accepted for arrival in group])
        except Exception as error:
            if len(group) == 1 or may_pass(error):
                for arrival in group:
                    arrival.settle(error)
                return
        else:
            for arrival in group:
                arrival.settle()
            return
        for arrival in group:  # What is wrong with one must not be the end of its neighbours.
            await self._commit([arrival])

    def _next(self) -> list[_Arrival]:
        """Of those that wait, as many as may be written at once. Nothing is written for who has gone away."""
        group: list[_Arrival] = []
        size = 0
        while self._waiting:
            arrival = self._waiting[0]
            if not arrival.stored.done():
                size += len(arrival.accepted.received.body)
                if group and size > self._most_bytes:
                    break
                group.append(arrival)
            self._waiting.popleft()
        return group
