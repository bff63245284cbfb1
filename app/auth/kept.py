"""What was found out in the database, which is believed for a moment, or until it is said to have changed."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from time import monotonic
from typing import Final, Generic, TypeVar

MOST_ANSWERS: Final = 10_000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class Answer(Generic[V]):
    """What was found out, and until when it is believed, on the monotonic clock."""

    value: V
    believed_until: float


class Kept(Generic[K, V]):
    """The answers to questions that many ask at the same time: one asks for all of them."""

    def __init__(self, seconds: float) -> None:
        """An answer is believed for so many seconds at most."""
        self._seconds = seconds
        self._answers: dict[K, Answer[V]] = {}
        self._asking: dict[K, asyncio.Task[Answer[V]]] = {}

    def believed(self, key: K) -> Answer[V] | None:
        """The answer that needs no asking."""
        answer = self._answers.get(key)
        return answer if answer is not None and answer.believed_until > monotonic() else None

    def latest(self, key: K) -> Answer[V] | None:
        """What was found out last, whether or not it is believed still."""
        return self._answers.get(key)

    async def ask(self, key: K, find_out: Callable[[], Awaitable[tuple[V, float]]]) -> Answer[V]:
        """The answer of `find_out`, and of how many seconds it holds at most. Raises as that does."""
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._ask(key, find_out))
            asking.add_done_callback(lambda task: self._asked(key, task))
        return await asyncio.shield(asking)  # Who stops waiting must not end it for the others.

    def forget(self, key: K) -> None:
        """Know nothing of this any more."""
        self._answers.pop(key, None)

    def doubt(self, is_meant: Callable[[K, V], bool]) -> None:
        """Believe none of these answers any more, nor any that is about to come: it may have been read before."""
        for key, answer in self._answers.items():
            if is_meant(key, answer.value):
                answer.believed_until = 0.0
        self._asking.clear()

    async def _ask(self, key: K, find_out: Callable[[], Awaitable[tuple[V, float]]]) -> Answer[V]:
        value, holds_seconds = await find_out()
        answer = Answer(value, monotonic() + min(self._seconds, holds_seconds))
        if self._asking.get(key) is asyncio.current_task():
            self._answers.pop(key, None)
            while len(self._answers) >= MOST_ANSWERS:  # What was kept first goes first.
                del self._answers[next(iter(self._answers))]
            self._answers[key] = answer
        return answer

    def _asked(self, key: K, task: "asyncio.Task[Answer[V]]") -> None:
        if self._asking.get(key) is task:
            del self._asking[key]
        if not task.cancelled():
            task.exception()  # Whoever waited has it; nobody may be left who did.
