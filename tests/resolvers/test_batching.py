"""What is asked at the same time is asked once."""

import asyncio
from collections.abc import Sequence

import pytest

from resolvers.batching import Batcher
from tests.waiting import until


class Backend:
    """Answers with the double of each number, and remembers what it was asked together."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.cancelled = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def doubled(self, numbers: Sequence[int]) -> dict[int, int]:
        self.asked.append([*numbers])
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return {number: 2 * number for number in numbers}


async def test_what_is_asked_in_one_turn_is_one_call_and_each_gets_its_own_answer():
    backend, batcher = Backend(), Batcher()
    answers = await asyncio.gather(*(batcher.ask("k", number, backend.doubled) for number in (3, 1, 3, 2)))
    assert answers == [6, 2, 6, 4]
    assert backend.asked == [[3, 1, 2]]


async def test_what_is_asked_a_turn_later_by_a_deeper_field_still_comes_along():
    backend, batcher = Backend(), Batcher()

    async def deeper(turns: int) -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await batcher.ask("k", turns, backend.doubled)

    assert await asyncio.gather(deeper(0), deeper(1), deeper(2)) == [0, 2, 4]
    assert len(backend.asked) == 1


async def test_other_keys_are_other_calls():
    backend, batcher = Backend(), Batcher()
    await asyncio.gather(batcher.ask("a", 1, backend.doubled), batcher.ask("b", 2, backend.doubled))
    assert sorted(backend.asked) == [[1], [2]]


async def test_what_is_asked_after_the_call_has_begun_is_a_call_of_its_own():
    backend, batcher = Backend(), Batcher()
    backend.may_answer.clear()
    first = asyncio.create_task(batcher.ask("k", 1, backend.doubled))
    await until(lambda: len(backend.asked) == 1)
    second = asyncio.create_task(batcher.ask("k", 2, backend.doubled))
    backend.may_answer.set()
    assert await asyncio.gather(first, second) == [2, 4]
    assert backend.asked == [[1], [2]]


async def test_a_failure_is_everybodys():
    async def fails(_: Sequence[int]) -> dict[int, int]:
        raise ValueError("no")

    batcher = Batcher()
    answers = await asyncio.gather(*(batcher.ask("k", n, fails) for n in range(3)), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["no"] * 3


async def test_who_leaves_does_not_take_the_answer_from_the_others():
    backend, batcher = Backend(), Batcher()
    backend.may_answer.clear()
    leaving, staying = (asyncio.create_task(batcher.ask("k", n, backend.doubled)) for n in (1, 2))
    await until(lambda: len(backend.asked) == 1)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    backend.may_answer.set()
    assert await staying == 4
    assert backend.cancelled == 0


@pytest.mark.parametrize("already_calling", [False, True])
async def test_when_all_have_left_the_call_is_cancelled_and_the_key_is_free_again(already_calling):
    backend, batcher = Backend(), Batcher()
    backend.may_answer.clear()
    tasks = [asyncio.create_task(batcher.ask("k", n, backend.doubled)) for n in range(3)]
    await asyncio.sleep(0)
    if already_calling:
        await until(lambda: len(backend.asked) == 1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (len(backend.asked), backend.cancelled) == ((1, 1) if already_calling else (0, 0))
    backend.may_answer.set()
    assert await batcher.ask("k", 7, backend.doubled) == 14
