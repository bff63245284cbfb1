"""Several questions to one backend: what was answered, and why the rest was not."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from telemetry_clients.errors import TelemetryError

Answer = TypeVar("Answer")


async def answered(asked: Iterable[Coroutine[Any, Any, Answer]]) -> tuple[list[Answer], list[TelemetryError]]:
    """The answers to what is asked at the same time, in its order, and the failures.

    Raises TelemetryError when there are failures and no answers.
    """
    answers: list[Answer] = []
    failures: list[TelemetryError] = []
    for outcome in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(outcome, TelemetryError):
            failures.append(outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            answers.append(outcome)
    if failures and not answers:
        raise failures[0]
    return answers, failures
