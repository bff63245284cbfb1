"""Requests that are made at the same time, answered together: fifty services that are each asked for their metrics
become one question to the backend.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item", bound=Hashable)
Answer = TypeVar("Answer")

AnswerAll = Callable[[Sequence[Item]], Awaitable[Mapping[Item, Answer]]]

_IDLE_TURNS = 3
"""Resolvers of one list start in the same turn of the event loop; those that lie deeper, a turn or two later."""


class Batcher:
    """Collects what resolvers of one operation ask, and asks the backend once for all of it.

    Made for each request. What is asked is bounded by the operation: the batcher adds no limit of its own.
    """

    def __init__(self) -> None:
        self._open: dict[Hashable, _Batch] = {}

    async def ask(self, key: Hashable, item: Item, answer_all: AnswerAll[Item, Answer]) -> Answer:
        """The answer to `item`, from one call of `answer_all` for everything that is asked under `key` about now.

        `key` stands for all that the call depends on beside its items: the backend's instance, the range, the step.
        `answer_all` gets the items in the order in which they were first asked, each once, and must answer every one.
        What it raises is raised to everybody who asked. When nobody waits any longer, it is cancelled.
        """
        batch = self._open.get(key)
        if batch is None:
            batch = self._open[key] = _Batch()
            batch.task = asyncio.create_task(self._answer(key, batch, answer_all))
        batch.items[item] = None
        batch.waiting += 1
        try:
            # Shielded: who stops waiting must not end the call for the others.
            answers: Mapping[Item, Answer] = await asyncio.shield(batch.task)
        except asyncio.CancelledError:
            if batch.waiting == 1:
                await self._abandon(key, batch)
            raise
        finally:
            batch.waiting -= 1
        return answers[item]

    async def _answer(self, key: Hashable, batch: "_Batch", answer_all: AnswerAll[Any, Any]) -> Mapping[Any, Any]:
        idle_turns = 0
        while idle_turns < _IDLE_TURNS:
            known = len(batch.items)
            await asyncio.sleep(0)
            idle_turns = idle_turns + 1 if len(batch.items) == known else 0
        del self._open[key]
        return await answer_all([*batch.items])

    async def _abandon(self, key: Hashable, batch: "_Batch") -> None:
        if self._open.get(key) is batch:
            del self._open[key]
        batch.task.cancel()
        await asyncio.wait([batch.task])
        if not batch.task.cancelled():
            batch.task.exception()  # Retrieved, so that asyncio does not report what nobody is there to hear.


class _Batch:
    """What is asked together, the answer on its way, and how many wait for it."""

    task: asyncio.Task[Mapping[Any, Any]]

    def __init__(self) -> None:
        self.items: dict[Any, None] = {}
        self.waiting = 0
