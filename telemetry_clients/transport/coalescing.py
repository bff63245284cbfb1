"""Identical calls in flight are made once."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any

import anyio

from domain.time import Deadline
from telemetry_clients.transport.answer import Answer


@dataclass(slots=True, eq=False)
class Flight:
    """A call under way, and how many wait for it. Its scope ends it, at the latest deadline of those who wait.

    While it `is_trial`, it goes on even when nobody waits: a circuit breaker wants to know how it ends.
    """

    scope: anyio.CancelScope
    task: asyncio.Task[Answer] = field(init=False)
    waiting: int = 0
    is_trial: bool = False

    def remaining_seconds(self) -> float:
        """Seconds until its deadline."""
        return max(0.0, self.scope.deadline - anyio.current_time())

    @property
    def is_ending(self) -> bool:
        """Whether it brings nothing more to whoever joins now."""
        return self.scope.cancel_called or self.task.done()

    @property
    def is_too_late(self) -> bool:
        """Whether its deadline has passed."""
        return anyio.current_time() >= self.scope.deadline


Begin = Callable[[Flight], Coroutine[Any, Any, Answer]]


class Flights:
    """The calls under way. Each runs in its own task, where nothing but its scope can cancel it.

    httpcore loses a connection when its task is cancelled between two steps of its own bookkeeping. Cancel scopes spare
    those steps.
    """

    def __init__(self) -> None:
        self._by_key: dict[Hashable, Flight] = {}
        self._under_way: set[Flight] = set()

    @property
    def count(self) -> int:
        """How many calls are under way."""
        return len(self._under_way)

    def find(self, key: Hashable | None) -> Flight | None:
        """The flight that brings the answer to this question, if there is one."""
        flight = None if key is None else self._by_key.get(key)
        return None if flight is None or flight.is_ending else flight

    def start(self, begin: Begin, deadline: Deadline, key: Hashable | None) -> Flight:
        """Make a call. Those who ask with the same key until it ends can join it; nobody can without a key."""
        flight = Flight(anyio.CancelScope(deadline=_end_of(deadline)))
        flight.task = asyncio.create_task(begin(flight))
        self._under_way.add(flight)
        if key is not None:
            self._by_key[key] = flight
        flight.task.add_done_callback(lambda _: self._ended(flight, key))
        return flight

    async def answer(self, flight: Flight, deadline: Deadline) -> Answer:
        """The flight's answer or error. Raises TimeoutError at the caller's own deadline.

        Whoever goes away leaves the call to the others; the last one ends it, and waits until it has ended.
        """
        flight.scope.deadline = max(flight.scope.deadline, _end_of(deadline))
        flight.waiting += 1
        try:
            await asyncio.wait({flight.task}, timeout=deadline.remaining_seconds())
            if flight.waiting == 1 and not flight.task.done():
                flight.scope.deadline = anyio.current_time()  # the timers of event loops can be a little early
        finally:
            flight.waiting -= 1
            if flight.waiting == 0 and not flight.is_trial and not flight.task.done():
                await self._end(flight)
        if not flight.task.done():
            raise TimeoutError
        return flight.task.result()

    async def end(self) -> None:
        """End whatever is under way."""
        for flight in list(self._under_way):
            await self._end(flight)

    async def _end(self, flight: Flight) -> None:
        flight.scope.cancel()
        await asyncio.wait({flight.task})

    def _ended(self, flight: Flight, key: Hashable | None) -> None:
        self._under_way.discard(flight)
        if self._by_key.get(key) is flight:
            del self._by_key[key]
        if not flight.task.cancelled():
            flight.task.exception()  # seen, even where everybody who would have been told has gone


def _end_of(deadline: Deadline) -> float:
    return anyio.current_time() + deadline.remaining_seconds()
